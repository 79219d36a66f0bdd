"""The process that trains for a worker: one block after another, ended and begun anew at need.

Knows: a forked child, its pipe, signals, and what its end means. Does not know: claims, retries,
commits: the worker, which never trains, so that neither a long C call nor a crash, a hang or a lack
of memory in training can keep it from its duties.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import logging
import math
import multiprocessing
import os
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import yaml

from study import inputs
from study.config import Cell, make_cell
from study.core.training import Stopped
from study.sweeping.files import check_space, read_config, write_json
from study.sweeping.folder import Block

log = logging.getLogger("study.trainer")
LOGGERS = (logging.getLogger("study"), logging.getLogger("py.warnings"))
FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")

PROGRESS = 1.0  # seconds between two writes of the progress file
SPACE = 1.0  # seconds between two looks whether the disk is full
BEAT = 1.0  # seconds between heartbeats
GRACE = 10.0  # seconds to write a checkpoint in, once asked to stop
ORPHAN = 0.5  # seconds between looks whether the parent lives
SIGNALS = (signal.SIGTERM, signal.SIGUSR2)  # an operator's or a cluster's request to leave


@dataclasses.dataclass(frozen=True)
class Task:
    """One block to train.

    - `workspace`: where the block's files go.
    - `about`: what the progress file says besides the fraction done.
    - `swept`: the factors that are asked for.
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

    - `measures`: medians over its replicates; `factors`: those asked for, as the table has them.
    """

    measures: Mapping[str, float]
    factors: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Failed:
    """Why it is not trained, in a sentence, and where in the code."""

    error: str
    traceback: str


@dataclasses.dataclass(frozen=True)
class Interrupted:
    """It was asked to stop; a checkpoint holds what was trained."""


@dataclasses.dataclass(frozen=True)
class Pruned:
    """It was judged hopeless, after this share of its steps."""

    share: float


@dataclasses.dataclass(frozen=True)
class Reached:
    """The child asks whether to go on: it has reached a rung, counted from 0, with this value."""

    rung: int
    value: float


Ending = Trained | Failed | Interrupted | Pruned

Verdict = Callable[[int, float], bool]
"""(rung, value) -> whether training is worth going on with."""


def go_on(rung: int, value: float) -> bool:
    """Judge nothing."""
    return True


class Trainer:
    """A child process that trains; started with its first task, again after each death.

    Use as a context manager: the child does not outlive it.
    """

    def __init__(self) -> None:
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
        self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        if self._process is not None and self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, SIGNALS[0])

    def run(
        self,
        task: Task,
        *,
        limit: float,
        beat: Callable[[], object],
        verdict: Verdict = go_on,
    ) -> Ending:
        """Train one block.

        **Arguments:**

        - `limit`: seconds it may take.
        - `beat`: called every second meanwhile, whatever the child does.
        - `verdict`: asked at each of the task's rungs.

        **Raises:** `OSError` where no child can be started.
        """
        try:
            return self._run(task, limit, beat, verdict)
        except BaseException:  # Ctrl-C, say: nobody would hear how it ends
            self._end()
            raise

    def _run(
        self, task: Task, limit: float, beat: Callable[[], object], verdict: Verdict
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
                    pipe.send(verdict(message.rung, message.value))
            if not process.is_alive():
                return self._dead(process)
            now = time.monotonic()
            if now > self._stop_by:
                self._end()
                return Interrupted()
            if now > end:
                return self._overdue(process, limit)
            if self._stop_by < math.inf:
                self._ask_to_stop()  # again: a child that has just begun may not have heard
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
        process = context.Process(target=_serve, args=arguments, name="trainer")
        process.start()
        theirs.close()
        self._process = process
        return process, self._pipe

    def _dead(self, process: BaseProcess) -> Failed:
        process.join()
        code = process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"left with {code}"
        if code == -signal.SIGKILL:
            how += " (by hand, or for want of memory)"
        return Failed(f"the process that trained it {how}", self._last_words())

    def _overdue(self, process: BaseProcess, limit: float) -> Failed:
        """Where it hangs, then its end."""
        if process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGUSR1)
        process.join(0.5)
        words = self._last_words()
        self._end()
        return Failed(f"it was ended after {limit:.0f} s, its time_limit", words)

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


def die_with(parent: int) -> None:
    """End this process when `parent` is gone: nobody would ever stop it.

    All that training leaves can be left at any moment, so it may go without a word.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(ORPHAN)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watch-parent").start()


def _serve(pipe: Connection, parents: Connection, trace: Any, parent: int) -> None:
    """The child: train what comes through the pipe until it closes."""
    parents.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    asked = False

    def ask(*_: object) -> None:  # sets no event: a second signal would wait for its lock for ever
        nonlocal asked
        asked = True

    for number in SIGNALS:
        signal.signal(number, ask)
    faulthandler.enable(trace)
    faulthandler.register(signal.SIGUSR1, trace)
    with contextlib.suppress(OSError):  # where memory runs out, the kernel is to take this one
        Path("/proc/self/oom_score_adj").write_text("500")
    die_with(parent)
    _keep_log()
    check = _SpaceCheck()
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(_train(pipe.recv(), lambda: asked, pipe, check))


def _train(
    task: Task, stop: Callable[[], bool], pipe: Connection, check: Callable[[Path], object]
) -> Ending:
    from study import trial
    from study.trial import medians, run_block, write_block

    def judge(rung: int, value: float) -> bool:
        pipe.send(Reached(rung, value))
        return pipe.recv()

    try:
        with _log_to(task.workspace / "log.txt"):
            check(task.workspace)
            block = task.block
            cell = read_cell(block.folder.parent)
            log.info("cell %s, block %d, on %s", cell.hash, block.number, task.about["host"])
            begun = time.monotonic()
            result = run_block(
                cell,
                block.number,
                checkpoint=block.checkpoint,
                progress=_Progress(task),
                stop=stop,
                rungs=task.rungs,
                judge=judge,
            )
            log.info("done in %.1f s", time.monotonic() - begun)
            write_block(result, task.workspace)
            row = result.rows[0]  # they differ in no factor
            return Trained(medians(result.rows), {key: row[key] for key in task.swept})
    except Stopped:
        return Interrupted()
    except trial.Pruned as pruned:
        return Pruned(pruned.share)
    except Exception as error:
        return Failed(sentence(error), traceback.format_exc())


class _SpaceCheck:
    """Hours of training end in a few files: whether there is room for them.

    Looked at about once a second: a block that takes less loses less.
    """

    def __init__(self) -> None:
        self._looked = -math.inf

    def __call__(self, folder: Path) -> None:
        """**Raises:** `OSError` where there is none."""
        now = time.monotonic()
        if now - self._looked >= SPACE:
            check_space(folder)
            self._looked = now


class _Progress:
    """Tells the folder how far a block is, about once a second."""

    def __init__(self, task: Task):
        self._task = task
        self._written = time.monotonic()

    def __call__(self, fraction: float) -> None:
        now = time.monotonic()
        if now - self._written >= PROGRESS:
            self._written = now
            with contextlib.suppress(OSError):  # a full disk: the commit will say so
                write_json(self._task.block.progress, {**self._task.about, "fraction": fraction})


def sentence(error: BaseException) -> str:
    """An exception's type and the first line of what it says."""
    reason = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {reason}"


def read_cell(folder: Path) -> Cell:
    """The cell whose folder this is. **Raises:** `ValueError` if its config is not that cell's."""
    path = folder / "config.yaml"
    try:
        config = read_config(path)
        inputs.supply(config, folder.parents[1])
        cell = make_cell(config, compile=config["compile"])
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is torn ({sentence(error)}): the sweep's command, given again, writes it anew"
        ) from None
    if cell.hash != folder.name:
        raise ValueError(
            f"{path} describes cell {cell.hash}: it was edited, or written by another version; "
            "the sweep's command, given again, writes it anew"
        )
    return cell


def _keep_log() -> None:
    """Let the project's log and Python's warnings go to blocks' files alone."""
    logging.captureWarnings(True)
    for logger in LOGGERS:
        logger.setLevel(logging.INFO)
        logger.propagate = False


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Send what is kept to a file."""
    handler = logging.FileHandler(path, delay=True)
    handler.setFormatter(FORMAT)
    for logger in LOGGERS:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in LOGGERS:
            logger.removeHandler(handler)
        handler.close()
