"""Figure of a search with two objectives: all trials, and the front that no other beats.

Knows: fronts. Does not know: how one is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from study.analysis.answer import Question
from study.analysis.questions import pareto
from study.analysis.questions.pareto import FIGURE, Front, front_of
from study.analysis.questions.searches import Search, spread
from study.analysis.style import MARKERS, REFERENCE, Plot, bars, canvas, decade_axis, finish, look
from study.analysis.wording import capital, plural, span

MOST = 7  # searches in one figure


def plots(rows: pd.DataFrame, searches: Sequence[Search]) -> Iterator[Plot]:
    """One figure of the fronts of all searches with two objectives."""
    fronts = [front for search in searches if (front := front_of(rows, search)) is not None]
    if fronts:
        yield _plot(rows, fronts)


def points(rows: pd.DataFrame, front: Front) -> pd.DataFrame:
    """One row a trial, with both objectives, their ranges and how often it stays on the front."""
    search = front.search
    number = dict(zip(search.complete["cell"], search.complete["number"], strict=True))
    data = {
        "search": search.name,
        "point": search.label,
        "number": [number[cell] for cell in front.cells],
        "cell": front.cells,
    }
    for k, objective in enumerate(search.objectives):
        ranges = spread(rows, front.cells, objective)
        data[objective.column] = front.medians[:, k]
        data[f"{objective.column}_low"] = ranges["low"].to_numpy(float)
        data[f"{objective.column}_high"] = ranges["high"].to_numpy(float)
        data["replicates"] = ranges["replicates"].to_numpy()
    return pd.DataFrame(data).assign(on_front=front.on, stays_on_front=front.stays)


def _plot(rows: pd.DataFrame, fronts: Sequence[Front]) -> Plot:
    first, second = fronts[0].search.objectives
    tables = [points(rows, front) for front in fronts]
    figure, (axis,) = canvas(height=4.1)
    for k, (front, part) in enumerate(list(zip(fronts, tables, strict=True))[:MOST]):
        colour = look(k, min(len(fronts), MOST))["color"]
        on = part["on_front"].to_numpy()
        x, y = part[first.column].to_numpy(float), part[second.column].to_numpy(float)
        axis.plot(
            x[~on],
            y[~on],
            linestyle="none",
            marker="o",
            markersize=3.5,
            color=REFERENCE if len(fronts) == 1 else colour,
            alpha=0.45,
            label="dominated" if len(fronts) == 1 else None,
        )
        members = part.loc[on].sort_values(first.column)
        fx, fy = members[first.column].to_numpy(float), members[second.column].to_numpy(float)
        lengths = [
            bars(
                members[f"{objective.column}_low"].to_numpy(float),
                value,
                members[f"{objective.column}_high"].to_numpy(float),
            )
            for objective, value in ((first, fx), (second, fy))
        ]
        axis.step(fx, fy, where="post", color=colour, linewidth=1.1)
        axis.errorbar(
            fx,
            fy,
            xerr=lengths[0],
            yerr=lengths[1],
            linestyle="none",
            elinewidth=0.9,
            capsize=2.0,
            markersize=6,
            label=front.search.label or "the front",
            marker=MARKERS[k],
            color=colour,
        )
    decade_axis(axis, "x")
    decade_axis(axis, "y")
    axis.set_xlabel(first.axis)
    axis.set_ylabel(second.axis)
    finish(figure, axis)
    data = pd.concat(tables, ignore_index=True)
    on = data["on_front"].to_numpy(bool)
    n_on = int(on.sum())
    steady = int((data["stays_on_front"].to_numpy(float)[on] >= 0.5).sum())
    lost = sum(len(front.search.complete) - len(front.cells) for front in fronts)
    more = f" {plural(lost, 'trial')} diverged, or repeated another, and not drawn." if lost else ""
    return Plot(
        id=FIGURE,
        title=f"{capital(first.words)} against {second.words}: the front",
        caption=(
            f"Each point one trial, median over {span(data['replicates'], 'replicate')}; "
            f"{n_on} of {len(data)} are on the front, dominated by no other (bars: range over "
            "replicates, too few for a 95 % interval). "
            f"{steady} of them stay on it in half of the "
            f"draws over replicates or more.{more}"
        ),
        alt=f"Scatter plot on logarithmic axes of {second.words} against {first.words}: "
        f"{plural(len(data), 'trial')}, {n_on} of them on the front.",
        data=data,
        figure=figure,
    )


QUESTION = Question(
    lambda t: pareto.answers(t.every, t.searches),
    lambda t: plots(t.every, t.searches),
    place=110,
    about_searches=True,
)
