"""The levers side by side: by what factor each lowers the test and the rollout error.

Knows: levers. Does not know: verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from study.analysis.answer import Question
from study.analysis.design import Design
from study.analysis.questions import levers
from study.analysis.questions.levers import BOUNDS, FIGURE, pulled
from study.analysis.style import REFERENCE, Plot, bars, bars_are, canvas, decade_axis, finish, look
from study.analysis.wording import capital, number
from study.tables.measures import ROLLOUT, TEST


def plots(rows: pd.DataFrame, design: Design) -> Iterator[Plot]:
    """One dot plot where levers can be pulled."""
    levers = pulled(rows, design)
    if not levers:
        return
    labels = [f"{capital(lever.name)}:\n{lever.setting}\nfor {lever.before}" for lever in levers]
    data = pd.DataFrame(
        [
            {
                "lever": lever.name,
                "setting": lever.setting,
                "before": lever.before,
                "settings_tried": lever.n_settings,
                "measure": measure.column,
                "factor": factor.value,
                "low": factor.low,
                "high": factor.high,
                "replicates": factor.n,
                "cell": lever.cells[1],
            }
            for lever in levers
            for measure, factor in ((TEST, lever.test), (ROLLOUT, lever.rollout))
        ]
    )
    figure, (axis,) = canvas(height=0.7 + 0.72 * len(levers))
    place = np.arange(len(levers))[::-1]
    for k, measure in enumerate((TEST, ROLLOUT)):
        part = data.loc[(data["measure"] == measure.column)]
        shown = np.isfinite(part["factor"].to_numpy(float)) & (part["factor"].to_numpy(float) > 0)
        value = part["factor"].to_numpy(float)[shown]
        low, high = (part[name].to_numpy(float)[shown] for name in ("low", "high"))
        axis.errorbar(
            value,
            (place + 0.14 - 0.28 * k)[shown],
            xerr=bars(np.maximum(low, value / 10), value, high),
            linestyle="none",
            capsize=2.0,
            elinewidth=1.0,
            label=measure.words,
            **look(k, 2),
        )
    axis.axvline(1.0, color="black", linewidth=0.9, zorder=0)
    axis.axvline(BOUNDS, color=REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    axis.set_yticks(list(place), labels)
    axis.set_ylim(-0.6, len(levers) - 0.4)
    axis.set_xlabel("factor by which the error falls")
    decade_axis(axis, "x")
    finish(figure, axis)
    yield Plot(
        id=FIGURE,
        title="Which lever lowers the error most",
        caption="Each lever pulled by itself from one cell, all else equal; its best setting where "
        f"several were tried. Black: no effect; dashed: a factor of {BOUNDS:g}, from which on a "
        f"lever counts as what bounds the (squared) test error; {bars_are(data['replicates'])}.",
        alt="Dot plot of the factors by which "
        + ", ".join(f"{lever.name} ({number(lever.test.value)})" for lever in levers)
        + " lower the median test error, and the rollout error.",
        data=data,
        figure=figure,
    )


QUESTION = Question(
    lambda t: levers.answers(t.rows, t.design),
    lambda t: plots(t.rows, t.design),
    place=12,
    replaces=("compare.model", "compare.optimizer"),
)
