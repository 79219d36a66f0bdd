"""What lies where in `outputs/<study>/`.

study.yaml  ledger.log  cells/<hash>/config.yaml
cells/<hash>/block-000/                     committed, by one rename
cells/<hash>/block-000.{lock,progress.json,checkpoint.pt,failed-1.json}
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from study.core.files import write_new
from study.sweeping.files import StudyError, read_json
from study.tables.study_yaml import TableError, read_study
from study.tables.trials import checked_name

SLACK = 50  # a block that takes so many times its estimated cost hangs
SHORTEST_LIMIT = 1800.0  # seconds


@dataclasses.dataclass(frozen=True)
class Block:
    """Where one block of one cell lives."""

    cell: str
    number: int
    folder: Path
    """The committed folder; once it holds `replicates.parquet` the block is done."""

    def beside(self, suffix: str) -> Path:
        """A file of this block that lives only until it is committed."""
        return self.folder.with_name(f"{self.folder.name}.{suffix}")

    @property
    def done(self) -> bool:
        return (self.folder / "replicates.parquet").exists()

    @property
    def lock(self) -> Path:
        return self.beside("lock")

    @property
    def progress(self) -> Path:
        return self.beside("progress.json")

    @property
    def checkpoint(self) -> Path:
        return self.beside("checkpoint.pt")

    def failures(self, run: str | None = None) -> list[dict[str, Any]]:
        """Its failed attempts, oldest first; with `run`, those of one command only."""
        records = [read_json(path) for path in self._failure_records()]
        attempts = [a for a in records if a and (run is None or a.get("run") == run)]
        return sorted(attempts, key=_time)

    def add_failure(self, attempt: Mapping[str, Any]) -> None:
        """Record a failed attempt under the next free number; several workers may do so at once."""
        number = len(self._failure_records()) + 1
        while not write_new(
            self.beside(f"failed-{number}.json"),
            json.dumps({"attempt": number, **attempt}, indent=1),
            fsync=False,
        ):
            number += 1

    def _failure_records(self) -> list[Path]:
        begin, parent = f"{self.folder.name}.failed-", self.folder.parent
        try:
            names = os.listdir(parent)
        except FileNotFoundError:
            return []
        return [parent / name for name in names if name.startswith(begin) and name[-5:] == ".json"]


@dataclasses.dataclass(frozen=True)
class Orders:
    """What a worker and the monitor need to know of a study.

    - `cells`: hashes, in the order they are run; `n_blocks`: of each.
    - `compiled`: whether some of them train in C++.
    - `retries`: how often a failed block is tried again in one command.
    - `time_limit`: seconds a block may take; None to go by its estimated cost.
    - `code`: the version of the code that is to run them; None in studies of before.
    - `run`: the command's own name; failures of earlier commands do not count in it.
    - `started`: seconds since the epoch.
    - `swept`: the factors that vary, each with its values.
    - `seconds`: the estimated cost of one block of each cell.
    - `search`: how searches are run; `searches`: those there are.
    """

    cells: tuple[str, ...]
    n_blocks: int
    compiled: bool
    retries: int
    storage: str | None
    time_limit: float | None
    code: str | None
    run: str
    started: float
    swept: Mapping[str, Sequence[Any]]
    seconds: Mapping[str, float]
    search: Mapping[str, Any]
    searches: tuple[Mapping[str, Any], ...] = ()

    def limit(self, cell: str, seconds: float = 0.0) -> float:
        """Seconds a block of `cell` may take; `seconds`: its estimated cost, if not in these."""
        return self.time_limit or max(SHORTEST_LIMIT, SLACK * self.seconds.get(cell, seconds))


@dataclasses.dataclass(frozen=True)
class StudyFolder:
    """The folder of one study."""

    root: Path

    @property
    def name(self) -> str:
        return self.root.resolve().name

    def cell(self, cell: str) -> Path:
        return self.root.joinpath("cells", cell)

    def block(self, cell: str, number: int) -> Block:
        return Block(cell, number, self.root.joinpath("cells", cell, f"block-{number:03d}"))

    def blocks(self, orders: Orders) -> Iterator[Block]:
        """All blocks the study asks for, in the order they are to be run."""
        for cell in orders.cells:
            for number in range(orders.n_blocks):
                yield self.block(cell, number)

    def last_commit(self, orders: Orders) -> float:
        """When the newest block was committed, in seconds since the epoch; 0 if there is none."""
        newest = 0.0
        for block in self.blocks(orders):
            with contextlib.suppress(FileNotFoundError):
                # a rename changes the folder's status, while its files are as old as they are
                changed = block.folder.stat().st_ctime
                if changed > newest and block.done:
                    newest = changed
        return newest

    def untidy(self, orders: Orders) -> list[str]:
        """Cells with more in their folders than a config and blocks."""
        untidy = []
        for cell in orders.cells:
            with contextlib.suppress(FileNotFoundError):
                names = os.listdir(self.cell(cell))
                if any("." in name and name != "config.yaml" for name in names):
                    untidy.append(cell)
        return untidy

    def read_orders(self) -> Orders:
        """What `study.yaml` says of the work. **Raises:** `StudyError`."""
        return self.orders_in(self.read_yaml())

    def orders_in(self, data: Mapping[str, Any]) -> Orders:
        """The same of what is to be written there."""
        try:
            replicates, swept = data["replicates"], dict(data["swept"])
            compiled = dict(data.get("decisions") or {}).get("compile", False)
            devices = dict(data.get("config") or {}).get("device"), *swept.get("device", ())
            return Orders(
                cells=tuple(checked_name(cell) for cell in data["cells"]),
                # auto, in studies of before: one block of each cell, and more as was decided
                n_blocks=1 if replicates == "auto" else int(replicates // data["block_size"]),
                compiled=compiled is True and "cpu" in devices,
                retries=int(data["retries"]),
                storage=data["storage"],
                time_limit=data.get("time_limit"),
                code=data.get("code"),
                run=data["provenance"]["run"],
                started=float(data["provenance"]["started"]),
                swept=swept,
                seconds={c: float(s) for c, s in dict(data["seconds_per_block"]).items()},
                search=dict(data.get("search") or {}),
                searches=tuple(dict(search) for search in data.get("searches", ())),
            )
        except KeyError as error:
            raise StudyError(f"{self.root / 'study.yaml'} lacks {error}") from None
        except (TypeError, ValueError, ArithmeticError) as error:
            raise StudyError(
                f"{self.root / 'study.yaml'} is not of this project: {error}"
            ) from None

    def changed(self) -> tuple[int, int]:
        """Another value whenever `study.yaml` has been written anew."""
        try:
            status = (self.root / "study.yaml").stat()
        except OSError:
            return (0, 0)
        return (status.st_mtime_ns, status.st_ino)

    def owner(self) -> str:
        """What tells it from others of its name: its first command. **Raises:** `StudyError`."""
        data = self.read_yaml()
        try:
            return str([*data.get("history", []), data["provenance"]][0]["run"])
        except (KeyError, TypeError) as error:
            raise StudyError(f"{self.root / 'study.yaml'} lacks {error}") from None

    def read_yaml(self) -> dict[str, Any]:
        """All of `study.yaml`. **Raises:** `StudyError`."""
        path = self.root / "study.yaml"
        if not path.exists():
            raise StudyError(f"{self.root} is not a study: it has no study.yaml")
        try:
            data = read_study(self.root)
        except TableError as error:
            raise StudyError(str(error)) from None
        if not data:
            raise StudyError(f"{path} is not a mapping")
        return data


class Sighting(NamedTuple):
    """A block with a first look at it: done? is there a lock? are there failures?"""

    block: Block
    done: bool
    locked: bool
    failed: bool


class Survey:
    """Looks at a study's blocks again and again; one that is done once is not looked at anymore."""

    def __init__(self, folder: StudyFolder, orders: Orders):
        self._folder = folder
        self._open: dict[str, Sequence[int]] = dict.fromkeys(orders.cells, range(orders.n_blocks))
        self._added: set[tuple[str, int]] = set()

    def look(self) -> Iterator[Sighting]:
        """What the files of each block say at a glance, if it was not done at the last look.

        One listing a cell, whatever its blocks.
        """
        for cell, numbers in list(self._open.items()):
            try:
                names = set(os.listdir(self._folder.cell(cell)))
            except FileNotFoundError:
                names = set()
            left = []
            for number in numbers:
                block = self._folder.block(cell, number)
                name = block.folder.name
                failed = any(n.startswith(f"{name}.failed-") for n in names)
                done = name in names and block.done
                if not done:
                    left.append(number)
                yield Sighting(block, done, f"{name}.lock" in names, failed)
            if left:
                self._open[cell] = left
            else:
                del self._open[cell]

    def add(self, cell: str, numbers: Sequence[int]) -> None:
        """Look at these blocks too, from the next look on; to add them again changes nothing."""
        new = [number for number in numbers if (cell, number) not in self._added]
        if new:
            self._added.update((cell, number) for number in new)
            self._open[cell] = [*self._open.get(cell, ()), *new]


def _time(attempt: Mapping[str, Any]) -> float:
    """When it was; 0 if the record does not say."""
    time = attempt.get("time")
    return float(time) if isinstance(time, int | float) else 0.0
