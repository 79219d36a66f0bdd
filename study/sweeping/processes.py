"""Processes of this machine that joblib keeps, started before there is work for them.

Knows: that a library takes seconds to import, wherever it is. Does not know: what is done there.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
from collections.abc import Mapping
from typing import Any

import psutil
from joblib import Parallel, delayed

LOOK = 0.05  # seconds between looks for those that are still being started
PATIENCE = 10.0  # seconds in which joblib has surely heard of it
_STARTER = "start-processes"


def start(joblib: Mapping[str, Any], *modules: str) -> None:
    """Have joblib start its processes and import there what will be needed; returns at once.

    Whatever goes wrong is for whoever needs them to meet.

    **Arguments:**

    - `joblib`: settings of `joblib.Parallel`; a later one with the same finds those processes.
    - `modules`: names.
    """

    def imported() -> None:
        with contextlib.suppress(Exception):
            Parallel(**joblib)([delayed(_import)(modules)] * joblib["n_jobs"])

    threading.Thread(target=imported, name=_STARTER, daemon=True).start()


def end() -> None:
    """End those that were started: a command that fails does not wait for what they load.

    joblib hears of it in a thread, and is left the time to clear up: two that do so, that thread
    and the interpreter at its end, would complain about each other.
    """
    starters = [thread for thread in threading.enumerate() if thread.name == _STARTER]
    begun = time.monotonic()
    while True:
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                if any("LokyProcess" in word for word in child.cmdline()):
                    child.kill()
        waiting = [thread for thread in starters if thread.is_alive()]
        if not waiting or time.monotonic() - begun > PATIENCE:
            return
        waiting[0].join(LOOK)


def _import(modules: tuple[str, ...]) -> None:
    for name in modules:
        importlib.import_module(name)
