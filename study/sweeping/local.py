"""Processes of this machine: workers started by a launcher, and when a process is to leave."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import psutil

from study.sweeping.folder import sentence

if TYPE_CHECKING:  # a command that ends the processes before there is a study needs neither
    from study.sweeping.monitor import Monitor
    from study.sweeping.plan import Plan

SIGNALS = (signal.SIGTERM, signal.SIGUSR2)  # an operator's or a cluster's request to leave
HEAD = "STUDY_HEAD_PID"  # set by the head for those it starts on its own machine
ORPHAN = 0.5  # seconds between looks whether the parent lives
LOOK = 0.05  # seconds between looks for processes that are still being started
PATIENCE = 10.0  # seconds in which joblib has surely heard of their end
_STARTER = "start-processes"


def launch_until_finished(
    plan: Plan, monitor: Monitor, say: Callable[[str], None], *, launch: Callable[[int], None]
) -> str:
    """Launch again while workers that die leave blocks behind; returns the launcher's last error.

    `launch` starts that many workers and blocks until they are back. Each death costs a block an
    attempt, so this ends. A launcher that brings nothing forward at all gets `retries` more
    chances, one at least: a death is counted by the next worker only.
    """
    os.environ[HEAD] = str(os.getpid())
    trouble, idle = "", 0
    while not (now := monitor.look()).finished and idle <= max(1, plan.run.retries):
        # once only suspects are left, each is tried alone: a death then has one possible cause
        alone = bool(trouble) and now.retried + len(now.running) >= now.room
        try:
            launch(1 if alone else min(plan.run.workers, now.room))
        except Exception as error:  # whatever a launcher raises when a worker dies
            trouble = sentence(error)
        idle = 0 if monitor.look().moved_from(now) else idle + 1
    return trouble


def start(joblib: Mapping[str, Any], *modules: str) -> None:
    """Have joblib start its processes and import modules there, which takes seconds.

    It returns at once. A later `joblib.Parallel` with the same settings finds the processes. What
    goes wrong is for those who need them to meet.
    """

    from joblib import Parallel, delayed

    def run() -> None:
        with contextlib.suppress(Exception):
            Parallel(**joblib)([delayed(_import)(modules)] * joblib["n_jobs"])

    threading.Thread(target=run, name=_STARTER, daemon=True).start()


def _import(modules: tuple[str, ...]) -> None:
    for name in modules:
        importlib.import_module(name)


def end() -> None:
    """Kill the processes that were started: a command that fails does not wait for their imports.

    joblib hears of it in a thread, and is left the time to clear up: two that do so, that thread
    and the interpreter at its end, would complain about each other.
    """
    begun = time.monotonic()
    while True:
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                if any("LokyProcess" in word for word in child.cmdline()):
                    child.kill()
        starters = [thread for thread in threading.enumerate() if thread.name == _STARTER]
        if not starters or time.monotonic() - begun > PATIENCE:
            return
        starters[0].join(LOOK)


class Preempted(Exception):  # noqa: N818  it is no error
    """The worker was asked to leave: its block has a checkpoint and is free."""


class Requests:
    """Hears signals that ask this process to leave, in the main thread alone; each calls `notify`.

    Use as a context manager.
    """

    def __init__(self, notify: Callable[[], None]):
        self._notify = notify
        self._before: dict[signal.Signals, Any] = {}
        self.leave = False

    def __enter__(self) -> Requests:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, *_: object) -> None:
        self.leave = True
        self._notify()


def die_with(parent: int) -> None:
    """End this process, which nobody would ever stop, when `parent` is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(ORPHAN)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watch-parent").start()


def stay_with_head() -> None:
    """End when the head on this machine does; it may be gone before this worker has begun."""
    head = int(os.environ.get(HEAD, "0"))
    if os.getppid() == head:
        die_with(head)
    elif head and not psutil.pid_exists(head):
        os._exit(1)
