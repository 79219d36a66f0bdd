"""What a study searched, as two tables: its trials, and the keys that were searched.

Knows: the records in `searches/`, what `study.yaml` says of them, columns. Does not know: samplers,
Optuna, who runs a trial. One row of `trials` is one trial of one search; one row of `searches` is
one searched key of one search.

    from study import searched
    searched.load_trials("outputs/tune")
    searched.load_searches("outputs/tune")
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from study.tables.files import checked, pa, read, save
from study.tables.study_yaml import TableError
from study.tables.trials import STATES, read_best, read_trials

ROLES = ("grid", "trial", "rerun", "former")
EDGE = 0.02  # of a range: what is so near its end lies at its edge

_text = pa.Column(str, coerce=True)
_name = pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{12}$"))
_count = pa.Column("int64", pa.Check.ge(0), coerce=True)
_number = pa.Column(float, nullable=True, coerce=True)

TRIALS = pa.DataFrameSchema(
    {
        "study": _text,
        "search": _name,
        "number": _count,  # in the order in which they were asked for, from 0
        "state": pa.Column(str, pa.Check.isin(STATES)),
        "cell": _text,  # whose block 0 it trains; 'none' for settings that exclude each other
        "steps": _count,  # of its training that it took
        "last": _number,  # median test error there, of a pruned one
        "error": _text,  # why it failed, or is impossible
    },
    unique=["search", "number"],
    # and, under their own names, the objectives (missing unless complete; inf where diverged) and
    # the searched keys
    strict=False,
)

SEARCHES = pa.DataFrameSchema(
    {
        "study": _text,
        "search": _name,
        "point": _text,  # its point of the grid, as JSON: the settings that set it apart
        "key": _text,
        "kind": pa.Column(str, pa.Check.isin(["number", "whole", "choice"])),
        "low": _number,
        "high": _number,
        "step": _number,
        "log": pa.Column(bool, coerce=True),
        "choices": _text,  # as JSON; empty for a range
        "sampler": _text,
        "pruner": _text,
        "n_trials": _count,  # how many were asked for
        "objectives": _text,  # measures of the results, all minimised; separated by spaces
        "best": _text,  # the best cell of a finished search; empty before, and with two objectives
    },
    unique=["search", "key"],
    strict=True,
)


def load_trials(folder: str | Path) -> pd.DataFrame | None:
    """The trials of a study's searches; None where it searched nothing. **Raises:** `TableError`.

    `number` counts from 0; `steps` are training steps; objectives as in `results`.
    """
    return _load(Path(folder) / "trials.parquet", TRIALS)


def load_searches(folder: str | Path) -> pd.DataFrame | None:
    """The keys that were searched; None where nothing was. **Raises:** `TableError`."""
    return _load(Path(folder) / "searches.parquet", SEARCHES)


def compact(folder: Path, study: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Gather the records of the searches that `study.yaml` lists into `trials.parquet` and
    `searches.parquet`; where it lists none, neither is left.

    **Raises:** `TableError` where it does not say what was searched.
    """
    paths = folder / "trials.parquet", folder / "searches.parquet"
    if not study.get("searches"):
        for path in paths:
            path.unlink(missing_ok=True)
        return None
    try:
        tables = _trials(folder, study), _searches(folder, study)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TableError(
            f"{folder / 'study.yaml'} does not say what was searched ({error}): give the sweep's "
            "command again, which writes it anew"
        ) from None
    trials, searches = (
        checked(table, schema, folder)
        for table, schema in zip(tables, (TRIALS, SEARCHES), strict=True)
    )
    for table, path in zip((trials, searches), paths, strict=True):
        save(table, path)
    return trials, searches


def with_roles(
    rows: pd.DataFrame, tables: tuple[pd.DataFrame, pd.DataFrame] | None, block_size: Any
) -> pd.DataFrame:
    """The results with what each row may be asked for.

    - `role`: `trial`, trained to choose by; `rerun`, new seeds of the cell that was chosen;
      `former`, new seeds of a cell that was the best before the search went on; else `grid`.
    - `tuned`: the keys whose values a search chose, separated by spaces; empty for `grid`.

    **Raises:** `TableError` for a `block_size` that is no number of replicates.
    """
    rows = rows.assign(role="grid", tuned="")
    if tables is None:
        return rows
    if not isinstance(block_size, int) or block_size < 1:
        raise TableError(f"block_size: {block_size!r} in study.yaml is no number of replicates")
    trials, searches = tables
    keys = {name: " ".join(part["key"]) for name, part in searches.groupby("search")}
    complete = trials.loc[trials["state"] == "complete"]
    of = zip(complete["cell"], complete["search"], strict=True)
    tuned = {cell: keys[name] for cell, name in of}
    of_search = rows["cell"].isin(list(tuned))
    first = rows["replicate"] < block_size
    best = rows["cell"].isin([cell for cell in searches["best"] if cell])
    rows.loc[of_search & first, "role"] = "trial"
    rows.loc[of_search & ~first, "role"] = "former"
    rows.loc[of_search & ~first & best, "role"] = "rerun"
    rows.loc[of_search, "tuned"] = rows.loc[of_search, "cell"].map(tuned)
    return rows


def complete_cells(folder: Path, study: Mapping[str, Any]) -> list[str]:
    """The cells of complete trials of the searches that `study.yaml` lists."""
    listed = study.get("searches")
    listed = listed if isinstance(listed, list) else []
    names = [str(search.get("name")) for search in listed if isinstance(search, Mapping)]
    records = (record for name in names for record in read_trials(folder, name))
    return [record.cell for record in records if record.state == "complete"]


def at_edge(low: float, high: float, log: bool, value: float) -> bool:
    """Whether a better value may lie beyond a range: this one is within 2 % of its end."""
    if not low < high:
        return False
    scale = math.log if log else float
    return not EDGE < (scale(value) - scale(low)) / (scale(high) - scale(low)) < 1 - EDGE


def _load(path: Path, schema: pa.DataFrameSchema) -> pd.DataFrame | None:
    return checked(read(path), schema, path) if path.exists() else None


def _trials(folder: Path, study: Mapping[str, Any]) -> pd.DataFrame:
    objectives = list(study["search"]["objectives"])
    keys = list(dict.fromkeys(key for search in study["searches"] for key in search["space"]))
    found: list[dict[str, Any]] = []
    for search in study["searches"]:
        for record in read_trials(folder, str(search["name"])):
            values = record.values or [math.nan] * len(objectives)  # noqa: PD011
            found.append(
                {
                    "study": folder.resolve().name,
                    "search": str(search["name"]),
                    "number": record.number,
                    "state": record.state,
                    "cell": record.cell,
                    "steps": record.steps,
                    "last": math.nan if record.last is None else record.last,
                    "error": record.error,
                    **dict(zip(objectives, values, strict=False)),
                    **{key: record.params.get(key) for key in keys},
                }
            )
    table = pd.DataFrame(found, columns=[*TRIALS.columns, *objectives, *keys])
    for key in keys:
        table[key] = _column(table[key])
    return table.astype(dict.fromkeys(objectives, float))


def _column(values: Iterable[Any]) -> pd.Series:
    """Numbers where all are, else text."""
    values = list(values)
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return pd.Series(values, dtype=None if values else float)
    return pd.Series([as_text(v) for v in values], dtype=object).astype("str")


def as_text(value: Any) -> str:
    """A choice as the tables have it, where the choices are not all numbers."""
    return value if isinstance(value, str) else json.dumps(value)


def _searches(folder: Path, study: Mapping[str, Any]) -> pd.DataFrame:
    settings = study["search"]
    points = [dict(search["fixed"]) for search in study["searches"]]
    apart = [
        key
        for key in dict.fromkeys(key for point in points for key in point)
        if len({repr(point.get(key)) for point in points}) > 1
    ]
    found = []
    for search, point in zip(study["searches"], points, strict=True):
        best = read_best(folder, str(search["name"]))
        for key, allowed in search["ranges"].items():
            choices = allowed.get("choices")
            found.append(
                {
                    "study": folder.resolve().name,
                    "search": str(search["name"]),
                    "point": json.dumps({k: point.get(k) for k in apart}),
                    "key": str(key),
                    "kind": str(allowed["kind"]),
                    "low": allowed.get("low", np.nan),
                    "high": allowed.get("high", np.nan),
                    "step": np.nan if allowed.get("step") is None else allowed["step"],
                    "log": bool(allowed.get("log", False)),
                    "choices": "" if choices is None else json.dumps(choices),
                    "sampler": str(settings["sampler"]),
                    "pruner": str(settings["pruner"]),
                    "n_trials": int(settings["n_trials"]),
                    "objectives": " ".join(settings["objectives"]),
                    "best": best.cell if best else "",
                }
            )
    return pd.DataFrame(found, columns=list(SEARCHES.columns))
