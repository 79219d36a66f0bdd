"""What a page says before its answers: what is missing, odd, measured or searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from study.analysis.design import Design, counted
from study.analysis.questions.pareto import front_edges, front_of
from study.analysis.questions.search_settings import edge_warnings
from study.analysis.searches import SearchResults
from study.analysis.words import plural

ENDED = ("complete", "pruned", "failed", "impossible")


def missing(folder: Path, rows, settings: Mapping[str, Any]) -> list[str]:
    """A sentence for what the study asked for and the tables do not hold."""
    lines = []
    wanted = _wanted(settings)
    have = rows.groupby("cell").size()
    absent = [cell for cell in wanted if cell not in have.index]
    failed = {path.parent.name for path in (folder / "cells").glob("*/block-*.failed-*.json")}
    if absent:
        crashed = [cell for cell in absent if cell in failed]
        reason = f", of which {len(crashed)} failed" if crashed else ""
        lines.append(
            f"Missing: {len(absent)} of {plural(len(wanted), 'cell')} have no finished block"
            f"{reason} ({_some(absent)})."
        )
    replicates = settings.get("replicates")
    if isinstance(replicates, int) and not settings.get("searches"):
        short = [c for c in have.index if have[c] < replicates and (not wanted or c in wanted)]
        if short:
            lines.append(
                f"Incomplete: {plural(len(short), 'cell')} with fewer than "
                f"{plural(replicates, 'replicate')} ({_some(short)})."
            )
    return lines


def remarks(rows, settings: Mapping[str, Any]) -> list[str]:
    """A sentence for what a reader of the tables would not expect."""
    lines = []
    have, wanted = rows.groupby("cell").size(), _wanted(settings)
    if wanted and (extra := [c for c in have.index if c not in wanted]):
        lines.append(
            f"From earlier commands: {plural(len(extra), 'cell')} that the last command did not "
            f"ask for ({_some(extra)}) are part of all answers and figures."
        )
    lines += rows.attrs.get("unreadable", [])
    count = counted(rows)
    alike = 0 if count.empty else Design(count).alike
    if alike:
        lines.append(
            f"{plural(alike, 'cell')} agree in every factor of the table and differ in a setting "
            "it does not hold: they are told apart as setting 1, 2 and so on."
        )
    return lines


def measured(rows, settings: Mapping[str, Any]) -> list[str]:
    """A sentence for what was measured, and what was estimated from it."""
    if "data.file" not in rows:
        return []
    names = ["data.file", "data.estimate", "system", "coordinates", "data.n_trajectories"]
    asked = settings.get("config")
    data = asked.get("data") if isinstance(asked, Mapping) else None
    path = data.get("path") if isinstance(data, Mapping) else None
    lines = []
    for _, row in rows.dropna(subset="data.file").drop_duplicates(names).iterrows():
        how = str(row["data.estimate"])
        how = "" if how == "measured" else f", {how}"
        what = (
            "The true system is not known: rollouts are compared with held-out measured "
            "trajectories, and what needs the true system (energy, error budget, the true mass "
            "matrix) is missing."
            if row["system"] == "unknown"
            else "Test labels and rollouts are the true system's, from held-out measured states."
        )
        n = int(row["data.n_trajectories"])
        lines.append(
            f"Measured data: {Path(str(path)).name if path else 'a file'} (content "
            f"{row['data.file']}), {row['coordinates']}{how}; trained on {n} "
            f"{'trajectory' if n == 1 else 'trajectories'}. {what}"
        )
    return lines


def wanted_replicates(settings: Mapping[str, Any]) -> int:
    """Replicates that the study asks for of each cell; 1 if it does not say."""
    n = settings.get("replicates")
    return n if isinstance(n, int) and n > 0 else 1


def new_seeds(settings: Mapping[str, Any]) -> int | None:
    """How many new seeds the best of each search is to be trained with; None for none."""
    search, replicates = settings.get("search"), settings.get("replicates")
    asked = isinstance(search, Mapping) and search.get("rerun") is True
    return replicates if asked and isinstance(replicates, int) else None


def searched(rows: pd.DataFrame, searches: Sequence[SearchResults]) -> list[str]:
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


def missing_of_searches(
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


def _wanted(settings: Mapping[str, Any]) -> list[str]:
    cells = settings.get("cells")
    return [str(cell) for cell in cells] if isinstance(cells, list) else []


def _some(cells: list[str]) -> str:
    return ", ".join(cells[:5]) + (f" and {len(cells) - 5} more" if len(cells) > 5 else "")
