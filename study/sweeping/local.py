"""Workers on this machine, through a Hydra launcher that returns when they have ended.

Knows: when it is worth starting workers again. Does not know: which launcher it is, or what a
worker does.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from study.sweeping.leaving import HEAD
from study.sweeping.monitor import Monitor
from study.sweeping.plan import Plan

Launch = Callable[[int], None]
"""Starts that many workers and blocks until they are back."""


def launch_until_finished(
    plan: Plan, monitor: Monitor, say: Callable[[str], None], *, launch: Launch
) -> str:
    """Launch again while workers that die leave blocks behind; returns the launcher's last error.

    Each death costs a block an attempt, so this ends. A launcher that brings nothing forward at
    all gets `retries` more chances, one at least: a death is counted by the next worker only.
    """
    os.environ[HEAD] = str(os.getpid())
    trouble, idle = "", 0
    while not (now := monitor.look()).finished and idle <= max(1, plan.run.retries):
        open_blocks = now.total - now.done - len(now.failed)
        # once only suspects are left, each is tried alone: a death then has one possible cause
        alone = bool(trouble) and now.retried + len(now.running) >= open_blocks
        workers = 1 if alone else min(plan.run.workers, now.room)
        try:
            launch(workers)
        except Exception as error:  # whatever a launcher raises when a worker dies
            trouble = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        idle = 0 if monitor.look().moved_from(now) else idle + 1
    return trouble
