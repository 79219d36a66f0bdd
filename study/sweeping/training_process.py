"""The process that trains for a worker: one block after another.

Knows: its end of the pipe, its log, how far it is, that it may be asked to stop at any moment. Does
not know: who decides what is trained, and what becomes of it (`trainer.py`, `worker.py`).
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from study.core.training.train import Stopped
from study.sweeping.cell_config import read_cell
from study.sweeping.files import check_space, write_json
from study.sweeping.leaving import SIGNALS, die_with
from study.sweeping.tasks import Ending, Failed, Interrupted, Pruned, Reached, Task, Trained

log = logging.getLogger("study.trainer")
LOGGERS = (logging.getLogger("study"), logging.getLogger("py.warnings"))
FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")

PROGRESS = 1.0  # seconds between two writes of the progress file
LEFT = 75  # its status when it is asked to stop and there is nothing to save
SPACE = 1.0  # seconds between two looks whether the disk is full


def serve(pipe: Connection, parents: Connection, trace: Any, parent: int) -> None:
    """The child: train what comes through the pipe until it closes."""
    parents.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    asked = listening = False

    def ask(*_: object) -> None:  # sets no event: a second signal would wait for its lock for ever
        nonlocal asked
        asked = True
        if not listening:  # nothing is trained yet; data may take minutes to integrate
            os._exit(LEFT)

    def stop() -> bool:
        nonlocal listening
        listening = True
        return asked

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
            listening = False
            pipe.send(_train(pipe.recv(), stop, pipe, check))


def _train(
    task: Task, stop: Callable[[], bool], pipe: Connection, check: Callable[[Path], object]
) -> Ending:
    from study.block import run
    from study.block.run import medians, run_block, write_block

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
    except run.Pruned as pruned:
        return Pruned(pruned.share)
    except Exception as error:
        return Failed.by(error)


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
