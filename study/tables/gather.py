"""The tables of a study, gathered from its blocks, and read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from study.tables import blocks, searches
from study.tables.files import checked, pa, read, save
from study.tables.schema import CURVES, RESULTS
from study.tables.study_yaml import TableError, read_study
from study.tables.trials import checked_name


class NothingYet(TableError):  # noqa: N818  it is a state more than an error
    """No block of the study is committed yet."""


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

    Blocks of cells that its `study.yaml` does not list (of another budget, say) are left out; so
    are damaged ones, which the results name in their `attrs` (`unreadable`).

    **Raises:** `NothingYet` if no block is committed yet, `TableError` if none can be read.
    """
    folder = Path(folder)
    study = read_study(folder)
    folders = block_folders(folder, _cells(folder, study))
    if not folders:
        raise NothingYet(f"{folder} holds no finished block yet")
    files = {
        "replicates.parquet": [
            n for n, c in RESULTS.columns.items() if c.required and n != "study"
        ],
        "curves.parquet": list(CURVES.columns),
    }
    tables, damaged = blocks.gather(folders, files)
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


def _cells(folder: Path, study: Mapping[str, Any]) -> list[str] | None:
    """The cells that belong to the study; None for all there are, if no `study.yaml` says."""
    if "cells" not in study:
        return None
    path = folder / "study.yaml"
    searched_cells = searches.complete_cells(folder, study)
    lists = [study["cells"], study.get("earlier_cells", []), searched_cells]
    if not all(isinstance(cells, list) for cells in lists):
        raise TableError(f"{path}: cells and earlier_cells are lists of names")
    try:
        return list(dict.fromkeys(checked_name(cell) for cells in lists for cell in cells))
    except ValueError as error:
        raise TableError(f"{path}: {error}") from None


def _load(path: Path, schema: pa.DataFrameSchema) -> pd.DataFrame:
    if not path.exists():
        raise TableError(f"{path} does not exist: run `python -m study.report {path.parent}` first")
    return checked(read(path), schema, path)
