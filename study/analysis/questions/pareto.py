"""Do the two objectives of a search ask for different settings? The trials that no other beats."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, Question, Tables, curve, make
from study.analysis.marks import mark
from study.analysis.searches import HISTORY, SearchResults, exactly, spread
from study.analysis.statistics.limits import CHANGED
from study.analysis.statistics.medians import Estimate, Medians
from study.analysis.style import MARKERS, REFERENCE, Plot, bars, canvas, decade_axis, finish, look
from study.analysis.words import capital, estimate, number, plural, span

FIGURE = "search_front"
MOST = 7  # searches in one figure


@dataclass(frozen=True, eq=False)
class Front:
    """The complete trials of a search with two objectives, each cell once.

    - `cells` (n,): those with finite medians; `medians` (n, 2): their medians over replicates.
    - `on` (n,): whether no other is at least as good in both and better in one.
    - `stays` (n,): in which share of the draws over replicates that is so.
    """

    search: SearchResults
    curves: tuple[Medians, ...]
    cells: tuple[str, ...]
    medians: np.ndarray
    on: np.ndarray
    stays: np.ndarray

    @property
    def members(self) -> np.ndarray:
        """The indices of the trials on the front."""
        return np.flatnonzero(self.on)

    @property
    def steady(self) -> int:
        """How many trials stay on the front in half of the draws or more."""
        return int((self.stays[self.on] >= 0.5).sum())

    def trial(self, k: int) -> dict:
        """The first complete trial of cell k."""
        complete = self.search.complete
        return complete.loc[complete["cell"] == self.cells[k]].iloc[0].to_dict()


def front_of(rows: pd.DataFrame, search: SearchResults) -> Front | None:
    """None for a search without two objectives, or without a finite trial."""
    if len(search.objectives) != 2:
        return None
    complete = list(dict.fromkeys(search.complete["cell"]))
    own = rows.loc[(rows["role"] == "trial") & rows["cell"].isin(complete)]
    medians = [spread(own, complete, objective)["median"] for objective in search.objectives]
    finite = np.all([np.isfinite(errors.to_numpy(float)) for errors in medians], axis=0)
    cells = tuple(cell for cell, kept in zip(complete, finite, strict=True) if kept)
    if not cells:
        return None
    curves = tuple(curve(own, cells, objective) for objective in search.objectives)
    values = np.stack([errors.middle for errors in curves], axis=1)
    drawn = np.stack([errors.draws for errors in curves], axis=-1)[:200]
    stays = np.mean([undominated(draw) for draw in drawn], axis=0)
    return Front(search, curves, cells, values, undominated(values), stays)


def undominated(values: np.ndarray) -> np.ndarray:
    """(n,) which rows of (n, 2) no other row is at most equal to in both and below in one."""
    rows, place = np.unique(values, axis=0, return_inverse=True)  # by the first, then the second
    below = rows[1:, 1] < np.minimum.accumulate(rows[:-1, 1])
    return np.append(True, below)[place.ravel()]


def _answers(tables: Tables) -> Iterator[Answer]:
    rows = tables.every
    for k, search in enumerate(tables.searches):
        if (front := front_of(rows, search)) is None:
            continue
        trials = rows.loc[rows["role"] == "trial"]
        cells = tuple(front.cells[i] for i in front.members)
        yield _trade_off(trials, front, cells, k)
        edges = front_edges(front)
        inside = " ".join(edges) or "No setting lies at an edge in half of the front or more."
        question = "Does the front lie inside the ranges that were searched?"
        verdict, n = "no" if edges else "yes", exactly(float(len(edges)))
        id, inside = f"search_inside.{k}", capital(search.where + inside)
        yield make(id, question, verdict, inside, n, trials, cells, HISTORY)


def _trade_off(trials: pd.DataFrame, front: Front, cells: tuple[str, ...], k: int) -> Answer:
    search = front.search
    first, second = search.objectives
    a, b = front.members[np.argmin(front.medians[front.members], axis=0)]  # the ends
    cost = front.curves[1].ratio(a, b)
    verdict = CHANGED.verdict(cost)
    sentence = (
        f"{search.where}{search.outcomes()}, {plural(len(cells), 'trial')} "
        f"{'are' if len(cells) > 1 else 'is'} on the front, of which {front.steady} "
        "in half of the draws over replicates or more. "
    )

    def named(k: int) -> str:
        trial = front.trial(k)
        values = " and ".join(number(value) for value in front.medians[k])
        return f"number {trial['number']} ({values}; {search.settings(trial)})"

    if a == b:
        verdict, cost = "no", Estimate(1.0, 1.0, 1.0, cost.n, cost.draws)
        sentence += (
            f"One is best in both: {named(a)}. It was chosen by these replicates, so new "
            "seeds will likely do worse."
        )
    else:
        sentence += (
            f"Least {first.words}: {named(a)}. Least {second.words}: {named(b)}. "
            f"The first has {estimate(cost)} times the {second.words} of the second. "
            "Both were chosen by these replicates: with new seeds they will likely be closer."
        )
    question = f"Do {first.words} and {second.words} ask for different settings?"
    id, sentence = f"search_front.{k}", capital(sentence)
    return make(id, question, verdict, sentence, cost, trials, cells, FIGURE)


def front_edges(front: Front) -> list[str]:
    """A warning for each key that lies at an edge of its range in half of the front or more."""
    members = [front.trial(k) for k in front.members]
    at: dict[str, list[tuple[str, str]]] = {}
    for trial in members:
        for key, edge in front.search.edges(trial).items():
            at.setdefault(key, []).append(edge)
    return [
        f"On {len(edges)} of {plural(len(members), 'trial')} of the front {key} lies at the edge "
        f"of its range {edges[0][1]} ({', '.join(dict.fromkeys(value for value, _ in edges))}): "
        "widen the range."
        for key, edges in at.items()
        if 2 * len(edges) >= len(members)
    ]


def _points(rows: pd.DataFrame, front: Front) -> pd.DataFrame:
    """One row a trial, with both objectives, their ranges and how often it stays on the front."""
    search = front.search
    number_of = dict(zip(search.complete["cell"], search.complete["number"], strict=True))
    data = {
        "search": search.name,
        "point": search.label,
        "number": [number_of[cell] for cell in front.cells],
        "cell": front.cells,
    }
    for k, objective in enumerate(search.objectives):
        ranges = spread(rows, front.cells, objective)
        data[objective.column] = front.medians[:, k]
        for end in ("low", "high"):
            data[f"{objective.column}_{end}"] = ranges[end].to_numpy(float)
        data["replicates"] = ranges["replicates"].to_numpy()
    return pd.DataFrame(data).assign(on_front=front.on, stays_on_front=front.stays)


def _plots(tables: Tables) -> Iterator[Plot]:
    rows = tables.every
    fronts = [front for search in tables.searches if (front := front_of(rows, search))]
    if not fronts:
        return
    first, second = fronts[0].search.objectives
    parts = [_points(rows, front) for front in fronts]
    figure, (axis,) = canvas(height=4.1)
    for k, (front, part) in enumerate(list(zip(fronts, parts, strict=True))[:MOST]):
        colour = look(k, min(len(fronts), MOST))["color"]
        dominated = part.loc[~front.on, [first.column, second.column]].to_numpy(float).T
        grey, label = (REFERENCE, "dominated") if len(fronts) == 1 else (colour, None)
        axis.plot(*dominated, ls="none", marker="o", ms=3.5, color=grey, alpha=0.45, label=label)
        members = part.loc[front.on].sort_values(first.column)
        x, y = (members[objective.column].to_numpy(float) for objective in (first, second))
        ends = ([f"{m.column}_low", f"{m.column}_high"] for m in (first, second))
        limits = [members[names].to_numpy(float).T for names in ends]
        xerr, yerr = (bars(a, v, b) for v, (a, b) in zip((x, y), limits, strict=True))
        axis.step(x, y, where="post", color=colour, linewidth=1.1)
        mark(axis, part[first.column], part[second.column], part.filter(["cell", "replicates"]))
        look_of: dict[str, Any] = {"color": colour, "marker": MARKERS[k], "markersize": 6}
        look_of |= {"capsize": 2.0, "elinewidth": 0.9, "label": front.search.label or "the front"}
        axis.errorbar(x, y, xerr=xerr, yerr=yerr, linestyle="none", **look_of)
    decade_axis(axis, "x")
    decade_axis(axis, "y")
    axis.set(xlabel=first.axis, ylabel=second.axis)
    finish(figure, axis)
    data = pd.concat(parts, ignore_index=True)
    n_on, steady = int(data["on_front"].to_numpy().sum()), sum(front.steady for front in fronts)
    lost = sum(len(front.search.complete) - len(front.cells) for front in fronts)
    more = f" {plural(lost, 'trial')} diverged, or repeated another, and not drawn." if lost else ""
    title = f"{capital(first.words)} against {second.words}: the front"
    caption = (
        f"Each point one trial, median over {span(data['replicates'], 'replicate')}; "
        f"{n_on} of {len(data)} are on the front, dominated by no other (bars: range over "
        f"replicates, too few for a 95 % interval). {steady} of them stay on it in half of the "
        f"draws over replicates or more.{more}"
    )
    alt = (
        f"Scatter plot on logarithmic axes of {second.words} against {first.words}: "
        f"{plural(len(data), 'trial')}, {n_on} of them on the front."
    )
    yield Plot(FIGURE, title, caption, alt, data, figure)


QUESTION = Question(_answers, _plots, place=110, about_searches=True)
