"""Medians, ratios, slopes and monotonicity with bootstrap intervals.

Knows: arrays of replicates by cells. Does not know: what was measured, or why.

Rules, everywhere:

- A replicate without a finite value counts as the worst possible (the caller says which: +inf for
  an error). It is never dropped. NaN in an array means 'not run', which is something else.
- Intervals are percentile intervals at 95 % over 2000 seeded bootstrap draws. Replicates are drawn
  with replacement; when all cells hold the same replicates (same seeds), the same draw serves them
  all, so that what they share cancels in ratios.
- Where some replicates share a data seed, data seeds are drawn, each with all its initialisations:
  replicates on the same data are no independent ones.
- With n replicates the interval of a median can reach at most 1 - 2^(1-n): 94 % at n = 5, 50 % at
  n = 2. Below `ENOUGH` replicates an interval is a range and supports no verdict.
- A ratio of two infinite medians is unknown: 0 in the lower limit, +inf in the upper.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

LEVEL = 0.95
DRAWS = 2000
SEED = 2
ENOUGH = 5  # replicates, below which the interval of a median cannot reach 90 %


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; `n` replicates (or rows) it rests on, `draws` independent ones."""

    value: float
    low: float
    high: float
    n: int
    draws: int | None = None

    @property
    def enough(self) -> bool:
        """Whether there are replicates enough for the interval to mean what it says."""
        return (self.n if self.draws is None else self.draws) >= ENOUGH

    def verdict(self, threshold: float = 1.0) -> str:
        """'yes' if surely above the threshold, 'no' if surely below, else 'undecided'."""
        if self.enough and self.low > threshold:
            return "yes"
        if self.enough and self.high < threshold:
            return "no"
        return "undecided"


def worst_for_nonfinite(values: np.ndarray, worst: float) -> np.ndarray:
    """The values with NaN and both infinities replaced by `worst`."""
    values = np.asarray(values, float)
    return np.where(np.isfinite(values), values, worst)


@functools.lru_cache(maxsize=256)
def resamples(n: int, key: int = 0) -> np.ndarray:
    """Indices (DRAWS, n) of bootstrap samples of n things; another `key`, other draws."""
    return np.random.default_rng([SEED, n, key]).integers(0, n, (DRAWS, n))


def interval(draws: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Percentile limits over the first axis; unknown (NaN) draws widen both ends.

    No interpolation between draws: some may be infinite.
    """
    tail = (1 - level) / 2
    low = np.quantile(
        np.where(np.isnan(draws), -np.inf, draws), tail, axis=0, method="inverted_cdf"
    )
    high = np.quantile(
        np.where(np.isnan(draws), np.inf, draws), 1 - tail, axis=0, method="inverted_cdf"
    )
    return low, high


@dataclass(frozen=True)
class Medians:
    """Medians over replicates of K cells, with their bootstrap draws.

    - `middle` (K,): the medians; `draws` (DRAWS, K); `counts` (K,): replicates of each.
    - `table` (replicates, K): what they are the medians of; NaN where there is none.
    - `replaced`: how many replicates had no finite value.
    - `groups` (replicates,): which of them are on the same data; None where none are.
    """

    table: np.ndarray
    middle: np.ndarray
    draws: np.ndarray
    counts: np.ndarray
    replaced: int
    groups: np.ndarray | None = None

    @property
    def independent(self) -> int | None:
        """How many data seeds there are, where replicates share them."""
        return None if self.groups is None else len(set(self.groups))

    def estimate(self, k: int) -> Estimate:
        """The median of cell k."""
        low, high = interval(self.draws[:, k])
        n = int(self.counts[k])
        if n < 2:
            low, high = 0.0, np.inf
        return Estimate(float(self.middle[k]), float(low), float(high), n, self.independent)

    def log_ratio_draws(self, i: int, j: int) -> np.ndarray:
        """Draws of log(median i / median j); NaN where both are infinite or both zero."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.log(self.draws[:, i]) - np.log(self.draws[:, j])

    def ratio(self, i: int, j: int, level: float = LEVEL) -> Estimate:
        """Median of cell i over the median of cell j."""
        return _ratio(
            self.log_ratio_draws(i, j),
            _divide(self.middle[i], self.middle[j]),
            int(min(self.counts[i], self.counts[j])),
            level,
            self.independent,
        )


def medians(table: np.ndarray, worst: float = np.inf, groups: np.ndarray | None = None) -> Medians:
    """Medians over replicates.

    **Arguments:**

    - `table`: replicates by cells; NaN where a cell has no such replicate, so non-finite
      measurements have to be marked as +-inf before (`replicate_table` of `design.py` does).
    - `worst`: what an infinite entry counts as.
    - `groups`: the data seed of each replicate, where some share one (`replicate_groups`); taken
      into account where each has as many and none is missing.
    """
    missing = np.isnan(table)
    replaced = int(np.isinf(table).sum())
    table = np.where(np.isinf(table), worst, table)
    n_cells = table.shape[1]
    draws = np.empty((DRAWS, n_cells))
    if missing.any() or not balanced(groups):
        groups = None
    if not missing.any():
        together = resamples(table.shape[0]) if groups is None else grouped_resamples(groups)
        for first in range(0, n_cells, 256):  # bounds the memory of a large grid
            chosen = table[:, first : first + 256][together]
            draws[:, first : first + 256] = np.median(chosen, axis=1)
        values = np.median(table, axis=0)
    else:
        values = np.empty(n_cells)
        for k in range(n_cells):
            present = table[~missing[:, k], k]
            values[k] = np.median(present)
            draws[:, k] = np.median(present[resamples(len(present), k + 1)], axis=1)
    return Medians(table, values, draws, (~missing).sum(axis=0), replaced, groups)


def balanced(groups: np.ndarray | None) -> bool:
    """Whether there are groups, each of as many replicates."""
    return groups is not None and len(set(Counter(groups.tolist()).values())) == 1


def grouped_resamples(groups: np.ndarray) -> np.ndarray:
    """Indices (DRAWS, n) of bootstrap samples of whole groups of equal size."""
    members = np.stack([np.flatnonzero(groups == group) for group in np.unique(groups)])
    return members[resamples(len(members))].reshape(DRAWS, -1)


def mean_ratio(pairs: Sequence[tuple[Medians, int, int]], level: float = LEVEL) -> Estimate:
    """Geometric mean over pairs of cells of their ratio of medians.

    Hierarchical: each draw resamples the pairs, then the replicates within each.
    """
    draws = np.stack([m.log_ratio_draws(i, j) for m, i, j in pairs], axis=1)
    drawn_pairs = resamples(len(pairs), key=10_000)
    draws = np.take_along_axis(draws, drawn_pairs, axis=1)
    ratios = [_divide(m.middle[i], m.middle[j]) for m, i, j in pairs]
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(np.exp(np.mean(np.log(ratios))))
        mean = draws.mean(axis=1)
    counts = min(int(min(m.counts[i], m.counts[j])) for m, i, j in pairs)
    independent = [m.independent for m, _, _ in pairs if m.independent is not None]
    return _ratio(mean, value, counts, level, min(independent, default=None))


def _ratio(
    log_draws: np.ndarray, value: float, n: int, level: float, independent: int | None = None
) -> Estimate:
    low, high = interval(log_draws, level)
    if n < 2:
        return Estimate(value, 0.0, np.inf, n, independent)
    return Estimate(value, float(np.exp(low)), float(np.exp(high)), n, independent)


def _divide(a: float, b: float) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.divide(a, b))


@dataclass(frozen=True)
class Rise:
    """The error at point `at` of a curve over that at the earlier point `above`.

    `sure`: the rise is more than the replicates' scatter, as `rises` says.
    """

    at: int
    above: int
    factor: Estimate
    sure: bool


def rises(curve: Medians) -> list[Rise]:
    """Points of a curve that lie above the lowest earlier one, in order.

    A rise is sure if its interval excludes 1 and a rank test (Mann and Whitney, which takes +inf
    as it is) finds the replicates higher too. The interval is widened for the number of points,
    the test's level divided by the number of pairs (Bonferroni), but never below what its
    replicates can reach. On simulated flat curves of 6 points the test alone finds a rise in 6 % of
    cases at 5 replicates and in 3 % at 8 or more; the interval alone, even widened for all pairs,
    in 22 % at 5.
    """
    n = len(curve.middle)
    pairs = max(1, n * (n - 1) // 2)
    found = []
    for at in range(1, n):
        above = int(np.argmin(curve.middle[:at]))
        if not curve.middle[at] > curve.middle[above]:
            continue
        factor = curve.ratio(at, above, 1 - (1 - LEVEL) / (n - 1))
        sure = factor.verdict() == "yes" and _ranks_higher(curve, at, above, n - 1, pairs)
        found.append(Rise(at, above, factor, sure))
    return found


def _ranks_higher(curve: Medians, at: int, above: int, steps: int, pairs: int) -> bool:
    table = curve.table
    if curve.groups is not None:  # one value for each independent draw of the data
        names = np.unique(curve.groups)
        table = np.stack([np.median(table[curve.groups == name], axis=0) for name in names])
    high, low = (table[~np.isnan(table[:, k]), k] for k in (at, above))
    smallest = 1 / special.comb(len(high) + len(low), len(high))
    level = max((1 - LEVEL) / pairs, min((1 - LEVEL) / steps, smallest * 1.001))
    return bool(stats.mannwhitneyu(high, low, alternative="greater").pvalue <= level)


def flattens_at(curve: Medians, x: np.ndarray, factor: float = 2.0) -> Estimate:
    """The smallest x whose median is within `factor` of the best; x ascending."""

    def first(values: np.ndarray) -> np.ndarray:
        return x[np.argmax(values <= factor * values.min(axis=-1, keepdims=True), axis=-1)]

    low, high = interval(first(curve.draws))
    n = int(curve.counts.min())
    return Estimate(float(first(curve.middle)), float(low), float(high), n, curve.independent)


@dataclass(frozen=True)
class LogLogFit:
    """log10 y = intercept + slope log10 x by least squares.

    `left_out`: points that no logarithm can show (not finite or not positive).
    `r2_draws` are kept so that two fits on the same rows can be compared draw by draw.
    """

    slope: Estimate
    r2: Estimate
    intercept: float
    left_out: int
    r2_draws: np.ndarray


def loglog(x: np.ndarray, y: np.ndarray, cells: Sequence[str]) -> LogLogFit | None:
    """Slope and R2 of y against x, both on logarithmic axes; None below 3 cells.

    The bootstrap is hierarchical: cells, then replicates within a cell. Each draw is a vector of
    weights on the rows, so that all draws together are a few matrix products.
    """
    x, y, names = np.asarray(x, float), np.asarray(y, float), np.asarray(cells)
    with np.errstate(invalid="ignore"):
        shown = np.isfinite(x) & np.isfinite(y) & (x > 0) & (y > 0)
    kinds, member = np.unique(names[shown], return_inverse=True)
    if len(kinds) < 3:
        return None
    logs = np.log10(x[shown]), np.log10(y[shown])
    slope, intercept, r2 = (float(v[0]) for v in _line(*logs, np.ones((1, shown.sum()))))
    if not np.isfinite(r2):
        return None
    slopes, _, r2s = _line(*logs, hierarchical_weights(member))
    n = int(shown.sum())
    return LogLogFit(
        slope=_with_interval(slope, slopes, n),
        r2=_with_interval(r2, r2s, n),
        intercept=intercept,
        left_out=int((~shown).sum()),
        r2_draws=r2s,
    )


def _with_interval(value: float, draws: np.ndarray, n: int) -> Estimate:
    low, high = interval(draws)
    return Estimate(value, float(low), float(high), n)


def hierarchical_weights(member: np.ndarray) -> np.ndarray:
    """Weights (DRAWS, rows): how often each row is drawn when cells, then their rows, are.

    **Arguments:**

    - `member`: (rows,) which cell, 0..K-1, a row belongs to.
    """
    n_cells = int(member.max()) + 1
    drawn = resamples(n_cells, key=20_000)
    times = np.zeros((DRAWS, n_cells))
    np.add.at(times, (np.arange(DRAWS)[:, None], drawn), 1.0)
    weights = np.zeros((DRAWS, len(member)))
    for k in range(n_cells):
        rows = np.flatnonzero(member == k)
        within = resamples(len(rows), key=30_000 + k)
        counts = np.zeros((DRAWS, len(rows)))
        np.add.at(counts, (np.arange(DRAWS)[:, None], within), 1.0)
        weights[:, rows] = counts * times[:, [k]]
    return weights


def _line(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Slope, intercept and R2 of weighted least squares, one for each row of weights."""
    x, y = x - (x0 := x.mean()), y - (y0 := y.mean())  # for the differences below
    total = weights.sum(axis=1)
    mx, my = weights @ x / total, weights @ y / total
    sxx = weights @ (x * x) / total - mx**2
    syy = weights @ (y * y) / total - my**2
    sxy = weights @ (x * y) / total - mx * my
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.where(sxx > 1e-12, sxy / sxx, np.nan)
        r2 = np.where((sxx > 1e-12) & (syy > 1e-12), sxy**2 / (sxx * syy), np.nan)
    return slope, my + y0 - slope * (mx + x0), r2


def share(count: int, total: int) -> Estimate:
    """A share with its Wilson interval (the normal one fails near 0 and 1)."""
    z = float(special.ndtri(1 - (1 - LEVEL) / 2))
    p = count / total
    centre = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z * np.sqrt(p * (1 - p) / total + z**2 / (4 * total**2)) / (1 + z**2 / total)
    low = 0.0 if count == 0 else max(0.0, centre - half)
    high = 1.0 if count == total else min(1.0, centre + half)
    return Estimate(p, low, high, total)
