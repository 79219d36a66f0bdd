"""One worker as a process of its own, on a host as a test wants it: its name, its clock, its haste.

    python -m tests.sweeping.one_worker ROOT --host b --shift 3600

It leaves with 3 where it was asked to leave. Every training it begins is a line of --log.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from study import trial
from study.sweeping import claims, worker

parser = argparse.ArgumentParser()
parser.add_argument("root", type=Path)
parser.add_argument("--host", default="a")
parser.add_argument("--shift", type=float, default=0.0, help="seconds its clock is ahead")
parser.add_argument("--dates-files", action="store_true", help="its clock dates the files, too")
parser.add_argument("--lifetime", type=float, default=claims.LIFETIME)
parser.add_argument("--pause", type=float, default=0.0, help="seconds before each training")
parser.add_argument("--log", type=Path)

if __name__ == "__main__":
    given = parser.parse_args()
    right, run_block = time.time, trial.run_block
    time.time = lambda: right() + given.shift  # type: ignore[assignment]
    claims.this_host = lambda: given.host  # type: ignore[assignment]
    claims.LIFETIME = given.lifetime
    claims.HEARTBEAT = given.lifetime / 4
    if given.dates_files:
        claims.file_system_now = lambda _: right() + given.shift

    def told(cell: Any, block: int, **settings: Any) -> Any:
        if given.log:
            with given.log.open("a") as file:
                file.write(f"{cell.hash}-{block}\n")
        time.sleep(given.pause)
        return run_block(cell, block, **settings)

    trial.run_block = told
    try:
        worker.work(given.root)
    except worker.Preempted:
        sys.exit(3)
