"""One block of one cell: config in, tidy rows, curves and weights out; one cell as a command.

Knows: the order of things (data, training, measures, rollout). Does not know: grids, claims,
other cells. What needs a trained model is measured here; analysis only reads tables.

    python -m study.trial model.width=32 data.n_train=4096
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from study.config import Cell, ConfigError, make_cell, make_run
from study.core import metrics
from study.core.datasets import DataError, Source, TestSet, Trajectories, held_out
from study.core.models import Model, make_model
from study.core.rollout import rollout
from study.core.systems import System
from study.core.training import Adam, State, TrainingData, train, verdicts
from study.core.units import Units

log = logging.getLogger("study")

CURVE_POINTS = 1000  # training curves are measured on so many points
SHOWN = 2  # true and learned trajectories of the first replicate kept for the page
CHECKPOINT_SECONDS = 20.0
CHUNK = 512  # states evaluated at once: small enough to stay in the cache


@dataclasses.dataclass(frozen=True)
class BlockResult:
    """`replicates` and `curves`: rows of the two tables; `weights`: what `load_model` reads."""

    replicates: pd.DataFrame
    curves: pd.DataFrame
    weights: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Setup:
    """Everything a block needs before its first step."""

    cell: Cell
    replicates: list[int]
    data_seeds: list[int]
    init_seeds: list[int]
    system: System
    units: Units
    model: Model
    data: TrainingData
    test: TestSet
    truth: Trajectories


def run_block(
    cell: Cell,
    block: int,
    *,
    checkpoint: Path | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> BlockResult:
    """Train, evaluate and roll out one block of replicates.

    **Arguments:**

    - `checkpoint`: resumed from if it is there, written now and then, whole or not at all.
    - `progress`: called now and then with the fraction done, 0 to 1.

    A replicate that diverges is a row, not an error.

    **Raises:** `DataError` for data that cannot be made; whatever else goes wrong.
    """
    torch.set_num_threads(1)
    setup = _set_up(cell, block)
    state = _resume(checkpoint, setup)
    state = train(
        setup.model,
        setup.data,
        _optimizer(cell),
        state,
        compiled=cell.compile,
        measure=_curve_measure(setup),
        save=lambda state: _save(checkpoint, setup, state),
        progress=lambda fraction: progress(0.9 * fraction),
        every_seconds=CHECKPOINT_SECONDS,
    )
    _save(checkpoint, setup, state)
    rows = _acceleration_rows(setup, state)
    begun = time.perf_counter()
    curves = [*_training_curves(setup, state)]
    for r, (measured, table) in enumerate(_rollouts(setup, state)):
        rows[r] |= measured
        curves += table
    seconds = (time.perf_counter() - begun) / len(rows)
    for row in rows:
        row["rollout_seconds"] = seconds
    progress(1.0)
    log.info("cell %s block %d: trained in %.1f s", cell.hash, block, state.seconds)
    return BlockResult(pd.DataFrame(rows), pd.concat(curves, ignore_index=True), _weights(setup, state))


def write_block(result: BlockResult, folder: Path) -> None:
    """Write a block's three files into an existing folder, each synced to disk."""
    writers = {
        "replicates.parquet": lambda f: result.replicates.to_parquet(f, index=False),
        "curves.parquet": lambda f: result.curves.to_parquet(f, index=False),
        "weights.pt": lambda f: torch.save(result.weights, f),
    }
    for name, write in writers.items():
        with open(folder / name, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())


def _set_up(cell: Cell, block: int) -> _Setup:
    system = cell.mechanics
    replicates, data_seeds, init_seeds = map(list, zip(*cell.block_seeds(block), strict=True))
    data = cell.data
    source = Source(system, data.sampler, data.pool_size, data.n_trajectories)
    units = source.reference().units if data.units == "scaled" else Units.physical(system.n_dof)
    subsets = [source.training_set(seed, cell.n_train, data.noise) for seed in data_seeds]
    rows = [
        np.concatenate(
            [*units.scale(s.points.q, s.points.qdot), units.acceleration_to_scaled(s.points.qddot)],
            axis=1,
        )
        for s in subsets
    ]
    dtype = getattr(torch, cell.precision)
    horizon = cell.rollout.horizon or system.horizon
    return _Setup(
        cell,
        replicates,
        data_seeds,
        init_seeds,
        system,
        units,
        make_model(system.angles, dataclasses.asdict(cell.model)),
        TrainingData(
            torch.tensor(np.stack(rows), device=cell.device, dtype=dtype),
            np.stack([s.along for s in subsets]),
            data.order,
            init_seeds,
        ),
        source.test_set(),
        held_out(system, cell.rollout.n_trajectories, horizon, cell.rollout.n_times),
    )


def _optimizer(cell: Cell) -> Adam:
    o = cell.optimizer
    return Adam(o.steps, o.batch_size, o.lr, o.schedule, o.clip)


def _resume(checkpoint: Path | None, setup: _Setup) -> State:
    """The state of the checkpoint if it is of this cell and whole, else the first one."""
    dtype = setup.data.rows.dtype
    if checkpoint is not None and checkpoint.exists():
        try:
            saved = torch.load(checkpoint, weights_only=True, map_location=setup.cell.device)
            if saved.pop("cell") == setup.cell.hash:
                return State(**saved)
        except Exception as error:
            log.warning("checkpoint %s cannot be read, training starts anew: %s", checkpoint, error)
    theta = setup.model.initialise(setup.init_seeds, dtype).to(setup.cell.device)
    return State.fresh(theta)


def _save(checkpoint: Path | None, setup: _Setup, state: State) -> None:
    if checkpoint is None:
        return
    temporary = checkpoint.with_name(f".{checkpoint.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            torch.save({"cell": setup.cell.hash, **vars(state)}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, checkpoint)
    finally:
        temporary.unlink(missing_ok=True)


def _accelerations(setup: _Setup, theta: Tensor, rows: Tensor) -> np.ndarray:
    """Predicted qddot (R, n, D) in physical units at scaled rows (R or 1, n, 2 D or more)."""
    D = setup.system.n_dof
    out = []
    with torch.no_grad():
        for part in rows.expand(len(theta), -1, -1).split(CHUNK, 1):
            states = part.to(theta).mT
            out.append(setup.model.acceleration(theta, states[:, :D], states[:, D : 2 * D]).mT)
    return setup.units.acceleration_to_physical(torch.cat(out, 1).cpu().double().numpy())


def _test_rows(setup: _Setup, n: int | None = None) -> Tensor:
    points = setup.test.points
    scaled = setup.units.scale(points.q[:n], points.qdot[:n])
    # copied, for torch's memory is aligned and the last bits of a product may depend on that
    return torch.tensor(np.concatenate(scaled, axis=1))[None]


def _errors(setup: _Setup, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    return metrics.point_errors(predicted, true, setup.test.variance)


def _train_errors(setup: _Setup, theta: Tensor, n: int | None = None) -> np.ndarray:
    """Normalised errors (R, n) on the replicates' own training points, noisy labels included."""
    rows = setup.data.rows[:, :n]
    labels = rows[:, :, 2 * setup.system.n_dof :].cpu().double().numpy()
    return _errors(
        setup, _accelerations(setup, theta, rows), setup.units.acceleration_to_physical(labels)
    )


def _curve_measure(setup: _Setup) -> Callable[[Tensor], dict[str, list[float]]]:
    test_rows, true = _test_rows(setup, CURVE_POINTS), setup.test.points.qddot[:CURVE_POINTS]

    def measure(theta: Tensor) -> dict[str, list[float]]:
        test = _errors(setup, _accelerations(setup, theta, test_rows), true)
        return {
            "train_nmse": _train_errors(setup, theta, CURVE_POINTS).mean(1).tolist(),
            "test_nmse": test.mean(1).tolist(),
            "test_nmse_median": np.median(test, axis=1).tolist(),
        }

    return measure


def _acceleration_rows(setup: _Setup, state: State) -> list[dict[str, Any]]:
    """The table's rows up to the rollout, measured in float64."""
    cell, theta = setup.cell, state.theta.double()
    rows = _test_rows(setup)
    predicted = _accelerations(setup, theta, rows)
    train_error = _train_errors(setup, theta)
    points = setup.test.points
    true_mass = setup.system.mass_matrix(points.q, points.qdot)
    table = []
    for r, (converged, reason) in enumerate(verdicts(state, cell.optimizer.steps)):
        table.append(
            {
                "cell": cell.hash,
                "replicate": setup.replicates[r],
                "data_seed": setup.data_seeds[r],
                "init_seed": setup.init_seeds[r],
                **cell.factors(),
                "train_nmse": float(train_error[r].mean()),
                "train_nmse_median": float(np.median(train_error[r])),
                **metrics.acceleration_measures(predicted[r], setup.test),
                "singular_fraction": metrics.singular_fraction(
                    _mass(setup, theta[r : r + 1], rows), true_mass
                ),
                "floored_fraction": float(state.floored[r]) / cell.optimizer.steps,
                "train_seconds": state.seconds / len(theta),
                "converged": converged,
                "stop_reason": reason,
            }
        )
    return table


def _mass(setup: _Setup, theta: Tensor, rows: Tensor) -> np.ndarray | None:
    """Learned mass matrices (n, D, D) of one network, scaled units."""
    D = setup.system.n_dof
    states = rows.to(theta).mT
    with torch.no_grad():
        mass = setup.model.mass_matrix(theta, states[:, :D], states[:, D : 2 * D])
    return None if mass is None else mass[0].permute(2, 0, 1).cpu().numpy()


def _training_curves(setup: _Setup, state: State) -> list[pd.DataFrame]:
    tables = []
    for r, replicate in enumerate(setup.replicates):
        for metric in [name for name in state.records[0] if name != "x"]:
            x = [float(record["x"]) for record in state.records]
            values = [record[metric][r] for record in state.records]
            tables.append(_curve(setup, replicate, "training", metric, x, values))
    return tables


def _curve(setup: _Setup, replicate: int, curve: str, metric: str, x, value) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "cell": setup.cell.hash,
            "replicate": replicate,
            "curve": curve,
            "x": np.asarray(x, float),
            "metric": metric,
            "value": np.asarray(value, float),
        }
    )


def _rollouts(setup: _Setup, state: State):
    """(measures, curves) of each replicate's rollouts."""
    system, units, truth, settings = setup.system, setup.units, setup.truth, setup.cell.rollout
    D = system.n_dof
    start = np.concatenate(units.scale(*np.split(truth.states[:, 0], 2, axis=1)), axis=1)
    like = {"dtype": torch.float64, "device": state.theta.device}
    rolled = rollout(
        setup.model,
        state.theta.double(),
        torch.tensor(start, **like),
        torch.tensor(truth.times / units.time, **like),
        system.angles,
        rtol=settings.rtol,
        max_steps=settings.max_steps,
    )
    scaled = rolled.states.cpu().numpy()
    learned = np.concatenate(
        [scaled[..., :D] * units.length, scaled[..., D:] * units.length / units.time], axis=-1
    )
    for r, replicate in enumerate(setup.replicates):
        measured = metrics.rollout_measures(
            learned[r], rolled.diverged[r].cpu().numpy(), truth, system, units
        )
        shown = _shown(setup, learned[r]) if r == 0 else {}
        yield (
            measured.measures,
            [
                _curve(setup, replicate, "rollout", metric, truth.times, values)
                for metric, values in {**measured.curves, **shown}.items()
            ],
        )


def _shown(setup: _Setup, learned: np.ndarray) -> dict[str, np.ndarray]:
    """The first trajectories, true and learned, coordinate by coordinate, and their energies."""
    system, truth = setup.system, setup.truth
    scale = system.energy_scale(system.parameters)
    curves = {}
    for name, states in (("true", truth.states), ("learned", learned)):
        for k in range(min(SHOWN, len(states))):
            energy = system.energy(*np.split(states[k], 2, axis=-1)) / scale
            curves[f"{name}.energy[{k}]"] = energy
            for i in range(system.n_dof):
                curves[f"{name}.q{i}[{k}]"] = states[k, :, i]
    return curves


def _weights(setup: _Setup, state: State) -> dict[str, Any]:
    return {
        "cell": setup.cell.hash,
        "replicates": setup.replicates,
        "angles": list(setup.system.angles),
        "model": dataclasses.asdict(setup.cell.model),
        "time": setup.units.time,
        "length": setup.units.length.tolist(),
        "theta": state.theta.cpu(),
    }


def main(arguments: list[str]) -> None:
    """Run one cell's first block and print its measures; a cell done before is only printed."""
    from study.compose import compose, register

    register()
    config = compose(arguments)
    run = make_run(config)
    cell = make_cell(config, compile=config["compile"] is True)  # auto: one cell never pays
    block = Path("outputs") / run.study / "cells" / cell.hash / "block-000"
    if not block.exists():
        workspace = block.with_name(f".block-000.{os.getpid()}")
        workspace.mkdir(parents=True)
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(f"N = {cell.n_train}, P = {cell.n_params}", total=1.0)
            result = run_block(cell, 0, progress=lambda f: bar.update(task, completed=f))
        write_block(result, workspace)
        workspace.rename(block)
    print(_summary(pd.read_parquet(block / "replicates.parquet")))
    print(f"in {block}")


def _summary(rows: pd.DataFrame) -> str:
    """Median and range over replicates of each measure."""
    measures = rows.select_dtypes("number").columns.difference(
        ["replicate", "data_seed", "init_seed", *rows.columns[rows.nunique() <= 1]]
    )
    table = rows[[c for c in rows.columns if c in measures]].agg(["median", "min", "max"]).T
    return table.to_string(float_format=lambda value: f"{value:.3g}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (ConfigError, DataError) as error:
        sys.exit(f"study: {error}")
