"""Medians over replicates, and their bootstrap intervals.

Rules, everywhere:

- A replicate without a finite value counts as the worst possible value (+inf for an error). It is
  never dropped. NaN in an array means that there is no such replicate.
- Intervals are percentile intervals at 95 % over 2000 seeded bootstrap draws. Replicates are drawn
  with replacement. If all cells hold the same replicates (same seeds), they share each draw, so
  that what the replicates have in common cancels in ratios.
- If some replicates share a data seed, data seeds are drawn, each with all its initialisations,
  because replicates on the same data are not independent.
- With n replicates the interval of a median can reach at most 1 - 2^(1-n): 94 % at n = 5, 50 % at
  n = 2. Below `ENOUGH` replicates an interval is a range and supports no verdict.
- A ratio of two infinite medians is unknown: 0 in the lower limit, +inf in the upper.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass

import numpy as np

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
        """Whether there are enough replicates for the interval to have its level."""
        return (self.n if self.draws is None else self.draws) >= ENOUGH

    def verdict(self, threshold: float = 1.0, *, below: bool = False) -> str:
        """Whether the value is above the threshold: 'yes' if its whole interval is, 'no' if its
        whole interval is below, else 'undecided'. With `below` the answer to the opposite."""
        if self.enough and self.low > threshold:
            return "no" if below else "yes"
        if self.enough and self.high < threshold:
            return "yes" if below else "no"
        return "undecided"


@functools.lru_cache(maxsize=256)
def resamples(n: int, key: int = 0) -> np.ndarray:
    """Indices (DRAWS, n) of bootstrap samples of n things; each `key` has draws of its own."""
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
    - `table` (replicates, K): the values; NaN if a cell has no such replicate.
    - `replaced`: how many replicates had no finite value.
    - `groups` (replicates,): the data seed of each; None if no two replicates share one.
    """

    table: np.ndarray
    middle: np.ndarray
    draws: np.ndarray
    counts: np.ndarray
    replaced: int
    groups: np.ndarray | None = None

    @property
    def independent(self) -> int | None:
        """The number of data seeds if replicates share them, else None."""
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
        return ratio_of(
            self.log_ratio_draws(i, j),
            divide(self.middle[i], self.middle[j]),
            int(min(self.counts[i], self.counts[j])),
            level,
            self.independent,
        )


def medians(table: np.ndarray, worst: float = np.inf, groups: np.ndarray | None = None) -> Medians:
    """Medians over replicates.

    **Arguments:**

    - `table`: (replicates, K); NaN if a cell has no such replicate, infinite for a measurement that
      is not finite (see `design.replicate_table`).
    - `worst`: what an infinite entry counts as.
    - `groups`: the data seed of each replicate if some share one (see `design.replicate_groups`);
      not used if the data seeds have unequal numbers of replicates or one is missing.
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
    """Whether there are groups, all with the same number of replicates."""
    return groups is not None and len(set(Counter(groups.tolist()).values())) == 1


def grouped_resamples(groups: np.ndarray) -> np.ndarray:
    """Indices (DRAWS, n) of bootstrap samples of whole groups of equal size."""
    members = np.stack([np.flatnonzero(groups == group) for group in np.unique(groups)])
    return members[resamples(len(members))].reshape(DRAWS, -1)


def ratio_of(
    log_draws: np.ndarray, value: float, n: int, level: float, independent: int | None = None
) -> Estimate:
    """A ratio from draws of its logarithm; 0 to infinity below two replicates."""
    low, high = interval(log_draws, level)
    if n < 2:
        return Estimate(value, 0.0, np.inf, n, independent)
    return Estimate(value, float(np.exp(low)), float(np.exp(high)), n, independent)


def divide(a: float, b: float) -> float:
    """a / b; infinite or NaN if b is 0 or both are infinite."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.divide(a, b))
