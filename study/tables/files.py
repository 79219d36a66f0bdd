"""Parquet files of tables: written whole, read as data alone, checked against a schema."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd
import pyarrow

with warnings.catch_warnings():
    # torchode holds typeguard at a version that pandera warns about; it uses neither here
    warnings.filterwarnings("ignore", "Using typeguard < 3")
    import pandera.pandas as pa

from study.config.errors import first_line
from study.core.files import write_whole
from study.tables.study_yaml import TableError


def save(table: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all."""
    write_whole(path, lambda file: table.to_parquet(file, index=False))


def read(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """The table in a Parquet file; nothing in the file is ever run. **Raises:** `TableError`."""
    try:
        return pd.read_parquet(path, columns=columns)
    except (pyarrow.ArrowException, OSError) as error:
        raise TableError(f"{path} cannot be read: {first_line(error)}") from None


def checked(table: pd.DataFrame, schema: pa.DataFrameSchema, where: Path) -> pd.DataFrame:
    """The table with the schema's types. **Raises:** `TableError` if it does not fit."""
    try:
        return schema.validate(table)
    except (pa.errors.SchemaError, pa.errors.SchemaErrors) as error:
        reason = " ".join(str(error).split())[:300]
        raise TableError(f"{where} does not hold a table of this project: {reason}") from None
