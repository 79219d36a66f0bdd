"""The tables of a study: gathered from blocks and records, checked, written whole, read back."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow

from study.config.errors import first_line
from study.core.files import write_whole
from study.tables import blocks
from study.tables.records import (
    TableError,
    as_text,
    checked_name,
    read_best,
    read_study,
    read_trials,
)
from study.tables.schema import CURVES, RESULTS, SEARCHES, TRIALS, pa


class NothingYet(TableError):  # noqa: N818  it is a state more than an error
    """No block of the study is committed yet."""


def load(folder: str | Path) -> pd.DataFrame:
    """The results of a study, one row a cell and replicate. **Raises:** `TableError`."""
    return _load(folder, "results.parquet", RESULTS)


def load_curves(folder: str | Path) -> pd.DataFrame:
    """Training and rollout curves of a study, long form. **Raises:** `TableError`."""
    return _load(folder, "curves.parquet", CURVES)


def load_trials(folder: str | Path) -> pd.DataFrame | None:
    """The trials of a study's searches; None if it searched nothing. **Raises:** `TableError`."""
    path = Path(folder) / "trials.parquet"
    return _load(folder, path.name, TRIALS) if path.exists() else None


def load_searches(folder: str | Path) -> pd.DataFrame | None:
    """The keys that were searched; None if nothing was. **Raises:** `TableError`."""
    path = Path(folder) / "searches.parquet"
    return _load(folder, path.name, SEARCHES) if path.exists() else None


def _load(folder: str | Path, name: str, schema: pa.DataFrameSchema) -> pd.DataFrame:
    path = Path(folder) / name
    if not path.exists():
        raise TableError(f"{path} does not exist: run `python -m study.report {path.parent}` first")
    return _checked(read(path), schema, path)


def read(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """The table in a Parquet file; nothing in the file is ever run. **Raises:** `TableError`."""
    try:
        return pd.read_parquet(path, columns=columns)
    except (pyarrow.ArrowException, OSError) as error:
        raise TableError(f"{path} cannot be read: {first_line(error)}") from None


def save(table: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all."""
    write_whole(path, lambda file: table.to_parquet(file, index=False))


def _checked(table: pd.DataFrame, schema: pa.DataFrameSchema, where: Path) -> pd.DataFrame:
    """The table with the schema's types. **Raises:** `TableError` if it does not fit."""
    try:
        return schema.validate(table)
    except (pa.errors.SchemaError, pa.errors.SchemaErrors) as error:
        reason = " ".join(str(error).split())[:300]
        raise TableError(f"{where} does not hold a table of this project: {reason}") from None


def block_folders(folder: str | Path, cells: Iterable[str] | None = None) -> list[Path]:
    """The committed blocks of a study, in order of cell and block."""
    root = Path(folder) / "cells"
    patterns = ["*"] if cells is None else list(cells)
    return sorted(
        path.parent for cell in patterns for path in root.glob(f"{cell}/block-*/replicates.parquet")
    )


def study_blocks(folder: Path) -> list[Path]:
    """The committed blocks of the cells that the study's `study.yaml` lists, in order."""
    return block_folders(folder, _cells(folder, read_study(folder)))


def compact(folder: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gather the study's committed blocks into `results.parquet` and `curves.parquet`, and the
    records of its searches into `trials.parquet` and `searches.parquet`.

    Blocks of cells that its `study.yaml` does not list (of another budget, say) are left out; so
    are damaged ones, which the results name in their `attrs` (`unreadable`).

    **Raises:** `NothingYet` if no block is committed yet, `TableError` if none can be read.
    """
    folder = Path(folder)
    study = read_study(folder)
    folders = block_folders(folder, _cells(folder, study))
    if not folders:
        raise NothingYet(f"{folder} holds no finished block yet")
    required = [name for name, c in RESULTS.columns.items() if c.required and name != "study"]
    files = {"replicates.parquet": required, "curves.parquet": list(CURVES.columns)}
    tables, damaged = blocks.gather(folders, files)
    if not tables:
        raise TableError(f"{folder} holds no block that can be read: {damaged[0]}")
    rows, curves = (tables[name] for name in files)
    rows.insert(0, "study", folder.resolve().name)
    rows = with_roles(rows, compact_searches(folder, study), study.get("block_size"))
    rows = _checked(rows, RESULTS, folder).sort_values(["cell", "replicate"], ignore_index=True)
    curves = _checked(curves, CURVES, folder)
    if damaged:
        rows.attrs["unreadable"] = damaged
    save(rows, folder / "results.parquet")
    save(curves, folder / "curves.parquet")
    return rows, curves


def unreadable(folder: str | Path) -> list[str]:
    """A sentence for each block that the tables of a study lack because it is damaged."""
    path = Path(folder) / "results.parquet"
    return list(read(path, columns=["cell"]).attrs.get("unreadable", [])) if path.exists() else []


def _cells(folder: Path, study: Mapping[str, Any]) -> list[str] | None:
    """The cells that belong to the study; None for all there are, if no `study.yaml` says."""
    if "cells" not in study:
        return None
    path = folder / "study.yaml"
    lists = [study["cells"], study.get("earlier_cells", []), complete_cells(folder, study)]
    if not all(isinstance(cells, list) for cells in lists):
        raise TableError(f"{path}: cells and earlier_cells are lists of names")
    try:
        return list(dict.fromkeys(checked_name(cell) for cells in lists for cell in cells))
    except ValueError as error:
        raise TableError(f"{path}: {error}") from None


def complete_cells(folder: Path, study: Mapping[str, Any]) -> list[str]:
    """The cells of complete trials of the searches that `study.yaml` lists."""
    listed = study.get("searches")
    return [
        record.cell
        for search in (listed if isinstance(listed, list) else [])
        if isinstance(search, Mapping)
        for record in read_trials(folder, str(search.get("name")))
        if record.state == "complete"
    ]


def compact_searches(
    folder: Path, study: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Gather the searches that `study.yaml` lists into `trials.parquet`, one row a trial, and
    `searches.parquet`, one row a searched key; remove both files if it lists none.

    **Raises:** `TableError` if it does not say what was searched.
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
    trials, searches = _checked(tables[0], TRIALS, folder), _checked(tables[1], SEARCHES, folder)
    save(trials, paths[0])
    save(searches, paths[1])
    return trials, searches


def with_roles(
    rows: pd.DataFrame, tables: tuple[pd.DataFrame, pd.DataFrame] | None, block_size: Any
) -> pd.DataFrame:
    """The results with two more columns, which say what a row is evidence for.

    - `role`: `trial`, trained to choose by; `rerun`, new seeds of the cell that was chosen;
      `former`, new seeds of a cell that was the best before the search went on; else `grid`.
    - `tuned`: the keys whose values a search chose, separated by spaces; empty for `grid`.
    """
    rows = rows.assign(role="grid", tuned="")
    if tables is None:
        return rows
    if not isinstance(block_size, int) or block_size < 1:
        raise TableError(f"block_size: {block_size!r} in study.yaml is no number of replicates")
    trials, searches = tables
    keys = searches.groupby("search")["key"].agg(" ".join)
    complete = trials.loc[trials["state"] == "complete"]
    tuned = dict(zip(complete["cell"], complete["search"].map(keys), strict=True))
    of_search = rows["cell"].isin(list(tuned))
    first = rows["replicate"] < block_size
    best = rows["cell"].isin(searches.loc[searches["best"] != "", "best"])
    rows.loc[of_search & first, "role"] = "trial"
    rows.loc[of_search & ~first, "role"] = "former"
    rows.loc[of_search & ~first & best, "role"] = "rerun"
    rows.loc[of_search, "tuned"] = rows.loc[of_search, "cell"].map(tuned)
    return rows


def _trials(folder: Path, study: Mapping[str, Any]) -> pd.DataFrame:
    objectives = list(study["search"]["objectives"])
    keys = list(dict.fromkeys(key for search in study["searches"] for key in search["space"]))
    rows = []
    for search in study["searches"]:
        for record in read_trials(folder, str(search["name"])):
            row = {name: getattr(record, name, None) for name in TRIALS.columns}
            row |= {"study": folder.resolve().name, "search": str(search["name"])}
            row |= dict(zip(objectives, record.values, strict=False))
            row["unused"] = " ".join(record.unused)
            rows.append(row | {key: record.params.get(key) for key in keys})
    table = pd.DataFrame(rows, columns=[*TRIALS.columns, "unused", *objectives, *keys])
    for key in keys:
        table[key] = _numbers_or_text(list(table[key]))
    return table.astype(dict.fromkeys(objectives, float))


def _numbers_or_text(values: list[Any]) -> pd.Series:
    """Numbers if all are, else text."""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return pd.Series(values, dtype=None if values else float)
    return pd.Series([as_text(v) for v in values], dtype=object).astype("str")


def _searches(folder: Path, study: Mapping[str, Any]) -> pd.DataFrame:
    settings = study["search"]
    points = [dict(search["fixed"]) for search in study["searches"]]
    apart = [
        key
        for key in dict.fromkeys(key for point in points for key in point)
        if len({repr(point.get(key)) for point in points}) > 1
    ]
    rows = []
    for search, point in zip(study["searches"], points, strict=True):
        best = read_best(folder, str(search["name"]))
        for key, allowed in search["ranges"].items():
            choices = allowed.get("choices")
            rows.append(
                {
                    "study": folder.resolve().name,
                    "search": str(search["name"]),
                    "point": json.dumps({k: point.get(k) for k in apart}),
                    "key": str(key),
                    "kind": str(allowed["kind"]),
                    **{name: allowed.get(name, math.nan) for name in ("low", "high", "step")},
                    "log": bool(allowed.get("log", False)),
                    "choices": "" if choices is None else json.dumps(choices),
                    "sampler": str(settings["sampler"]),
                    "pruner": str(settings["pruner"]),
                    "n_trials": int(settings["n_trials"]),
                    "objectives": " ".join(settings["objectives"]),
                    "best": best.cell if best else "",
                }
            )
    return pd.DataFrame(rows, columns=list(SEARCHES.columns))
