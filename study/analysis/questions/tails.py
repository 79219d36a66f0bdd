"""Does the tail of the test error peak along a ladder: its mean, its 99th percentile, and the share
of states whose learned mass matrix is indefinite or nearly singular?

A few states with such a matrix own the mean and leave the median as it is, so a peak of the median
(`double_descent`) is only half of the question. The test is the same (`statistics/peaks.py`).
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, Question, Tables, curve
from study.analysis.design import Design, Ladder
from study.analysis.questions import ladder_curves
from study.analysis.questions.double_descent import height, remedy
from study.analysis.statistics.peaks import Peak
from study.analysis.style import (
    Plot,
    canvas,
    decade_axis,
    errorbars,
    finish,
    look,
    ratio_axis,
    ring,
)
from study.analysis.words import capital, number, plural
from study.tables.measures import SINGULAR, TEST_MEAN, TEST_P99, Measure

TAILS = {"mean": TEST_MEAN, "p99": TEST_P99, "indefinite": SINGULAR}
LEAST_SHARE = 1 / 4000  # of the test states: what is added to a share, whose logarithm is tested


def _ladders(design: Design, axis: str) -> list[tuple[int, Ladder]]:
    """Those of networks that go through N*D = P, each with its number among all."""
    every = ladder_curves.networks(design, axis)
    return [(k, ladder) for k, ladder in every if ladder_curves.crosses(ladder)]


def _peak(rows: pd.DataFrame, ladder: Ladder, measure: Measure) -> Peak | None:
    errors = curve(rows, ladder.cells, measure)
    if np.isnan(errors.table).any():
        return None
    return ladder_curves.peak(errors, ladder, LEAST_SHARE if measure.share else 0.0)


def answers(tables: Tables) -> Iterator[Answer]:
    for axis in ("N", "P"):
        for k, ladder in _ladders(tables.design, axis):
            say = partial(ladder_curves.answer, tables.rows, ladder, k)
            for name, measure in TAILS.items():
                if (top := _peak(tables.rows, ladder, measure)) is None:
                    continue
                question = f"Does the {measure.words} peak along {axis}?"
                place = number(float(ladder.equations_per_param[top.at]))
                sentence = f"{height(ladder, top, measure.words)} That is at N·D/P = {place}."
                id, figure = f"peak_of_{name}_along_{axis.lower()}", f"tails_by_{axis.lower()}"
                p = min(1.0, 2 * (top.p_none if top.verdict == "no" else top.p_peak))
                about = (id, question, top.prominence, sentence, figure)
                yield say(*about, verdict=top.verdict, p=p, remedy=remedy(top))


def plots(tables: Tables) -> Iterator[Plot]:
    for axis in ("N", "P"):
        if ladders := [ladder for _, ladder in _ladders(tables.design, axis)]:
            yield _plot(tables.rows, ladders, axis)


def _plot(rows: pd.DataFrame, ladders: list[Ladder], letter: str) -> Plot:
    figure, panels = canvas(len(TAILS), height=2.4 * len(TAILS), sharex=True)
    drawn = []
    for panel, measure in zip(panels, TAILS.values(), strict=True):
        for k, ladder in enumerate(ladders):
            table = ladder_curves.table(rows, ladder, measure)
            top, style = _peak(rows, ladder, measure), look(k, len(ladders))
            table["peak"] = False
            if top is not None and top.verdict == "yes":
                table.loc[top.at, "peak"] = True
                ring(panel, ladder.equations_per_param[top.at], table["median"].iloc[top.at])
            errorbars(panel, "equations_per_param", table, ladder.label, **style)
            drawn.append(table)
        panel.set_ylabel(measure.label.replace(" (", "\n(").replace(" of ", "\nof "))
        if measure.share:
            panel.set_ylim(bottom=0)
        else:
            decade_axis(panel, most=5)
        panel.axvline(1.0, color="black", linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    data = pd.concat(drawn, ignore_index=True)
    ratio_axis(panels[-1], data["equations_per_param"].to_numpy(float))
    panels[-1].set_xlabel("N·D/P, equations per parameter")
    finish(figure, panels[0])
    rings = plural(int(data["peak"].to_numpy(bool).sum()), "peak")
    caption = (
        "What the median over states hides: the mean and the 99th percentile of the test error, "
        "and the share of test states whose learned mass matrix is indefinite or nearly singular. "
        f"{ladder_curves.medians_are(data)}. Dashed: N·D = P. Rings: {rings} by the test."
        f"{ladder_curves.undrawn(data)}"
    )
    words = ", ".join(measure.words for measure in TAILS.values())
    alt = f"{capital(words)} against N·D/P, {plural(len(ladders), 'line')} each."
    title = f"The tail of the test error along {letter}"
    return Plot(f"tails_by_{letter.lower()}", title, caption, alt, data, figure)


QUESTION = Question(answers, plots, place=31)
