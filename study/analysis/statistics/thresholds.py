"""The measured interpolation threshold of a ladder: the largest N that is still fitted.

Knows: train errors along a ladder, the tolerance. Does not know: test errors, answers.

The effective model complexity of a training procedure is the largest N that it fits to a small
train error (Nakkiran et al. 2019, arXiv 1912.02292, definition 1), so the threshold belongs to the
optimiser as much as to the network. Along P it is the smallest P that still fits.

What counts as fitted:

- With label noise: a mean train error below 1 % of the noise's variance. A model that knows the
  truth and no more has all of it; least squares with r effective parameters on N*D equations
  leaves the part 1 - r / (N*D), so that 99 % of the noise is fitted where N*D is within 1 % of r.
- Without noise: 1e-6, a thousandth of the targets' standard deviation. Far above the rounding of
  float64, far below what a network of too few parameters reaches.

The second is a choice, and a clean threshold depends on it; `Threshold.looser` and `stricter` are
the same at ten times and a tenth of the tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.answer import curve
from study.analysis.design import Ladder
from study.analysis.statistics.ratios import Estimate, Medians, interval
from study.tables.measures import TRAIN

CLEAN = 1e-6  # train error, over the variance of the targets
NOISY = 1e-2  # the same over the variance of the label noise
DEPTH = 100.0  # how far below or above the tolerance an error counts when interpolating
RANK = "jacobian_rank_1e-10"


@dataclass(frozen=True)
class Threshold:
    """Where a ladder stops being fitted.

    - `at`: N (along N: the largest fitted) or P (along P: the smallest that fits), interpolated
      between rungs; 0 or inf where it lies beyond the first or last rung.
    - `between`: the two rungs, the outer one 0 or inf beyond the ladder.
    - `ratio`: equations per parameter there.
    - `tolerance`: of the train error; `looser`, `stricter`: `at` for ten times and a tenth of it.
    - `rank`: numerical rank of d(qddot)/d(theta) at 1e-10, NaN where not measured.
    """

    at: Estimate
    between: tuple[float, float]
    ratio: Estimate
    tolerance: float
    looser: float
    stricter: float
    rank: float


def tolerance(noise: float) -> float:
    """The train error below which points count as fitted, for a label noise."""
    return NOISY * noise**2 if noise > 0 else CLEAN


def threshold(rows: pd.DataFrame, ladder: Ladder) -> Threshold:
    """The threshold of a ladder with its bootstrap interval over replicates."""
    train = curve(rows, ladder.cells, TRAIN)
    small = tolerance(ladder.noise)
    at, between = _located(train, ladder, small)
    rank = _rank(rows, ladder, between)
    return Threshold(
        at=at,
        between=between,
        ratio=_ratio(at, ladder),
        tolerance=small,
        looser=float(_crossing(train.middle, ladder, 10 * small)),
        stricter=float(_crossing(train.middle, ladder, small / 10)),
        rank=rank,
    )


def _located(train: Medians, ladder: Ladder, small: float) -> tuple[Estimate, tuple[float, float]]:
    low, high = interval(_crossing(train.draws, ladder, small))
    value = float(_crossing(train.middle, ladder, small))
    inner, outer = _rungs(train.middle, ladder, small)
    padded = np.concatenate([[0.0], ladder.steps, [np.inf]])
    n = int(train.counts.min())
    near, far = sorted((float(padded[inner + 1]), float(padded[outer + 1])))
    return Estimate(value, float(low), float(high), n, train.independent), (near, far)


def _rungs(errors: np.ndarray, ladder: Ladder, small: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices (...) of the last rung that is fitted and of the next, that is not.

    Along N from -1 (none is fitted) to K; along P, where more is fitted the further one goes, the
    other way round.
    """
    fits = errors < small
    n_rungs = errors.shape[-1]
    if ladder.axis == "N":
        inner = n_rungs - 1 - np.argmax(fits[..., ::-1], axis=-1)
        inner = np.where(fits.any(axis=-1), inner, -1)
        return inner, inner + 1
    inner = np.where(fits.any(axis=-1), np.argmax(fits, axis=-1), n_rungs)
    return inner, inner - 1


def _crossing(errors: np.ndarray, ladder: Ladder, small: float) -> np.ndarray:
    """Where (...) the error passes the tolerance, log against log between two rungs."""
    inner, outer = _rungs(errors, ladder, small)
    n_rungs = errors.shape[-1]
    depth = np.log(np.clip(errors / small, 1 / DEPTH, DEPTH))
    steps = np.log(ladder.steps)

    def taken(values: np.ndarray, at: np.ndarray) -> np.ndarray:
        at = np.clip(at, 0, n_rungs - 1)
        return np.take_along_axis(np.broadcast_to(values, errors.shape), at[..., None], -1)[..., 0]

    fitted, not_fitted = taken(depth, inner), taken(depth, outer)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = -fitted / (not_fitted - fitted)
        inside = taken(steps, inner) + share * (taken(steps, outer) - taken(steps, inner))
    lowest = np.minimum(inner, outer) < 0
    highest = np.maximum(inner, outer) >= n_rungs
    return np.where(lowest, 0.0, np.where(highest, np.inf, np.exp(inside)))


def _ratio(at: Estimate, ladder: Ladder) -> Estimate:
    """Equations per parameter at the threshold."""
    if ladder.axis == "N":
        scale = ladder.dof / float(ladder.n_params[0])
        return Estimate(at.value * scale, at.low * scale, at.high * scale, at.n, at.draws)
    equations = float(ladder.n_equations[0])
    value, high, low = (equations / p if p > 0 else np.inf for p in (at.value, at.low, at.high))
    return Estimate(value, low, high, at.n, at.draws)


def _rank(rows: pd.DataFrame, ladder: Ladder, between: tuple[float, float]) -> float:
    """Along N the largest median rank of the ladder, that on ample data; along P that of the
    smallest network that fits."""
    if RANK not in rows:
        return np.nan
    medians = dict(rows.groupby("cell")[RANK].median())
    ranks = np.array([medians[cell] for cell in ladder.cells], float)
    if ladder.axis == "P":
        ranks = ranks[ladder.steps == between[1]]
    ranks = ranks[np.isfinite(ranks)]
    return float(ranks.max()) if len(ranks) else np.nan
