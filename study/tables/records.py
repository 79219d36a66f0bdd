"""The small files of a study's folder: `study.yaml`, and the records of its searches.

    study.yaml    searches/<search>/trial-00007.json    searches/<search>/best.json

It imports neither pandas nor torch, because `study.status` reads these files too.
"""

import dataclasses
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, TypeAdapter
from pydantic.dataclasses import dataclass as pydantic_dataclass

from study.config.errors import first_line
from study.core.files import write_text

YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
NO_CELL = "none"  # the cell of an impossible trial: its settings exclude each other
EDGE = 0.02  # a value this near to an end of its range, as a share of the range, lies at its edge
_NAME = re.compile(r"[0-9A-Za-z_-]+")  # of a folder: a search or a cell


class TableError(ValueError):
    """A table that is missing or not of its schema: one sentence."""


def checked_name(cell: Any) -> str:
    """**Raises:** `ValueError` for a text that names no folder in `cells/`."""
    if not _NAME.fullmatch(str(cell)):
        raise ValueError(f"{cell!r} names no cell")
    return str(cell)


CellName = Annotated[str, AfterValidator(checked_name)]
State = Literal["running", "complete", "pruned", "failed", "impossible"]


@pydantic_dataclass(frozen=True)
class TrialRecord:
    """One trial.

    - `values`: of the objectives, if it is complete; `error`: why it is not.
    - `trained`: the share of its training steps that were taken for it: all, those until it was
      pruned, or none if an earlier trial had trained the same cell; `steps`: the same as a number.
    - `last`: its error at the last of these steps, if it was pruned.
    - `unused`: the keys of `params` that its cell does not use, as Adam does not use `iterations`.
    """

    number: int
    cell: CellName
    params: dict[str, Any]
    state: State
    values: tuple[float, ...] = ()
    error: str = ""
    trained: float = 0.0
    steps: int = 0
    last: float | None = None
    unused: tuple[str, ...] = ()


@pydantic_dataclass(frozen=True)
class Best:
    """The best cell of a finished search, and the keys whose best value lies at a range's end."""

    cell: CellName
    number: int
    value: float
    at_edge: dict[str, Any]


Record = TypeVar("Record", TrialRecord, Best)


def read_study(folder: Path) -> dict[str, Any]:
    """The mapping in `study.yaml`; empty if there is none. **Raises:** `TableError`."""
    path = folder / "study.yaml"
    try:
        study = yaml.load(path.read_text(encoding="utf-8"), YAML_LOADER)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise TableError(f"{folder} is not a study: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise TableError(f"{path} cannot be read: {first_line(error)}") from None
    return study if isinstance(study, dict) else {}


def folder_of(root: Path, search: str) -> Path:
    """The folder of a search's records, and of the claims on its trials."""
    return root / "searches" / search


def write_trial(root: Path, search: str, record: TrialRecord) -> None:
    _write(folder_of(root, search) / f"trial-{record.number:05d}.json", record)


def write_best(root: Path, search: str, best: Best) -> None:
    _write(folder_of(root, search) / "best.json", best)


def read_trials(root: Path, search: str) -> Iterator[TrialRecord]:
    """All trials so far, in order, without torn records; none if `search` names no folder."""
    if _NAME.fullmatch(search):
        for path in sorted(folder_of(root, search).glob("trial-*.json")):
            if record := _read(TrialRecord, path):
                yield record


def read_best(root: Path, search: str) -> Best | None:
    """The best cell, once the search is finished."""
    return _read(Best, folder_of(root, search) / "best.json") if _NAME.fullmatch(search) else None


def at_edge(
    low: float,
    high: float,
    log: bool,
    value: float,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> bool:
    """Whether a value is so near an end of its range that a better one may lie beyond.

    `bounds`: what the key may be at all; an end that lies there has nothing beyond.
    """
    if not low < high:
        return False
    scale = math.log if log else float
    place = (scale(value) - scale(low)) / (scale(high) - scale(low))
    return (place <= EDGE and low > bounds[0]) or (place >= 1 - EDGE and high < bounds[1])


def as_text(value: Any) -> str:
    """A choice as the tables have it if the choices are not all numbers."""
    return value if isinstance(value, str) else json.dumps(value)


def _write(path: Path, record: TrialRecord | Best) -> None:
    # no fsync: a record that a loss of power tears is written again from the storage
    write_text(path, json.dumps(dataclasses.asdict(record)), fsync=False)


def _read(kind: type[Record], path: Path) -> Record | None:
    """The record in a file; None if it is missing or torn."""
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None
