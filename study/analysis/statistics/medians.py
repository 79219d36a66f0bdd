"""Medians over replicates, with 95 % percentile intervals over 2000 seeded bootstrap draws.

A replicate without a finite value counts as the worst possible one; NaN: there is no such
replicate. Cells that hold the same replicates share each draw, so that what these have in common
cancels in ratios. Replicates on the same data are not independent and are drawn together.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from study.analysis.statistics.limits import Turn

LEVEL = 0.95
DRAWS = 2000
SEED = 2
ENOUGH = 5  # replicates: the interval of a median over n reaches at most 1 - 2^(1-n), here 94 %


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; `n` replicates (or rows) it rests on, `draws` independent ones."""

    value: float
    low: float
    high: float
    n: int
    draws: int | None = None

    @classmethod
    def of(
        cls, value: float | np.ndarray, drawn: np.ndarray, n: int, draws: int | None = None
    ) -> Estimate:
        """A value with the interval of its bootstrap draws."""
        low, high = interval(drawn)
        return cls(float(value), float(low), float(high), n, draws)

    def map(self, rescaled: Callable[[float], float]) -> Estimate:
        """The estimate in another unit, by a function that rises."""
        ends = (rescaled(x) for x in (self.value, self.low, self.high))
        return Estimate(*ends, n=self.n, draws=self.draws)

    @property
    def enough(self) -> bool:
        """Whether there are enough replicates for the interval to have its level."""
        return (self.n if self.draws is None else self.draws) >= ENOUGH

    def verdict(self, threshold: float = 1.0, *, below: bool = False) -> str:
        """Whether the value is above the threshold: 'yes' if its whole interval is, 'no' if its
        whole interval is below, else 'undecided'. With `below` the answer to the opposite."""
        return Turn.at(threshold, below=below).verdict(self)


@functools.lru_cache(maxsize=256)
def resamples(n: int, key: int = 0) -> np.ndarray:
    """Indices (DRAWS, n) of bootstrap samples of n things; each `key` has draws of its own."""
    return np.random.default_rng([SEED, n, key]).integers(0, n, (DRAWS, n))


def interval(draws: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Percentile limits over the first axis; unknown (NaN) draws widen both ends.

    No interpolation between draws: some may be infinite.
    """
    tail = (1 - level) / 2
    low, high = (
        np.quantile(np.where(np.isnan(draws), unknown, draws), q, axis=0, method="inverted_cdf")
        for unknown, q in ((-np.inf, tail), (np.inf, 1 - tail))
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
        value, n = float(self.middle[k]), int(self.counts[k])
        if n < 2:
            return Estimate(value, 0.0, np.inf, n, self.independent)
        return Estimate.of(value, self.draws[:, k], n, self.independent)

    def estimated(self, value: float | np.ndarray, drawn: np.ndarray) -> Estimate:
        """A value that all cells make, with the interval of its draws."""
        return Estimate.of(value, drawn, int(self.counts.min()), self.independent)

    def at(self, chosen: np.ndarray) -> Medians:
        """The chosen cells."""
        table, draws = self.table[:, chosen], self.draws[:, chosen]
        middle, counts = self.middle[chosen], self.counts[chosen]
        return replace(self, table=table, middle=middle, draws=draws, counts=counts)

    def log_ratio_draws(self, i: int | Sequence[int], j: int | Sequence[int]) -> np.ndarray:
        """Draws of log(median i / median j); NaN where both are infinite or both zero."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.log(self.draws[:, i]) - np.log(self.draws[:, j])

    def ratio(self, i: int, j: int, level: float = LEVEL) -> Estimate:
        """Median of cell i over the median of cell j; unknown, from 0 to infinity, if both are
        infinite."""
        with np.errstate(invalid="ignore", divide="ignore"):
            value = float(self.middle[i] / self.middle[j])
        n = int(min(self.counts[i], self.counts[j]))
        return ratio_of(value, self.log_ratio_draws(i, j), n, self.independent, level)


def medians(table: np.ndarray, worst: float = np.inf, groups: np.ndarray | None = None) -> Medians:
    """Medians over replicates.

    - `table`: (replicates, K); NaN if a cell has no such replicate, infinite for a measurement that
      is not finite (see `design.replicate_table`).
    - `worst`: what an infinite entry counts as.
    - `groups`: the data seed of each replicate if some share one (see `design.replicate_groups`).
    """
    missing = np.isnan(table)
    replaced = int(np.isinf(table).sum())
    table = np.where(np.isinf(table), worst, table)
    n_cells = table.shape[1]
    middle, draws = np.empty(n_cells), np.empty((DRAWS, n_cells))
    groups = drawn_together(table, groups)
    if missing.any():
        for k in range(n_cells):
            present = table[~missing[:, k], k]
            middle[k] = np.median(present)
            draws[:, k] = np.median(present[resamples(len(present), k + 1)], axis=1)
    else:
        middle = np.median(table, axis=0)
        together = resamples(table.shape[0]) if groups is None else grouped_resamples(groups)
        for first in range(0, n_cells, 256):  # bounds the memory of a large grid
            chosen = table[:, first : first + 256][together]
            draws[:, first : first + 256] = np.median(chosen, axis=1)
    return Medians(table, middle, draws, (~missing).sum(axis=0), replaced, groups)


def drawn_together(table: np.ndarray, groups: np.ndarray | None) -> np.ndarray | None:
    """The groups of the rows of a table; None if they are of unequal size or a value is missing."""
    if groups is None or len(groups) != len(table) or np.isnan(table).any():
        return None
    return groups if len(set(Counter(groups.tolist()).values())) == 1 else None


def grouped_resamples(groups: np.ndarray) -> np.ndarray:
    """Indices (DRAWS, n) of bootstrap samples of whole groups of equal size."""
    members = np.stack([np.flatnonzero(groups == group) for group in np.unique(groups)])
    return members[resamples(len(members))].reshape(DRAWS, -1)


def ratio_of(
    value: float, log_draws: np.ndarray, n: int, independent: int | None, level: float
) -> Estimate:
    """A ratio from draws of its logarithm; 0 to infinity below two replicates."""
    ends = (float(np.exp(end)) for end in interval(log_draws, level)) if n > 1 else (0.0, np.inf)
    return Estimate(value, *ends, n=n, draws=independent)
