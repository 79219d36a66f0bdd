"""The records of searches in a study's folder: what each trial was, and which cell was best.

Knows: `searches/<search>/trial-00007.json`, `best.json`. Does not know: samplers, who runs a trial.
Optuna's storage steers a search; these files say in the study itself which cells came of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from study.sweeping.files import read_json, write_json
from study.sweeping.folder import Orders, StudyFolder, checked_name

State = Literal["running", "complete", "pruned", "failed", "impossible"]
NO_CELL = "none"  # what an impossible trial would have trained: its settings exclude each other


@dataclasses.dataclass(frozen=True)
class TrialRecord:
    """One trial.

    - `values`: of the objectives, where it is complete; `error`: why it is not.
    - `trained`: the share of its training steps that were taken for it: all, those until it was
      pruned, or none where an earlier trial had trained the same cell; `steps`: the same as a
      number. `last`: its error there, where it was pruned.
    """

    number: int
    cell: str
    params: Mapping[str, Any]
    state: State
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


def folder_of(study: StudyFolder, search: str) -> Path:
    """Where a search's records are, and its claims."""
    return study.root / "searches" / checked_name(search)


def write_trial(folder: Path, record: TrialRecord) -> None:
    """**Raises:** `OSError`."""
    write_json(folder / f"trial-{record.number:05d}.json", dataclasses.asdict(record))


def write_best(folder: Path, best: Best) -> None:
    """**Raises:** `OSError`."""
    write_json(folder / "best.json", dataclasses.asdict(best))


def read_trials(folder: Path) -> Iterator[TrialRecord]:
    """All trials so far, in order; torn records are passed over."""
    for path in sorted(folder.glob("trial-*.json")):
        data = read_json(path) or {}
        try:
            number, cell, state = int(data["number"]), checked_name(data["cell"]), data["state"]
            values = tuple(float(v) for v in data.get("values", ()))
            params, trained = dict(data["params"]), float(data.get("trained", 0.0))
            steps = int(data.get("steps", 0))
            last = None if data.get("last") is None else float(data["last"])
        except (KeyError, TypeError, ValueError):
            continue
        error = str(data.get("error", ""))
        yield TrialRecord(number, cell, params, state, values, error, trained, steps, last)


def best_cells(study: StudyFolder, orders: Orders) -> Iterator[str]:
    """Cells to be trained again with new seeds: those that were best in searches that are done."""
    for search in orders.searches if orders.search.get("rerun") else ():
        if (best := read_best(folder_of(study, search["name"]))) is not None:
            yield best.cell


def read_best(folder: Path) -> Best | None:
    """The best cell, once the search is finished."""
    data = read_json(folder / "best.json") or {}
    try:
        return Best(
            checked_name(data["cell"]),
            int(data["number"]),
            float(data["value"]),
            dict(data["at_edge"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
