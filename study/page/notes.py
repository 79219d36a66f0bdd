"""The sentences of a page beside its answers: what is missing, odd, measured, searched or running.

It only reads, and runs nothing of what a study's folder holds.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from study.analysis.answer import Answer
from study.analysis.design import Design, counted
from study.analysis.questions.pareto import front_edges, front_of
from study.analysis.questions.search_settings import edge_warnings
from study.analysis.searches import SearchResults
from study.analysis.statistics.medians import ENOUGH
from study.analysis.words import capital, plural
from study.config.terminal import one_line
from study.page.measured_notes import compared, labels, taken
from study.page.page import Part, Unfinished
from study.sweeping.folder import Orders, StudyError
from study.sweeping.monitor import Monitor, Snapshot, describe

ENDED = ("complete", "pruned", "failed", "impossible")
MOST_PLANNED = 1000  # cells of a design that is worth taking apart
SHOWN = 20  # curves and comparisons that are named


def missing(folder: Path, rows: pd.DataFrame, settings: Mapping[str, Any]) -> list[str]:
    """A sentence for each thing that the study asked for and the tables do not hold."""
    lines = []
    wanted, sizes = _wanted(settings), _sizes(rows)
    if absent := [cell for cell in wanted if cell not in sizes]:
        failed = {path.parent.name for path in (folder / "cells").glob("*/block-*.failed-*.json")}
        crashed = len(failed & set(absent))
        reason = f", of which {crashed} failed" if crashed else ""
        lines.append(
            f"Missing: {len(absent)} of {plural(len(wanted), 'cell')} have no finished block"
            f"{reason} ({_some(absent)})."
        )
    replicates = settings.get("replicates")
    if isinstance(replicates, int) and not settings.get("searches"):
        short = [c for c, n in sizes.items() if n < replicates and (not wanted or c in wanted)]
        if short:
            lines.append(
                f"Incomplete: {plural(len(short), 'cell')} with fewer than "
                f"{plural(replicates, 'replicate')} ({_some(short)})."
            )
    return lines


def remarks(rows: pd.DataFrame, settings: Mapping[str, Any]) -> list[str]:
    """A sentence for each thing that a reader of the tables would not expect."""
    lines = []
    wanted = _wanted(settings)
    if wanted and (extra := [cell for cell in _sizes(rows) if cell not in wanted]):
        lines.append(
            f"From earlier commands: {plural(len(extra), 'cell')} that the last command did not "
            f"ask for ({_some(extra)}) are part of all answers and figures."
        )
    lines += rows.attrs.get("unreadable", [])
    count = counted(rows)
    if not count.empty and (alike := Design(count).alike):
        lines.append(
            f"{plural(alike, 'cell')} agree in every factor of the table and differ in a setting "
            "it does not hold: they are told apart as setting 1, 2 and so on."
        )
    return lines


def measured(rows: pd.DataFrame, settings: Mapping[str, Any]) -> list[str]:
    """A sentence for each set of measured data, and how its labels were estimated."""
    if "data.file" not in rows:
        return []
    names = ["data.file", "data.estimate", "system", "coordinates", "data.n_trajectories"]
    config = settings.get("config")
    data = config.get("data") if isinstance(config, Mapping) else None
    path = data.get("path") if isinstance(data, Mapping) else None
    lines = []
    for _, own in rows.dropna(subset="data.file").groupby(names, sort=False):
        row = own.iloc[:1].to_dict("records")[0]
        how = "" if row["data.estimate"] == "measured" else f", {row['data.estimate']}"
        reference = (
            "The true system is not known: rollouts are compared with held-out measured "
            "trajectories, and what needs the true system (energy, error budget, the true mass "
            "matrix) is missing."
            if row["system"] == "unknown"
            else "Test labels and rollouts are the true system's, from held-out measured states."
        )
        n, cut = int(row["data.n_trajectories"]), row.get("n_gaps", 0) > 0
        pieces = plural(n, "piece") if cut else plural(n, "trajectory", "trajectories")
        lines.append(
            f"Measured data: {Path(str(path)).name if path else 'a file'} (content "
            f"{row['data.file']}), {row['coordinates']}{how}; trained on {pieces}. "
            f"{' '.join([*taken(row), reference, *labels(own), *compared(own)])}"
        )
    findings = settings.get("findings")
    if isinstance(findings, list) and findings:
        lines.append(" ".join(capital(f"{one}.") for one in findings))
    remarks = settings.get("remarks")
    if isinstance(remarks, list) and remarks:
        doubts = " ".join(f"{remark}." for remark in remarks)
        lines.append(f"The recording contradicts its description: {doubts}")
    return lines


def searched(rows: pd.DataFrame, searches: Sequence[SearchResults]) -> list[str]:
    """How the study was searched, and which rows the answers rest on."""
    if not searches:
        return []
    first = searches[0]
    states = pd.concat([search.trials["state"] for search in searches]).value_counts()
    ended = ", ".join(f"{states[state]} {state}" for state in ENDED if state in states)
    pruner = "" if first.pruner == "none" else f", pruned by {first.pruner.replace('_', ' ')}"
    objectives = " and ".join(measure.words for measure in first.objectives)
    reruns = int((rows["role"] == "rerun").to_numpy().sum())
    rests = (
        "Answers and figures that are not about the search rest on new seeds of each search's best "
        f"cell alone ({plural(reruns, 'replicate')})."
        if reruns
        else "No cell was trained again with new seeds, so answers are about the search alone."
    )
    return [
        f"Searched: {plural(len(first.keys), 'setting')} for the least {objectives}, by "
        f"{first.sampler}{pruner}, in {plural(len(searches), 'search', 'searches')} of "
        f"{plural(first.n_trials, 'trial')} ({ended}). {rests}"
    ]


def missing_of_searches(
    rows: pd.DataFrame, searches: Sequence[SearchResults], settings: Mapping[str, Any]
) -> list[str]:
    """What of the searches is not there, and where they met the ends of their ranges."""
    fronts = [front for search in searches if (front := front_of(rows, search))]
    of_fronts = [sentence for front in fronts for sentence in front_edges(front)]
    return [*_lacking(rows, searches, settings), *edge_warnings(searches), *of_fronts]


def _lacking(
    rows: pd.DataFrame, searches: Sequence[SearchResults], settings: Mapping[str, Any]
) -> Iterator[str]:
    n_trials = sum(search.n_trials for search in searches)
    ended = sum(int(search.trials["state"].isin(ENDED).to_numpy().sum()) for search in searches)
    if ended < n_trials:
        yield f"Missing: {n_trials - ended} of {plural(n_trials, 'trial')} are not finished."
    failed = [
        f"number {trial['number']}{' at ' + search.label if search.label else ''}: {trial['error']}"
        for search in searches
        for trial in search.trials.loc[search.trials["state"] == "failed"].to_dict("records")
    ]
    if failed:
        yield f"Failed: {plural(len(failed), 'trial')} ({'; '.join(failed[:3])})."
    search, seeds = settings.get("search"), settings.get("replicates")
    rerun = isinstance(search, Mapping) and search.get("rerun") is True
    new_seeds = seeds if rerun and isinstance(seeds, int) else 0
    if short := [search for search in searches if len(search.reruns(rows)) < new_seeds]:
        which = "; ".join(search.label or "the only one" for search in short[:5])
        yield (
            f"Incomplete: of {plural(len(short), 'search', 'searches')} ({which}) the best "
            f"cell is not yet trained again with {plural(new_seeds, 'new seed')}."
        )


def unfinished(
    folder: Path,
    settings: Mapping[str, Any],
    rows: pd.DataFrame | None = None,
    answers: Sequence[Answer] = (),
    *,
    live: bool = False,
) -> Unfinished | None:
    """What is still missing; None if the study is finished and has something to show, if only its
    tables are kept, or if its orders cannot be read. Before the first block `rows` is None."""
    if not (folder / "cells").is_dir() and rows is not None:
        return None
    try:
        monitor = Monitor(folder)
        now = monitor.look()
    except (StudyError, OSError):
        return None
    if now.finished and rows is not None:
        return None
    replicates = settings.get("replicates")
    replicates = replicates if isinstance(replicates, int) and replicates > 0 else 1
    planned = _planned(folder, monitor.orders)
    all_parts = [] if planned is None else parts(planned, rows, replicates)
    lacking = [part for part in all_parts if part.complete < len(part.cells)]
    lines = [_counts(now, monitor.orders, _sizes(rows), replicates, live)]
    if now.failed:
        last = now.failed[-1]
        lines.append(
            f"Failed: {plural(len(now.failed), 'block')}, the last of cell {one_line(last.cell)} "
            f"after {plural(last.attempts, 'attempt')}: {one_line(last.error)}"
        )
    if rows is None and not now.done:
        lines.append("There is no answer and no figure before the first block is done.")
    elif sentence := undecided(answers, replicates):
        lines.append(sentence)
    return Unfinished(
        "In progress" if live or now.running else "Not finished",
        now.done,
        now.total,
        tuple(lines),
        tuple(lacking[:SHOWN]),
        max(0, len(lacking) - SHOWN),
        {} if rows is None else waits(answers, all_parts, rows, replicates),
    )


def parts(planned: pd.DataFrame, rows: pd.DataFrame | None, replicates: int) -> list[Part]:
    """Every curve and comparison that the finished study will have, those that lack most first.

    - `planned`: one row a cell: `cell` and the factors, as the results have them.
    - `rows`: the results so far; None if there are none. `replicates`: wanted of each cell.
    """
    design, sizes = Design(planned), _sizes(rows)
    ladders = [ladder for axis in ("N", "P") for ladder in design.ladders(axis)]
    cells_of = [(f"along {ladder.axis}: {ladder.label}", ladder.cells) for ladder in ladders]
    for comparison in design.comparisons():
        cells_of.append((f"{comparison.name}: {' or '.join(comparison.levels)}", comparison.cells))
    cells_of = cells_of or [("all cells", tuple(planned["cell"]))]
    all_parts = [_part(name, cells, sizes, replicates) for name, cells in cells_of]
    return sorted(all_parts, key=lambda part: part.replicates / part.wanted)


def _part(name: str, cells: Sequence[str], sizes: Mapping[str, int], replicates: int) -> Part:
    done = [min(replicates, sizes.get(cell, 0)) for cell in cells]
    complete = sum(n == replicates for n in done)
    return Part(name, frozenset(cells), complete, sum(done), replicates * len(done))


def waits(
    answers: Sequence[Answer], all_parts: Sequence[Part], rows: pd.DataFrame, replicates: int
) -> dict[str, str]:
    """What each answer waits for: answer id -> how much is done of the smallest part that has its
    cells, or of the study if it rests on all cells; answers on complete parts are left out."""
    sizes = _sizes(rows)
    planned = list(frozenset[str]().union(*(part.cells for part in all_parts)))
    study = _part("", planned, sizes, replicates)
    sentences = {}
    for answer in answers:
        holders = [part for part in all_parts if set(answer.rows) <= part.cells]
        whole = set(answer.rows) == set(sizes) or not holders
        part = study if whole else min(holders, key=lambda part: len(part.cells))
        if part.replicates < part.wanted:
            sentences[answer.id] = f"so far {part.replicates} of {plural(part.wanted, 'replicate')}"
    return sentences


def undecided(answers: Sequence[Answer], replicates: int) -> str:
    """A sentence on the undecided answers and what they lack; empty if there is none."""
    still = [answer for answer in answers if answer.verdict == "undecided"]
    if not still:
        return ""
    few = [answer for answer in still if answer.n_replicates < ENOUGH * answer.n_cells]
    sentence = f"Undecided so far: {len(still)} of {plural(len(answers), 'answer')}"
    if few:
        sentence += (
            f", {len(few)} of them for fewer than {ENOUGH} replicates a cell, which a verdict needs"
        )
        if replicates < ENOUGH:
            sentence += f" (this study asks for {replicates}: replicates={ENOUGH} would bring them)"
    return sentence + "."


def _counts(
    now: Snapshot, orders: Orders, sizes: Mapping[str, int], replicates: int, live: bool
) -> str:
    complete = sum(sizes.get(cell, 0) >= replicates for cell in orders.cells)
    cells = f"{complete} of {plural(len(orders.cells), 'cell')} complete; " if orders.cells else ""
    if live:
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        return f"{cells}{describe(now)}. Made at {when}; made anew as blocks are done."
    rest = "Nothing runs now; the sweep's command, given again, goes on from here."
    return f"{cells}{describe(now)}." + ("" if now.running else f" {rest}")


def _planned(folder: Path, orders: Orders) -> pd.DataFrame | None:
    """The factors of the cells that are asked for; None if they are not known (the best cells of a
    search, files of the user's that this command did not name), or too many."""
    if orders.searches or not 0 < len(orders.cells) <= MOST_PLANNED:
        return None
    from study.sweeping.cell_config import read_cell  # imports torch, which a finished page spares

    try:
        cells = [read_cell(folder / "cells" / cell) for cell in orders.cells]
    except (ValueError, OSError):
        return None
    return pd.DataFrame([{"cell": cell.hash, **cell.factors()} for cell in cells])


def _sizes(rows: pd.DataFrame | None) -> dict[str, int]:
    """The number of replicates that each cell has."""
    return {} if rows is None else rows["cell"].value_counts().sort_index().to_dict()


def _wanted(settings: Mapping[str, Any]) -> list[str]:
    cells = settings.get("cells")
    return [str(cell) for cell in cells] if isinstance(cells, list) else []


def _some(cells: Sequence[str]) -> str:
    return ", ".join(cells[:5]) + (f" and {len(cells) - 5} more" if len(cells) > 5 else "")
