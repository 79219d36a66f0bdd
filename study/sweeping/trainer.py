"""The process that trains for a worker, one block after another, and the worker's handle on it.

The worker itself never trains, so that no long C call, crash, hang or lack of memory stops it.
"""

import contextlib
import dataclasses
import faulthandler
import logging
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
from typing import IO, Any, Self

from study.core.training.train import Stopped
from study.sweeping.cell_config import read_cell
from study.sweeping.folder import Block, check_space, sentence, write_json
from study.sweeping.local import SIGNALS, die_with

log = logging.getLogger("study.trainer")

BEAT = 1.0  # seconds between heartbeats
GRACE = 10.0  # seconds to write a checkpoint in, once asked to stop
SELDOM = 1.0  # seconds between two writes of the progress file, or two tries of the disk
LEFT = 75  # the child's status when it is asked to stop and there is nothing to save

_LOGGERS = (logging.getLogger("study"), logging.getLogger("py.warnings"))
_FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


@dataclasses.dataclass(frozen=True)
class Task:
    """One block to train."""

    block: Block
    workspace: Path  # where the block's files go
    about: Mapping[str, Any]  # what the progress file says besides the fraction done
    swept: tuple[str, ...] = ()  # the factors that vary in the study
    rungs: tuple[float, ...] = ()  # shares of the training at which it is to be judged


@dataclasses.dataclass(frozen=True)
class Trained:
    """The block's files are in the workspace."""

    measures: Mapping[str, float]  # medians over its replicates
    factors: Mapping[str, Any]  # those that vary, as the table has them


@dataclasses.dataclass(frozen=True)
class Failure:
    """A failed attempt: why, in a sentence, and where in the code."""

    error: str
    traceback: str

    @classmethod
    def by(cls, error: BaseException) -> Self:
        return cls(sentence(error), "".join(traceback.format_exception(error)))


@dataclasses.dataclass(frozen=True)
class Interrupted:
    """It was asked to stop; a checkpoint holds what was trained."""


@dataclasses.dataclass(frozen=True)
class PrunedAfter:
    """It was pruned, after this share of its steps."""

    share: float


Ending = Trained | Failure | Interrupted | PrunedAfter

Verdict = Callable[[int, float], bool]
"""(rung, counted from 0, value there) -> whether training is worth going on with."""


class Trainer:
    """A child process that trains; started with its first task, again after each death.

    Use as a context manager: the child does not outlive it.
    """

    def __init__(self) -> None:
        self._child: tuple[BaseProcess, Connection] | None = None
        self._trace = tempfile.TemporaryFile("w+")  # noqa: SIM115  the child's last words
        self._stop_by = math.inf

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._trace.close()

    @property
    def pid(self) -> int | None:
        """The child's, while there is one."""
        return self._child[0].pid if self._child is not None else None

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
        """Train one block, for `limit` seconds at most.

        `beat` is called every second meanwhile, `verdict` at each of the task's rungs.

        **Raises:** `OSError` if no child can be started.
        """
        with contextlib.ExitStack() as raised:  # Ctrl-C, say: nobody would hear how it ends
            raised.callback(self._end)
            process, pipe = self._running()
            with contextlib.suppress(BrokenPipeError):  # its death is seen below
                pipe.send(task)
            ending, end = None, time.monotonic() + limit
            while ending is None:
                patience = min(end, self._stop_by) - time.monotonic()
                wait([pipe, process.sentinel], timeout=max(0.0, min(BEAT, patience)))
                ending = self._heard(pipe, verdict) or self._over(process, end, limit)
                if ending is None:
                    if self._stop_by < math.inf:  # again: a new child may not have heard
                        self._signal(SIGNALS[0])
                    beat()
            raised.pop_all()
            return ending

    def _running(self) -> tuple[BaseProcess, Connection]:
        if self._child is None or not self._child[0].is_alive():
            self._end()
            self._trace.seek(0)
            self._trace.truncate()
            # forked: torch is in memory already, and nothing has begun to use it
            context = multiprocessing.get_context("fork")
            ours, theirs = context.Pipe()
            arguments = (theirs, ours, self._trace, os.getpid())
            process = context.Process(target=_serve, args=arguments, name="trainer")
            process.start()
            theirs.close()
            self._child = process, ours
        return self._child

    def _heard(self, pipe: Connection, verdict: Verdict | None) -> Ending | None:
        """Read what the child sends; answer its question, or return the ending it tells."""
        if pipe.poll():
            with contextlib.suppress(EOFError, OSError):  # half a message: it died in it
                message = pipe.recv()
                if not isinstance(message, tuple):
                    return message
                pipe.send(verdict is None or verdict(*message))
        return None

    def _over(self, process: BaseProcess, end: float, limit: float) -> Ending | None:
        """How it has ended if the child is dead, does not stop or takes too long."""
        if not process.is_alive():
            process.join()
            code = process.exitcode or 0
            if code == LEFT or self._stop_by < math.inf:
                return Interrupted()
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"left with {code}"
            if code == -signal.SIGKILL:
                how += " (by hand, or for want of memory)"
            return Failure(f"the process that trained it {how}", self._last_words())
        if time.monotonic() > self._stop_by:
            self._end()
            return Interrupted()
        if time.monotonic() > end:
            self._signal(signal.SIGUSR1)  # it writes where it hangs
            process.join(0.5)
            self._end()
            return Failure(f"it was ended after {limit:.0f} s, its time_limit", self._last_words())
        return None

    def _last_words(self) -> str:
        self._trace.seek(0)
        return self._trace.read()

    def _end(self) -> None:
        if self._child is not None:
            process, pipe = self._child
            self._child = None
            process.kill()
            process.join()
            process.close()
            pipe.close()


def _serve(pipe: Connection, parents: Connection, trace: IO[str], parent: int) -> None:
    """Train what comes through the pipe until it closes; what the child of a `Trainer` runs."""
    parents.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    stopping = listening = False

    def ask(*_: object) -> None:  # sets no event: a second signal would wait for its lock for ever
        nonlocal stopping
        stopping = True
        if not listening:  # nothing is trained yet; data may take minutes to integrate
            os._exit(LEFT)

    def stop() -> bool:
        nonlocal listening
        listening = True
        return stopping

    for number in SIGNALS:
        signal.signal(number, ask)
    faulthandler.enable(trace)
    faulthandler.register(signal.SIGUSR1, trace)
    with contextlib.suppress(OSError):  # if memory runs out, the kernel is to take this one
        Path("/proc/self/oom_score_adj").write_text("500")
    die_with(parent)
    logging.captureWarnings(True)
    for logger in _LOGGERS:  # what they say goes to blocks' files alone
        logger.setLevel(logging.INFO)
        logger.propagate = False
    # hours of training end in a few files; a block that takes less than a second loses less
    check = _seldom(check_space, -math.inf)
    with contextlib.suppress(EOFError, OSError):
        while True:
            listening = False
            pipe.send(_train(pipe.recv(), stop, pipe, check))


def _train(
    task: Task, stop: Callable[[], bool], pipe: Connection, check: Callable[[Path], None]
) -> Ending:
    from study.block import run

    def judge(rung: int, value: float) -> bool:
        pipe.send((rung, value))
        return pipe.recv()

    def tell(fraction: float) -> None:
        with contextlib.suppress(OSError):  # a full disk: the commit will say so
            write_json(task.block.progress, {**task.about, "fraction": fraction})

    handler = logging.FileHandler(task.workspace / "log.txt", delay=True)
    handler.setFormatter(_FORMAT)
    for logger in _LOGGERS:
        logger.handlers = [handler]
    try:
        with contextlib.closing(handler):
            check(task.workspace)
            block = task.block
            cell = read_cell(block.folder.parent)
            log.info("cell %s, block %d, on %s", cell.hash, block.number, task.about["host"])
            begun = time.monotonic()
            result = run.run_block(
                cell,
                block.number,
                checkpoint=block.checkpoint,
                progress=_seldom(tell, begun),
                stop=stop,
                rungs=task.rungs,
                judge=judge,
            )
            log.info("done in %.1f s", time.monotonic() - begun)
            run.write_block(result, task.workspace)
            row = result.rows[0]  # they differ in no factor
            swept = {key: row[key] for key in task.swept if key in row}  # friction may be none
            return Trained(run.medians(result.rows), swept)
    except Stopped:
        return Interrupted()
    except run.Pruned as pruned:
        return PrunedAfter(pruned.share)
    except Exception as error:
        return Failure.by(error)


def _seldom(function: Callable[[Any], object], last: float) -> Callable[[Any], None]:
    """The function, but of its calls only one a second is carried out, counted from `last`."""

    def call(argument: Any) -> None:
        nonlocal last
        if time.monotonic() - last >= SELDOM:
            function(argument)
            last = time.monotonic()

    return call
