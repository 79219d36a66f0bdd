"""One worker: claim a block, have it trained, commit it, go on until nothing is left.

Whatever goes wrong in training, a death of the worker included, costs its block one attempt. Blocks
with fewer attempts go first, so that one that kills its workers cannot hold up the rest.
"""

import contextlib
import functools
import json
import logging
import os
import random
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.sweeping import claims, ledger
from study.sweeping.claims import HERE, Claim, Committer, Machine
from study.sweeping.cost import cpp_trouble
from study.sweeping.folder import Block, StudyError, StudyFolder, Survey, write_json
from study.sweeping.local import Preempted, Requests, stay_with_head
from study.sweeping.provenance import code_version
from study.sweeping.searcher import Searcher, Trial
from study.sweeping.trainer import Failure, Interrupted, PrunedAfter, Task, Trained, Trainer

log = logging.getLogger("study.worker")

NEAR = 32  # blocks are near each other within so small a part of what is left
RECORD = "run.json"  # what a workspace has when its block is trained
POLL = 1.0  # seconds between looks while others hold all that is left; the first come sooner
SOON = 0.05


def work(root: str | Path, machine: Machine = HERE) -> None:
    """Run blocks of the study in `root` until each is done or has failed for good.

    **Raises:** `StudyError` if the folder is not a study's or this machine cannot work on it;
    `Preempted` on SIGTERM and SIGUSR2; nothing for a block that fails.
    """
    import study.block.run  # noqa: F401  in memory before its version is asked for: trainers are forked

    stay_with_head()
    with Trainer() as trainer, Requests(trainer.stop) as requests:
        Worker(StudyFolder(Path(root).resolve()), trainer, requests, machine).run()


class Worker:
    """What a worker remembers between blocks."""

    def __init__(
        self, folder: StudyFolder, trainer: Trainer, requests: Requests, machine: Machine = HERE
    ):
        self.folder, self._machine = folder, machine
        self._trainer, self._requests = trainer, requests
        self._take_orders()
        self._committer = Committer()
        self._unrecorded: Counter[Path] = Counter()  # failures that even the disk refused

    def run(self) -> None:
        """All that is left. **Raises:** as `work`."""
        pause = SOON
        try:
            while True:
                self._committer.settle()
                todo = self.todo()
                passed: bool | None = sum(self.attempt(block) for block in todo) > 0
                if not todo:
                    passed = self._searcher.step()
                    if passed is None:
                        return
                if passed:
                    pause = SOON
                    continue
                self._heed()
                self._recorder.flush(at_once=True)
                self._machine.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(POLL, 1.5 * pause)
        finally:
            self._committer.settle()
            self._recorder.flush(at_once=True)

    def _take_orders(self) -> None:
        """Read what there is to do. **Raises:** `StudyError` if it cannot be done here."""
        self._read = self.folder.changed()
        self.orders = orders = self.folder.read_orders()
        if orders.code not in (None, code_version()):
            raise StudyError(
                f"study {self.folder.name} is to be run by {orders.code}, and this worker is "
                f"{code_version()}: install here what the head has, or give the sweep's command "
                "again with what is here"
            )
        if orders.compiled and (trouble := cpp_trouble()):
            raise StudyError(
                f"study {self.folder.name} is to be trained in C++, which {self._machine.host} "
                f"cannot: {trouble}; or give the sweep's command again with compile=false"
            )
        self._survey = Survey(self.folder, orders)
        self._searcher = Searcher(self.folder, orders, self.attempt, self._given_up, self._heed)
        self._recorder = ledger.Recorder(self.folder, orders)

    def todo(self) -> list[Block]:
        """Blocks neither done nor given up, those with the fewest failed attempts first.

        Blocks near each other are shuffled, or many workers would all try for the same one.
        """
        if self.folder.changed() != self._read:  # a later command's orders
            self._recorder.flush(at_once=True)
            self._take_orders()
        attempts = {
            block: self.attempts(block) if failed else self._unrecorded[block.folder]
            for block, done, _, failed in self._survey.look()
            if not done
        }
        blocks = [block for block, tried in attempts.items() if tried <= self.orders.retries]
        near = 1 + len(blocks) // NEAR
        place = {block: (attempts[block], k // near) for k, block in enumerate(blocks)}
        return sorted(blocks, key=lambda block: (*place[block], random.random()))

    def _given_up(self, block: Block) -> bool:
        return self.attempts(block) > self.orders.retries

    def attempts(self, block: Block) -> int:
        """Failed attempts of this command."""
        return len(block.failures(self.orders.run)) + self._unrecorded[block.folder]

    def attempt(self, block: Block, trial: Trial | None = None) -> bool:
        """Claim and run one block, of a search's trial perhaps; False if it is another's."""
        self._heed()
        if block.done:
            return False
        try:
            claim = claims.take(block.lock, self._machine)
        except OSError as error:
            self._fail(block, Failure.by(error))
            return True
        if claim is None:
            return False
        with contextlib.ExitStack() as held:
            held.enter_context(claim)
            if block.done or self._given_up(block):
                return False  # another was here between the look and the claim
            before = claim.predecessor
            leave = before is not None and self._count_death(block, before)
            claims.clean(block.folder, self._machine)
            if not leave:
                self._run(block, claim, trial, held)
        if trial is not None:  # the search needs its value at once
            self._committer.settle()
        return True

    def _heed(self) -> None:
        if self._requests.leave:
            raise Preempted

    def _count_death(self, block: Block, before: claims.Holder) -> bool:
        """Count a failed attempt if a worker of this command trained the block and is gone.

        Returns whether to leave the block alone for now: after a death on this machine the
        launcher may be about to end us too.
        """
        block.progress.unlink(missing_ok=True)
        left = claims.workspaces(block.folder, before, self.orders.run)
        if all((workspace / RECORD).exists() for workspace in left):
            return False  # it was not training, or no more
        who = f"(host {before.host}, pid {before.pid})"
        what = "died" if before.dead else f"was not heard of for {claims.LIFETIME:.0f} s"
        self._fail(block, Failure(f"its worker {what} {who}", ""))
        return before.dead or self._given_up(block)

    def _run(
        self, block: Block, claim: Claim, trial: Trial | None, held: contextlib.ExitStack
    ) -> None:
        """Train, and begin to commit; what goes wrong becomes a recorded failure."""
        started = self._machine.clock()
        about = {**self._signature, "started": started}

        def beat() -> None:
            with contextlib.suppress(OSError):  # a full disk: training it will say so
                if claim.beat():
                    os.utime(workspace)  # or it counts as abandoned after a day
                # not before the first beat: most of ten thousand blocks are sooner done
                if not block.progress.exists():
                    write_json(block.progress, {**about, "fraction": 0.0})
            self._committer.beat()
            self._searcher.beat()
            self._recorder.flush()

        try:
            if block.folder.exists():  # yet not done: nothing could ever be committed
                raise FileExistsError(f"{block.folder} holds no replicates.parquet: remove it")
            workspace = claims.workspace(block.folder, self.orders.run, self._machine)
            held.callback(shutil.rmtree, workspace, ignore_errors=True)
            rungs = trial.rungs if trial else ()
            try:
                ending = self._trainer.run(
                    Task(block, workspace, about, tuple(self.orders.swept), rungs),
                    limit=trial.limit if trial else self.orders.limit(block.cell),
                    beat=beat,
                    verdict=trial.verdict if trial else None,
                )
            finally:
                block.progress.unlink(missing_ok=True)
            match ending:
                case Interrupted():
                    self._requests.leave = True
                case Failure() as failed:
                    self._fail(block, failed)
                case PrunedAfter(share):
                    block.checkpoint.unlink(missing_ok=True)
                    if trial is not None:
                        trial.trained = share
                case Trained(measures, factors):
                    about |= {
                        "seconds": self._machine.clock() - started,
                        "attempt": self.attempts(block) + 1,
                        "code": code_version(),
                        "measures": dict(measures),
                        "factors": dict(factors),
                    }
                    (workspace / RECORD).write_text(json.dumps(about))
                    notify = functools.partial(self._committed, block, trial, about)
                    self._committer.start(workspace, block.folder, claim, held.pop_all(), notify)
        except OSError as error:
            self._fail(block, Failure.by(error))

    def _committed(
        self, block: Block, trial: Trial | None, about: Mapping[str, Any], outcome: bool | OSError
    ) -> None:
        if isinstance(outcome, OSError):
            self._fail(block, Failure.by(outcome))
            return
        block.checkpoint.unlink(missing_ok=True)  # done, by whomever
        if outcome and trial is None:  # a search keeps its own record
            self._recorder.done(block, about)

    @property
    def _signature(self) -> dict[str, Any]:
        return {"host": self._machine.host, "pid": os.getpid(), "run": self.orders.run}

    def _fail(self, block: Block, failed: Failure) -> None:
        """Leave a record of a failed attempt; from the second on, distrust the checkpoint."""
        log.warning("cell %s, block %d failed: %s", block.cell, block.number, failed.error)
        attempt = {"error": failed.error, "traceback": failed.traceback}
        try:
            block.add_failure({**self._signature, **attempt, "time": self._machine.clock()})
        except OSError:
            self._unrecorded[block.folder] += 1
        if self.attempts(block) > 1:
            with contextlib.suppress(OSError):
                block.checkpoint.unlink()
        self._recorder.failed(block, failed.error)
