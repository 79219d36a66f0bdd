"""Answers on factors without an order of their own: sampling order, trajectories, activation.

Knows: comparisons at equal other factors. Does not know: ladders, rollouts.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, curve, diverged_remark, make
from study.analysis.design import Comparison, Design
from study.analysis.naming import RECIPES
from study.analysis.statistics.ratios import LEVEL, Medians, mean_ratio
from study.analysis.wording import capital, estimate, number, plural
from study.tables.measures import TEST, VALID_TIME, Measure
from study.tables.schema import RESULTS

TEXTS: dict[tuple[str, ...], str] = {
    ("data.order",): "Does the order of the points (shuffled or along the curve) matter?",
    ("data.n_trajectories",): "Do many initial conditions instead of few matter?",
    ("data.noise",): "Does label noise matter?",
    ("model.activation",): "Does the activation matter?",
    ("model.beta",): "Does beta matter?",
}
COMBINED = ("model.activation", "model.beta")


def compared(rows: pd.DataFrame, design: Design) -> Iterator[Answer]:
    """One answer a comparison; activation with beta first where both were swept."""
    comparisons = design.comparisons()
    if set(COMBINED) <= set(design.varying):
        both = design.compare(COMBINED)
        if both is not None:
            yield _matters(rows, both)
            comparisons = [c for c in comparisons if c.factors != COMBINED]
    for comparison in comparisons:
        yield _matters(rows, comparison)


@dataclass(frozen=True)
class _Levels:
    """The cells of a comparison as columns: level-major, one column a group within a level."""

    curve: Medians
    n_groups: int

    def pairs(self, i: int, j: int) -> list[tuple[Medians, int, int]]:
        return [
            (self.curve, i * self.n_groups + g, j * self.n_groups + g) for g in range(self.n_groups)
        ]

    def centre(self, i: int) -> float:
        """Geometric mean over the groups of the level's medians."""
        with np.errstate(divide="ignore"):
            logs = np.log(self.curve.middle[i * self.n_groups : (i + 1) * self.n_groups])
        return float(np.exp(logs.mean()))


def _levels(rows: pd.DataFrame, comparison: Comparison, measure: Measure) -> _Levels:
    groups = list(comparison.groups.values())
    cells = tuple(group[i] for i in range(len(comparison.levels)) for group in groups)
    return _Levels(curve(rows, cells, measure), len(groups))


def _matters(rows: pd.DataFrame, comparison: Comparison) -> Answer:
    test, times = (_levels(rows, comparison, measure) for measure in (TEST, VALID_TIME))
    n_levels = len(comparison.levels)
    order = sorted(range(n_levels), key=test.centre)
    best, worst = order[0], order[-1]
    # the two were chosen among all pairs of levels by what they show, so the interval is widened
    level = 1 - (1 - LEVEL) / (n_levels * (n_levels - 1) / 2)
    factor = mean_ratio(test.pairs(worst, best), level)
    names = comparison.levels
    equal = [
        names[i] for i in order[1:] if mean_ratio(test.pairs(i, best), level).verdict() != "yes"
    ]
    groups = len(comparison.groups)
    over = f", over {plural(groups, 'setting')} of the rest" if groups > 1 else ""
    sentence = (
        f"The {TEST.words} with {_the(names[worst])} is {estimate(factor)} times that with "
        f"{_the(names[best])} "
        f"({number(test.centre(worst))} against {number(test.centre(best))}), and the valid time "
        f"{number(times.centre(worst))} s against {number(times.centre(best))} s{over}, "
        "all else equal."
    )
    return make(
        f"compare.{comparison.name.replace(' ', '_')}",
        TEXTS.get(comparison.factors, _question(comparison)),
        factor.verdict(),
        sentence + _ties(names, best, equal) + diverged_remark(test.curve),
        factor,
        rows,
        comparison.cells,
        figure_id(comparison),
    )


def _the(level: str) -> str:
    """A level within a sentence; a recipe takes the article."""
    return f"the {level}" if level in RECIPES else level


def _ties(names: tuple[str, ...], best: int, equal: list[str]) -> str:
    if len(names) < 3:
        return ""
    if not equal:
        return f" {capital(names[best])} is best of {len(names)} beyond the intervals."
    shown = "; ".join(equal[:4]) + (f" and {len(equal) - 4} more" if len(equal) > 4 else "")
    return f" Of {len(names)}, not told apart from the best: {shown}."


def _question(comparison: Comparison) -> str:
    if comparison.name == "recipe":
        return "Do the question's own settings matter, beside the good defaults?"
    return f"Does it matter which {comparison.name}?"


def figure_id(comparison: Comparison) -> str:
    """The figure that shows a comparison, which names files.

    A factor that this project does not know may be called anything, `../x` say: its figure goes by
    a number made of its name.
    """
    if set(comparison.factors) == set(COMBINED):
        return "activation_beta"
    name = comparison.name.replace(" ", "_")
    if not set(comparison.factors) <= {*RESULTS.columns, "setting"}:
        name = f"other_{zlib.crc32(repr(comparison.factors).encode()):08x}"
    return f"compare_{name}"
