"""The process that trains for a worker: one block after another, until its pipe closes.

Who decides what is trained, and what becomes of it, is in `worker.py`; the worker's end of the pipe
is in `trainer.py`.
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
from typing import IO

from study.core.training.train import Stopped
from study.sweeping.cell_config import read_cell
from study.sweeping.folder import check_space, write_json
from study.sweeping.leaving import SIGNALS, die_with
from study.sweeping.trainer import (
    LEFT,
    Ending,
    Failure,
    Interrupted,
    PrunedAfter,
    Reached,
    Task,
    Trained,
)

log = logging.getLogger("study.trainer")
LOGGERS = (logging.getLogger("study"), logging.getLogger("py.warnings"))
FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")

PROGRESS = 1.0  # seconds between two writes of the progress file
SPACE = 1.0  # seconds between two looks whether the disk is full


def serve(pipe: Connection, parents: Connection, trace: IO[str], parent: int) -> None:
    """Train what comes through the pipe until it closes; what a `Trainer`'s child runs."""
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
    for logger in LOGGERS:  # what they say goes to blocks' files alone
        logger.setLevel(logging.INFO)
        logger.propagate = False
    check = _space_check()
    with contextlib.suppress(EOFError, OSError):
        while True:
            listening = False
            pipe.send(_train(pipe.recv(), stop, pipe, check))


def _train(
    task: Task, stop: Callable[[], bool], pipe: Connection, check: Callable[[Path], object]
) -> Ending:
    from study.block import run

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
            result = run.run_block(
                cell,
                block.number,
                checkpoint=block.checkpoint,
                progress=_progress(task),
                stop=stop,
                rungs=task.rungs,
                judge=judge,
            )
            log.info("done in %.1f s", time.monotonic() - begun)
            run.write_block(result, task.workspace)
            row = result.rows[0]  # they differ in no factor
            return Trained(run.medians(result.rows), {key: row[key] for key in task.swept})
    except Stopped:
        return Interrupted()
    except run.Pruned as pruned:
        return PrunedAfter(pruned.share)
    except Exception as error:
        return Failure.by(error)


def _space_check() -> Callable[[Path], None]:
    """A check that a folder's disk takes files, made about once a second.

    Hours of training end in a few files; a block that takes less than a second loses less.
    """
    last = -math.inf

    def check(folder: Path) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SPACE:
            check_space(folder)
            last = now

    return check


def _progress(task: Task) -> Callable[[float], None]:
    """A function that writes how far a block is, about once a second."""
    last = time.monotonic()

    def write(fraction: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PROGRESS:
            last = now
            with contextlib.suppress(OSError):  # a full disk: the commit will say so
                write_json(task.block.progress, {**task.about, "fraction": fraction})

    return write


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Send the log to a file."""
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
