"""How much of the replicates' scatter is the data's and how much the initialisation's.

Two-way random effects without repetition, for a data seeds crossed with b initialisation seeds:
log error_ij = mean + data_i + init_j + rest_ij; the rest holds their interaction too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from study.analysis.statistics.medians import SEED, Estimate
from study.tables.measures import Measure

DRAWS = 20_000  # of three numbers each


@dataclass(frozen=True)
class Components:
    """Standard deviations of log error.

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


def crossed(rows: pd.DataFrame, measure: Measure) -> np.ndarray | None:
    """Log errors (data seeds, initialisation seeds) of one cell; data seeds without all
    initialisations are left out. None if seeds are not crossed, so that the two cannot be told
    apart, or a replicate diverged and so has no log error."""
    if rows.duplicated(["data_seed", "init_seed"]).any():
        return None
    table = rows.assign(row=np.arange(len(rows))).pivot_table("row", "data_seed", "init_seed")
    place = table.dropna().to_numpy(int)
    values = rows[measure.column].to_numpy(float)[place]
    if min(values.shape) < 2 or not (np.isfinite(values) & (values > 0)).all():
        return None
    return np.log(values)


def _squares(logs: np.ndarray) -> list[float]:
    """Sums of squares of a complete table (a, b): by data, by initialisation and the rest."""
    a, b = logs.shape
    mean = logs.mean()
    data, init = logs.mean(axis=1) - mean, logs.mean(axis=0) - mean
    rest = logs - mean - data[:, None] - init
    return [b * (data**2).sum(), a * (init**2).sum(), (rest**2).sum()]


def pooled(tables: Sequence[np.ndarray]) -> Components:
    """Components common to several cells with the same seeds, from their tables (a, b).

    Moments of the mean squares, truncated at 0 (Searle, Casella and McCulloch 1992, section 4.4).
    The mean squares of cells are averaged, but the degrees of freedom are those of one cell,
    because the cells share their seeds. Intervals are generalised ones (Weerahandi 1993): a sum of
    squares over a chi-square draw stands for its expected mean square.
    """
    a, b = tables[0].shape
    freedom = np.array([a - 1, b - 1, (a - 1) * (b - 1)])
    sums = np.mean([_squares(logs) for logs in tables], axis=0)
    random = np.random.default_rng([SEED, a, b])
    drawn = sums / random.chisquare(freedom, (DRAWS, 3))
    value, draws = _variances(sums / freedom, a, b), _variances(drawn, a, b)
    n = a * b

    data, init, rest = (
        Estimate.of(np.sqrt(value[k]), np.sqrt(draws[:, k]), n, a) for k in range(3)
    )
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 is unknown, widens both ends
        ratio = Estimate.of(value[0] / value[1], draws[:, 0] / draws[:, 1], n, a)
    return Components(data, init, rest, replace(ratio, low=max(0.0, ratio.low)), a, b)


def _variances(mean_squares: np.ndarray, a: int, b: int) -> np.ndarray:
    """(..., 3): of data, initialisation and rest, from E[MS_data] = b var_data + var_rest,
    E[MS_init] = a var_init + var_rest and E[MS_rest] = var_rest."""
    data, init, rest = np.moveaxis(mean_squares, -1, 0)
    return np.stack([np.maximum(data - rest, 0) / b, np.maximum(init - rest, 0) / a, rest], axis=-1)
