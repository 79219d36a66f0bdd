"""How far a study is, on the terminal or as JSON. Exit status: 0, or 1 if there is no study."""

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from study.config.terminal import Parser, console, is_study, no_study, one_line, plain, quiet_pipe
from study.sweeping.folder import StudyError
from study.sweeping.monitor import Monitor, Snapshot, describe, duration

TABLES = ("results.parquet", "curves.parquet")
HELP = """\
How far a study is: done, running, failed, missing; time left. It only reads.

    python -m study.status outputs/n_vs_p                # while the sweep runs, and after it died
    python -m study.status outputs/n_vs_p --traceback    # why blocks failed
    python -m study.status outputs/n_vs_p --json         # for programs
"""
SHOWN = 20  # rows of a table
PIPED = 160  # columns if there is no terminal


def main() -> None:
    """Print the state of one study. **Raises:** `SystemExit`, one sentence, if there is none."""
    parser = Parser("python -m study.status", HELP)
    parser.add_argument("folder", type=Path, help="outputs/<study>")
    parser.add_argument("--json", action="store_true", help="all that is known, for programs")
    parser.add_argument("--traceback", action="store_true", help="why blocks failed, in full")
    arguments = parser.read()
    folder = arguments.folder
    try:
        if not is_study(folder):
            raise StudyError(no_study(folder))
        tables = tables_alone(folder)
        now = None if tables else Monitor(folder).look()
    except StudyError as error:
        sys.exit(f"error: {one_line(error)}")
    except OSError as error:
        sys.exit(f"error: {one_line(folder)} cannot be read: {one_line(error)}")
    name = folder.resolve().name
    with quiet_pipe():
        if arguments.json:
            without = {"study": name, "tables": tables, "cells": False}
            print(json.dumps(dataclasses.asdict(now) if now else without, indent=1))
        elif now is None:
            print(
                f"{one_line(name)}: finished tables ({', '.join(tables)}) without the cells they "
                "were made of, as in outputs/reference/: nothing to run or to resume here. "
                "python -m study.report reads them."
            )
        else:
            width = None if sys.stdout.isatty() else PIPED
            show(now, console(width=width), tracebacks=arguments.traceback)


def tables_alone(folder: Path) -> list[str]:
    """The names of the tables in a folder that lacks the cells they were made of; else none."""
    if (folder / "cells").is_dir():
        return []
    return [name for name in TABLES if (folder / name).exists()]


def show(now: Snapshot, out: Console, *, tracebacks: bool = False) -> None:
    """Print a snapshot: one line, then tables of running and failed blocks, hosts, versions."""
    if not now.total:
        out.print(f"{one_line(now.study)}: no cell yet", soft_wrap=True)
        return
    missing = f", {now.missing} missing" if now.missing else ""
    out.print(f"{one_line(now.study)}: {describe(now)}{missing}", soft_wrap=True)
    running = [
        (b.cell, b.block, f"{b.host}, pid {b.pid}", _ago(b.started), f"{b.fraction:.0%}")
        for b in now.running
    ]
    failed = [(b.cell, b.block, b.attempts, b.host, b.error) for b in now.failed]
    hosts = [(h.name, h.done, h.running, _ago(h.last) if h.last else "") for h in now.hosts]
    _print(out, ("running", "block", "where", "since", "done"), running)
    _print(out, ("failed", "block", "attempts", "where", "why"), failed)
    _print(out, ("host", "done", "running", "last finished"), hosts)
    if len(now.codes) > 1:
        _print(out, ("code", "blocks"), list(now.codes.items()))
    if tracebacks:
        for block in now.failed:
            out.print(f"\ncell {block.cell}, block {block.block}:")
            out.print(plain(block.traceback), soft_wrap=True)
    if not now.finished and not now.running:
        out.print(
            "Nothing runs now. The sweep's command, given again, goes on from here.", soft_wrap=True
        )


def _print(out: Console, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table of the first rows, and how many more there are; nothing if there is none."""
    if not rows:
        return
    table = Table(*columns)
    for row in rows[:SHOWN]:
        table.add_row(*map(one_line, row))
    out.print(table)
    if len(rows) > SHOWN:
        out.print(f"and {len(rows) - SHOWN} more; --json has all")


def _ago(then: float) -> str:
    # the clock of the host that wrote it may be ahead of this one
    return f"{duration(max(0.0, time.time() - then))} ago"


if __name__ == "__main__":
    main()
