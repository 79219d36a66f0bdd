"""The records of searches in a study's folder: what each trial was, and which cell was best.

    searches/<search>/trial-00007.json    searches/<search>/best.json

Optuna's storage steers a search; these files say in the study itself which cells came of it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from study.core.files import write_text

STATES = ("running", "complete", "pruned", "failed", "impossible")
NO_CELL = "none"  # what an impossible trial would have trained: its settings exclude each other
_NAME = re.compile(r"[0-9A-Za-z_-]+")  # of a folder: a search or a cell


@dataclasses.dataclass(frozen=True)
class TrialRecord:
    """One trial.

    - `state`: one of `STATES`.
    - `values`: of the objectives, if it is complete; `error`: why it is not.
    - `trained`: the share of its training steps that were taken for it: all, those until it was
      pruned, or none if an earlier trial had trained the same cell; `steps`: the same as a number.
    - `last`: its error there, if it was pruned.
    """

    number: int
    cell: str
    params: Mapping[str, Any]
    state: str
    values: tuple[float, ...] = ()
    error: str = ""
    trained: float = 0.0
    steps: int = 0
    last: float | None = None


@dataclasses.dataclass(frozen=True)
class Best:
    """The best cell of a finished search, and the keys whose best value lies at a range's end."""

    cell: str
    number: int
    value: float
    at_edge: Mapping[str, Any]


def folder_of(root: Path, search: str) -> Path:
    """Where the records of a search are, and the claims on its trials."""
    return root / "searches" / search


def write_trial(root: Path, search: str, record: TrialRecord) -> None:
    """**Raises:** `OSError`."""
    _write(folder_of(root, search) / f"trial-{record.number:05d}.json", record)


def write_best(root: Path, search: str, best: Best) -> None:
    """**Raises:** `OSError`."""
    _write(folder_of(root, search) / "best.json", best)


def read_trials(root: Path, search: str) -> Iterator[TrialRecord]:
    """All trials so far, in order; torn records, and what names no search, are passed over."""
    if not _NAME.fullmatch(search):
        return
    for path in sorted(folder_of(root, search).glob("trial-*.json")):
        data = _read(path)
        try:
            record = TrialRecord(
                number=int(data["number"]),
                cell=checked_name(data["cell"]),
                params=dict(data["params"]),
                state=str(data["state"]),
                values=tuple(float(value) for value in data.get("values", ())),
                error=str(data.get("error", "")),
                trained=float(data.get("trained", 0.0)),
                steps=int(data.get("steps", 0)),
                last=None if data.get("last") is None else float(data["last"]),
            )
        except (KeyError, TypeError, ValueError):
            continue
        if record.state in STATES:
            yield record


def read_best(root: Path, search: str) -> Best | None:
    """The best cell, once the search is finished."""
    if not _NAME.fullmatch(search):
        return None
    data = _read(folder_of(root, search) / "best.json")
    try:
        return Best(
            checked_name(data["cell"]),
            int(data["number"]),
            float(data["value"]),
            dict(data["at_edge"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def best_cells(
    root: Path, search: Mapping[str, Any], searches: Iterable[Mapping[str, Any]]
) -> Iterator[str]:
    """Cells to be trained again with new seeds: those that were best in searches that are done.

    **Arguments:** as `study.yaml` has them: how searches are run, and those there are.
    """
    for each in searches if search.get("rerun") else ():
        if (best := read_best(root, str(each["name"]))) is not None:
            yield best.cell


def _write(path: Path, record: TrialRecord | Best) -> None:
    # not worth an fsync: a record that a loss of power tears is written again from the storage
    write_text(path, json.dumps(dataclasses.asdict(record)), fsync=False)


def _read(path: Path) -> Mapping[str, Any]:
    """A file's mapping; an empty one if it is missing or torn."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def checked_name(cell: Any) -> str:
    """**Raises:** `ValueError` for what names no folder in `cells/`."""
    if not _NAME.fullmatch(str(cell)):
        raise ValueError(f"{cell!r} names no cell")
    return str(cell)
