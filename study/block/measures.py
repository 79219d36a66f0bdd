"""The measures of every replicate of a block, while it trains and after its last step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from study.core.data.datasets import Trajectories
from study.core.data.recording import COUNTS, Recording
from study.core.measures import metrics
from study.core.measures.error_budget import error_budget
from study.core.measures.identifiability import condition, effective_dimension, rank, spectrum
from study.core.measures.power import PowerBalance, force_acceleration, power_balance
from study.core.measures.rollout import Drive, rollout
from study.core.systems.units import Units
from study.core.training.train import State, relative_gradient, verdicts
from study.tables.measures import (
    BUDGET,
    DESIGN,
    IDENTIFIABILITY,
    MEASURES,
    NOISE_FLOOR,
    NOISE_FLOOR_MEDIAN,
    OWN,
    THRESHOLDS,
    Predictions,
)

if TYPE_CHECKING:
    from study.block.setup import Setup

CURVE_POINTS = 1000  # training curves are measured on so many points
SHOWN = 2  # true and learned trajectories of the first replicate kept for the page
AMPLE = 2**31  # a data seed far from any replicate's: states whose number is not what limits a rank
CHUNK = 512  # states evaluated at once: small enough to stay in the cache

Measured = tuple[dict[str, float], list[pa.Table]]  # columns and curves of one replicate


def _accelerations(setup: Setup, theta: Tensor, rows: Tensor) -> np.ndarray:
    """Predicted qddot (R, n, D) in physical units at scaled rows (R or 1, n, 2 D + m or more)."""
    D, m = setup.system.n_dof, setup.model.n_driven
    out = []
    with torch.no_grad():
        for part in rows.expand(len(theta), -1, -1).split(CHUNK, 1):
            states = part.to(theta).mT
            q, qdot = states[:, :D], states[:, D : 2 * D + m]
            out.append(setup.model.acceleration(theta, q, qdot).mT)
    return setup.units.acceleration_to_physical(torch.cat(out, 1).cpu().double().numpy())


def _scaled(setup: Setup, q: np.ndarray, qdot: np.ndarray, u: np.ndarray | None = None) -> Tensor:
    """States (n, 2 D) in scaled units, and the inputs beside them."""
    # a copy, because torch aligns its memory, and the last bits of a product may depend on that
    return torch.tensor(np.concatenate(setup.units.scale_driven(q, qdot, u), axis=1))


def _test_rows(setup: Setup, n: int | None = None) -> Tensor:
    points = setup.test.points[:n]
    return _scaled(setup, points.q, points.qdot, points.u)[None]


def _train_errors(setup: Setup, theta: Tensor, n: int | None = None) -> np.ndarray:
    """Normalised errors (R, n) on the replicates' own training points, noisy labels included."""
    rows = setup.data.rows[:, :n]
    labels = rows[:, :, -setup.system.n_dof :].cpu().double().numpy()
    true = setup.units.acceleration_to_physical(labels)
    return metrics.point_errors(_accelerations(setup, theta, rows), true, setup.test.variance)


def curve_measure(setup: Setup) -> Callable[[Tensor], dict[str, list[float]]]:
    """What training records now and then: theta -> for each metric a list over replicates."""
    test_rows, true = _test_rows(setup, CURVE_POINTS), setup.test.points.qddot[:CURVE_POINTS]

    def measure(theta: Tensor) -> dict[str, list[float]]:
        predicted = _accelerations(setup, theta, test_rows)
        test = metrics.point_errors(predicted, true, setup.test.variance)
        return {
            "train_nmse": _train_errors(setup, theta, CURVE_POINTS).mean(1).tolist(),
            "test_nmse": test.mean(1).tolist(),
            "test_nmse_median": np.median(test, axis=1).tolist(),
        }

    return measure


def acceleration_rows(setup: Setup, state: State) -> list[dict[str, Any]]:
    """The table's rows up to the rollout, measured in float64."""
    cell, theta, points = setup.cell, state.theta.double(), setup.test.points
    rows = _test_rows(setup)
    predicted, train_error = _accelerations(setup, theta, rows), _train_errors(setup, theta)
    true_mass = setup.system.mass_matrix(points.q, points.qdot) if setup.system.known else None
    # of the loss that was minimised last
    of_accelerations = cell.optimizer.iterations or cell.optimizer.weak
    loss = "squared" if of_accelerations else cell.optimizer.loss
    slope = relative_gradient(setup.model, setup.data, theta, loss)
    steps = cell.optimizer.steps if cell.optimizer.first else math.nan
    return [
        {
            "cell": cell.hash,
            "replicate": setup.replicates[r],
            "data_seed": setup.data_seeds[r],
            "init_seed": setup.init_seeds[r],
            **cell.factors(),
            "train_nmse": float(train_error[r].mean()),
            "train_nmse_median": float(np.median(train_error[r])),
            **_label_error(setup, r),
            **_of_recording(setup),
            **metrics.acceleration_measures(predicted[r], setup.test),
            "singular_fraction": metrics.singular_fraction(
                _mass(setup, theta[r : r + 1], rows), true_mass
            ),
            **_force_error(setup, theta[r : r + 1], rows),
            "floored_fraction": float(state.floored[r]) / steps,
            "train_seconds": state.seconds / len(theta),
            **_design(state, r),
            "relative_gradient": float(slope[r]),
            "converged": converged,
            "stop_reason": reason,
        }
        for r, (converged, reason) in enumerate(verdicts(state, slope))
    ]


def _design(state: State, r: int) -> dict[str, float]:
    """What least squares knows of the equations it solved."""
    if (design := state.memory.get("design")) is None:
        return {}
    return dict(zip(DESIGN, design[r].tolist(), strict=True))


def _of_recording(setup: Setup) -> dict[str, float]:
    """What was made of measured rows; nothing of data that are made."""
    source = setup.source
    if not isinstance(source, Recording):
        return {}
    labels, variance = setup.test.points.qddot, setup.test.variance
    constant = np.broadcast_to(labels.mean(0), labels.shape)
    noise = setup.cell.label_noise
    floors = (math.nan, math.nan) if noise is None else noise.floors(variance)
    return {
        "time_step": source.step,
        **{name: getattr(source, name) for name in COUNTS},
        "constant_nmse_median": float(np.median(metrics.point_errors(constant, labels, variance))),
        **dict(zip((NOISE_FLOOR, NOISE_FLOOR_MEDIAN), floors, strict=True)),
    }


def _label_error(setup: Setup, r: int) -> dict[str, float]:
    """The error of labels that are no true accelerations, if the system is known."""
    measured = isinstance(setup.source, Recording) or setup.cell.data.position_noise
    if not (measured and setup.system.known):
        return {}
    D, units = setup.system.n_dof, setup.units
    rows, m = setup.data.rows[r].cpu().double().numpy(), setup.model.n_driven
    u = rows[:, 2 * D : 2 * D + m] * units.inputs if m else None
    true = setup.system.rhs(units.to_physical(rows[:, : 2 * D]), u)[:, D:]
    labels = units.acceleration_to_physical(rows[:, -D:])
    return {"label_nmse": float(metrics.point_errors(labels, true, setup.test.variance).mean())}


def budget_columns(setup: Setup, state: State) -> Iterator[Measured]:
    """The error budget of each replicate; NaN if it is not asked for, has no true system, or an
    input drives the motion."""
    free = setup.system.known and not setup.model.n_driven
    if not (setup.cell.diagnostics.error_budget and free):
        yield from (
            (dict.fromkeys([*BUDGET, OWN, "lyapunov"], math.nan), []) for _ in setup.replicates
        )
        return
    theta, D, states = state.theta.double(), setup.system.n_dof, setup.truth.states
    flat = states.reshape(-1, 2 * D)
    along = _accelerations(setup, theta, _scaled(setup, flat[:, :D], flat[:, D:])[None])
    budgets = error_budget(
        setup.system,
        setup.truth,
        setup.test,
        _accelerations(setup, theta, _test_rows(setup)),
        units=setup.units,
        rtol=setup.cell.rollout.rtol,
        max_steps=setup.cell.rollout.max_steps,
        seeds=list(zip(setup.data_seeds, setup.init_seeds, strict=True)),
        along=along.reshape(len(theta), *states.shape[:2], D),
    )
    yield from ((budget, []) for budget in budgets)


def identifiability_columns(setup: Setup, state: State) -> Iterator[Measured]:
    """(measures, spectra) of each replicate, as initialised on ample data and as trained.

    Ample: twice as many equations as parameters, from a pool of training states of its own, or all
    that was measured.
    """
    if not setup.cell.diagnostics.identifiability:
        yield from ((dict.fromkeys(IDENTIFIABILITY, math.nan), []) for _ in setup.replicates)
        return
    D, m = setup.system.n_dof, setup.model.n_driven
    most = -(-2 * setup.model.n_params // D)  # points; more say no more
    points = setup.source.ample(AMPLE, most)
    ample = _scaled(setup, points.q, points.qdot, points.u).to(setup.cell.device).mT[None]
    begun, trained = setup.initial_parameters(), state.theta.double()
    for r, replicate in enumerate(setup.replicates):
        own, columns, tables = setup.data.rows[r : r + 1, :most].mT, dict[str, float](), []
        cases = ("initial", "initial", begun, ample), ("trained", "jacobian", trained, own)
        for name, prefix, theta, states in cases:
            q, qdot = states[:, :D], states[:, D : 2 * D + m]
            values = spectrum(setup.model, theta[r : r + 1], q, qdot)[0].cpu()
            for threshold in THRESHOLDS:
                columns[f"{prefix}_rank_{threshold}"] = float(rank(values, float(threshold)))
            if name == "trained":
                columns["effective_dimension"] = float(effective_dimension(values))
                columns["jacobian_condition"] = float(condition(values))
            x, relative = np.arange(1, len(values) + 1), values / values[0]
            tables.append(_curve(setup, replicate, "spectrum", name, x, relative))
        yield columns, tables


def _mass(setup: Setup, theta: Tensor, rows: Tensor) -> np.ndarray | None:
    """Learned mass matrices (n, D, D) of one network, scaled units."""
    D = setup.system.n_dof
    states = rows.to(theta).mT
    with torch.no_grad():
        mass = setup.model.mass_matrix(theta, states[:, :D], states[:, D : 2 * D])
    return None if mass is None else mass[0].permute(2, 0, 1).cpu().numpy()


def training_curves(setup: Setup, state: State) -> list[pa.Table]:
    """The records of training as rows of the curves' table."""
    tables = []
    for r, replicate in enumerate(setup.replicates):
        for metric in [name for name in state.records[0] if name != "x"]:
            x = [record["x"] for record in state.records]
            values = [record[metric][r] for record in state.records]
            tables.append(_curve(setup, replicate, "training", metric, x, values))
    return tables


def _curve(setup: Setup, replicate: int, curve: str, metric: str, x, value) -> pa.Table:
    n = len(x)
    return pa.table(
        {
            "cell": pa.repeat(setup.cell.hash, n),
            "replicate": pa.repeat(replicate, n),
            "curve": pa.repeat(curve, n),
            "x": np.asarray(x, float),
            "metric": pa.repeat(metric, n),
            "value": np.asarray(value, float),
        }
    )


def drive(truth: Trajectories, units: Units) -> Drive | None:
    """The inputs along the trajectories, in scaled units."""
    if truth.inputs is None:
        return None
    inputs = truth.inputs
    return lambda times: inputs(times * units.time) / units.inputs


def rollouts(setup: Setup, state: State) -> Iterator[Measured]:
    """(measures, curves) of each replicate's rollouts."""
    system, units, truth, settings = setup.system, setup.units, setup.truth, setup.cell.rollout
    device = state.theta.device
    times = torch.tensor(truth.times / units.time, dtype=torch.float64, device=device)
    rolled = rollout(
        setup.model,
        state.theta.double(),
        torch.tensor(units.to_scaled(truth.states[:, 0]), device=device),
        times,
        system.angles,
        rtol=settings.rtol,
        max_steps=settings.max_steps,
        drive=drive(truth, units),
    )
    learned = units.to_physical(rolled.states.cpu().numpy())
    diverged = rolled.diverged.cpu().numpy()
    computed = {m.column: m.compute for m in MEASURES.values() if m.compute}
    predicted = _accelerations(setup, state.theta.double(), _test_rows(setup)) if computed else ()
    balance = None
    if setup.cell.model.friction != "none" or setup.model.n_driven:
        given = rolled.states, times, drive(truth, units)
        balance = power_balance(setup.model, state.theta.double(), *given)
    for r, replicate in enumerate(setup.replicates):
        rolls = (learned[r], diverged[r], truth, system)
        measured, curves = metrics.rollout_measures(*rolls, setup.test.units)
        own = _power(balance, r)
        own |= {
            column: float(compute(Predictions(predicted[r], setup.test, *rolls)))
            for column, compute in computed.items()
        }
        curves |= _shown(setup, learned[r], balance) if r == 0 else {}
        tables = [
            _curve(setup, replicate, "rollout", metric, truth.times, values)
            for metric, values in curves.items()
            if system.known or "energy" not in metric
        ]
        yield measured | own, tables


def _force_error(setup: Setup, theta: Tensor, rows: Tensor) -> dict[str, float]:
    """The error of the accelerations that forces make; nothing if there are none."""
    system, points, D = setup.system, setup.test.points, setup.system.n_dof
    if not system.known or (system.forces is None and setup.cell.model.friction == "none"):
        return {}
    states, m = rows.to(theta).mT, setup.model.n_driven
    learned = force_acceleration(setup.model, theta, states[:, :D], states[:, D : 2 * D + m])
    if learned is None:
        return {}
    free = dataclasses.replace(system, forces=None)
    true, without = (s.acceleration(points.q, points.qdot, points.u) for s in (system, free))
    physical = setup.units.acceleration_to_physical(learned[0].T.cpu().numpy())
    error = metrics.point_errors(physical, true - without, setup.test.variance)
    return {"force_nmse": float(np.median(error))}


def _power(balance: PowerBalance | None, r: int) -> dict[str, float]:
    """Mean over time and median over trajectories of |power balance|; infinite once diverged."""
    if balance is None:
        return {}
    size = np.nan_to_num(np.abs(balance.rest[r]), nan=np.inf).mean(1)
    return {"power_balance": float(np.median(size))}


def _shown(
    setup: Setup, learned: np.ndarray, balance: PowerBalance | None
) -> dict[str, np.ndarray]:
    """The first trajectories, true and learned, coordinate by coordinate, and their energies; where
    that of the first network goes, if forces act."""
    system, truth = setup.system, setup.truth
    curves = {}
    if balance is not None:
        for name in ("gained", "friction", "inputs"):
            curves[f"power.{name}[0]"] = getattr(balance, name)[0, 0]
    for name, states in (("true", truth.states), ("learned", learned)):
        for k in range(min(SHOWN, len(states))):
            if system.known:
                energy = system.energy(*np.split(states[k], 2, axis=-1))
                scale = system.energy_scale(system.parameters)
                curves[f"{name}.energy[{k}]"] = energy / scale
            for i in range(system.n_dof):
                curves[f"{name}.q{i}[{k}]"] = states[k, :, i]
    return curves
