"""Whether a curve of medians has a peak: an interior point above a point on both of its sides by
more than the scatter of the replicates makes. The rates of error of the test are measured in
`tests/analysis/test_peaks.py`; noise that is correlated along the axis makes it more cautious.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from study.analysis.statistics.limits import NO_PEAK, PEAK_REPLICATES, PEAKS
from study.analysis.statistics.medians import LEVEL, SEED, Estimate, drawn_together

DRAWS = 10_000  # so that a p value is small enough to be corrected for many claims
TEST_LEVEL = 0.995
WORST = 10.0  # a diverged replicate counts as so many times the largest finite value


@dataclass(frozen=True)
class Peak:
    """The most prominent interior point of a curve.

    - `at`: its index; `left`, `right`: of the lowest points on its sides.
    - `prominence`: of the medians; its lower limit is above 1 if noise on a curve without a peak
      makes as much in less than 0.5 % of draws, its upper limit the largest of all points.
    - `place`: x there, with the 95 % interval of where it is most prominent.
    - `p_peak`: how often noise on a curve without a peak makes as much; `p_none`: how often noise
      would hide a peak of a factor `NO_PEAK`.
    """

    at: int
    left: int
    right: int
    prominence: Estimate
    place: Estimate
    p_peak: float
    p_none: float

    @property
    def needed(self) -> float:
        """About how many replicates would decide it: noise falls as 1 / sqrt(n)."""
        height, low, high = np.log(
            [self.prominence.value, self.prominence.low, self.prominence.high]
        )
        room, none = np.log(NO_PEAK) - height, np.inf
        as_peak = (height - low) / height if height >= np.log(PEAKS) else none
        as_none = (high - height) / room if room > 0 else none
        return float(self.prominence.n * max(1.0, min(as_peak, as_none)) ** 2)

    @property
    def verdict(self) -> str:
        """'yes', 'no' or 'undecided': is it a peak?"""
        height = self.prominence
        if height.enough and height.low > 1 and height.value >= PEAKS:
            return "yes"
        return "no" if height.enough and height.high < NO_PEAK else "undecided"


def peak(table: np.ndarray, x: np.ndarray, groups: np.ndarray | None = None) -> Peak | None:
    """The most prominent interior point of the medians of a table, tested.

    - Statistic: the prominence, the largest over interior points of the median over the larger of
      the lowest medians on its two sides; below 1 if no interior point is above both sides.
    - Null: the nearest curve that falls, then rises, times medians of noise drawn anew at each
      point. Each draw takes its most prominent point, as the statistic does.
    - Decision: see `Peak.verdict`; the level is `TEST_LEVEL`.

    `table` is (replicates, points) of a positive measure, +inf for a diverged replicate and NaN
    where there is none; `x` (points,) ascends; `groups` is the data seed of each replicate if some
    share one. None below 3 points or without a finite value.
    """
    if table.shape[1] < 3 or not np.isfinite(table).any():
        return None
    values = np.where(np.isinf(table), WORST * table[np.isfinite(table)].max(), table)
    values = np.maximum(values, np.finfo(float).tiny)
    logs, middle = np.log(values), np.log(np.nanmedian(values, axis=0))
    groups = drawn_together(table, groups)
    heights, noise = _prominences(middle), _noise(logs, groups)
    flat = nearest_without_peak(middle, 1 / np.maximum(noise.var(axis=0), 1e-12))
    by_chance = _prominences(flat + noise).max(axis=1)
    critical = max(0.0, float(np.quantile(by_chance, TEST_LEVEL)))
    at = 1 + int(heights.argmax())
    height = float(heights.max())
    n = int((~np.isnan(logs)).sum(axis=0).min())
    independent = None if groups is None else len(set(groups))
    drawn = x[1:-1][_prominences(middle + noise).argmax(axis=1)]
    place = Estimate.of(x[at], drawn, n, independent)
    upper = _upper(middle, heights, noise, (1 + LEVEL) / 2)
    ends = (float(np.exp(end)) for end in (height, height - critical, upper))
    p_peak = float((1 + (by_chance >= height).sum()) / (1 + DRAWS))
    p_none = max(
        float((1 + (lost <= of_point - np.log(NO_PEAK)).sum()) / (1 + DRAWS))
        for of_point, lost in zip(heights, _lost(middle, noise), strict=True)
    )
    prominence = Estimate(*ends, n=n, draws=independent)
    return Peak(at, *_sides(middle, at), prominence, place, p_peak, p_none)


def beyond_chance(verdicts: Sequence[str]) -> str:
    """Whether curves peak: yes if more of them do than the test's false alarms explain, no if none
    can, else undecided."""
    by_chance = float(stats.binom.sf(verdicts.count("yes") - 1, len(verdicts), 1 - TEST_LEVEL))
    if by_chance < 1 - LEVEL:
        return "yes"
    return "no" if set(verdicts) == {"no"} else "undecided"


def nearest_without_peak(middle: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The curve that falls, then rises, nearest to `middle` (points,) in weighted squares."""
    n = len(middle)
    best, least = middle, np.inf
    for turn in range(1, n + 1):
        parts = [
            optimize.isotonic_regression(middle[:turn], weights=weights[:turn], increasing=False)
        ]
        if turn < n:
            parts.append(optimize.isotonic_regression(middle[turn:], weights=weights[turn:]))
        fitted = np.concatenate([part.x for part in parts])
        misfit = float((weights * (fitted - middle) ** 2).sum())
        if misfit < least:
            best, least = fitted, misfit
    return best


def _prominences(middle: np.ndarray) -> np.ndarray:
    """Logarithm of each interior point over the larger of the lowest on its sides: (..., K - 2)."""
    left = np.minimum.accumulate(middle, axis=-1)[..., :-2]
    right = np.minimum.accumulate(middle[..., ::-1], axis=-1)[..., ::-1][..., 2:]
    return middle[..., 1:-1] - np.maximum(left, right)


def _sides(middle: np.ndarray, at: int) -> tuple[int, int]:
    """Where the lowest points before and after `at` are."""
    return int(middle[:at].argmin()), at + 1 + int(middle[at + 1 :].argmin())


def _upper(middle: np.ndarray, heights: np.ndarray, noise: np.ndarray, level: float) -> float:
    """The largest over interior points of the upper limit of each one's prominence."""
    pairs = zip(heights, _lost(middle, noise), strict=True)
    return max(height - np.quantile(lost, 1 - level) for height, lost in pairs)


def _lost(middle: np.ndarray, noise: np.ndarray) -> list[np.ndarray]:
    """(DRAWS,) for each interior point, what noise adds to its prominence at least.

    A point that truly stands out by h between two others shows at least h and the smaller of the
    two differences of noise.
    """
    lost = []
    for k in range(1, len(middle) - 1):
        left, right = _sides(middle, k)
        lost.append(noise[:, k] - np.maximum(noise[:, left], noise[:, right]))
    return lost


def _noise(logs: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Draws (DRAWS, K) of the error of each point's median: log error = point + replicate + rest.

    With `PEAK_REPLICATES` whole replicates are drawn anew: near an interpolation threshold the rest
    has two humps, whose median scatters twice as much as its size says. With fewer the rest over
    its scale is drawn from all points together, because one draw in 17 of five takes its median
    from the single worst one; a replicate's own level, which cannot make a peak, is taken out.
    """
    n, n_points = logs.shape
    together = 1 if groups is None else n // len(set(groups))
    if groups is not None:
        logs = logs[np.argsort(groups, kind="stable")]
    rest = logs - np.nanmedian(logs, axis=0)
    random = np.random.default_rng([SEED, n, n_points])
    if n // together >= PEAK_REPLICATES:
        members = np.arange(n).reshape(-1, together)
        drawn = members[random.integers(0, len(members), (DRAWS, len(members)))].reshape(DRAWS, n)
        parts = np.array_split(drawn, max(1, DRAWS // 500))  # bounds the memory
        return np.concatenate([np.nanmedian(rest[part], axis=1) for part in parts])
    rest = rest - np.nanmedian(rest, axis=1, keepdims=True)
    rest = rest - np.nanmedian(rest, axis=0)
    rest *= np.sqrt(n * n_points / (max(1, n - 1) * (n_points - 1)))  # degrees of freedom
    scale = _scale(rest)
    pool = np.moveaxis((rest / scale).reshape(-1, together, n_points), 2, 0).reshape(-1, together)
    pool = pool[~np.isnan(pool).any(axis=1)]
    draws = np.empty((DRAWS, n_points))
    for k, count in enumerate((~np.isnan(logs)).sum(axis=0)):
        drawn = pool[random.integers(0, len(pool), (DRAWS, count // together))]
        draws[:, k] = np.median(drawn.reshape(DRAWS, -1), axis=1) * scale[k]
    return draws


def _scale(rest: np.ndarray) -> np.ndarray:
    """(K,) scatter at each point: its own, or the mean with its neighbours if that is larger.

    It is computed from mean absolute values, because at an interpolation threshold the scatter has
    a heavy tail.
    """
    own = np.pi / 2 * np.nanmean(np.abs(rest), axis=0) ** 2
    padded = np.pad(own, 1, mode="edge")
    around = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return np.sqrt(np.maximum(np.maximum(own, around), 1e-24))
