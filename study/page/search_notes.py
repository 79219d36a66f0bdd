"""What a page says of its study's searches before all else: what was run, what is still missing.

Knows: searches, rows. Does not know: answers, pages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from study.analysis.questions.pareto import front_edges, front_of
from study.analysis.questions.search_best import edge_warnings
from study.analysis.searches import SearchResults
from study.analysis.words import plural

ENDED = ("complete", "pruned", "failed", "impossible")


def notes(rows: pd.DataFrame, searches: Sequence[SearchResults]) -> list[str]:
    """How it was searched, and which rows the answers rest on."""
    if not searches:
        return []
    first = searches[0]
    states = pd.concat([search.trials["state"] for search in searches]).value_counts()
    became = ", ".join(f"{states[state]} {state}" for state in ENDED if state in states)
    pruner = "" if first.pruner == "none" else f", pruned by {first.pruner.replace('_', ' ')}"
    objectives = " and ".join(measure.words for measure in first.objectives)
    how = (
        f"Searched: {plural(len(first.keys), 'setting')} for the least {objectives}, by "
        f"{first.sampler}{pruner}, in {_searches(len(searches))} of "
        f"{plural(first.n_trials, 'trial')} ({became})."
    )
    again = int((rows["role"] == "rerun").to_numpy().sum())
    rests = (
        "Answers and figures that are not about the search rest on new seeds of each search's best "
        f"cell alone ({plural(again, 'replicate')})."
        if again
        else "No cell was trained again with new seeds, so answers are about the search alone."
    )
    return [f"{how} {rests}"]


def missing(
    rows: pd.DataFrame, searches: Sequence[SearchResults], replicates: int | None
) -> list[str]:
    """What of the searches is not there, and where they met the ends of their ranges.

    **Arguments:**

    - `replicates`: new seeds that the best of each search is to be trained with; None for none.
    """
    fronts = (front_of(rows, search) for search in searches)
    of_fronts = [sentence for front in fronts if front for sentence in front_edges(front)]
    return [*_not_there(rows, searches, replicates), *edge_warnings(searches), *of_fronts]


def _not_there(
    rows: pd.DataFrame, searches: Sequence[SearchResults], replicates: int | None
) -> Iterator[str]:
    asked = sum(search.n_trials for search in searches)
    ended = sum(int(search.trials["state"].isin(ENDED).to_numpy().sum()) for search in searches)
    if ended < asked:
        yield f"Missing: {asked - ended} of {plural(asked, 'trial')} are not finished."
    failed = [
        f"number {number}{' at ' + search.label if search.label else ''}: {error}"
        for search in searches
        for number, state, error in zip(
            search.trials["number"], search.trials["state"], search.trials["error"], strict=True
        )
        if state == "failed"
    ]
    if failed:
        yield f"Failed: {plural(len(failed), 'trial')} ({'; '.join(failed[:3])})."
    if replicates is None:
        return
    short = [search for search in searches if len(search.reruns(rows)) < replicates]
    if short:
        which = "; ".join(search.label or "the only one" for search in short[:5])
        yield (
            f"Incomplete: of {_searches(len(short))} ({which}) the best cell is not yet trained "
            f"again with {plural(replicates, 'new seed')}."
        )


def _searches(n: int) -> str:
    return "1 search" if n == 1 else f"{n} searches"
