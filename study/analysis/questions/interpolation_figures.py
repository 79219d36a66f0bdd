"""Figure of interpolation: train error over its tolerance along N and along P.

Knows: ladders and their measured thresholds. Does not know: test errors.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from study.analysis.answer import Answer, Question, Tables
from study.analysis.design import Design
from study.analysis.questions import interpolation_answers
from study.analysis.questions.interpolation_answers import crosses
from study.analysis.questions.ladder_figures import (
    equations_axis,
    ladder_data,
    line,
    replicates,
    threshold_marked,
    undrawn,
)
from study.analysis.statistics.thresholds import CLEAN, NOISY, tolerance
from study.analysis.style import REFERENCE, Plot, bars_are, canvas, decade_axis, finish, look
from study.analysis.wording import plural
from study.tables.measures import TRAIN

SHOWN = 1e-6  # below this part of the tolerance, errors are drawn at it: they are all rounding


def plots(rows: pd.DataFrame, design: Design, axis: str) -> Iterator[Plot]:
    """The figure along one axis, if a ladder could show it."""
    ladders = [ladder for ladder in design.ladders(axis) if crosses(ladder)]
    if not ladders:
        return
    figure, (panel,) = canvas()
    data = []
    for k, ladder in enumerate(ladders):
        style = look(k, len(ladders))
        part = ladder_data(rows, ladder, TRAIN)
        part["tolerance"] = tolerance(ladder.noise)
        for name in ("median", "low", "high"):
            part[name] = (part[name] / tolerance(ladder.noise)).clip(lower=SHOWN)
        part["threshold"] = threshold_marked(panel, rows, ladder, style["color"])
        data.append(part)
        line(panel, part, ladder.label, **style)
    table = pd.concat(data, ignore_index=True)
    equations_axis(panel, table["equations_per_param"].to_numpy(), ladders)
    decade_axis(panel)
    panel.axhline(1.0, color=REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    panel.set_ylabel("mean train error / tolerance")
    finish(figure, panel)
    yield Plot(
        id=f"threshold_by_{axis.lower()}",
        title=f"Where interpolation ends along {axis}",
        caption=(
            "Mean train error over what counts as fitted: "
            f"{100 * NOISY:g} % of the variance of the label noise, or {CLEAN:g} without noise. "
            f"Below the dashed line the points are fitted; triangles at the foot: the threshold, "
            f"where it lies on the ladder. Values below {SHOWN:g} drawn there. Median over "
            f"{replicates(table)}; {bars_are(table['replicates'])}.{undrawn(table)}"
        ),
        alt=f"Train error over tolerance against N·D/P, {plural(len(ladders), 'line')}.",
        data=table,
        figure=figure,
    )


def _answers(tables: Tables) -> Iterator[Answer]:
    for axis in ("N", "P"):
        yield from interpolation_answers.along(tables.rows, tables.design, axis)


def _plots(tables: Tables) -> Iterator[Plot]:
    for axis in ("N", "P"):
        yield from plots(tables.rows, tables.design, axis)


QUESTION = Question(_answers, _plots, place=30)
