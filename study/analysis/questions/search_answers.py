"""Answers about a search with one objective: what it chose, whether that holds, what matters.

Knows: searches, rows of their trials and of what was trained again. Does not know: fronts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, curve, make
from study.analysis.questions.points_and_parameters import NEEDED
from study.analysis.questions.searches import Search, plain
from study.analysis.statistics.importance import ENOUGH
from study.analysis.statistics.ratios import Estimate
from study.analysis.wording import capital, estimate, number, plural

HISTORY, IMPORTANCE, RERUN = "search_history", "search_importance", "search_rerun"


def answers(rows: pd.DataFrame, searches: Sequence[Search]) -> Iterator[Answer]:
    """For each search: does its best hold, does it lie inside, which keys matter.

    **Arguments:**

    - `rows`: all results, those of trials too.
    """
    for about in (_holds, _inside, _keys):
        for k, search in enumerate(searches):
            yield from about(rows, search, k)


def _holds(rows: pd.DataFrame, search: Search, k: int) -> Iterator[Answer]:
    best = search.best_trial()
    if best is None:
        return
    objective = search.objectives[0]
    value = float(best[objective.column])
    sentence = (
        f"{search.where}{counts(search)}, number {best['number']} is best with a {objective.words} "
        f"of {number(value)}: {search.settings(best)}."
    )
    question = "Do the settings that the search chose hold with new seeds?"
    again = reruns(rows, search)
    if again.empty:
        few = (
            " It was chosen by the replicates it was trained with, so new seeds will likely do "
            "worse; search.rerun=true trains it again."
        )
        cells = (str(best["cell"]),)
        of_trial = rows.loc[rows["role"] == "trial"]
        yield without_interval(
            f"search_best.{k}", question, sentence + few, value, of_trial, cells, HISTORY
        )
        return
    found = curve(again, (search.best,), objective).estimate(0)
    ratio = Estimate(found.value / value, found.low / value, found.high / value, found.n)
    sentence += (
        f" With {plural(found.n, 'new seed')} it has {estimate(found)}, {estimate(ratio)} times "
        f"what it was chosen by; it holds below a factor of {NEEDED:g}."
    )
    verdict = {"yes": "no", "no": "yes"}.get(ratio.verdict(NEEDED), "undecided")
    id, cells = f"search_best.{k}", (search.best,)
    yield make(id, question, verdict, sentence, ratio, again, cells, RERUN)


def reruns(rows: pd.DataFrame, search: Search) -> pd.DataFrame:
    """What was trained again of the cell that a search chose."""
    return rows.loc[(rows["cell"] == search.best) & (rows["role"] == "rerun")]


def counts(search: Search) -> str:
    """How many trials there are, and what became of them."""
    states = search.trials["state"].value_counts()
    infinite = ~np.isfinite(search.complete[[m.column for m in search.objectives]].to_numpy(float))
    diverged = int(infinite.any(axis=1).sum())
    parts = [f"{len(search.complete) - diverged} trained to the end"]
    parts += [f"{n} diverged" for n in [diverged] if n]
    parts += [f"{states[s]} {s}" for s in ("pruned", "failed", "impossible") if s in states]
    asked = len(search.trials) < search.n_trials
    of = f"{len(search.trials)} of {search.n_trials} trials" if asked else None
    return f"of {of or plural(len(search.trials), 'trial')} ({', '.join(parts)})"


def _inside(rows: pd.DataFrame, search: Search, k: int) -> Iterator[Answer]:
    best = search.best_trial()
    ranges = search.keys.loc[search.keys["kind"] != "choice"]
    if best is None or ranges.empty:
        return
    found = edges(search)
    sentence = " ".join(capital(_edge(key, *edge)) for key, edge in found.items()) or (
        "The best values lie inside: "
        + ", ".join(
            f"{key}={plain(best[key])} in {plain(low)} to {plain(high)}"
            for key, low, high in zip(ranges["key"], ranges["low"], ranges["high"], strict=True)
        )
        + "."
    )
    yield without_interval(
        f"search_inside.{k}",
        "Does the best lie inside the ranges that were searched?",
        search.where + sentence,
        float(len(found)),
        rows.loc[rows["role"] == "trial"],
        (str(best["cell"]),),
        HISTORY,
        "no" if found else "yes",
    )


def edges(search: Search) -> dict[str, tuple[Any, str]]:
    """Keys whose best value lies at the edge of its range -> (value, the range in words)."""
    best = search.best_trial()
    return {} if best is None else search.edges(best)


def edge_warnings(searches: Sequence[Search]) -> list[str]:
    """One sentence for each key, whichever searches it is about."""
    found = [(search, key, *edge) for search in searches for key, edge in edges(search).items()]
    lines = []
    for key in dict.fromkeys(key for _, key, _, _ in found):
        at = [(search, value, ends) for search, other, value, ends in found if other == key]
        if len(searches) == 1:
            lines.append(capital(_edge(key, *at[0][1:])))
            continue
        where = "; ".join(search.label for search, _, _ in at)
        lines.append(
            f"In {len(at)} of {len(searches)} searches ({where}) the best value of {key} lies at "
            f"the edge of its range {at[0][2]}: widen the range."
        )
    return lines


def _edge(key: str, value: Any, ends: str) -> str:
    return (
        f"the best value of {key}, {plain(value)}, lies at the edge of its range {ends}: widen the "
        "range."
    )


def _keys(rows: pd.DataFrame, search: Search, k: int) -> Iterator[Answer]:
    if len(search.keys) < 2:
        return
    of_trial = rows.loc[rows["role"] == "trial"]
    for objective in search.objectives:
        about = f" for {objective.words}" if len(search.objectives) > 1 else ""
        id = f"search_keys{'.' + objective.column if about else ''}.{k}"
        found = search.importances(objective)
        question = f"Does it matter which values the searched settings have{about}?"
        cells = tuple(search.complete["cell"])
        if not found:
            sentence = (
                f"{search.where}{plural(search.n_trained, 'trial')} are fewer than the {ENOUGH} "
                "that tell a setting's importance."
            )
            yield without_interval(id, question, sentence, np.nan, of_trial, cells, IMPORTANCE)
            continue
        sure = [one.key for one in found if one.sure]
        shares = ", ".join(
            f"{one.key} {number(one.share)} [{number(one.low)}, {number(one.high)}]"
            for one in found[: max(3, len(sure))]
        )
        beyond = ", ".join(sure) or "none"
        sentence = (
            f"{search.where}over {plural(search.n_trained, 'trial')}, the settings' shares in what "
            f"tells the best quarter from all: {shares}. More than chance gives: {beyond}."
        )
        first = found[0]
        share = Estimate(first.share, first.low, first.high, search.n_trained)
        yield make(
            id,
            question,
            "yes" if sure else "undecided",
            capital(sentence),
            share,
            of_trial,
            cells,
            IMPORTANCE,
        )


def without_interval(
    id: str,
    question: str,
    sentence: str,
    value: float,
    rows: pd.DataFrame,
    cells: tuple[str, ...],
    figure: str,
    verdict: str = "undecided",
) -> Answer:
    """An answer that no interval decides."""
    cells = tuple(dict.fromkeys(cells))
    return Answer(
        id=id,
        question=question,
        verdict=verdict,
        sentence=capital(sentence),
        value=value,
        interval=(np.nan, np.nan),
        n_cells=len(cells),
        n_replicates=int(rows["cell"].isin(cells).to_numpy().sum()),
        rows=cells,
        figure=figure,
    )
