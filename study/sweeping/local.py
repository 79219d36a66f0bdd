"""Workers on this machine, through a Hydra launcher that returns when they have ended.

Knows: when it is worth starting workers again, and that joblib keeps its processes. Does not know:
any other launcher, or what a worker does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from study.sweeping import processes
from study.sweeping.files import sentence
from study.sweeping.leaving import HEAD
from study.sweeping.monitor import Monitor
from study.sweeping.plan import Plan

Launch = Callable[[int], None]
"""Starts that many workers and blocks until they are back."""

# of a worker, and of the process that it forks to train
NEEDED = ("study.sweep", "study.sweeping.worker", "study.trial")


def start_processes(joblib: Mapping[str, Any]) -> None:
    """Have joblib start its processes and import there what a worker does, which takes seconds.

    Meanwhile the head writes what they are to do.

    **Arguments:**

    - `joblib`: settings of `joblib.Parallel`; a launcher with the same finds those processes.
    """
    _say_who_is_head()
    processes.start(joblib, *NEEDED)


def launch_until_finished(
    plan: Plan, monitor: Monitor, say: Callable[[str], None], *, launch: Launch
) -> str:
    """Launch again while workers that die leave blocks behind; returns the launcher's last error.

    Each death costs a block an attempt, so this ends. A launcher that brings nothing forward at
    all gets `retries` more chances, one at least: a death is counted by the next worker only.
    """
    _say_who_is_head()
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


def _say_who_is_head() -> None:
    """To the processes that are started from now on, which are not to outlive it."""
    os.environ[HEAD] = str(os.getpid())
