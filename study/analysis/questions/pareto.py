"""The front of a search with two objectives: which trials no other beats in both.

Knows: searches, rows of their trials. Does not know: figures, samplers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, curve, make
from study.analysis.questions.search_answers import HISTORY, counts, without_interval
from study.analysis.questions.searches import Search, plain
from study.analysis.statistics.ratios import Estimate, Medians
from study.analysis.wording import capital, estimate, number, plural

FIGURE = "search_front"


@dataclass(frozen=True, eq=False)
class Front:
    """The complete trials of a search in two objectives, each cell once.

    - `cells` (n,): those with finite medians; `medians` (n, 2): their medians over replicates.
    - `on` (n,): whether no other is at least as good in both and better in one.
    - `stays` (n,): in how many of the draws over replicates that is so, 0 to 1.
    """

    search: Search
    curves: tuple[Medians, Medians]
    cells: tuple[str, ...]
    medians: np.ndarray
    on: np.ndarray
    stays: np.ndarray

    def ends(self) -> tuple[int, int]:
        """The trials of the front that are best in the first and in the second objective."""
        members = np.flatnonzero(self.on)
        return (
            int(members[np.argmin(self.medians[members, 0])]),
            int(members[np.argmin(self.medians[members, 1])]),
        )


def front_of(rows: pd.DataFrame, search: Search) -> Front | None:
    """None for a search without two objectives, or without a finite trial."""
    if len(search.objectives) != 2:
        return None
    own = rows.loc[(rows["role"] == "trial") & rows["cell"].isin(search.complete["cell"])]
    cells = tuple(dict.fromkeys(search.complete["cell"]))
    cells = tuple(cell for cell in cells if cell in set(own["cell"]))
    if not cells:
        return None
    curves = [curve(own, cells, objective) for objective in search.objectives]
    finite = np.all([np.isfinite(c.middle) for c in curves], axis=0)
    if not finite.all():
        cells = tuple(cell for cell, kept in zip(cells, finite, strict=True) if kept)
        curves = [curve(own, cells, objective) for objective in search.objectives] if cells else []
    if not cells:
        return None
    first, second = curves
    drawn = np.stack([first.draws, second.draws], axis=-1)[:200]
    stays = np.mean([undominated(values) for values in drawn], axis=0)
    values = np.stack([first.middle, second.middle], axis=1)
    return Front(search, (first, second), cells, values, undominated(values), stays)


def undominated(values: np.ndarray) -> np.ndarray:
    """(n,) which rows of (n, 2) no other row is at most equal to in both and below in one."""
    order = np.lexsort((values[:, 1], values[:, 0]))
    kept = np.zeros(len(values), bool)
    least, at = np.inf, np.inf  # of the second so far, and the first where that was
    for k in order:
        first, second = values[k]
        # an equal of one that is kept is kept too
        kept[k] = second < least or (second == least and first == at)
        if second < least:
            least, at = second, first
    return kept


def answers(rows: pd.DataFrame, searches: Sequence[Search]) -> Iterator[Answer]:
    """Do the two objectives ask for different settings, and does the front lie inside?"""
    for k, search in enumerate(searches):
        front = front_of(rows, search)
        if front is not None:
            yield _trade_off(rows, front, k)
            yield from _inside(rows, front, k)


def _trade_off(rows: pd.DataFrame, front: Front, k: int) -> Answer:
    search = front.search
    a, b = front.ends()
    first, second = search.objectives
    cost = front.curves[1].ratio(a, b)
    on = np.flatnonzero(front.on)
    steady = int((front.stays[on] >= 0.5).sum())
    sentence = (
        f"{search.where}{counts(search)}, {plural(len(on), 'trial')} "
        f"{'are' if len(on) > 1 else 'is'} on the front, of which {steady} "
        "in half of the draws over replicates or more. "
    )
    if a == b:
        sentence += (
            f"One is best in both: {_named(front, a)}. It was chosen by these replicates, so new "
            "seeds will likely do worse."
        )
    else:
        sentence += (
            f"Least {first.words}: {_named(front, a)}. Least {second.words}: {_named(front, b)}. "
            f"The first has {estimate(cost)} times the {second.words} of the second. "
            "Both were chosen by these replicates: with new seeds they will likely be closer."
        )
    deciding = cost if a != b else Estimate(1.0, 1.0, 1.0, cost.n, cost.draws)
    return make(
        f"search_front.{k}",
        f"Do {first.words} and {second.words} ask for different settings?",
        deciding.verdict() if a != b else "no",
        capital(sentence),
        deciding,
        rows.loc[rows["role"] == "trial"],
        tuple(front.cells[i] for i in on),
        FIGURE,
    )


def _named(front: Front, k: int) -> str:
    trial = front.search.trial_of(front.cells[k])
    values = " and ".join(number(v) for v in front.medians[k])
    return f"number {trial['number']} ({values}; {front.search.settings(trial)})"


def front_edges(front: Front) -> list[str]:
    """A warning for each key that lies at an edge of its range in half of the front or more."""
    members = [front.search.trial_of(front.cells[k]) for k in np.flatnonzero(front.on)]
    found: dict[str, list[tuple[str, str]]] = {}
    for trial in members:
        for key, (value, ends) in front.search.edges(trial).items():
            found.setdefault(key, []).append((plain(value), ends))
    return [
        f"On {len(at)} of {plural(len(members), 'trial')} of the front {key} lies at the edge of "
        f"its range {at[0][1]} ({', '.join(dict.fromkeys(v for v, _ in at))}): widen the range."
        for key, at in found.items()
        if 2 * len(at) >= len(members)
    ]


def _inside(rows: pd.DataFrame, front: Front, k: int) -> Iterator[Answer]:
    edges = front_edges(front)
    cells = tuple(front.cells[i] for i in np.flatnonzero(front.on))
    yield without_interval(
        f"search_inside.{k}",
        "Does the front lie inside the ranges that were searched?",
        front.search.where
        + (" ".join(edges) or "No setting lies at an edge in half of the front or more."),
        float(len(edges)),
        rows.loc[rows["role"] == "trial"],
        cells,
        HISTORY,
        "no" if edges else "yes",
    )
