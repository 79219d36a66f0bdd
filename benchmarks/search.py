"""How near a search with pruning comes to the best of a whole grid, and for how many of its steps.

    python benchmarks/search.py                # table; JSON and PNG beside this file; half an hour
    python benchmarks/search.py --grid         # first trains the whole grid anew: as long again

The grid: 256 cells of the question's network on the double pendulum, N = 1024: four learning rates,
widths, activations and betas, two hidden layers, five replicates each, 486 steps of Adam. Its error
is the median over replicates of `test_nmse_median`. All cells were trained once, by the sweep's
command; `search_grid.parquet` keeps their errors, and at each point of the training curve too.

The searches: `python -m study.sweep` with `choice(...)` of the same values, TPE, successive
halving, one worker, each with another `search.seed` in a folder of its own, so that every step is
taken anew. A pruned trial counts with the steps it took; a cell proposed again after it was
complete with none.

Beside them random search without pruning: cells drawn from the table without replacement.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata

from study.sweeping.search import RUNGS

HERE = Path(__file__).resolve()
TABLE = HERE.with_name("search_grid.parquet")
ERROR = "test_nmse_median"
STEPS = 486
GRID = {
    "optimizer.lr": "1e-3,3e-3,1e-2,3e-2",
    "model.width": "4,8,16,32",
    "model.activation": "softplus,tanh,silu,sin",
    "model.beta": "0.5,1.0,2.0,4.0",
}
COMMON = (
    "budget=laptop",
    "system=double_pendulum",
    "data.n_train=1024",
    "model.depth=2",
    "optimizer.batch_size=128",
    f"optimizer.steps={STEPS}",
    "replicates=5",
    "block_size=5",
    "compile=false",
    "diagnostics.error_budget=false",  # what follows training is not searched on
    "rollout.horizon=0.5",
    "rollout.n_trajectories=2",
    "rollout.n_times=20",
    "rollout.max_steps=100",
)
SEEDS = range(5)
TRIALS = 100  # of each search
NEAR, SHARE = 1.05, 1 / 3  # what is to be reached, with at most this share of the grid's steps
DRAWS = 2000  # random searches


def sweep(folder: Path, study: str, *settings: str) -> Path:
    """Run the sweep's command; the study's folder. Given again it goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "study.sweep", f"study={study}", *COMMON, *settings]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{shlex.join(command)}\n{done.stdout}{done.stderr}")
    return folder / "outputs" / study


def exhaustive(folder: Path) -> pd.DataFrame:
    """Train all cells of the grid, or what is left of it."""
    workers = f"workers={len(os.sched_getaffinity(0))}"
    values = (f"{key}={values}" for key, values in GRID.items())
    return tabulate(sweep(folder, "grid", *values, workers))


def tabulate(study: Path) -> pd.DataFrame:
    """A row for each cell: its values, its error, and its training curve."""
    rows = pd.read_parquet(study / "results.parquet")
    curves = pd.read_parquet(study / "curves.parquet").query(
        f"curve == 'training' and metric == '{ERROR}'"
    )
    along = curves.pivot_table(index="cell", columns="x", values="value", aggfunc="median")
    along.columns = [f"step_{int(x)}" for x in along.columns]
    cells = rows.groupby("cell").agg(
        {**dict.fromkeys(GRID, "first"), ERROR: "median", "n_params": "first"}
    )
    table = cells.join(along).reset_index()
    assert len(table) == 256, f"{len(table)} cells"
    return table


def early_ranks(table: pd.DataFrame) -> dict[str, float]:
    """How well the order of the cells at each rung foretells their order at the end: Spearman's
    rank correlation, by the step of the rung."""
    points = [int(name.removeprefix("step_")) for name in table if str(name).startswith("step_")]
    found = {}
    for rung in RUNGS:
        step = min((p for p in points if p), key=lambda p: abs(math.log(p / (rung * STEPS))))
        early, final = (rankdata(table[name].to_numpy()) for name in (f"step_{step}", ERROR))
        found[str(step)] = float(np.corrcoef(early, final)[0, 1])
    return found


def search(folder: Path, seed: int, trials: int) -> pd.DataFrame:
    """One search; a row a trial: its cell, state, error, and the steps taken until its end."""
    choices = [f"{key}=choice({values})" for key, values in GRID.items()]
    study = sweep(
        folder, f"seed{seed}", *choices, "search=tpe", "search.pruner=successive_halving",
        f"search.n_trials={trials}", f"search.seed={seed}", "workers=1",
    )  # fmt: skip
    records = [json.loads(p.read_text()) for p in sorted(study.glob("searches/*/trial-*.json"))]
    found = pd.DataFrame(
        {
            "cell": r["cell"],
            "state": r["state"],
            "error": r["values"][0] if r["state"] == "complete" else math.inf,
            "steps": round(r["trained"] * STEPS),
        }
        for r in records
    )
    assert len(found) == trials
    assert set(found["state"]) <= {"complete", "pruned"}
    return found


def outcome(seed: int, found: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    """What came of a search, beside the grid."""
    errors, steps = found["error"].to_numpy(float), found["steps"].to_numpy(int)
    share = steps.cumsum() / (len(table) * STEPS)
    ratio = np.minimum.accumulate(errors) / table[ERROR].min()
    near = share[ratio <= NEAR]
    complete = (found["state"] == "complete").to_numpy()
    in_table = table.set_index("cell")[ERROR].loc[found["cell"]].to_numpy(float)
    return {
        "seed": seed,
        "trials": len(found),
        "complete": int(complete.sum()),
        "repeated": int((steps == 0).sum()),
        "ratio": float(ratio[-1]),
        "share": float(share[-1]),
        # of each rung: how many came to it, how many went on
        "rungs": {
            str(step): [int((steps >= step).sum()), int((steps > step).sum())]
            for step in sorted(set(steps[~complete].tolist()))
        },
        "share_when_near": float(near[0]) if len(near) else None,
        # training is bitwise the same on one machine: on another, chance differs
        "off_the_table": float(np.abs(errors / in_table - 1)[complete].max()),
        "curve": {"share": share.tolist(), "ratio": ratio.tolist()},
    }


def random_searches(table: pd.DataFrame, shares: Sequence[float]) -> dict[str, Any]:
    """Best so far over the grid's best: median and middle 90 % of draws; and at some shares of the
    grid's steps."""
    draw = np.random.default_rng(0)
    errors = (table[ERROR] / table[ERROR].min()).to_numpy()
    best = np.minimum.accumulate([draw.permutation(errors) for _ in range(DRAWS)], axis=1)
    low, middle, high = np.quantile(best, [0.05, 0.5, 0.95], axis=0)
    counts = {share: max(1, int(share * len(table))) for share in shares}
    n = max(counts.values())
    return {
        "draws": DRAWS,
        "share": (np.arange(1, n + 1) / len(table)).tolist(),
        "median": middle[:n].tolist(),
        "low": low[:n].tolist(),
        "high": high[:n].tolist(),
        "at": [
            {
                "share": k / len(table),
                "median": middle[k - 1],
                "low": low[k - 1],
                "high": high[k - 1],
                "near": float((best[:, k - 1] <= NEAR).mean()),
            }
            for k in counts.values()
        ],
    }


def at(curve: dict[str, Any], grid: Sequence[float]) -> list[float]:
    """The best so far at these shares; infinite before there is one."""
    where = np.searchsorted(curve["share"], grid, side="right") - 1
    return [curve["ratio"][k] if k >= 0 else math.inf for k in where]


def draw(found: dict[str, Any], path: Path) -> None:
    """Best so far against steps: each search, their median, and random search."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.4), layout="constrained")
    blue, orange = "#0072B2", "#D55E00"
    rows, chance = found["seeds"], found["random"]
    band = "random search, no pruning: median and middle 90 %"
    axes.fill_between(
        chance["share"], chance["low"], chance["high"], color=orange, alpha=0.15, lw=0
    )
    axes.plot(chance["share"], chance["median"], color=orange, ls="--", label=band)
    for row in rows:
        label = f"a search with pruning ({found['trials']} trials)" if row is rows[0] else None
        curve = row["curve"]
        axes.step(
            curve["share"], curve["ratio"], where="post", color=blue, lw=0.8, alpha=0.5, label=label
        )
    grid = np.linspace(0, found["share"], 400)
    middle = np.median([at(row["curve"], grid) for row in rows], axis=0)
    axes.step(
        grid, middle, where="post", color=blue, lw=2.2, label=f"their median, n = {len(rows)} seeds"
    )
    axes.axhline(NEAR, color="grey", ls=":", lw=1, label="5 % above the grid's best")
    axes.axvline(SHARE, color="grey", ls="-.", lw=1, label="a third of the grid's steps")
    axes.set(yscale="log", xlim=(0, 1.08 * max(SHARE, found["share"])), ylim=(0.95, None))
    axes.set_xlabel("training steps taken / steps of the whole grid")
    axes.set_ylabel("best error so far / best of the grid")
    axes.set_title(
        "double pendulum, N = 1024, 256 cells, median error of 5 replicates", fontsize=10
    )
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)


def tell(found: dict[str, Any]) -> None:
    """The table, and whether it holds."""
    console = Console()
    table = Table(title=f"{found['trials']} trials each, beside {found['grid']['cells']} cells")
    headings = (
        "seed",
        "best / grid's best",
        "steps / grid's",
        "when within 5 %",
        "complete",
        "again",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in found["seeds"]:
        near = row["share_when_near"]
        table.add_row(
            str(row["seed"]), f"{row['ratio']:.3f}", f"{row['share']:.3f}",
            "never" if near is None else f"{near:.3f}", str(row["complete"]), str(row["repeated"]),
        )  # fmt: skip
    table.add_row("median", f"{found['ratio']:.3f}", f"{found['share']:.3f}", "", "", "")
    console.print(table)
    grid = found["grid"]
    ranks = ", ".join(
        f"{rho:.2f} at step {step}" for step, rho in grid["early_rank_correlation"].items()
    )
    console.print(
        f"the grid's second best is {grid['second_over_best']:.3g} times its best, its median "
        f"{grid['median_over_best']:.3g}; rank correlation with the final error {ranks}"
    )
    passed = ", ".join(
        f"{went} of {came} at step {step}"
        for step, (came, went) in {
            step: np.sum([row["rungs"].get(step, (0, 0)) for row in found["seeds"]], axis=0)
            for step in grid["early_rank_correlation"]
        }.items()
    )
    console.print(f"went on: {passed}")
    for there in found["random"]["at"]:
        console.print(
            f"random search, no pruning, {there['share']:.3f} of the steps: median "
            f"{there['median']:.3g} [{there['low']:.3g}, {there['high']:.3g}], within 5 % in "
            f"{there['near']:.0%} of {found['random']['draws']} draws"
        )
    console.print(
        f"at most {NEAR} with at most {SHARE:.3f}: {'holds' if found['holds'] else 'does not hold'}"
    )


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The searches, as many at once as there are cores."""
    if given.grid:
        exhaustive(folder / "grid").to_parquet(TABLE, index=False)
    table = pd.read_parquet(TABLE)

    def run(seed: int) -> dict[str, Any]:
        return outcome(seed, search(folder / f"seed{seed}", seed, given.trials), table)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        rows = list(pool.map(run, given.seeds))
    ratio, share = (statistics.median(row[name] for row in rows) for name in ("ratio", "share"))
    best = table.loc[table[ERROR].idxmin()]
    ranked = np.sort(table[ERROR]) / table[ERROR].min()
    return {
        "trials": given.trials,
        "grid": {
            "cells": len(table),
            "steps": len(table) * STEPS,
            "best": float(best[ERROR]),
            "best_at": {
                key: best[key].item() if hasattr(best[key], "item") else best[key] for key in GRID
            },
            "within_5_percent": int((ranked <= NEAR).sum()),
            "second_over_best": float(ranked[1]),
            "median_over_best": float(np.median(ranked)),
            "early_rank_correlation": early_ranks(table),
        },
        "seeds": rows,
        "ratio": ratio,
        "share": share,
        "holds": bool(ratio <= NEAR and share <= SHARE),
        "random": random_searches(table, (share, SHARE)),
    }


def main() -> None:
    """Measure, print, and write the JSON and the figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--grid", action="store_true", help="train the whole grid anew first")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--folder", type=Path, help="keeps the studies; given again, goes on")
    given = parser.parse_args()
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[1],
    }
    with tempfile.TemporaryDirectory(prefix="search-") as scratch:
        found = {"machine": machine, **measure(given, given.folder or Path(scratch))}
    tell(found)
    HERE.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    draw(found, HERE.with_suffix(".png"))
    print(f"written to {HERE.with_suffix('.json')} and .png")


if __name__ == "__main__":
    main()
