"""Stop requests: SIGTERM, SIGUSR2, or the death of the process that began this one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import psutil

ORPHAN = 0.5  # seconds between looks whether the parent lives
SIGNALS = (signal.SIGTERM, signal.SIGUSR2)  # an operator's or a cluster's request to leave
HEAD = "STUDY_HEAD_PID"  # set by the head for those it starts on its own machine


class Preempted(Exception):  # noqa: N818  it is no error
    """The worker was asked to leave: its block has a checkpoint and is free."""


def die_with(parent: int) -> None:
    """End this process when `parent` is gone: nobody would ever stop it.

    All that training leaves can be left at any moment, so it may go without a word.
    """

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


class Requests:
    """Signals that ask this process to leave, from a context's start to its end.

    Python handles signals in the main thread alone; in another, nothing is heard. `notify` is
    called by each signal.
    """

    def __init__(self, notify: Callable[[], None]):
        self._notify = notify
        self._before: dict[signal.Signals, object] = {}
        self.leave = False

    def __enter__(self) -> Requests:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def _hear(self, *_: object) -> None:
        self.leave = True
        self._notify()
