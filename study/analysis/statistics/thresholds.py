"""The measured interpolation threshold of a ladder: the largest N, or least P, that is fitted.

It is the effective model complexity of a training procedure (Nakkiran et al. 2019, arXiv
1912.02292, definition 1), so it belongs to the optimiser as much as to the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from study.analysis.statistics.medians import Estimate, Medians

if TYPE_CHECKING:
    from study.analysis.design import Ladder

# What counts as fitted: a mean train error over the variance of the targets below this, far above
# rounding and far below what a network of too few parameters reaches. It is a choice.
CLEAN = 1e-6
# With label noise the same over its variance. The truth alone has all of it as train error; least
# squares with r parameters on N*D equations leaves 1 - r / (N*D) of it.
NOISY = 1e-2
DEPTH = 100.0  # how far below or above the tolerance an error counts when interpolating


@dataclass(frozen=True)
class Threshold:
    """Where a ladder stops being fitted.

    - `at`: N (along N: the largest fitted) or P (along P: the smallest that fits), interpolated
      between rungs; 0 or inf if it lies beyond the first or last rung.
    - `between`: the two rungs around it, 0 or inf beyond the ladder.
    - `ratio`: equations per parameter there.
    - `tolerance`: of the train error; `looser`, `stricter`: `at` for ten times and a tenth of it.
    - `rank`: numerical rank of d(qddot)/d(theta), NaN if it was not measured: along N the largest
      of the ladder, that on ample data; along P that of the smallest network that fits.
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


def threshold(train: Medians, ladder: Ladder, ranks: np.ndarray) -> Threshold:
    """The threshold of a ladder, from the medians (K,) of its train error and the numerical ranks
    (K,) of d(qddot)/d(theta), NaN where they were not measured."""
    axis, steps, small = ladder.axis, ladder.steps, tolerance(ladder.noise)
    value, looser, stricter = (
        float(_crossing(train.middle, axis, steps, small * factor)) for factor in (1, 10, 0.1)
    )
    at = train.estimated(value, _crossing(train.draws, axis, steps, small))
    padded = np.concatenate([[0.0], steps, [np.inf]])
    near, far = sorted(float(padded[rung + 1]) for rung in _rungs(train.middle, axis, small))
    if axis == "N":
        ratio = at.map(lambda n: n * (ladder.dof / ladder.n_params[0]))
    else:
        equations = ladder.n_equations[0]
        ends = (equations / p if p > 0 else np.inf for p in (at.value, at.high, at.low))
        ratio = Estimate(*ends, n=at.n, draws=at.draws)
        ranks = ranks[steps == far]
    ranks = ranks[np.isfinite(ranks)]
    return Threshold(
        at=at,
        between=(near, far),
        ratio=ratio,
        tolerance=small,
        looser=looser,
        stricter=stricter,
        rank=float(ranks.max()) if len(ranks) else np.nan,
    )


def _rungs(errors: np.ndarray, axis: str, small: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices (...) of the last rung that is fitted and of the next, which is not.

    Along N from -1 (none is fitted) to K; along P, where larger networks fit more, the other way
    round.
    """
    fits = errors < small
    n_rungs = errors.shape[-1]
    if axis == "N":
        inner = n_rungs - 1 - np.argmax(fits[..., ::-1], axis=-1)
        inner = np.where(fits.any(axis=-1), inner, -1)
        return inner, inner + 1
    inner = np.where(fits.any(axis=-1), np.argmax(fits, axis=-1), n_rungs)
    return inner, inner - 1


def _crossing(errors: np.ndarray, axis: str, steps: np.ndarray, small: float) -> np.ndarray:
    """Where (...) the error passes the tolerance, log against log between two rungs."""
    inner, outer = _rungs(errors, axis, small)
    n_rungs = errors.shape[-1]
    depth = np.log(np.clip(errors / small, 1 / DEPTH, DEPTH))

    def taken(values: np.ndarray, at: np.ndarray) -> np.ndarray:
        at = np.clip(at, 0, n_rungs - 1)
        return np.take_along_axis(np.broadcast_to(values, errors.shape), at[..., None], -1)[..., 0]

    fitted, not_fitted = taken(depth, inner), taken(depth, outer)
    near, far = taken(np.log(steps), inner), taken(np.log(steps), outer)
    with np.errstate(invalid="ignore", divide="ignore"):
        inside = near - fitted / (not_fitted - fitted) * (far - near)
    lowest, highest = np.minimum(inner, outer) < 0, np.maximum(inner, outer) >= n_rungs
    return np.where(lowest, 0.0, np.where(highest, np.inf, np.exp(inside)))
