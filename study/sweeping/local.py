"""Workers on this machine: joblib's processes, and a Hydra launcher that returns when they end."""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import psutil
from joblib import Parallel, delayed

from study.sweeping.folder import sentence
from study.sweeping.leaving import HEAD

if TYPE_CHECKING:  # a command that ends the processes before there is a study needs neither
    from study.sweeping.monitor import Monitor
    from study.sweeping.plan import Plan

Launch = Callable[[int], None]
"""Starts that many workers and blocks until they are back."""

# of a worker, and of the process that it forks to train
NEEDED = ("study.sweep", "study.sweeping.worker", "study.block.run")
LOOK = 0.05  # seconds between looks for processes that are still being started
PATIENCE = 10.0  # seconds in which joblib has surely heard of their end
_STARTER = "start-processes"


def start(joblib: Mapping[str, Any], *modules: str) -> None:
    """Have joblib start its processes and import modules there, which takes seconds.

    Returns at once. Whatever goes wrong is for those who need the processes to meet.

    **Arguments:**

    - `joblib`: settings of `joblib.Parallel`; a later one with the same finds those processes.
    - `modules`: names.
    """

    def run() -> None:
        with contextlib.suppress(Exception):
            Parallel(**joblib)([delayed(_import)(modules)] * joblib["n_jobs"])

    threading.Thread(target=run, name=_STARTER, daemon=True).start()


def _import(modules: tuple[str, ...]) -> None:
    for name in modules:
        importlib.import_module(name)


def start_workers(joblib: Mapping[str, Any]) -> None:
    """`start` with what a worker imports; meanwhile the head writes the orders."""
    _name_head()
    start(joblib, *NEEDED)


def end() -> None:
    """Kill the processes that were started: a command that fails does not wait for their imports.

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


def launch_until_finished(
    plan: Plan, monitor: Monitor, say: Callable[[str], None], *, launch: Launch
) -> str:
    """Launch again while workers that die leave blocks behind; returns the launcher's last error.

    Each death costs a block an attempt, so this ends. A launcher that brings nothing forward at
    all gets `retries` more chances, one at least: a death is counted by the next worker only.
    """
    _name_head()
    trouble, idle = "", 0
    while not (now := monitor.look()).finished and idle <= max(1, plan.run.retries):
        open_blocks = now.total - now.done - len(now.failed)
        # once only suspects are left, each is tried alone: a death then has one possible cause
        alone = bool(trouble) and now.retried + len(now.running) >= open_blocks
        workers = 1 if alone else min(plan.run.workers, now.room)
        try:
            launch(workers)
        except Exception as error:  # whatever a launcher raises when a worker dies
            trouble = sentence(error)
        idle = 0 if monitor.look().moved_from(now) else idle + 1
    return trouble


def _name_head() -> None:
    """Tell the processes that are started from now on whom they are not to outlive."""
    os.environ[HEAD] = str(os.getpid())
