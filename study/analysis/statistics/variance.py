"""How much of the replicates' scatter is the data's and how much the initialisation's.

Two-way random effects without repetition, for a data seeds crossed with b initialisation seeds:

    log error_ij = mean + data_i + init_j + rest_ij

`rest` holds the interaction of the two and everything else. The estimators are moments of the mean
squares, truncated at 0 (Searle, Casella and McCulloch 1992, section 4.4):

    E[MS_data] = b var_data + var_rest,  E[MS_init] = a var_init + var_rest,  E[MS_rest] = var_rest

Intervals are generalised ones: each sum of squares over a chi-square draw of its degrees of freedom
stands for its expected mean square (Weerahandi 1993), which is exact for `rest` and needs normal
log errors. If seeds are paired, the two cannot be told apart and all estimates are NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.statistics.medians import SEED, Estimate, interval
from study.tables.measures import Measure

DRAWS = 20_000  # of three numbers each
NOWHERE = Estimate(np.nan, np.nan, np.nan, 0)


@dataclass(frozen=True)
class Squares:
    """Sums of squares of a crossed table of log errors, and its size a by b."""

    data: float
    init: float
    rest: float
    n_data: int
    n_init: int


@dataclass(frozen=True)
class Components:
    """Standard deviations of log error; NaN if seeds are paired.

    - `data`, `init`, `rest`: of each part.
    - `ratio`: variance by the data over that by the initialisation; inf if the latter is 0.
    - `n_data`, `n_init`: seeds of each kind.
    """

    data: Estimate
    init: Estimate
    rest: Estimate
    ratio: Estimate
    n_data: int
    n_init: int

    @property
    def told_apart(self) -> bool:
        return self.n_data > 1 and self.n_init > 1


def components(rows: pd.DataFrame, measure: Measure) -> Components:
    """The components of one cell.

    **Arguments:**

    - `rows`: the cell's replicates; data seeds without all initialisations are left out.
    """
    logs = crossed(rows, measure)
    return NOT_TOLD_APART if logs is None else pooled([squares(logs)])


def crossed(rows: pd.DataFrame, measure: Measure) -> np.ndarray | None:
    """Log errors (data seeds, initialisation seeds); None if seeds are not crossed or a replicate
    diverged and so has no log error."""
    if len(set(rows["data_seed"])) < 2 or len(set(rows["init_seed"])) < 2:
        return None
    if rows.duplicated(["data_seed", "init_seed"]).any():
        return None
    table = rows.pivot_table(
        index="data_seed", columns="init_seed", values=measure.column, dropna=False
    )
    have = rows.assign(there=1.0).pivot_table(
        index="data_seed", columns="init_seed", values="there", fill_value=0.0
    )
    values = table.reindex(index=have.index, columns=have.columns).to_numpy(float)
    values = values[(have.to_numpy() > 0).all(axis=1)]
    if min(values.shape) < 2 or not (np.isfinite(values) & (values > 0)).all():
        return None
    return np.log(values)


def squares(logs: np.ndarray) -> Squares:
    """Sums of squares of a complete table (a, b)."""
    a, b = logs.shape
    mean = logs.mean()
    data, init = logs.mean(axis=1) - mean, logs.mean(axis=0) - mean
    rest = logs - mean - data[:, None] - init
    return Squares(
        float(b * (data**2).sum()), float(a * (init**2).sum()), float((rest**2).sum()), a, b
    )


def pooled(tables: Sequence[Squares]) -> Components:
    """Components common to several cells with the same seeds.

    Their mean squares are averaged, but the degrees of freedom are those of one cell, because the
    cells share their seeds and so are no independent draws of them.
    """
    a, b = tables[0].n_data, tables[0].n_init
    freedom = np.array([a - 1, b - 1, (a - 1) * (b - 1)])
    sums = np.mean([[t.data, t.init, t.rest] for t in tables], axis=0)
    random = np.random.default_rng([SEED, a, b])
    drawn = sums / random.chisquare(freedom, (DRAWS, 3))
    value, draws = _variances(sums / freedom, a, b), _variances(drawn, a, b)
    n = a * b

    def deviation(k: int) -> Estimate:
        low, high = interval(np.sqrt(draws[:, k]))
        return Estimate(float(np.sqrt(value[k])), float(low), float(high), n, a)

    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = interval(draws[:, 0] / draws[:, 1])  # 0 / 0 is unknown and widens both ends
        ratio = Estimate(float(value[0] / value[1]), max(0.0, float(low)), float(high), n, a)
    return Components(deviation(0), deviation(1), deviation(2), ratio, a, b)


def _variances(mean_squares: np.ndarray, a: int, b: int) -> np.ndarray:
    """(..., 3): of data, initialisation and rest, truncated at 0."""
    data, init, rest = np.moveaxis(mean_squares, -1, 0)
    return np.stack([np.maximum(data - rest, 0) / b, np.maximum(init - rest, 0) / a, rest], axis=-1)


NOT_TOLD_APART = Components(NOWHERE, NOWHERE, NOWHERE, NOWHERE, 0, 0)
