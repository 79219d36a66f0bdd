"""What can happen to a process that trains, to be planned block by block.

    from tests.sweeping import faults; faults.install(trial)

A file `plan/<cell>-<block>` in the current folder names the faults of that block's trainings, the
next one first; each happens once.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from study.sweeping import claims
from study.sweeping.folder import Block

LIFETIME = 4.0  # seconds: nobody can tell who left a torn lock, so it has to grow old


class Fault(NamedTuple):
    """What happens, and what is to be found in the record of the attempt and in its traceback."""

    happen: Callable[[], Any]
    error: str
    traceback: str


def fail() -> None:
    raise RuntimeError("a bad day\nand more")


def want_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 36, resource.RLIM_INFINITY))
    np.ones(1 << 40)


def fill_the_disk() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


DEATH = "its worker died"

FAULTS = {
    "exception": Fault(fail, "RuntimeError: a bad day", "in fail"),
    "killed": Fault(lambda: os.kill(os.getpid(), signal.SIGKILL), "killed by SIGKILL", ""),
    "crash": Fault(lambda: ctypes.string_at(0), "killed by SIGSEGV", "faults.py"),
    "hang": Fault(lambda: time.sleep(600), "its time_limit", "faults.py"),
    "memory": Fault(want_memory, "MemoryError", "in want_memory"),
    "full": Fault(fill_the_disk, "No space left on device", "in fill_the_disk"),
    "left": Fault(lambda: os._exit(0), "left with 0", ""),
    "supervisor": Fault(lambda: os.kill(os.getppid(), signal.SIGKILL), DEATH, ""),
}


def install(trial: Any) -> None:
    """Let what is planned happen in front of the real training."""
    real = trial.run_block
    claims.LIFETIME, claims.HEARTBEAT = LIFETIME, LIFETIME / 8

    def run_block(cell: Any, block: int, **settings: Any) -> Any:
        plan = Path("plan") / f"{cell.hash}-{block}"
        kinds = plan.read_text().split() if plan.exists() else []
        if kinds:
            plan.write_text(" ".join(kinds[1:]))
            FAULTS[kinds[0]].happen()
        return real(cell, block, **settings)

    trial.run_block = run_block


def plan(block: Block, kinds: Sequence[str]) -> None:
    """Have faults happen to a block's next trainings."""
    folder = Path("plan")
    folder.mkdir(exist_ok=True)
    (folder / f"{block.cell}-{block.number}").write_text(" ".join(kinds))
