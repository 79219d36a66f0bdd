"""How a study stands, for its page: what is done, what runs, what its answers wait for.

Knows: the monitor, the cells' configs, the results so far. Does not know: the page, or who makes
it. It only reads, and runs nothing of what a study's folder holds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from study.analysis.answer import Answer
from study.analysis.words import plural
from study.config.terminal import one_line
from study.page import pending
from study.page.pending import Standing
from study.sweeping.files import StudyError
from study.sweeping.folder import Orders
from study.sweeping.monitor import Monitor, Snapshot, describe

SHOWN = 20  # curves and comparisons that are named


def standing(
    folder: Path,
    rows: pd.DataFrame | None,
    answers: Sequence[Answer],
    replicates: int,
    *,
    live: bool = False,
) -> Standing | None:
    """What is still missing; None for a study that is finished with something to show, of which
    the tables alone are kept, or whose orders cannot be read.

    **Arguments:**

    - `rows`, `answers`: of what is done; None and nothing where nothing is.
    - `replicates`: asked of each cell.
    - `live`: whether the sweep runs as this is asked.
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
    found = [] if planned is None else pending.parts(planned, rows, replicates)
    lacking = [part for part in found if part.complete < len(part.cells)]
    lines = [_counts(now, monitor.orders, rows, replicates, live), *_failures(now)]
    if rows is None and not now.done:
        lines.append("There is no answer and no figure before the first block is done.")
    elif rows is not None and (sentence := pending.undecided(answers, replicates)):
        lines.append(sentence)
    return Standing(
        "In progress" if live or now.running else "Not finished",
        now.done,
        now.total,
        tuple(lines),
        tuple(lacking[:SHOWN]),
        max(0, len(lacking) - SHOWN),
        {} if rows is None else pending.remarks(answers, found, rows, replicates),
    )


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
    """The factors of the cells that are asked for; None where they cannot be told: the best cells
    of a search, files of the user's that this command did not name, too many."""
    if orders.searches or not 0 < len(orders.cells) <= pending.MOST_CELLS:
        return None
    from study.sweeping.cell_config import read_cell

    try:
        cells = [read_cell(folder / "cells" / cell) for cell in orders.cells]
    except (ValueError, OSError):
        return None
    return pd.DataFrame([{"cell": cell.hash, **cell.factors()} for cell in cells])
