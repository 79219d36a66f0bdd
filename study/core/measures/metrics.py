"""The measures: acceleration error on test points, and rollouts against the truth.

Arrays are numpy's, in physical units unless it says otherwise; each definition has its source.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from study.core.data.datasets import TestSet, Trajectories, spread
from study.core.systems.mechanics import System
from study.core.systems.units import Units

Array = np.ndarray

CONDITION_LIMIT = 1e6  # a mass matrix with a larger condition number counts as singular
VALID = 0.5  # threshold of the normalised error, Vlachas et al. (2020), Neural Networks 126, 191
SMALLEST = 1e-12  # relative errors are clamped to [1e-12, 1]


def point_errors(
    predicted: Float[Array, "*R n D"], true: Float[Array, "*#R n D"], variance: Float[Array, " D"]
) -> Float[Array, "*R n"]:
    """Squared acceleration error of each point over the variance of the test targets, averaged
    over coordinates; infinite if the prediction is not finite."""
    return _filled(((predicted - true) ** 2 / variance).mean(-1), np.inf)


def acceleration_measures(predicted: Float[Array, "n D"], test: TestSet) -> dict[str, float]:
    """Mean, median and 99th percentile of the normalised error, in and out of range too."""
    error = point_errors(predicted, test.points.qddot, test.variance)
    inside, outside = error[test.in_range], error[~test.in_range]
    return {
        "test_mse": _mean(_filled((predicted - test.points.qddot) ** 2, np.inf)),
        "test_nmse": _mean(error),
        "test_nmse_median": float(np.median(error)),
        "test_nmse_p99": float(np.quantile(error, 0.99, method="inverted_cdf")),
        "test_nmse_in_range": _mean(inside),
        "test_nmse_out_of_range": _mean(outside),
        "test_nmse_median_in_range": _median(inside),
        "test_nmse_median_out_of_range": _median(outside),
    }


def singular_fraction(
    learned: Float[Array, "n D D"] | None, true: Float[Array, "n D D"] | None
) -> float:
    """Share of points whose learned mass matrix is indefinite while the true one is definite, or
    has a condition number above 1e6; NaN without a learned mass matrix or a true one."""
    if learned is None or true is None:
        return float("nan")
    values = np.linalg.eigvalsh(np.where(np.isfinite(learned), learned, 0.0))
    truth = np.linalg.eigvalsh(true)
    indefinite = (values[:, 0] < 0) & (values[:, -1] > 0)
    definite = (truth[:, 0] > 0) | (truth[:, -1] < 0)
    size = np.abs(values)
    ill = size.max(1) >= CONDITION_LIMIT * size.min(1)  # zero matrices too
    broken = ~np.isfinite(learned).all((1, 2))
    return float(((indefinite & definite) | ill | broken).mean())


def rollout_measures(
    learned: Float[Array, "K T two_D"],
    diverged: Bool[Array, " K"],
    truth: Trajectories,
    system: System,
    units: Units,
) -> tuple[dict[str, float], dict[str, Float[Array, " T"]]]:
    """The table's columns, and curves over time, of one replicate's learned trajectories against
    the true ones; `units` scales the states.

    - `rollout_error`: geometric mean over trajectories and times (t > 0, trusted) of
      |z - z'| / (|z| + |z'|), z the scaled state, angles wrapped; after Finzi et al. (2020),
      arXiv 2010.13581.
    - `valid_time`: seconds until the root mean square over components of the error in standard
      deviations passes 0.5; mean over trajectories, each capped at the horizon and at the time to
      which the truth is trusted. `valid_time_lyapunov`: the same times each trajectory's exponent,
      over trajectories with a positive one.
    - `energy_drift`, `energy_drift_final`: |E(t) - E(0)| by the true energy over the energy scale
      (of a system with forces: less the energy of the true motion at t in place of E(0)),
      mean over time and last, median over trajectories; infinite once diverged.
      `energy_drift_final_mean`: the last, mean over trajectories, as Cranmer et al. (2020) have it.
      NaN if the true system is not known.
    """
    learned_z, true_z = units.to_scaled(learned), units.to_scaled(truth.states)
    difference = system.wrapped(learned_z - true_z)
    normalised = _normalised(difference, true_z, system)
    norms = sum(np.linalg.norm(system.wrapped(z), axis=-1) for z in (learned_z, true_z))
    relative = _filled(np.linalg.norm(difference, axis=-1) / norms, 1.0).clip(SMALLEST, 1.0)
    trusted = truth.times <= truth.trusted[:, None]
    counted = trusted & (truth.times > 0)
    valid = _valid(normalised, truth)
    positive = truth.lyapunov > 0
    drift = _energy_drift(learned, truth, system)
    return (
        {
            "rollout_error": float(np.exp(np.log(relative[counted]).mean())),
            "valid_time": float(valid.mean()),
            "valid_time_lyapunov": _mean((valid * truth.lyapunov)[positive]),
            "diverged_fraction": float(diverged.mean()),
            "energy_drift": float(np.median(drift.mean(1))),
            "energy_drift_final": float(np.median(drift[:, -1])),
            "energy_drift_final_mean": float(drift[:, -1].mean()),
        },
        {
            "error": np.median(normalised, axis=0),
            "relative_error": np.exp(np.log(relative).mean(0)),
            "energy_drift": np.median(drift, axis=0),
        },
    )


def valid_times(
    learned: Float[Array, "K T two_D"], truth: Trajectories, system: System, units: Units
) -> Float[Array, " K"]:
    """The valid time of each trajectory, as `rollout_measures` averages them."""
    learned_z, true_z = units.to_scaled(learned), units.to_scaled(truth.states)
    return _valid(_normalised(system.wrapped(learned_z - true_z), true_z, system), truth)


def _normalised(difference: Array, true_z: Array, system: System) -> Float[Array, "K T"]:
    """Errors in standard deviations, root mean square over components; infinite once diverged."""
    squared = (difference / spread(system, true_z)) ** 2
    return _filled(np.sqrt(squared.mean(-1)), np.inf)


def _valid(normalised: Float[Array, "K T"], truth: Trajectories) -> Float[Array, " K"]:
    passed = normalised > VALID
    first = np.where(passed.any(1), truth.times[passed.argmax(1)], truth.times[-1])
    return np.minimum(first, truth.trusted)


def _energy_drift(
    learned: Float[Array, "K T two_D"], truth: Trajectories, system: System
) -> Float[Array, "K T"]:
    if not system.known:
        return np.full(learned.shape[:2], np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        energy = system.energy(*np.split(learned, 2, axis=-1))
    right = energy[:, :1]
    if system.forces is not None:
        right = system.energy(*np.split(truth.states, 2, axis=-1))
    drift = np.abs(energy - right) / system.energy_scale(system.parameters)
    return _filled(drift, np.inf)


def _filled(x: Array, value: float) -> Array:
    return np.where(np.isfinite(x), x, value)


def _mean(x: Array) -> float:
    return float(x.mean()) if x.size else float("nan")


def _median(x: Array) -> float:
    return float(np.median(x)) if x.size else float("nan")
