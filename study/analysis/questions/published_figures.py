"""Final energy errors beside the published ones.

Knows: the cells that can be compared. Does not know: verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from study.analysis.answer import Question
from study.analysis.design import Design
from study.analysis.names import name_of
from study.analysis.naming import count
from study.analysis.questions import published_answers
from study.analysis.questions.published_answers import (
    FIGURE,
    FINAL,
    PAPER,
    TARGET,
    comparable,
    percent,
)
from study.analysis.style import REFERENCE, Plot, bars, bars_are, canvas, decade_axis, finish, look
from study.analysis.wording import number


def plots(rows: pd.DataFrame) -> Iterator[Plot]:
    """One figure where there is something to compare."""
    chosen = comparable(rows)
    if chosen.empty:
        return
    table = Design(chosen).cells
    cells = sorted(
        (str(c) for c in table.index),
        key=lambda c: (list(PAPER).index(table.loc[c, "model"]), table.loc[c, "n_params"]),
    )
    found = [percent(chosen, cell) for cell in cells]
    data = pd.DataFrame(
        {
            "cell": cells,
            "model": [table.loc[c, "model"] for c in cells],
            "n_params": [table.loc[c, "n_params"] for c in cells],
            "percent": [e.value for e in found],
            "low": [e.low for e in found],
            "high": [e.high for e in found],
            "published": [PAPER[table.loc[c, "model"]] for c in cells],
            "target": [TARGET[table.loc[c, "model"]] for c in cells],
            "replicates": [e.n for e in found],
        }
    )
    place = np.arange(len(cells))[::-1]
    figure, (axis,) = canvas(height=1.0 + 0.5 * len(cells))
    axis.plot(
        data["published"],
        place,
        "|",
        color="black",
        markersize=22,
        markeredgewidth=1.6,
        label="published",
    )
    axis.plot(
        data["target"],
        place,
        "|",
        color=REFERENCE,
        markersize=22,
        markeredgewidth=1.6,
        label="target",
        zorder=1,
    )
    shown = np.isfinite(data["percent"].to_numpy(float))
    value, low, high = (data[c].to_numpy(float)[shown] for c in ("percent", "low", "high"))
    axis.errorbar(
        value,
        place[shown],
        xerr=bars(low, value, high),
        linestyle="none",
        capsize=2.0,
        label="this study",
        **look(0, 1),
    )
    every = chosen.set_index("cell")[FINAL.column]
    for y, cell in zip(place, cells, strict=True):
        each = 100 * np.atleast_1d(np.asarray(every.loc[cell], float))
        axis.plot(each, np.full(len(each), y), ".", color=look(0, 1)["color"], alpha=0.45)
    axis.set_yticks(
        list(place),
        [
            f"{name_of(m)}\nP = {count(p)}"
            for m, p in zip(data["model"], data["n_params"], strict=True)
        ],
    )
    axis.set_ylim(-0.6, len(cells) - 0.4)
    axis.set_xlabel(FINAL.label)
    decade_axis(axis, "x")
    finish(figure, axis)
    yield Plot(
        id=FIGURE,
        title="Final energy error beside the published one",
        caption="Mean over trajectories of |energy at t = 100 s less that at the start| over the "
        f"energy scale; small dots: replicates, {bars_are(data['replicates'])} of the median. "
        "Published: Cranmer et al. (2020), arXiv 2003.04630, with 724,801 parameters.",
        alt="Dot plot of the mean final energy error: "
        + ", ".join(
            f"{name_of(m)} {number(v)} %"
            for m, v in zip(data["model"], data["percent"], strict=True)
        )
        + "; published 0.43 % and 7.4 %.",
        data=data,
        figure=figure,
    )


QUESTION = Question(
    lambda t: published_answers.answers(t.rows),
    lambda t: plots(t.rows),
    place=10,
    replaces=("compare.model", "compare.optimizer"),
)
