"""One worker: claim a block, run it, commit it, go on until nothing is left.

Knows: the loop, retries, what a failure leaves behind. Does not know: who started it or who else
works beside it; the study's folder tells it all. Its results never live only in a return value.

An exception costs its own block one attempt. A worker that dies hard costs the block it held one
attempt too, counted by whoever takes the block over; blocks with fewer attempts go first, so that
one that kills its workers cannot hold up the rest.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import shutil
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from study.config import Cell, make_cell
from study.sweeping import claims, ledger
from study.sweeping.folder import (
    Block,
    Orders,
    StudyFolder,
    read_config,
    read_json,
    write_json,
)

log = logging.getLogger("study.worker")

HEAD = "STUDY_HEAD_PID"  # set by the head for those it starts on its own machine
POLL = 1.0  # seconds between looks while others hold all that is left
PROGRESS = 1.0  # seconds between two writes of the progress file


def work(root: str | Path) -> None:
    """Run blocks of the study in `root` until each is done or has failed for good.

    **Raises:** `StudyError` if the folder is not a study's; nothing for a block that fails.
    """
    import torch

    torch.set_num_threads(1)
    _die_with_head()
    folder = StudyFolder(Path(root).resolve())
    orders = folder.read_orders()
    worker = Worker(folder, orders)
    while todo := worker.todo():
        passed = [worker.attempt(block) for block in todo]
        if not any(passed):
            time.sleep(POLL * random.uniform(0.5, 1.5))


class Worker:
    """What a worker remembers between blocks."""

    def __init__(self, folder: StudyFolder, orders: Orders):
        self.folder = folder
        self.orders = orders
        self._unrecorded: Counter[Path] = Counter()  # failures that even the disk refused

    def todo(self) -> list[Block]:
        """Blocks neither done nor given up, those with the fewest failed attempts first."""
        attempts = {
            seen.block: self.attempts(seen.block)
            if seen.failed
            else self._unrecorded[seen.block.folder]
            for seen in self.folder.survey(self.orders)
            if not seen.done
        }
        blocks = [block for block, tried in attempts.items() if tried <= self.orders.retries]
        return sorted(blocks, key=lambda block: attempts[block])

    def attempts(self, block: Block) -> int:
        """Failed attempts of this command."""
        return len(block.failures(self.orders.run)) + self._unrecorded[block.folder]

    def attempt(self, block: Block) -> bool:
        """Claim and run one block; False if it was another's or is done."""
        if block.done:
            return False
        try:
            claim = claims.take(block.lock)
        except OSError as error:
            self._fail(block, _sentence(error), traceback.format_exc())
            return True
        if claim is None:
            return False
        with claim:
            if block.done or self.attempts(block) > self.orders.retries:
                return False  # another was here between the look and the claim
            claims.clean(block.folder)
            if claim.predecessor is not None and self._count_death(block, claim.predecessor):
                return True
            self._run(block)
        return True

    def _count_death(self, block: Block, dead: claims.Holder) -> bool:
        """Whether a worker of this command died here, which then counts as a failed attempt.

        The block goes to the end of the queue, for a launcher may be about to end us too.
        """
        last = read_json(block.progress)
        block.progress.unlink(missing_ok=True)
        if last is None or last.get("run") != self.orders.run:
            return False
        self._fail(block, f"its worker died (host {dead.host}, pid {dead.pid})", "")
        return True

    def _run(self, block: Block) -> None:
        """Train and commit; an exception becomes a recorded failure."""
        started = time.time()
        workspace = None
        try:
            workspace = claims.workspace(block.folder)
            with _log_to(workspace / "log.txt"):
                accepted = self._train(block, workspace, started)
            if accepted:
                block.checkpoint.unlink(missing_ok=True)
                self._tell_ledger(ledger.record, block)
        except Exception as error:
            if type(error).__module__.startswith("submitit"):
                raise  # the job's time is up: not this block's fault
            self._fail(block, _sentence(error), traceback.format_exc())
        finally:
            block.progress.unlink(missing_ok=True)
            if workspace is not None:
                shutil.rmtree(workspace, ignore_errors=True)

    def _train(self, block: Block, workspace: Path, started: float) -> bool:
        from study.trial import run_block, write_block

        if block.folder.exists():  # yet not done: it could never be committed
            raise FileExistsError(f"{block.folder} holds no replicates.parquet: remove it")
        cell = _read_cell(self.folder.cell(block.cell))
        log.info("cell %s, block %d, on %s", block.cell, block.number, claims.this_host())
        report = _Progress(self, block, started)
        report(0.0)
        result = run_block(cell, block.number, checkpoint=block.checkpoint, progress=report)
        seconds = time.time() - started
        log.info("done in %.1f s", seconds)
        write_block(result, workspace)
        about = {"host": claims.this_host(), "pid": os.getpid(), "run": self.orders.run}
        about |= {"started": started, "seconds": seconds, "attempt": self.attempts(block) + 1}
        write_json(workspace / "run.json", about)
        return claims.commit(workspace, block.folder)

    def _fail(self, block: Block, error: str, trace: str) -> None:
        """Leave a record of a failed attempt; from the second on, distrust the checkpoint."""
        log.warning("cell %s, block %d failed: %s", block.cell, block.number, error)
        attempt = {"run": self.orders.run, "error": error, "traceback": trace}
        attempt |= {"host": claims.this_host(), "pid": os.getpid(), "time": time.time()}
        try:
            block.add_failure(attempt)
        except OSError:
            self._unrecorded[block.folder] += 1
        if self.attempts(block) > 1:
            with contextlib.suppress(OSError):
                block.checkpoint.unlink()
        self._tell_ledger(ledger.record_failure, block, error)

    def _tell_ledger(self, record: Callable[..., None], block: Block, *details: str) -> None:
        """The ledger's troubles cost no block: the head reconciles it in the end."""
        try:
            book = ledger.open_ledger(self.folder, self.orders.storage)
            record(book, self.folder, self.orders, block, *details)
        except Exception as error:
            log.warning("not recorded in the ledger: %s", error)


class _Progress:
    """Tells the folder how far a block is, about once a second."""

    def __init__(self, worker: Worker, block: Block, started: float):
        self._path = block.progress
        self._written = 0.0
        self._state = {"host": claims.this_host(), "pid": os.getpid(), "started": started}
        self._state["run"] = worker.orders.run

    def __call__(self, fraction: float) -> None:
        now = time.time()
        if now - self._written >= PROGRESS:
            self._written = now
            with contextlib.suppress(OSError):  # a full disk: the commit will say so
                write_json(self._path, {**self._state, "fraction": fraction})


def _die_with_head() -> None:
    """End a worker on the head's own machine when the head is gone: nobody would ever stop it.

    Everything a worker leaves can be left at any moment, so it may go without a word.
    """
    head = os.getppid()
    if os.environ.get(HEAD) != str(head):
        return  # a cluster's job, or the head itself

    def watch() -> None:
        while os.getppid() == head:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watch-head").start()


def _sentence(error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {reason}"


def _read_cell(folder: Path) -> Cell:
    config = read_config(folder / "config.yaml")
    cell = make_cell(config, compile=config["compile"])
    if cell.hash != folder.name:
        raise ValueError(
            f"{folder / 'config.yaml'} describes cell {cell.hash}: it was edited, or written by "
            "another version"
        )
    return cell


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Send the project's log and Python's warnings to a file."""
    handler = logging.FileHandler(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger("study"), logging.getLogger("py.warnings")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    logging.captureWarnings(True)
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
        handler.close()
