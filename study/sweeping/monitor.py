"""How far a study is, read from its folder alone: committed blocks, claims, progress, failures.

It writes nothing, and a small file that is torn counts as one that says nothing.
"""

import dataclasses
import math
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from study.sweeping.claims import holder
from study.sweeping.folder import Block, Orders, StudyFolder, Survey, read_json
from study.tables.records import read_best, read_trials


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
class GivenUp:
    """A block given up: how often it was tried; where and why the last time."""

    cell: str
    block: int
    attempts: int
    error: str
    traceback: str
    host: str = ""


@dataclasses.dataclass(frozen=True)
class Host:
    """A machine that works or worked on the study; `last`: when it finished its newest block."""

    name: str
    done: int
    running: int
    last: float | None


@dataclasses.dataclass(frozen=True)
class Done:
    """What the record of a finished block says; None or "" for what is torn or missing."""

    cell: str
    run: str
    host: str
    code: str
    started: float | None
    seconds: float | None
    measures: Mapping[str, float]

    @property
    def end(self) -> float | None:
        """In seconds since the epoch."""
        if self.started is None or self.seconds is None:
            return None
        return self.started + self.seconds


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A study at one moment. A block whose record is torn is in neither `hosts` nor `codes`."""

    study: str
    total: int  # blocks
    done: int
    running: tuple[Running, ...]
    failed: tuple[GivenUp, ...]
    missing: int  # neither done, running nor failed
    retried: int
    blocks_per_minute: float | None  # of this command so far
    seconds_left: float | None  # None while nothing runs, or before a trial of a search is done
    hosts: tuple[Host, ...] = ()  # the busiest first
    codes: Mapping[str, int] = dataclasses.field(default_factory=dict)  # version -> blocks
    # the objectives, each with the least median of a finished block
    best: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return self.room == 0

    @property
    def room(self) -> int:
        """How many workers may have something to do at once, those that work already included."""
        return self.total - self.done - len(self.failed)

    def moved_from(self, earlier: Self) -> bool:
        """Whether a block was done, tried again or given up since."""
        before = (earlier.done, earlier.retried, len(earlier.failed))
        return (self.done, self.retried, len(self.failed)) != before


def describe(now: Snapshot) -> str:
    """A study's state in one line."""
    parts = [f"{now.done} of {now.total} blocks", f"{len(now.running)} running"]
    if now.failed:
        parts.append(f"{len(now.failed)} failed")
    if now.retried:
        parts.append(f"{now.retried} tried again")
    parts += [f"best {name} {value:.2g}" for name, value in now.best.items()]
    if now.blocks_per_minute:
        parts.append(f"{now.blocks_per_minute:.1f} a minute")
    if now.seconds_left:
        parts.append(f"about {duration(now.seconds_left)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """A length of time as a reader wants it: 40 s, 12 min, 3.5 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class Monitor:
    """Looks at a study's folder; remembers finished blocks, so that a look stays cheap.

    Threads may share one: a look waits for the one before. `orders`: what the `study.yaml` says, if
    the caller has read it.

    **Raises:** `StudyError` if there is no study at `root`.
    """

    def __init__(self, root: str | Path, orders: Orders | None = None):
        self._folder = StudyFolder(Path(root).resolve())
        self.root = self._folder.root
        self.orders = orders or self._folder.read_orders()
        self._survey = Survey(self._folder, self.orders)
        names = self.orders.search.get("objectives")
        self._objectives = (
            [n for n in names if isinstance(n, str)] if isinstance(names, list) else []
        )
        self._done: dict[Path | tuple[str, int], Done] = {}
        self._looking = threading.Lock()

    def look(self) -> Snapshot:
        """The study now."""
        with self._looking:
            return self._look()

    def _look(self) -> Snapshot:
        running, failed, open_blocks, retried = [], [], [], 0
        for block, done, locked, tried in self._survey.look():
            if done:
                self._remember(block.folder, block)
                continue
            open_blocks.append(block)
            attempts = block.failures(self.orders.run) if tried else []
            if locked and (now := _running(block)):
                running.append(now)
            elif len(attempts) > self.orders.retries:
                failed.append(_failed(block, attempts))
            retried += bool(attempts)
        searches = self._look_at_searches(running, failed)
        codes = Counter(done.code for done in self._done.values() if done.code)
        best: dict[str, float] = {}
        for done in self._done.values():
            for name, value in done.measures.items():
                best[name] = min(value, best.get(name, value))
        return Snapshot(
            study=self._folder.name,
            total=len(self._done) + len(open_blocks) + searches,
            done=len(self._done),
            running=tuple(running),
            failed=tuple(failed),
            missing=len(open_blocks) + searches - len(running) - len(failed),
            retried=retried - len(failed),
            blocks_per_minute=self._rate(),
            seconds_left=self._seconds_left(open_blocks, running, failed, searches),
            hosts=_hosts(self._done.values(), running),
            codes=dict(codes.most_common()),
            best=best,
        )

    def _look_at_searches(self, running: list[Running], failed: list[GivenUp]) -> int:
        """Trials that are not done, and blocks that wait for the best of them."""
        left = 0
        for search in self.orders.searches:
            name, n_trials = str(search["name"]), self.orders.search["n_trials"]
            left += n_trials
            for trial in read_trials(self.root, name):
                block = self._folder.block(trial.cell, 0)
                if trial.number >= n_trials:  # of a command that asked for more
                    continue
                if trial.state in ("complete", "pruned", "impossible"):
                    self._remember((name, trial.number), block)
                    left -= 1
                elif trial.state == "failed":
                    failed.append(_failed(block, block.failures() or [{"error": trial.error}]))
                elif now := _running(block):
                    running.append(now)
            if self.orders.search.get("rerun") and read_best(self.root, name) is None:
                left += self.orders.n_blocks
        return left

    def _remember(self, key: Path | tuple[str, int], block: Block) -> None:
        if key in self._done:
            return
        about = read_json(block.folder / "run.json") or {}
        measures = about.get("measures")
        measures = measures if isinstance(measures, Mapping) else {}
        values = {name: _number(measures.get(name)) for name in self._objectives}
        self._done[key] = Done(
            block.cell,
            *(str(about.get(key, "")) for key in ("run", "host", "code")),
            started=_number(about.get("started")),
            seconds=_number(about.get("seconds")),
            measures={name: value for name, value in values.items() if value is not None},
        )

    def _rate(self) -> float | None:
        """Blocks a minute of this command, up to now while it runs."""
        recent = [done for done in self._done.values() if done.run == self.orders.run]
        ends = [done.end for done in recent if done.end is not None]
        if not ends:
            return None
        return 60 * len(recent) / max(1.0, max(ends) - self.orders.started)

    def _seconds_left(
        self, blocks: list[Block], running: list[Running], failed: list[GivenUp], others: int
    ) -> float | None:
        """Estimated costs of what is left, corrected by what was measured, over the workers."""
        given_up = {(f.cell, f.block) for f in failed}
        left = [b for b in blocks if (b.cell, b.number) not in given_up]
        if not left and not others:
            return 0.0
        if not running:
            return None
        if others:  # trials of searches, of which only the time that earlier ones took is known
            took = [done.seconds or 0.0 for done in self._done.values()]
            return (others + len(left)) * sum(took) / len(took) / len(running) if took else None
        fractions = {(r.cell, r.block): r.fraction for r in running}
        costs = [
            self.orders.seconds.get(b.cell, 0.0) * (1 - fractions.get((b.cell, b.number), 0.0))
            for b in left
        ]
        # not less than the costliest of them, however many workers there are
        return self.scale * max(sum(costs) / len(running), max(costs))

    @property
    def scale(self) -> float:
        """The ratio of measured to estimated seconds of what was done; 1 if nothing was."""
        estimates = self.orders.seconds
        timed = [d for d in self._done.values() if d.cell in estimates and d.seconds is not None]
        measured = sum(done.seconds or 0.0 for done in timed)
        estimated = sum(estimates[done.cell] for done in timed)
        return measured / estimated if measured and estimated else 1.0


def _failed(block: Block, attempts: Sequence[Mapping[str, Any]]) -> GivenUp:
    last = {key: str(attempts[-1].get(key, "")) for key in ("error", "traceback", "host")}
    return GivenUp(block.cell, block.number, len(attempts), **last)


def _running(block: Block) -> Running | None:
    """A block with a live claim; None if there is none."""
    held = holder(block.lock)
    if held is None or not held.alive:
        return None
    state = read_json(block.progress) or {}
    started = _number(state.get("started")) or time.time()
    fraction = min(1.0, max(0.0, _number(state.get("fraction")) or 0.0))
    return Running(block.cell, block.number, held.host, held.pid, started, fraction)


def _hosts(done: Collection[Done], running: Iterable[Running]) -> tuple[Host, ...]:
    counts = Counter(block.host for block in done if block.host)
    now = Counter(block.host for block in running)
    last: dict[str, float] = {}
    for block in done:
        if block.end is not None:
            last[block.host] = max(block.end, last.get(block.host, block.end))
    hosts = [Host(name, counts[name], now[name], last.get(name)) for name in {*counts, *now}]
    return tuple(sorted(hosts, key=lambda host: (-host.done, -host.running, host.name)))


def _number(value: Any) -> float | None:
    """A finite number; None for anything else that a file may hold."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None
