"""One worker as a process of its own, on a host as a test wants it: its name, its clock, its haste.

    python -m tests.sweeping.one_worker ROOT --host b --shift 3600

It leaves with 3 where it was asked to leave, with 1 and a sentence where it is refused. Lines of
--log: each training it begins, `held` where one waits, `idle` while others hold all that is left.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from study.block import run
from study.sweeping import claims, local, worker
from study.sweeping.folder import StudyError

parser = argparse.ArgumentParser()
parser.add_argument("root", type=Path)
parser.add_argument("--host", default="a")
parser.add_argument("--shift", type=float, default=0.0, help="seconds its clock is ahead")
parser.add_argument("--dates-files", action="store_true", help="its clock dates the files, too")
parser.add_argument("--lifetime", type=float, default=claims.LIFETIME)
parser.add_argument("--pause", type=float, default=0.0, help="seconds before each training")
parser.add_argument("--hold", type=int, help="steps until a training waits to be asked to leave")
parser.add_argument("--log", type=Path, default=Path(os.devnull))

if __name__ == "__main__":
    given, run_block = parser.parse_args(), run.run_block
    claims.LIFETIME = given.lifetime
    claims.HEARTBEAT = given.lifetime / 4

    def shifted(folder: Path | None = None) -> float:
        return time.time() + given.shift

    def tell(line: str) -> None:
        with given.log.open("a") as file:
            file.write(f"{line}\n")

    def wait(seconds: float) -> None:
        tell("idle")
        time.sleep(seconds)

    def told(cell: Any, block: int, *, stop: Callable[[], bool], **settings: Any) -> Any:
        tell(f"{cell.hash}-{block}")
        time.sleep(given.pause)
        asks = itertools.count(1)

        def held() -> bool:
            if next(asks) == given.hold:
                tell("held")
                while not stop():
                    time.sleep(0.01)
            return stop()

        return run_block(cell, block, stop=held, **settings)

    run.run_block = told
    file_time = shifted if given.dates_files else claims.file_system_now
    try:
        worker.work(given.root, claims.Machine(given.host, shifted, wait, file_time))
    except local.Preempted:
        sys.exit(3)
    except StudyError as error:
        sys.exit(f"error: {error}")
