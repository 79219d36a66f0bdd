"""Figure of the scaling fits: medians along N or P with the law of each side.

Knows: ladders, their sides and laws. Does not know: how a law is fitted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from study.analysis.answer import Answer, Question, Tables, curve
from study.analysis.design import Design, Ladder
from study.analysis.questions import scaling_answers
from study.analysis.questions.ladder_figures import ladder_data, replicates, undrawn
from study.analysis.questions.scaling_answers import Side, axis_of, sides, title
from study.analysis.style import Plot, bars, bars_are, canvas, decade_axis, finish, look
from study.analysis.wording import capital, estimate, plural
from study.tables.measures import TEST


def plots(rows: pd.DataFrame, design: Design, axis: str) -> Iterator[Plot]:
    """The figure along one axis, if a network's ladder has points enough on a side."""
    found = []
    for ladder in design.ladders(axis):
        fitted = [] if ladder.control else sides(curve(rows, ladder.cells, TEST), ladder)
        if fitted:
            found.append((ladder, fitted))
    if not found:
        return
    figure, (panel,) = canvas(height=3.8)
    data = []
    for k, (ladder, fitted) in enumerate(found):
        style = look(k, len(found))
        part = ladder_data(rows, ladder, TEST).assign(law=np.nan, supported=False)
        for side in fitted:
            part.loc[side.chosen, "law"] = side.law(ladder.steps[side.chosen])
            part.loc[side.chosen, "supported"] = side.law.supported
            _law(panel, side, style["color"])
        _points(panel, ladder, part, _label(ladder, fitted), style)
        data.append(part)
    table = pd.concat(data, ignore_index=True)
    decade_axis(panel, "x")
    decade_axis(panel)
    what = "training points" if axis == "N" else "parameters"
    panel.set_xlabel(f"{axis}, {what}")
    panel.set_ylabel(TEST.axis)
    finish(figure, panel, columns=1)
    laws = [side.law for _, fitted in found for side in fitted]
    n_supported = sum(law.supported for law in laws)
    yield Plot(
        id=f"scaling_{axis_of(found[0][0])}",
        title=title(axis),
        caption=(
            f"{capital(TEST.words)}, median over {replicates(table)}; "
            f"{bars_are(table['replicates'])}. Curves: power law with a floor, fitted apart where "
            "N·D ≥ P and where N·D < P; solid where the data support it "
            f"({n_supported} of {plural(len(laws), 'fit')}), dotted where they do not. Exponents "
            f"with 95 % bootstrap intervals.{undrawn(table)}"
        ),
        alt=f"Test error against {axis} on logarithmic axes with fitted power laws: "
        + "; ".join(_label(ladder, fitted).replace("\n", ", ") for ladder, fitted in found),
        data=table,
        figure=figure,
    )


def _points(axis: Axes, ladder: Ladder, part: pd.DataFrame, label: str, style: dict) -> None:
    value = part["median"].to_numpy()
    shown = np.isfinite(value)
    length = bars(part["low"].to_numpy()[shown], value[shown], part["high"].to_numpy()[shown])
    axis.errorbar(
        ladder.steps[shown],
        value[shown],
        yerr=length,
        label=label,
        capsize=2.0,
        elinewidth=0.9,
        linestyle="none",
        **style,
    )


def _law(axis: Axes, side: Side, colour) -> None:
    x = np.geomspace(side.law.x[0], side.law.x[-1], 100)
    axis.plot(x, side.law(x), color=colour, linestyle="-" if side.law.supported else ":")


def _label(ladder: Ladder, fitted: list[Side]) -> str:
    parts = []
    for side in fitted:
        kind = "N·D ≥ P" if side.words.startswith("with as many") else "N·D < P"
        law = f"exponent {estimate(side.law.alpha)}" if side.law.supported else "no law"
        parts.append(f"{kind}: {law}")
    return f"{ladder.label}\n{'; '.join(parts)}"


def _answers(tables: Tables) -> Iterator[Answer]:
    for axis in ("N", "P"):
        yield from scaling_answers.along(tables.rows, tables.design, axis)


def _plots(tables: Tables) -> Iterator[Plot]:
    for axis in ("N", "P"):
        yield from plots(tables.rows, tables.design, axis)


QUESTION = Question(_answers, _plots, place=40)
