"""What the page of an unfinished study says: what is done, and what its answers wait for.

It only reads, and runs nothing of what a study's folder holds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from study.analysis.answer import Answer
from study.analysis.design import Design
from study.analysis.statistics.medians import ENOUGH
from study.analysis.words import plural
from study.config.terminal import one_line
from study.page.page import Part, Unfinished
from study.sweeping.folder import Orders, StudyError
from study.sweeping.monitor import Monitor, Snapshot, describe

MOST_CELLS = 1000  # of a design that is worth taking apart
SHOWN = 20  # curves and comparisons that are named


def unfinished(
    folder: Path,
    rows: pd.DataFrame | None,
    answers: Sequence[Answer],
    replicates: int,
    *,
    live: bool = False,
) -> Unfinished | None:
    """What is still missing; None for a study that is finished with something to show, of which
    only the tables are kept, or whose orders cannot be read.

    **Arguments:**

    - `rows`, `answers`: of what is done; None and nothing before the first block.
    - `replicates`: wanted of each cell.
    - `live`: whether the sweep runs now.
    """
    if not (folder / "cells").is_dir() and rows is not None:
        return None
    try:
        monitor = Monitor(folder)
        now = monitor.look()
    except (StudyError, OSError):
        return None
    if now.finished and rows is not None:
        return None
    planned = _planned(folder, monitor.orders)
    all_parts = [] if planned is None else parts(planned, rows, replicates)
    lacking = [part for part in all_parts if part.complete < len(part.cells)]
    lines = [_counts(now, monitor.orders, rows, replicates, live), *_failures(now)]
    if rows is None and not now.done:
        lines.append("There is no answer and no figure before the first block is done.")
    elif rows is not None and (sentence := undecided(answers, replicates)):
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

    **Arguments:**

    - `planned`: one row a cell: `cell` and the factors, as the results have them.
    - `rows`: the results so far; None if there are none.
    - `replicates`: wanted of each cell.
    """
    design = Design(planned)
    cells_of = [
        (f"along {axis}: {ladder.label}", ladder.cells)
        for axis in ("N", "P")
        for ladder in design.ladders(axis)
    ]
    for comparison in design.comparisons():
        cells_of.append((f"{comparison.name}: {' or '.join(comparison.levels)}", comparison.cells))
    have = {} if rows is None else rows.groupby("cell").size().to_dict()
    counted = []
    for name, cells in cells_of or [("all cells", tuple(planned["cell"]))]:
        done = [min(replicates, have.get(cell, 0)) for cell in cells]
        complete = sum(n == replicates for n in done)
        counted.append(Part(name, frozenset(cells), complete, sum(done), replicates * len(done)))
    return sorted(counted, key=lambda part: part.replicates / part.wanted)


def waits(
    answers: Sequence[Answer], all_parts: Sequence[Part], rows: pd.DataFrame, replicates: int
) -> dict[str, str]:
    """What each answer waits for: answer id -> how much is done of the smallest part that has its
    cells, or of the study if it rests on all cells; answers on complete parts are left out.

    **Arguments:** as for `parts`.
    """
    have = rows.groupby("cell").size().to_dict()
    planned = frozenset[str]().union(*(part.cells for part in all_parts))
    done = sum(min(replicates, have.get(cell, 0)) for cell in planned)
    study = Part("", planned, 0, done, replicates * len(planned))
    sentences = {}
    for answer in answers:
        holders = [part for part in all_parts if set(answer.rows) <= part.cells]
        whole = set(answer.rows) == set(have) or not holders
        part = study if whole else min(holders, key=lambda part: len(part.cells))
        if part.replicates < part.wanted:
            sentences[answer.id] = f"so far {part.replicates} of {plural(part.wanted, 'replicate')}"
    return sentences


def undecided(answers: Sequence[Answer], replicates: int) -> str:
    """A sentence on the undecided answers and what they lack; empty if there is none.

    **Arguments:** `replicates`: wanted of each cell.
    """
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
    now: Snapshot, orders: Orders, rows: pd.DataFrame | None, replicates: int, live: bool
) -> str:
    sizes = {} if rows is None else rows.groupby("cell").size().to_dict()
    complete = sum(sizes.get(cell, 0) >= replicates for cell in orders.cells)
    cells = f"{complete} of {plural(len(orders.cells), 'cell')} complete; " if orders.cells else ""
    if live:
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        return f"{cells}{describe(now)}. Made at {when}; made anew as blocks are done."
    rest = "Nothing runs now; the sweep's command, given again, goes on from here."
    return f"{cells}{describe(now)}." + ("" if now.running else f" {rest}")


def _failures(now: Snapshot) -> list[str]:
    if not now.failed:
        return []
    last = now.failed[-1]
    return [
        f"Failed: {plural(len(now.failed), 'block')}, the last of cell {one_line(last.cell)} after "
        f"{plural(last.attempts, 'attempt')}: {one_line(last.error)}"
    ]


def _planned(folder: Path, orders: Orders) -> pd.DataFrame | None:
    """The factors of the cells that are asked for; None if they are not known (the best cells of a
    search, files of the user's that this command did not name), or too many."""
    if orders.searches or not 0 < len(orders.cells) <= MOST_CELLS:
        return None
    from study.sweeping.cell_config import read_cell  # imports torch, which a finished page spares

    try:
        cells = [read_cell(folder / "cells" / cell) for cell in orders.cells]
    except (ValueError, OSError):
        return None
    return pd.DataFrame([{"cell": cell.hash, **cell.factors()} for cell in cells])
