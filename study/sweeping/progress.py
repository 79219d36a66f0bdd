"""The terminal while a study runs: a bar on a terminal, a line now and then elsewhere.

Knows: rich, and the monitor it asks. Does not know: what is launched. It runs as a thread, since
the launcher blocks until its workers are back.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskProgressColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from study.config.terminal import console, one_line
from study.sweeping.monitor import Monitor, Snapshot

EVERY = 0.5  # seconds between looks for the bar
LOOKING = 30  # what it waits between looks, in lengths of a look
LINE_EVERY = 30.0  # seconds between lines where there is no terminal


class Bar(Progress):
    """A bar, and below it what is known: beside it, 80 columns would hold one of both."""

    @classmethod
    def get_default_columns(cls) -> tuple[ProgressColumn, ...]:
        return (
            SpinnerColumn(),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeElapsedColumn(),
        )

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(f"  {task.description}", overflow="fold")


class ProgressBar:
    """Shows what a monitor sees on stderr while the `with` block runs."""

    def __init__(self, monitor: Monitor):
        self._monitor = monitor
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="progress")
        self._console = console(stderr=True)

    def __enter__(self) -> ProgressBar:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def say(self, text: str) -> None:
        """Print a line, above the bar where there is one."""
        self._console.print(one_line(text), soft_wrap=True)

    def _run(self) -> None:
        if sys.stderr.isatty():
            self._draw()
        else:
            self._print()

    def _draw(self) -> None:
        with Bar(console=self._console, expand=True) as bar:
            task = bar.add_task("starting workers", total=None)
            pause = EVERY
            while True:
                last = self._stop.wait(pause)
                began = time.monotonic()
                now = self._monitor.look()
                # a look at ten thousand cells may take a second, of a server's time too
                pause = max(EVERY, LOOKING * (time.monotonic() - began))
                fraction = now.done + sum(r.fraction for r in now.running)
                bar.update(task, total=now.total, completed=fraction, description=describe(now))
                if last:
                    return

    def _print(self) -> None:
        printed = time.monotonic()
        while not self._stop.wait(EVERY):
            if time.monotonic() - printed >= LINE_EVERY:
                printed = time.monotonic()
                print(describe(self._monitor.look()), file=sys.stderr, flush=True)


def describe(now: Snapshot) -> str:
    """A study's state in one line."""
    parts = [f"{now.done} of {now.total} blocks", f"{len(now.running)} running"]
    if now.failed:
        parts.append(f"{len(now.failed)} failed")
    if now.retried:
        parts.append(f"{now.retried} tried again")
    parts += [f"best {name} {value:.2g}" for name, value in now.best.items()]
    if now.blocks_per_minute:
        parts.append(f"{now.blocks_per_minute:.1f} a minute")
    if now.seconds_left:
        parts.append(f"about {duration(now.seconds_left)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """A length of time as a reader wants it: 40 s, 12 min, 3.5 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
