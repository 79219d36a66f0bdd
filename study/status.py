"""How far a study is: done, running, failed, missing; time left.

    python -m study.status outputs/<study>
    python -m study.status outputs/<study> --json

Reads the study's folder only, so it works while a sweep runs, from another machine, and after it
died; where tables are left without cells it says so. Exit status: 0, or 1 where there is no study.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from study.sweeping.folder import StudyError
from study.sweeping.monitor import Monitor, Snapshot
from study.sweeping.progress import describe, duration

TABLES = ("results.parquet", "curves.parquet")


def main() -> None:
    """Print the state of one study. **Raises:** `SystemExit`, one sentence, if there is none."""
    parser = argparse.ArgumentParser(prog="python -m study.status", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", help="outputs/<study>")
    parser.add_argument("--json", action="store_true", help="all that is known, for programs")
    parser.add_argument("--traceback", action="store_true", help="why blocks failed, in full")
    arguments = parser.parse_args()
    if tables := tables_alone(Path(arguments.folder)):
        about = {"study": Path(arguments.folder).resolve().name, "tables": tables, "cells": False}
        print(json.dumps(about, indent=1) if arguments.json else _without_cells(about))
        return
    try:
        now = Monitor(arguments.folder).look()
    except StudyError as error:
        sys.exit(f"error: {error}")
    if arguments.json:
        print(json.dumps(now.as_dict(), indent=1))
    else:
        show(now, Console(), tracebacks=arguments.traceback)


def tables_alone(folder: Path) -> list[str]:
    """The tables of a folder that is without the cells they were made of; else nothing."""
    if (folder / "cells").is_dir():
        return []
    return [name for name in TABLES if (folder / name).exists()]


def _without_cells(about: dict[str, Any]) -> str:
    return (
        f"{about['study']}: finished tables ({', '.join(about['tables'])}) without the cells they "
        "were made of, as in outputs/reference/: nothing to run or to resume here. "
        "python -m study.report reads them."
    )


def show(now: Snapshot, console: Console, *, tracebacks: bool = False) -> None:
    """Print a snapshot: one line, then what runs and what failed."""
    missing = f", {now.missing} missing" if now.missing else ""
    console.print(f"{now.study}: {describe(now)}{missing}", highlight=False)
    if now.running:
        table = Table("running", "block", "where", "since", "done")
        for block in now.running:
            table.add_row(
                block.cell,
                str(block.block),
                f"{block.host}, pid {block.pid}",
                f"{duration(max(0.0, time.time() - block.started))} ago",
                f"{block.fraction:.0%}",
            )
        console.print(table)
    if now.failed:
        table = Table("failed", "block", "attempts", "why")
        for block in now.failed:
            table.add_row(block.cell, str(block.block), str(block.attempts), block.error)
        console.print(table)
    if tracebacks:
        for block in now.failed:
            console.print(f"\ncell {block.cell}, block {block.block}:", highlight=False)
            console.print(block.traceback, markup=False, highlight=False)
    if not now.finished and not now.running:
        console.print("Nothing runs now. The sweep's command, given again, goes on from here.")


if __name__ == "__main__":
    main()
