"""Does beta matter beyond its effect on the initial scale?

Knows: cells that differ in beta alone, under two initialisations. Does not know: networks.

sigma(beta x) / beta with the first layer's weights over beta and the output's times beta is the
same function for every beta, so beta moves the initial scale and nothing else could be meant by it
at the start. `init=beta_matched` takes that out: the function at the start is the same for every
beta. What then remains of the spread over beta is its effect on training.

- Statistic: worst over best median of the test error among the values of beta, geometric mean over
  the groups that hold all else equal (the activations, say).
- Chance makes a worst and a best of anything. What it makes is measured on the replicates'
  deviations from their cell's mean logarithm, exchanged among the values of beta within each
  replicate. At 5 replicates, scatter of 30 % and 5 groups, equal cells pass it in 5 % of cases.
- Decision: beta matters if the spread is above the 99 % quantile of that and above `LEAST`, and its
  interval (of the worst and best that the medians show) above 1; it does not if that interval ends
  below `MATTERS`; else undecided.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, curve, diverged_remark, make
from study.analysis.design import Comparison, Design
from study.analysis.statistics.ratios import DRAWS, SEED, Estimate, Medians, interval
from study.analysis.wording import estimate, number, plural
from study.tables.measures import TEST

MATCHED, MOVING = "beta_matched", "fan_in"
LEAST = 1.5  # a smaller spread is not called an effect
MATTERS = 2.0  # and where none of this size can be, there is none
FIGURE = "beta_matched"
_TEST_LEVEL = 0.99


@dataclass(frozen=True)
class Spread:
    """The spread over beta under one initialisation.

    - `factor`: worst over best, geometric mean over groups; `chance`: the quantile of it that
      chance alone reaches.
    - `cells`, `betas`, `groups`: group-major cells, the values of beta, the groups' labels.
    """

    init: str
    factor: Estimate
    chance: float
    cells: tuple[str, ...]
    betas: tuple[str, ...]
    groups: tuple[str, ...]
    medians: Medians

    @property
    def verdict(self) -> str:
        """'yes', 'no' or 'undecided': does beta have an effect here?"""
        if not self.factor.enough:
            return "undecided"
        if self.factor.value > max(self.chance, LEAST) and self.factor.low > 1:
            return "yes"
        return "no" if self.factor.high < MATTERS else "undecided"


def as_it_comes(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows without those whose initial scale is held, where both are there: what activation and
    beta do as they come is not to be averaged with what remains of it."""
    held = rows["model.init"].eq(MATCHED).to_numpy(bool)
    return rows.loc[~held] if held.any() and not held.all() else rows


def spreads(rows: pd.DataFrame) -> dict[str, Spread]:
    """Initialisation -> spread, where both were swept over beta; else empty."""
    found = {}
    for init in (MOVING, MATCHED):
        chosen = rows.loc[rows["model.init"] == init]
        comparison = Design(chosen).compare(("model.beta",)) if len(chosen) else None
        if comparison is not None:
            found[init] = _spread(chosen, init, comparison)
    return found if len(found) == 2 else {}


def _spread(rows: pd.DataFrame, init: str, comparison: Comparison) -> Spread:
    cells = comparison.cells
    medians = curve(rows, cells, TEST)
    n_betas = len(comparison.levels)
    value = float(_statistic(medians.middle, n_betas))
    low, high = interval(_chosen_ratio(medians, n_betas))
    n = int(medians.counts.min())
    return Spread(
        init=init,
        factor=Estimate(value, float(low), float(high), n, medians.independent),
        chance=_by_chance(medians.table, n_betas),
        cells=cells,
        betas=comparison.levels,
        groups=tuple(comparison.groups),
        medians=medians,
    )


def _statistic(middle: np.ndarray, n_betas: int) -> np.ndarray:
    """Geometric mean (...) over groups of worst over best, from medians (..., groups x betas)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(middle.reshape(*middle.shape[:-1], -1, n_betas))
        return np.exp((logs.max(axis=-1) - logs.min(axis=-1)).mean(axis=-1))


def _chosen_ratio(medians: Medians, n_betas: int) -> np.ndarray:
    """Draws of the statistic for the worst and best that the medians show."""
    middle = medians.middle.reshape(-1, n_betas)
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = np.log(medians.draws.reshape(DRAWS, -1, n_betas))
        groups = np.arange(len(middle))
        worst, best = (pick(middle, axis=1) for pick in (np.argmax, np.argmin))
        return np.exp((draws[:, groups, worst] - draws[:, groups, best]).mean(axis=1))


def _by_chance(table: np.ndarray, n_betas: int) -> float:
    """What the statistic reaches by the replicates' scatter alone, the medians all being equal."""
    if np.isnan(table).any():  # cells with unequal replicates have nothing to exchange
        return np.inf
    finite = table[np.isfinite(table)]
    if not len(finite):
        return np.inf
    logs = np.log(np.where(np.isfinite(table), table, 10 * finite.max()))
    n = len(logs)
    rest = (logs - logs.mean(axis=0)) * np.sqrt(n / max(1, n - 1))  # degrees of freedom
    rest = rest.reshape(n, -1, n_betas)
    random = np.random.default_rng([SEED, *rest.shape])
    order = random.random((DRAWS // 2, *rest.shape)).argsort(axis=-1)
    middle = np.median(np.take_along_axis(rest[None], order, axis=-1), axis=1)
    by_chance = _statistic(np.exp(middle.reshape(len(middle), -1)), n_betas)
    return float(np.quantile(by_chance, _TEST_LEVEL))


def _span(betas: tuple[str, ...]) -> str:
    return f"{betas[0].split()[-1]} to {betas[-1].split()[-1]}"


def answers(rows: pd.DataFrame) -> Iterator[Answer]:
    """One answer, where beta was swept with and without its effect on the initial scale."""
    found = spreads(rows)
    if not found:
        return
    moving, matched = found[MOVING], found[MATCHED]
    groups = len(matched.groups)
    over = f", geometric mean over {plural(groups, 'setting')} of the rest" if groups > 1 else ""
    sentence = (
        f"With the initial scale held, the worst of {len(matched.betas)} values of beta "
        f"({_span(matched.betas)}) has {estimate(matched.factor)} times the "
        f"{TEST.words} of the best{over}, where chance alone makes up to {number(matched.chance)}; "
        f"with the initial scale moving along it is {estimate(moving.factor)} (chance: "
        f"{number(moving.chance)}).{diverged_remark(matched.medians)}"
    )
    yield make(
        "beta_beyond_scale",
        "Does beta matter beyond its effect on the initial scale?",
        matched.verdict,
        sentence,
        matched.factor,
        rows,
        (*matched.cells, *moving.cells),
        FIGURE,
    )
