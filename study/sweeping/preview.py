"""A plan as a reader sees it before anything runs: cells, sizes, what is done, what it will cost.

Knows: rich tables. Does not know: how cells came about; it writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from study.config.terminal import one_line
from study.sweeping import cost
from study.sweeping.files import StudyError
from study.sweeping.folder import StudyFolder
from study.sweeping.plan import Plan
from study.sweeping.progress import duration

SHOWN = 60  # rows; a table of thousands helps nobody


def print_plan(plan: Plan, folder: StudyFolder, console: Console, *, table: bool = True) -> None:
    """Print the plan's summary and, with `table`, a row for each cell (the costliest first)."""
    if plan.searches:
        _print_searches(plan, console)
        return
    run = plan.run
    done = {
        cell.hash: sum(folder.block(cell.hash, number).done for number in range(run.n_blocks))
        for cell in plan.cells
    }
    scale = _scale(folder)
    if table:
        console.print(_table(plan, done, scale))
        if len(plan.cells) > SHOWN:
            console.print(f"... and {len(plan.cells) - SHOWN} cells more")
    total = run.n_blocks * len(plan.cells)
    missing = total - sum(done.values())
    seconds = scale * sum(plan.seconds[cell] * (run.n_blocks - n) for cell, n in done.items())
    left = seconds / min(run.workers, max(1, missing))
    workers = f"{run.workers} worker{'s' * (run.workers > 1)}"
    about = f", about {duration(left)} with {workers}" if missing else ""
    console.print(
        f"study {run.study}, budget {run.budget}: {len(plan.cells)} cells of "
        f"{run.replicates} replicates, {total} blocks, {total - missing} done, "
        f"{missing} to run{about}; {_training(plan)}",
        highlight=False,
    )


def _print_searches(plan: Plan, console: Console) -> None:
    run, search = plan.run, plan.run.search
    n, first = len(plan.searches), plan.searches[0]
    rerun = f", the best of each trained again with {run.replicates} replicates"
    pruner = "" if search.pruner == "none" else f", pruned by {search.pruner.replace('_', ' ')}"
    console.print(
        f"study {run.study}, budget {run.budget}: {n} {'searches' if n > 1 else 'search'} of "
        f"{search.n_trials} trials, {run.block_size} replicates each, for the least "
        f"{' and '.join(search.objectives)}, by {search.sampler}{pruner}"
        f"{rerun if search.rerun else ''}",
        highlight=False,
    )
    for key, text in first.space.items():
        console.print(f"  {key}: {text}", highlight=False, markup=False)


def _training(plan: Plan) -> str:
    if plan.compile:
        return "compiled training"
    trouble = cost.cpp_trouble()
    return "eager training" + (f" ({trouble})" if trouble else "")


def _table(plan: Plan, done: Mapping[str, int], scale: float) -> Table:
    factors = [key for key in plan.swept if key != "data.n_train"]
    table = Table("cell", *factors, "N", "P", "N D / P", "blocks", "done", "time a block")
    for cell in plan.cells[:SHOWN]:
        values = cell.factors()
        table.add_row(
            cell.hash,
            *(_text(values[key]) for key in factors),
            str(cell.n_train),
            str(cell.n_params),
            f"{values['equations_per_param']:.3g}",
            str(plan.run.n_blocks),
            str(done[cell.hash]),
            duration(plan.seconds[cell.hash] * scale),
        )
    return table


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else one_line(value)


def _scale(folder: StudyFolder) -> float:
    """What finished blocks of this study say of the estimate."""
    try:
        return cost.measured_scale(folder, folder.read_orders())
    except StudyError:
        return 1.0
