"""Which way a choice helps: shuffled against sequential points, many against few trajectories.

Knows: comparisons of two stated levels. Does not know: that a study's own page asks only whether
they differ.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from study.analysis.answer import Answer, curve, diverged_remark, make
from study.analysis.design import Comparison, Design
from study.analysis.questions.comparisons import figure_id
from study.analysis.statistics.ratios import mean_ratio
from study.analysis.words import estimate, plural
from study.tables.measures import ROLLOUT, TEST


def answers(rows: pd.DataFrame) -> Iterator[Answer]:
    """Does the second of two levels help beside the first?"""
    design = Design(rows)
    if order := design.compare(("data.order",)):
        yield _helps(rows, order, "sequential", "shuffled", "order", "shuffling")
    if many := design.compare(("data.n_trajectories",)):
        few, most = many.levels[0], many.levels[-1]
        yield _helps(rows, many, few, most, "initial_conditions", most)


def _helps(
    rows: pd.DataFrame, comparison: Comparison, without: str, given: str, id: str, words: str
) -> Answer:
    before, after = comparison.levels.index(without), comparison.levels.index(given)
    groups = list(comparison.groups.values())
    cells = tuple(group[i] for i in (before, after) for group in groups)
    test, rollout = (curve(rows, cells, m) for m in (TEST, ROLLOUT))
    n = len(groups)
    gain, also = (mean_ratio([(c, k, n + k) for k in range(n)]) for c in (test, rollout))
    over = f", over {plural(n, 'setting')} of the rest" if n > 1 else ""
    sentence = (
        f"With {words} the {TEST.words} is lower than with {without} by a factor of "
        f"{estimate(gain)} and the rollout error by {estimate(also)}{over}, all else equal (below "
        f"1: higher).{diverged_remark(test)}"
    )
    return make(
        f"helps.{id}",
        f"Do {words} help?" if id == "initial_conditions" else f"Does {words} help?",
        gain.verdict(),
        sentence,
        gain,
        rows,
        cells,
        figure_id(comparison),
    )
