"""A worker's side of the process that trains: tasks in, endings out, a new process at need.

The worker itself never trains, so neither a long C call nor a crash, a hang or a lack of memory in
training can keep it from its duties. What the child does is in `training_process.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import multiprocessing
import os
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any

from study.sweeping.folder import Block, sentence
from study.sweeping.leaving import SIGNALS

BEAT = 1.0  # seconds between heartbeats
GRACE = 10.0  # seconds to write a checkpoint in, once asked to stop
LEFT = 75  # the child's status when it is asked to stop and there is nothing to save


@dataclasses.dataclass(frozen=True)
class Task:
    """One block to train.

    - `workspace`: where the block's files go.
    - `about`: what the progress file says besides the fraction done.
    - `swept`: the factors that vary in the study.
    - `rungs`: shares of the training at which it is to be judged.
    """

    block: Block
    workspace: Path
    about: Mapping[str, Any]
    swept: tuple[str, ...] = ()
    rungs: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class Trained:
    """The block's files are in the workspace.

    - `measures`: medians over its replicates; `factors`: those that vary, as the table has them.
    """

    measures: Mapping[str, float]
    factors: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Failure:
    """A failed attempt: why, in a sentence, and where in the code."""

    error: str
    traceback: str

    @classmethod
    def by(cls, error: BaseException) -> Failure:
        return cls(sentence(error), "".join(traceback.format_exception(error)))


@dataclasses.dataclass(frozen=True)
class Interrupted:
    """It was asked to stop; a checkpoint holds what was trained."""


@dataclasses.dataclass(frozen=True)
class PrunedAfter:
    """It was pruned, after this share of its steps."""

    share: float


@dataclasses.dataclass(frozen=True)
class Reached:
    """The child asks whether to go on: it has reached a rung, counted from 0, with this value."""

    rung: int
    value: float


Ending = Trained | Failure | Interrupted | PrunedAfter

Verdict = Callable[[int, float], bool]
"""(rung, value) -> whether training is worth going on with."""


Serve = Callable[[Connection, Connection, IO[str], int], None]
"""What the child runs: (its end of the pipe, the parent's end, a file for the trace of a crash, the
parent's process number) -> nothing."""


class Trainer:
    """A child process that trains; started with its first task, again after each death.

    Use as a context manager: the child does not outlive it.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._trace = tempfile.TemporaryFile("w+")  # noqa: SIM115  the child's last words
        self._stop_by = math.inf

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._trace.close()

    @property
    def pid(self) -> int | None:
        """The child's, while there is one."""
        return self._process.pid if self._process is not None else None

    def stop(self) -> None:
        """Ask for a checkpoint and an end, from a signal handler too; `run` returns soon."""
        self._stop_by = min(self._stop_by, time.monotonic() + GRACE)
        self._signal(SIGNALS[0])

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def run(
        self,
        task: Task,
        *,
        limit: float,
        beat: Callable[[], object],
        verdict: Verdict | None = None,
    ) -> Ending:
        """Train one block.

        **Arguments:**

        - `limit`: seconds it may take.
        - `beat`: called every second meanwhile, whatever the child does.
        - `verdict`: called at each of the task's rungs.

        **Raises:** `OSError` if no child can be started.
        """
        try:
            return self._run(task, limit, beat, verdict)
        except BaseException:  # Ctrl-C, say: nobody would hear how it ends
            self._end()
            raise

    def _run(
        self, task: Task, limit: float, beat: Callable[[], object], verdict: Verdict | None
    ) -> Ending:
        process, pipe = self._running()
        with contextlib.suppress(BrokenPipeError):  # its death is seen below
            pipe.send(task)
        end = time.monotonic() + limit
        while True:
            patience = min(end, self._stop_by) - time.monotonic()
            wait([pipe, process.sentinel], timeout=max(0.0, min(BEAT, patience)))
            if pipe.poll():
                with contextlib.suppress(EOFError, OSError):  # half a message: it died in it
                    message = pipe.recv()
                    if not isinstance(message, Reached):
                        return message
                    pipe.send(verdict is None or verdict(message.rung, message.value))
            if not process.is_alive():
                return self._dead(process)
            now = time.monotonic()
            if now > self._stop_by:
                self._end()
                return Interrupted()
            if now > end:
                return self._overdue(process, limit)
            if self._stop_by < math.inf:
                self._signal(SIGNALS[0])  # again: a child that has just begun may not have heard
            beat()

    def _running(self) -> tuple[BaseProcess, Connection]:
        if self._process is not None and self._pipe is not None and self._process.is_alive():
            return self._process, self._pipe
        self._end()
        self._trace.seek(0)
        self._trace.truncate()
        # forked: torch is in memory already, and nothing has begun to use it
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, self._pipe, self._trace, os.getpid())
        process = context.Process(target=self._serve, args=arguments, name="trainer")
        process.start()
        theirs.close()
        self._process = process
        return process, self._pipe

    def _dead(self, process: BaseProcess) -> Failure | Interrupted:
        process.join()
        code = process.exitcode or 0
        if code == LEFT or self._stop_by < math.inf:
            return Interrupted()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"left with {code}"
        if code == -signal.SIGKILL:
            how += " (by hand, or for want of memory)"
        return Failure(f"the process that trained it {how}", self._last_words())

    def _overdue(self, process: BaseProcess, limit: float) -> Failure:
        """Have the child trace where it hangs, then end it."""
        self._signal(signal.SIGUSR1)
        process.join(0.5)
        words = self._last_words()
        self._end()
        return Failure(f"it was ended after {limit:.0f} s, its time_limit", words)

    def _last_words(self) -> str:
        self._trace.seek(0)
        return self._trace.read()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None
