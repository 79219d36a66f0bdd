"""How far a study is, read from its folder alone.

Knows: committed blocks, claims, progress files, failures. Does not know: the ledger, processes,
terminals. It works while a sweep runs, from any machine that sees the folder, and after it died.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from study.sweeping.claims import holder
from study.sweeping.folder import Block, StudyFolder, read_json


@dataclasses.dataclass(frozen=True)
class Running:
    """A block being trained: where, since when (seconds since the epoch), how far (0..1)."""

    cell: str
    block: int
    host: str
    pid: int
    started: float
    fraction: float


@dataclasses.dataclass(frozen=True)
class Failed:
    """A block given up: how often it was tried, its last error and traceback."""

    cell: str
    block: int
    attempts: int
    error: str
    traceback: str


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A study at one moment.

    - `total`, `done`, `missing`: numbers of blocks; `missing` are neither done, running nor failed.
    - `blocks_per_minute`: of this command so far.
    - `seconds_left`: None while nothing runs, or before there is anything to judge by.
    """

    study: str
    total: int
    done: int
    running: tuple[Running, ...]
    failed: tuple[Failed, ...]
    missing: int
    retried: int
    blocks_per_minute: float | None
    seconds_left: float | None

    @property
    def finished(self) -> bool:
        return self.done + len(self.failed) == self.total

    def moved_from(self, earlier: Snapshot) -> bool:
        """Whether anything was brought forward since: a block done, tried again or given up."""
        return (self.done, self.retried, len(self.failed)) != (
            earlier.done,
            earlier.retried,
            len(earlier.failed),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return dataclasses.asdict(self)


class Monitor:
    """Looks at a study's folder; remembers finished blocks, so that a look stays cheap.

    **Raises:** `StudyError` if there is no study at `root`.
    """

    def __init__(self, root: str | Path):
        self._folder = StudyFolder(Path(root).resolve())
        self.orders = self._folder.read_orders()
        self._done: dict[Path, dict[str, Any]] = {}

    def look(self) -> Snapshot:
        """The study now."""
        running, failed, open_blocks, retried = [], [], [], 0
        for block, done, locked, tried in self._folder.survey(self.orders):
            if done:
                self._remember(block)
                continue
            open_blocks.append(block)
            attempts = block.failures(self.orders.run) if tried else []
            if locked and (now := _running(block)):
                running.append(now)
            elif len(attempts) > self.orders.retries:
                last = attempts[-1]
                failed.append(
                    Failed(
                        block.cell,
                        block.number,
                        len(attempts),
                        str(last.get("error", "")),
                        str(last.get("traceback", "")),
                    )
                )
            retried += bool(attempts)
        missing = len(open_blocks) - len(running) - len(failed)
        return Snapshot(
            study=self._folder.name,
            total=len(self._done) + len(open_blocks),
            done=len(self._done),
            running=tuple(running),
            failed=tuple(failed),
            missing=missing,
            retried=retried - len(failed),
            blocks_per_minute=self._rate(),
            seconds_left=self._seconds_left(open_blocks, running, failed),
        )

    def _remember(self, block: Block) -> None:
        if block.folder not in self._done:
            about = read_json(block.folder / "run.json") or {}
            self._done[block.folder] = {**about, "cell": block.cell}

    def _rate(self) -> float | None:
        """Blocks a minute of this command, up to now while it runs."""
        recent = [d for d in self._done.values() if d.get("run") == self.orders.run]
        if not recent:
            return None
        end = max(d["started"] + d["seconds"] for d in recent)
        return 60 * len(recent) / max(1.0, end - self.orders.started)

    def _seconds_left(
        self, blocks: list[Block], running: list[Running], failed: list[Failed]
    ) -> float | None:
        """Estimated costs of what is left, corrected by what was measured, over the workers."""
        given_up = {(f.cell, f.block) for f in failed}
        left = [b for b in blocks if (b.cell, b.number) not in given_up]
        if not left:
            return 0.0
        if not running:
            return None
        fractions = {(r.cell, r.block): r.fraction for r in running}
        costs = [
            self.orders.seconds[b.cell] * (1 - fractions.get((b.cell, b.number), 0.0)) for b in left
        ]
        scale = self._scale()
        # no sooner than the longest of them, however many workers there are
        return scale * max(sum(costs) / len(running), max(costs))

    def _scale(self) -> float:
        timed = [
            d for d in self._done.values() if d["cell"] in self.orders.seconds and "seconds" in d
        ]
        measured = sum(d["seconds"] for d in timed)
        estimated = sum(self.orders.seconds[d["cell"]] for d in timed)
        return measured / estimated if measured and estimated else 1.0


def _running(block: Block) -> Running | None:
    """A claim that counts means that the block is being trained."""
    held = holder(block.lock)
    if held is None or not held.alive:
        return None
    state = read_json(block.progress) or {}
    return Running(
        block.cell,
        block.number,
        held.host,
        held.pid,
        float(state.get("started", time.time())),
        float(state.get("fraction", 0.0)),
    )
