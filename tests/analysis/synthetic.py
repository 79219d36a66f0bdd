"""Studies made from a known law, so that tests know what the analysis has to find.

test error = scale * (N / N0)^-slope, times a bump at N*D = P, times lognormal scatter
rollout error = amplitude * sqrt(test error)^power, times lognormal scatter, at most 1
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from study.tables import measures, schema

D = 2


@dataclasses.dataclass(frozen=True)
class Law:
    """What is put in."""

    slope: float = 0.5
    bump: float = 1.0
    power: float = 1.0
    amplitude: float = 0.5
    scatter: float = 0.15
    rollout_scatter: float = 0.1
    mean_scatter: float = 1.5
    train_floor: float = 0.3
    factor: dict | None = None  # (column, level) -> factor on the test error


BASE = {
    "system": "double_pendulum",
    "data.n_train": 1024,
    "data.noise": 0.0,
    "data.sampler": "trajectories",
    "data.order": "shuffled",
    "data.n_trajectories": 100,
    "data.units": "scaled",
    "data.pool_size": 20_000,
    "system.constants": "default",
    "rollout.horizon": 10.0,
    "model": "lnn",
    "model.width": 32,
    "model.depth": 4,
    "model.activation": "softplus",
    "model.beta": 2.0,
    "model.encoding": "trig",
    "model.mass_prior": 1.0,
    "model.init": "fan_in",
    "optimizer": "adam",
    "optimizer.lr": 3e-3,
    "optimizer.steps": 4000,
    "optimizer.batch_size": 128,
    "optimizer.schedule": "cosine",
    "optimizer.clip": 1.0,
    "optimizer.loss": "squared",
    "optimizer.iterations": 0,
    "precision": "float32",
}

# tests that want these set them
UNMEASURED = [*measures.BUDGET, "lyapunov", *measures.IDENTIFIABILITY]


def parameters(width: int, depth: int, inputs: int) -> int:
    """P of an MLP with one output."""
    return inputs * width + width + (depth - 1) * (width**2 + width) + width + 1


def product(**levels) -> list[dict]:
    """A grid of settings; `__` stands for a dot."""
    names = [name.replace("__", ".") for name in levels]
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*levels.values())]


def rows(settings: list[dict], law: Law, replicates: int = 5, seed: int = 0) -> pd.DataFrame:
    """A results table that follows the law."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=replicates)  # what replicates of equal seeds have in common
    made = []
    for setting in settings:
        factors = BASE | setting
        inputs = 6 if factors["model.encoding"] == "trig" else 4
        P = parameters(factors["model.width"], factors["model.depth"], inputs)
        if "n_over_p" in factors:
            factors["data.n_train"] = max(1, round(factors.pop("n_over_p") * P))
        N = factors["data.n_train"]
        cell = hashlib.sha256(repr(sorted(factors.items())).encode()).hexdigest()[:12]
        centre = 1e-2 * (N / 1024) ** -law.slope
        centre *= law.bump ** np.exp(-((np.log2(N * D / P)) ** 2) / 0.5)
        for (column, level), factor in (law.factor or {}).items():
            if factors[column] == level:
                centre *= factor
        for k in range(replicates):
            test = centre * np.exp(law.scatter * (0.5 * shared[k] + rng.normal()))
            mean = test * np.exp(2 + law.mean_scatter * rng.normal())
            rollout = law.amplitude * np.sqrt(test) ** law.power
            rollout *= np.exp(law.rollout_scatter * rng.normal())
            train = centre * (law.train_floor + (1 - law.train_floor) * min(1, N * D / P / 8))
            train *= np.exp(law.scatter * rng.normal())
            made.append(
                {
                    "study": "synthetic",
                    "cell": cell,
                    "replicate": k,
                    "data_seed": k,
                    "init_seed": k,
                    **factors,
                    "n_params": P,
                    "n_equations": N * D,
                    "n_over_p": N / P,
                    "equations_per_param": N * D / P,
                    "train_nmse": train,
                    "test_mse": 30 * mean,
                    "test_nmse": mean,
                    "test_nmse_median": test,
                    "test_nmse_p99": 20 * test,
                    "test_nmse_in_range": 1.5 * test,
                    "test_nmse_out_of_range": 3 * mean,
                    "test_nmse_median_in_range": test,
                    "test_nmse_median_out_of_range": 2 * test,
                    "singular_fraction": 0.0,
                    "rollout_error": min(1.0, rollout),
                    "valid_time": min(10.0, 0.5 / np.sqrt(test)),
                    "valid_time_lyapunov": min(2.0, 0.1 / np.sqrt(test)),
                    "diverged_fraction": 0.0,
                    "energy_drift": 0.1 * np.sqrt(test),
                    "energy_drift_final": 0.2 * np.sqrt(test),
                    "energy_drift_final_mean": 0.3 * np.sqrt(test),
                    **dict.fromkeys(UNMEASURED, np.nan),
                    "train_seconds": 3.0,
                    "rollout_seconds": 0.5,
                    "relative_gradient": 1e-3,
                    "converged": True,
                    "stop_reason": "steps",
                }
            )
    table = schema.RESULTS.validate(pd.DataFrame(made))
    return table.sort_values(["cell", "replicate"]).reset_index(drop=True)


def curves(table: pd.DataFrame, steps: int = 20, times: int = 60) -> pd.DataFrame:
    """Training and rollout curves that go with a table: a pendulum against a detuned one."""
    parts = []
    step = np.linspace(0, 4000, steps)
    time = np.linspace(0, 10, times)
    for row in table.to_dict("records"):
        error = row["test_nmse_median"]
        drift = np.minimum(10, np.sqrt(error) * np.exp(0.3 * time))
        lines = {
            ("training", "train_nmse"): (step, row["train_nmse"] * (1 + 50 * np.exp(-step / 400))),
            ("training", "test_nmse"): (step, row["test_nmse"] * (1 + 50 * np.exp(-step / 400))),
            ("training", "test_nmse_median"): (step, error * (1 + 50 * np.exp(-step / 400))),
            ("training", "lr"): (step, 3e-3 * np.cos(step / 4000 * np.pi / 2)),
            ("rollout", "error"): (time, drift),
            ("rollout", "relative_error"): (time, np.minimum(1, drift / 2)),
            ("rollout", "energy_drift"): (time, drift / 10),
        }
        if row["replicate"] == 0:
            for k in (0, 1):
                for i in range(D):
                    truth = np.cos((1.5 + i) * time + k)
                    learned = np.cos((1.5 + i) * time * (1 + np.sqrt(error) / 3) + k)
                    lines["rollout", f"true.q{i}[{k}]"] = time, truth
                    lines["rollout", f"learned.q{i}[{k}]"] = time, learned
                lines["rollout", f"true.energy[{k}]"] = time, np.full_like(time, -0.5)
                lines["rollout", f"learned.energy[{k}]"] = time, -0.5 + drift / 10
        parts += [
            pd.DataFrame(
                {
                    "cell": row["cell"],
                    "replicate": row["replicate"],
                    "curve": curve,
                    "x": x,
                    "metric": metric,
                    "value": y,
                }
            )
            for (curve, metric), (x, y) in lines.items()
        ]
    return schema.CURVES.validate(pd.concat(parts, ignore_index=True))


def write_study(folder: Path, table: pd.DataFrame, block_size: int = 5, **more) -> Path:
    """A study's folder with one committed block a cell and block_size replicates."""
    lines = curves(table)
    folder.mkdir(parents=True)
    for cell, of_cell in table.groupby("cell"):
        for block, part in of_cell.groupby(of_cell["replicate"] // block_size):
            home = folder / "cells" / str(cell) / f"block-{block:03d}"
            home.mkdir(parents=True)
            part.drop(columns="study").to_parquet(home / "replicates.parquet", index=False)
            chosen = lines[lines["cell"].eq(cell) & lines["replicate"].isin(part["replicate"])]
            chosen.to_parquet(home / "curves.parquet", index=False)
    settings = {
        "study": folder.name,
        "budget": "laptop",
        "question": "How many points does it need?",
        "command": "python -m study.sweep +experiment=n_vs_p",
        "config": {"seed": 0, "model": {"name": "lnn", "width": 32}},
        "grid": [{"model.width": 32, "data.n_over_p": [0.25, 1, 4]}],
        "provenance": {
            "git_commit": "0" * 40,
            "git_dirty": False,
            "versions": {"python": "3.13", "torch": "2.13"},
            "host": "here",
            "started": "2026-01-01T00:00:00",
        },
        "replicates": int(table["replicate"].max()) + 1,
        "block_size": block_size,
        "cells": list(dict.fromkeys(table["cell"])),
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(settings | more, sort_keys=False))
    return folder


def n_vs_p() -> list[dict]:
    """A grid like the main experiment's."""
    return [
        *product(n_over_p=[0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0]),
        *product(model__width=[4, 8, 16, 32, 64], data__n_train=[1024]),
    ]


def question() -> list[dict]:
    """The question's own settings in its three choices, beside the good defaults."""
    own = {
        "data.units": "physical",
        "model.beta": 0.5,
        "model.encoding": "raw",
        "model.mass_prior": 0.0,
        "model.init": "torch_default",
        "optimizer.clip": np.nan,
    }
    choices = product(
        data__order=["shuffled", "sequential"],
        data__n_trajectories=[1, 100],
        data__n_train=[4096, 16384],
    )
    return [own | choice for choice in choices] + product(data__n_train=[4096, 16384])
