"""What the terminal shows of a sweep: the plan, then the progress, at last the outcome."""

import contextlib
import dataclasses
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from rich import progress
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from study.config.terminal import console, one_line
from study.sweeping import cost
from study.sweeping.folder import StudyError, StudyFolder
from study.sweeping.monitor import GivenUp, Monitor, describe, duration
from study.sweeping.plan import Plan

EVERY = 0.5  # seconds between looks for the bar
LOOKING = 30  # pause between looks, in units of the duration of a look
SHOWN = 60  # rows of the plan's table
LINE_EVERY = 30.0  # seconds between lines if there is no terminal


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    folder: Path
    trained: int  # blocks this command added
    kept: int  # blocks that were there before
    failed: tuple[GivenUp, ...]
    missing: int
    changed: float  # when its orders or blocks last did, in seconds since the epoch
    seconds: float  # of wall-clock time
    trouble: str  # the last error of the launcher itself
    detached: bool  # whether workers go on without this command
    earlier: int = 0  # cells of earlier commands, which stay in tables and answers

    @property
    def complete(self) -> bool:
        return not self.failed and not self.missing


def print_plan(plan: Plan, folder: StudyFolder, out: Console, *, table: bool = True) -> None:
    """Print a summary of the plan and, with `table`, a row for each cell, the costliest first."""
    if plan.searches:
        _print_searches(plan, out)
        return
    run = plan.run
    done = {
        cell.hash: sum(folder.block(cell.hash, number).done for number in range(run.n_blocks))
        for cell in plan.cells
    }
    scale = 1.0
    with contextlib.suppress(StudyError):  # there is none yet
        monitor = Monitor(folder.root)
        monitor.look()
        scale = monitor.scale
    if table:
        out.print(_table(plan, done, scale))
        if len(plan.cells) > SHOWN:
            out.print(f"... and {len(plan.cells) - SHOWN} cells more")
    total = run.n_blocks * len(plan.cells)
    missing = total - sum(done.values())
    seconds = scale * sum(plan.seconds[cell] * (run.n_blocks - n) for cell, n in done.items())
    left = duration(seconds / min(run.workers, max(1, missing)))
    about = f", about {left} with {run.workers} worker{'s' * (run.workers > 1)}" if missing else ""
    for remark in (*plan.remarks, *plan.findings):
        out.print(f"note: {remark}")
    trouble = None if plan.compile else cost.cpp_trouble()
    out.print(
        f"study {run.study}, budget {run.budget}: {len(plan.cells)} cells of "
        f"{run.replicates} replicates, {total} blocks, {total - missing} done, "
        f"{missing} to run{about}; {'compiled' if plan.compile else 'eager'} training"
        + (f" ({trouble})" if trouble else "")
    )


def _print_searches(plan: Plan, out: Console) -> None:
    run, search, n = plan.run, plan.run.search, len(plan.searches)
    rerun = f", the best of each trained again with {run.replicates} replicates"
    pruner = "" if search.pruner == "none" else f", pruned by {search.pruner.replace('_', ' ')}"
    out.print(
        f"study {run.study}, budget {run.budget}: {n} {'searches' if n > 1 else 'search'} of "
        f"{search.n_trials} trials, {run.block_size} replicates each, for the least "
        f"{' and '.join(search.objectives)}, by {search.sampler}{pruner}"
        f"{rerun if search.rerun else ''}"
    )
    for key, text in plan.searches[0].space.items():
        out.print(f"  {key}: {text}")


def _table(plan: Plan, done: Mapping[str, int], scale: float) -> Table:
    factors = [key for key in plan.swept if key != "data.n_train"]
    table = Table("cell", *factors, "N", "P", "N D / P", "blocks", "done", "time a block")
    for cell in plan.cells[:SHOWN]:
        values = cell.factors()
        shown = (values.get(key, "none") for key in factors)  # what some cells are without
        table.add_row(
            cell.hash,
            *(f"{value:g}" if isinstance(value, float) else one_line(value) for value in shown),
            str(cell.n_train),
            str(cell.n_params),
            f"{values['equations_per_param']:.3g}",
            str(plan.run.n_blocks),
            str(done[cell.hash]),
            duration(plan.seconds[cell.hash] * scale),
        )
    return table


class Bar(progress.Progress):
    """A bar, and the words below it: a terminal of 80 columns has no room for both in a line."""

    @classmethod
    def get_default_columns(cls) -> tuple[progress.ProgressColumn, ...]:
        bar = progress.BarColumn(bar_width=None)
        times = progress.TaskProgressColumn(), progress.TimeElapsedColumn()
        return progress.SpinnerColumn(), bar, *times

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(f"  {task.description}", overflow="fold")


class ProgressBar:
    """Shows on stderr what a monitor sees, from a thread, while the `with` block runs."""

    def __init__(self, monitor: Monitor):
        self._monitor = monitor
        self._stop = threading.Event()
        show = self._draw if sys.stderr.isatty() else self._print
        self._thread = threading.Thread(target=show, daemon=True, name="progress")
        self._console = console(stderr=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        self._console.print(one_line(text), soft_wrap=True)

    def _draw(self) -> None:
        with Bar(console=self._console, expand=True) as bar:
            task = bar.add_task("starting workers", total=None)
            pause = EVERY
            while True:
                last = self._stop.wait(pause)
                began = time.monotonic()
                now = self._monitor.look()
                # a look at ten thousand cells may take a second, and load a file server as long
                pause = max(EVERY, LOOKING * (time.monotonic() - began))
                fraction = now.done + sum(r.fraction for r in now.running)
                bar.update(task, total=now.total, completed=fraction, description=describe(now))
                if last:
                    return

    def _print(self) -> None:
        while not self._stop.wait(LINE_EVERY):
            print(describe(self._monitor.look()), file=sys.stderr, flush=True)


def summarise(outcome: Outcome, page: Path | None) -> None:
    """Print what a command came to: counts, why blocks failed, where table and page are."""
    out = console(stderr=True)
    failed = f", {len(outcome.failed)} failed" if outcome.failed else ""
    missing = f", {outcome.missing} missing" if outcome.missing else ""
    out.print(
        f"{outcome.trained} trained, {outcome.kept} were done before{failed}{missing}; "
        f"{duration(outcome.seconds)}"
    )
    if outcome.earlier:
        out.print(
            f"  from earlier commands: {outcome.earlier} cells that this one does not ask for stay "
            "in tables and answers; keep_earlier=false takes them out"
        )
    for failure in outcome.failed:
        out.print(
            f"  failed: cell {failure.cell}, block {failure.block}, after {failure.attempts} "
            f"attempts: {one_line(failure.error)}",
            style="red",
        )
    if page is not None:
        tables = outcome.folder / "results.parquet"
        table = f"table: {tables}\n" if tables.exists() else ""
        out.print(f"{table}page:  {page}", soft_wrap=True)
    if outcome.missing and outcome.trouble:
        out.print(f"  the launcher's last error: {one_line(outcome.trouble)}")
