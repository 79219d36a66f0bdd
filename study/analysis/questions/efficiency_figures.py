"""Error against N, one curve a model.

Knows: races. Does not know: verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from study.analysis.answer import Question, curve
from study.analysis.design import Design
from study.analysis.names import name_of
from study.analysis.naming import count
from study.analysis.questions import efficiency_answers
from study.analysis.questions.efficiency_answers import FIGURE, Race, races
from study.analysis.style import Plot, bars, bars_are, canvas, decade_axis, finish, look
from study.analysis.wording import number
from study.tables.measures import MEASURES, ROLLOUT, TEST


def plots(rows: pd.DataFrame, design: Design) -> Iterator[Plot]:
    """One figure a race; the first has the name that answers refer to."""
    for k, race in enumerate(races(design)):
        yield _plot(rows, race, FIGURE if k == 0 else f"{FIGURE}_{k}")


def _plot(rows: pd.DataFrame, race: Race, id: str) -> Plot:
    figure, axes = canvas(2, height=5.6, sharex=True)
    data = _data(rows, race)
    for axis, measure in zip(axes, (TEST, ROLLOUT), strict=True):
        for k, model in enumerate(race.cells):
            part = data.loc[(data["measure"] == measure.column) & (data["model"] == model)]
            part = part.loc[np.isfinite(part["median"].to_numpy(float))]
            value = part["median"].to_numpy(float)
            axis.errorbar(
                part["n_train"],
                value,
                yerr=bars(part["low"].to_numpy(float), value, part["high"].to_numpy(float)),
                capsize=2.0,
                elinewidth=1.0,
                label=f"{name_of(model)}, P = {count(race.n_params[model])}",
                **look(k, len(race.cells)),
            )
        axis.set_ylabel(measure.axis.replace(" (", "\n("))
        decade_axis(axis)
    axes[-1].set_xlabel("N, training points")
    decade_axis(axes[-1], "x")
    finish(figure, axes[0])
    where = f" ({race.others})" if race.others else ""
    ends = data.loc[(data["measure"] == TEST.column) & (data["n_train"] == race.points[-1])]
    return Plot(
        id=id,
        title="Error against N by kind of model",
        caption=f"Median test error and rollout error against the number of points{where}; "
        f"{bars_are(data['replicates'])}. Finzi et al. (2020), arXiv 2010.13581, give for a "
        "structured network on chain pendulums a geometric-mean relative error of 0.395 at N = 10, "
        "0.017 at 100 and 1.9·10⁻⁴ at 10,000; that is another system with other data, not to be "
        "compared directly.",
        alt="Curves on logarithmic axes of test and rollout error against N; median test error at "
        f"N = {count(race.points[-1])}: "
        + ", ".join(
            f"{name_of(m)} {number(v)}" for m, v in zip(ends["model"], ends["median"], strict=True)
        )
        + ".",
        data=data,
        figure=figure,
    )


def _data(rows: pd.DataFrame, race: Race) -> pd.DataFrame:
    parts = []
    for column in (TEST.column, ROLLOUT.column):
        medians = curve(rows, race.everything, MEASURES[column])
        for model in race.cells:
            columns = race.columns(model)
            found = [medians.estimate(k) for k in range(columns.start, columns.stop)]
            parts.append(
                pd.DataFrame(
                    {
                        "measure": column,
                        "model": model,
                        "cell": race.cells[model],
                        "n_train": race.points,
                        "median": [e.value for e in found],
                        "low": [e.low for e in found],
                        "high": [e.high for e in found],
                        "replicates": [e.n for e in found],
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


QUESTION = Question(
    lambda t: efficiency_answers.answers(t.rows, t.design),
    lambda t: plots(t.rows, t.design),
    place=13,
    replaces=("compare.model", "compare.optimizer"),
)
