"""Does beta matter beyond its effect on the initial scale?

sigma(beta x) / beta with the first layer's weights over beta and the output's times beta is the
same function for every beta. `init=beta_matched` takes this effect out: what remains is training's.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.answer import (
    Answer,
    Question,
    Tables,
    curve,
    diverged_remark,
    make,
    medians_table,
)
from study.analysis.design import Comparison, Design
from study.analysis.statistics.limits import BETA, NO_BETA
from study.analysis.statistics.medians import DRAWS, SEED, Estimate, Medians
from study.analysis.style import Plot, bars_are, canvas, decade_axis, finish, lines, ratio_axis
from study.analysis.words import estimate, number
from study.tables.measures import TEST

MATCHED, MOVING = "beta_matched", "fan_in"
TITLES = {MOVING: "initial scale moves with beta", MATCHED: "initial scale held"}
FIGURE = "beta_matched"
_TEST_LEVEL = 0.99


@dataclass(frozen=True)
class Spread:
    """The spread over beta under one initialisation.

    - `factor`: worst over best median test error, geometric mean over the groups in which all else
      is equal; its interval is of the worst and the best that the medians show.
    - `chance`: the 99 % quantile of what scatter alone makes of it. At 5 replicates, scatter of
      30 % and 5 groups, equal cells pass it in 5 % of cases.
    - `comparison`: of the values of beta; `medians`: of its cells, group-major.
    """

    factor: Estimate
    chance: float
    comparison: Comparison
    medians: Medians

    @property
    def betas(self) -> list[float]:
        return [float(level.split()[-1]) for level in self.comparison.levels]

    @property
    def verdict(self) -> str:
        """'yes', 'no' or 'undecided': does beta have an effect here?"""
        if not self.factor.enough:
            return "undecided"
        if self.factor.value > max(self.chance, BETA) and self.factor.low > 1:
            return "yes"
        return "no" if self.factor.high < NO_BETA else "undecided"


def as_it_comes(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows without those whose initial scale is held, if both kinds are there.

    An average over both would mix what beta does with what remains of it.
    """
    held = rows["model.init"].eq(MATCHED).to_numpy(bool)
    return rows.loc[~held] if held.any() and not held.all() else rows


def spreads(rows: pd.DataFrame) -> dict[str, Spread]:
    """Initialisation -> spread; empty unless both were swept over beta."""
    by_init = {}
    for init in (MOVING, MATCHED):
        chosen = rows.loc[rows["model.init"] == init]
        comparison = Design(chosen).compare(("model.beta",)) if len(chosen) else None
        if comparison is None:
            return {}
        medians = curve(chosen, comparison.cells, TEST)
        n_betas = len(comparison.levels)
        value, drawn = _statistic(medians.middle, n_betas), _chosen_ratio(medians, n_betas)
        chance = _by_chance(medians.table, n_betas)
        by_init[init] = Spread(medians.estimated(value, drawn), chance, comparison, medians)
    return by_init


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
    """What the statistic reaches by scatter alone: the replicates' deviations from their cell's
    mean logarithm, exchanged among the values of beta within each replicate."""
    finite = table[np.isfinite(table)]
    if np.isnan(table).any() or not len(finite):  # unequal replicates cannot be exchanged
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


def answers(tables: Tables) -> Iterator[Answer]:
    if not (by_init := spreads(tables.rows)):
        return
    moving, held = by_init[MOVING], by_init[MATCHED]
    levels, n_groups = held.comparison.levels, len(held.comparison.groups)
    over = f", geometric mean over {n_groups} settings of the rest" if n_groups > 1 else ""
    lowest, highest = (levels[i].split()[-1] for i in (0, -1))
    sentence = (
        f"With the initial scale held, the worst of {len(levels)} values of beta ({lowest} to "
        f"{highest}) has {estimate(held.factor)} times the {TEST.words} of the best{over}, where "
        f"chance alone makes up to {number(held.chance)}; with the initial scale moving along it "
        f"is {estimate(moving.factor)} (chance: {number(moving.chance)})."
        f"{diverged_remark(held.medians)}"
    )
    question = "Does beta matter beyond its effect on the initial scale?"
    id, cells = "beta_beyond_scale", (*held.comparison.cells, *moving.comparison.cells)
    yield make(id, question, held.verdict, sentence, held.factor, tables.rows, cells, FIGURE)


def plots(tables: Tables) -> Iterator[Plot]:
    if not (by_init := spreads(tables.rows)):
        return
    figure, axes = canvas(1, 2, height=3.6, sharey=True)
    labels = list(dict.fromkeys(name for s in by_init.values() for name in s.comparison.groups))
    drawn = []
    for axis, (init, spread) in zip(axes, by_init.items(), strict=True):
        groups = spread.comparison.groups
        settings = np.repeat(list(groups), len(spread.betas))
        about = {"init": init, "setting": settings, "beta": np.tile(spread.betas, len(groups))}
        table = medians_table(spread.medians, spread.comparison.cells, **about)
        lines(axis, "beta", {label: table.loc[table["setting"] == label] for label in labels})
        ratio_axis(axis, table["beta"].to_numpy())
        axis.set_title(TITLES[init])
        axis.set_xlabel("beta")
        drawn.append(table)
    axes[0].set_ylabel(TEST.label)
    decade_axis(axes[0])
    finish(figure, axes[0])
    data = pd.concat(drawn, ignore_index=True)
    factors = ", ".join(f"{TITLES[k]}: {number(s.factor.value)}" for k, s in by_init.items())
    title = "Beta with and without its effect on the initial scale"
    caption = (
        "Median test error against beta. Left: as it comes, beta moves the scale of the "
        "function at the start; right: first and last layer are scaled so that the function at the "
        f"start is the same for every beta; {bars_are(data['replicates'])}."
    )
    alt = f"Curves of the median test error against beta in two panels; worst over best, {factors}."
    yield Plot(FIGURE, title, caption, alt, data, figure)


QUESTION = Question(answers, plots, place=14, replaces=("compare.model", "compare.optimizer"))
