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
    small = tolerance(ladder.noise)
    places, middle, draws = _fitted_first(train, ladder)
    value, looser, stricter = (
        float(_crossing(middle, places, small * factor)) for factor in (1, 10, 0.1)
    )
    at = train.estimated(value, _crossing(draws, places, small))
    last = int(_last_fitted(middle, small))
    near, far = sorted(map(float, places[last + 1 : last + 3]))
    if ladder.axis == "N":
        ratio = at.map(lambda n: n * (ladder.dof / ladder.n_params[0]))
    else:
        equations = ladder.n_equations[0]
        ends = (equations / p if p > 0 else np.inf for p in (at.value, at.high, at.low))
        ratio = Estimate(*ends, n=at.n, draws=at.draws)
        ranks = ranks[ladder.steps == far]
    measured = ranks[np.isfinite(ranks)]
    rank = float(measured.max()) if len(measured) else np.nan
    return Threshold(at, (near, far), ratio, small, looser, stricter, rank)


def at_tolerance(train: Medians, ladder: Ladder, small: float) -> Estimate:
    """Equations per parameter at the largest N, along N, whose train error is below `small`; 0 or
    inf beyond the ladder."""
    places, middle, draws = _fitted_first(train, ladder)
    at = train.estimated(float(_crossing(middle, places, small)), _crossing(draws, places, small))
    return at.map(lambda n: n * (ladder.dof / ladder.n_params[0]))


def _fitted_first(train: Medians, ladder: Ladder) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rungs with what lies beyond both ends, and their errors, in the order in which they are
    fitted: few points come before many, and large networks before small ones."""
    places = np.array([0.0, *ladder.steps, np.inf])
    if ladder.axis == "P":
        return places[::-1], train.middle[::-1], train.draws[:, ::-1]
    return places, train.middle, train.draws


def _last_fitted(errors: np.ndarray, small: float) -> np.ndarray:
    """Index (...) of the last rung whose error is below the tolerance, -1 if none is."""
    fits = errors < small
    last = errors.shape[-1] - 1 - np.argmax(fits[..., ::-1], axis=-1)
    return np.where(fits.any(axis=-1), last, -1)


def _crossing(errors: np.ndarray, places: np.ndarray, small: float) -> np.ndarray:
    """Where (...) the errors (..., K) pass the tolerance, log against log between two of the rungs
    `places[1:-1]`; beyond them `places[0]` or `places[-1]`."""
    last, end = _last_fitted(errors, small), errors.shape[-1] - 1
    depth, steps = np.log(np.clip(errors / small, 1 / DEPTH, DEPTH)), np.log(places[1:-1])
    rungs = [np.clip(rung, 0, end) for rung in (last, last + 1)]
    fitted, not_fitted = (
        np.take_along_axis(depth, rung[..., None], axis=-1)[..., 0] for rung in rungs
    )
    near, far = (steps[rung] for rung in rungs)
    with np.errstate(invalid="ignore", divide="ignore"):
        inside = np.exp(near - fitted / (not_fitted - fitted) * (far - near))
    return np.where(last < 0, places[0], np.where(last == end, places[-1], inside))
