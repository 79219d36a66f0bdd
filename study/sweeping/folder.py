"""What lies where in `outputs/<study>/`, and the small files there: whole or not at all.

study.yaml  ledger.log  cells/<hash>/config.yaml
cells/<hash>/block-000/                     committed, by one rename
cells/<hash>/block-000.{lock,progress.json,checkpoint.pt,failed-1.json}
"""

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from study.config.errors import first_line
from study.core.files import write_new, write_text
from study.tables.records import TableError, checked_name, read_best, read_study

SLACK = 50  # a block that takes so many times its estimated cost hangs
SHORTEST_LIMIT = 1800.0  # seconds
SPARE = 1 << 16  # bytes that must be free before it is worth training

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class StudyError(ValueError):
    """A study's folder that cannot be used: one sentence."""


@dataclasses.dataclass(frozen=True)
class Block:
    """Where one block of one cell lives; done once `folder` holds `replicates.parquet`."""

    cell: str
    number: int
    folder: Path

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
        records = map(read_json, self._failure_records())
        attempts = [a for a in records if a and run in (None, a.get("run"))]
        return sorted(attempts, key=_time)

    def add_failure(self, attempt: Mapping[str, Any]) -> None:
        """Record a failed attempt under the next free number; several workers may do so at once."""
        number, added = len(self._failure_records()), False
        while not added:
            number += 1
            text = json.dumps({"attempt": number, **attempt}, indent=1)
            added = write_new(self.beside(f"failed-{number}.json"), text)

    def _failure_records(self) -> list[Path]:
        return list(self.folder.parent.glob(f"{self.folder.name}.failed-*.json"))


@dataclasses.dataclass(frozen=True)
class Orders:
    """What a worker and the monitor need to know of a study."""

    cells: tuple[str, ...]  # hashes, in the order they are run
    n_blocks: int  # of each cell
    compiled: bool  # whether some of them train in C++
    retries: int  # how often a failed block is tried again in one command
    storage: str | None
    time_limit: float | None  # seconds a block may take; None to go by its estimated cost
    code: str | None  # the version that is to run them; None in studies of before
    run: str  # the command's own name; failures of earlier commands do not count in it
    started: float  # seconds since the epoch
    swept: Mapping[str, Sequence[Any]]  # the factors that vary, each with its values
    seconds: Mapping[str, float]  # the estimated cost of one block of each cell
    search: Mapping[str, Any]  # how searches are run
    searches: tuple[Mapping[str, Any], ...] = ()  # those there are

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

    @property
    def _yaml(self) -> Path:
        return self.root / "study.yaml"

    def cell(self, cell: str) -> Path:
        return self.root.joinpath("cells", cell)

    def block(self, cell: str, number: int) -> Block:
        return Block(cell, number, self.root.joinpath("cells", cell, f"block-{number:03d}"))

    def blocks(self, orders: Orders) -> Iterator[Block]:
        """All blocks the study asks for, in the order they are to be run."""
        return (self.block(cell, k) for cell in orders.cells for k in range(orders.n_blocks))

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

    def names(self, cell: str) -> set[str]:
        """What is in a cell's folder; nothing if there is none."""
        try:
            return set(os.listdir(self.cell(cell)))
        except FileNotFoundError:
            return set()

    def read_orders(self) -> Orders:
        """What `study.yaml` says of the work. **Raises:** `StudyError`."""
        return self.orders_in(self.read_yaml())

    def orders_in(self, data: Mapping[str, Any]) -> Orders:
        """The same of what is to be written there."""
        with self._sentences():
            replicates = data["replicates"]
            return Orders(
                cells=tuple(checked_name(cell) for cell in data["cells"]),
                # auto, in studies of before: one block of each cell, and more as was decided
                n_blocks=1 if replicates == "auto" else int(replicates // data["block_size"]),
                compiled=bool(data.get("compiled")),
                retries=int(data["retries"]),
                storage=data["storage"],
                time_limit=data.get("time_limit"),
                code=data.get("code"),
                run=data["provenance"]["run"],
                started=float(data["provenance"]["started"]),
                swept=dict(data["swept"]),
                seconds={c: float(s) for c, s in dict(data["seconds_per_block"]).items()},
                search=dict(data.get("search") or {}),
                searches=tuple(dict(search) for search in data.get("searches", ())),
            )

    def changed(self) -> tuple[int, int]:
        """Another value whenever `study.yaml` has been written anew."""
        try:
            status = self._yaml.stat()
        except OSError:
            return (0, 0)
        return (status.st_mtime_ns, status.st_ino)

    def owner(self) -> str:
        """What tells it from others of its name: its first command. **Raises:** `StudyError`."""
        data = self.read_yaml()
        with self._sentences():
            return str([*data.get("history", []), data["provenance"]][0]["run"])

    @contextlib.contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except KeyError as error:
            raise StudyError(f"{self._yaml} lacks {error}") from None
        except (TypeError, ValueError, ArithmeticError) as error:
            raise StudyError(f"{self._yaml} is not of this project: {error}") from None

    def read_yaml(self) -> dict[str, Any]:
        """All of `study.yaml`. **Raises:** `StudyError`."""
        if not self._yaml.exists():
            raise StudyError(f"{self.root} is not a study: it has no study.yaml")
        try:
            data = read_study(self.root)
        except TableError as error:
            raise StudyError(str(error)) from None
        if not data:
            raise StudyError(f"{self._yaml} is not a mapping")
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
        self._folder, self._orders = folder, orders
        self._open: dict[str, Sequence[int]] = dict.fromkeys(orders.cells, range(orders.n_blocks))
        self._best: set[str] = set()

    def look(self) -> Iterator[Sighting]:
        """What the files of each block say at a glance, if it was not done at the last look.

        The best cell of a finished search has its further blocks from then on.
        """
        for search in self._orders.searches if self._orders.search.get("rerun") else ():
            best = read_best(self._folder.root, str(search["name"]))
            if best is not None and best.cell not in self._best:
                self._best.add(best.cell)
                further = range(1, self._orders.n_blocks + 1)
                self._open[best.cell] = [*self._open.get(best.cell, ()), *further]
        for cell, numbers in list(self._open.items()):
            names = self._folder.names(cell)  # one listing a cell, whatever its blocks
            left = []
            for number in numbers:
                block = self._folder.block(cell, number)
                name = block.folder.name
                done = name in names and block.done
                if not done:
                    left.append(number)
                failed = any(n.startswith(f"{name}.failed-") for n in names)
                yield Sighting(block, done, f"{name}.lock" in names, failed)
            self._open[cell] = left
        self._open = {cell: numbers for cell, numbers in self._open.items() if numbers}


def as_yaml(data: Mapping[str, Any] | list[str]) -> str:
    """A mapping or a list as YAML, keys in the order given."""
    plain = data if isinstance(data, list) else dict(data)
    return yaml.dump(plain, Dumper=_DUMPER, sort_keys=False, width=100)


def write_yaml(path: Path, data: Mapping[str, Any]) -> None:
    """Replace a small file by YAML, keys in the order given."""
    write_text(path, as_yaml(data))


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace a small file that others poll; it is not worth an fsync."""
    write_text(path, json.dumps(data), fsync=False)


def read_json(path: Path) -> dict[str, Any] | None:
    """The mapping in a file; None if it is missing or torn."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        data = json.loads(path.read_text())
        if isinstance(data, dict):
            return data
    return None


def check_space(folder: Path) -> None:
    """Learn at once whether a folder takes files. **Raises:** `OSError` if it does not."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(bytes(SPARE))
        probe.flush()


def sentence(error: BaseException) -> str:
    """An exception's type and the first line of its message."""
    name, line = type(error).__name__, first_line(error)
    return name if line == name else f"{name}: {line}"


def _time(attempt: Mapping[str, Any]) -> float:
    """When it was; 0 if the record does not say."""
    time = attempt.get("time")
    return time if isinstance(time, int | float) else 0.0
