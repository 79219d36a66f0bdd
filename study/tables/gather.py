"""The tables of a study, gathered from its blocks, and read back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from study.config.errors import first_line
from study.tables import blocks, searches
from study.tables.files import TableError, checked, pa, read, save
from study.tables.schema import CURVES, RESULTS

YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class NothingYet(TableError):  # noqa: N818  it is a state more than an error
    """A study of which no block is committed yet."""


def load(folder: str | Path) -> pd.DataFrame:
    """The results of a study, one row a cell and replicate.

    **Raises:** `TableError` if there is no table or it is not of the schema.
    """
    return _load(Path(folder) / "results.parquet", RESULTS)


def load_curves(folder: str | Path) -> pd.DataFrame:
    """Training and rollout curves of a study, long form. **Raises:** `TableError`."""
    return _load(Path(folder) / "curves.parquet", CURVES)


def block_folders(folder: str | Path, cells: Iterable[str] | None = None) -> list[Path]:
    """The committed blocks of a study, in order of cell and block."""
    root = Path(folder) / "cells"
    patterns = ["*"] if cells is None else list(cells)
    return sorted(
        path.parent for cell in patterns for path in root.glob(f"{cell}/block-*/replicates.parquet")
    )


def compact(folder: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gather the study's committed blocks into `results.parquet` and `curves.parquet`, and what it
    searched into `trials.parquet` and `searches.parquet`.

    Blocks of cells that its `study.yaml` does not list, another budget's say, are left out; so are
    damaged ones, which are named in the results' `attrs` (`unreadable`).

    **Raises:** `NothingYet` if no block is committed yet, `TableError` if none can be read.
    """
    folder = Path(folder)
    study = _study(folder)
    found = block_folders(folder, _cells(folder, study))
    if not found:
        raise NothingYet(f"{folder} holds no finished block yet")
    files = {
        "replicates.parquet": [
            n for n, c in RESULTS.columns.items() if c.required and n != "study"
        ],
        "curves.parquet": list(CURVES.columns),
    }
    tables, damaged = blocks.gather(found, files)
    if not tables:
        raise TableError(f"{folder} holds no block that can be read: {damaged[0]}")
    rows, curves = (tables[name] for name in files)
    rows.insert(0, "study", folder.resolve().name)
    tables = searches.compact(folder, study)
    rows = searches.with_roles(rows, tables, study.get("block_size"))
    rows = checked(rows, RESULTS, folder).sort_values(["cell", "replicate"], ignore_index=True)
    curves = checked(curves, CURVES, folder)
    if damaged:
        rows.attrs["unreadable"] = [str(block) for block in damaged]
    save(rows, folder / "results.parquet")
    save(curves, folder / "curves.parquet")
    return rows, curves


def unreadable(folder: str | Path) -> list[str]:
    """A sentence for each block that the tables of a study lack because it is damaged."""
    path = Path(folder) / "results.parquet"
    return list(read(path, columns=["cell"]).attrs.get("unreadable", [])) if path.exists() else []


def _study(folder: Path) -> dict[str, Any]:
    """What `study.yaml` says; nothing where there is none, or it is none."""
    path = folder / "study.yaml"
    if not path.exists():
        return {}
    try:
        study = yaml.load(path.read_text(encoding="utf-8"), YAML_LOADER)
    except yaml.YAMLError as error:
        raise TableError(f"{path} cannot be read: {first_line(error)}") from None
    return study if isinstance(study, dict) else {}


def _cells(folder: Path, study: Mapping[str, Any]) -> list[str] | None:
    """The cells that belong to the study; all there are where no `study.yaml` says."""
    if "cells" not in study:
        return None
    path = folder / "study.yaml"
    searched_cells = searches.complete_cells(folder, study)
    lists = [study["cells"], study.get("earlier_cells", []), searched_cells]
    if not all(isinstance(each, list) for each in lists):
        raise TableError(f"{path}: cells and earlier_cells are lists of names")
    found = list(dict.fromkeys(cell for each in lists for cell in each))
    for cell in found:
        if not re.fullmatch(r"[0-9A-Za-z_-]+", str(cell)):
            raise TableError(f"{path}: {cell!r} names no cell")
    return found


def _load(path: Path, schema: pa.DataFrameSchema) -> pd.DataFrame:
    if not path.exists():
        raise TableError(f"{path} does not exist: run `python -m study.report {path.parent}` first")
    return checked(read(path), schema, path)
