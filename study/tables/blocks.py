"""The tables of single blocks: written small, gathered by the thousand, damaged ones named.

Knows: Parquet files, two a block. Does not know: what the columns mean, where the tables go.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from joblib import Parallel, cpu_count, delayed
from pyarrow import parquet

from study.config.errors import first_line

PART = 1000  # blocks that one process reads at a time
MOST = 8  # processes; more would wait for the disk


@dataclasses.dataclass(frozen=True)
class Damaged:
    """A block one of whose tables is not what its worker wrote."""

    folder: Path
    file: str
    reason: str

    def __str__(self) -> str:
        return (
            f"cell {self.folder.parent.name}, block {self.folder.name.removeprefix('block-')}: "
            f"{self.file} is damaged ({self.reason}) and its block left out: remove {self.folder} "
            "and give the sweep's command again, which trains it anew"
        )


def from_rows(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A table of plain rows, with all columns that one of them has."""
    types = tuple((key, type(value)) for row in rows for key, value in row.items())
    known = _known.get(types)  # to find it out anew is half of the cost
    table = pa.array(rows, type=known)
    if known is None:
        _known.clear()
        _known[types] = table.type
    return pa.Table.from_struct_array(table)


_known: dict[tuple[tuple[str, type], ...], pa.DataType] = {}


def write(table: pa.Table, path: Path) -> None:
    """Write a table of one block: few rows, many columns.

    Without statistics, dictionaries and Arrow's copy of the schema, which would be most of the file
    and of the time it takes; with checksums, as a damaged page may well decode to numbers.
    """
    written = pa.BufferOutputStream()  # a file would be written to a hundred times
    parquet.write_table(
        table,
        written,
        use_dictionary=False,
        write_statistics=False,
        store_schema=False,
        write_page_checksum=True,
    )
    path.write_bytes(written.getvalue())


def read_columns(path: Path, names: Sequence[str]) -> list[list[Any]] | None:
    """Some columns of a table of one block; None where it is damaged or lacks one."""
    table = _read(path, names, only=True)
    return None if isinstance(table, str) else [table[name].to_pylist() for name in names]


def gather(
    folders: Sequence[Path], required: Mapping[str, Sequence[str]]
) -> tuple[dict[str, pd.DataFrame], list[Damaged]]:
    """The tables of many blocks, one below the other in the order of `folders`.

    Thousands are read by all processors; in processes, as threads would mostly wait for each other.

    **Arguments:**

    - `required`: the name of each file, with the columns it must have, `cell` among them.

    **Returns:** a table for each file name, and the blocks that are in none of them.
    """
    parts = [folders[k : k + PART] for k in range(0, len(folders), PART)]
    if len(parts) > 1 and (cores := cpu_count()) > 1:
        read: Any = Parallel(min(cores, MOST))(delayed(_gather)(p, required) for p in parts)
        with contextlib.suppress(pa.ArrowException):  # a block that fits its part alone
            return _whole([tables for tables, _ in read]), [d for _, each in read for d in each]
    tables, damaged = _gather(folders, required)
    return _whole([tables]), damaged


def _whole(parts: Sequence[Mapping[str, pa.Table]]) -> dict[str, pd.DataFrame]:
    """The parts one below the other. **Raises:** `pa.ArrowException` where they do not fit."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: pa.concat_tables(
            [part[name] for part in parts if name in part], promote_options="permissive"
        ).to_pandas()
        for name in names
    }


def _gather(
    folders: Sequence[Path], required: Mapping[str, Sequence[str]]
) -> tuple[dict[str, pa.Table], list[Damaged]]:
    """What fits below the blocks before; no table where there is no block."""
    parts: dict[str, list[pa.Table]] = {name: [] for name in required}
    schemas = {name: pa.schema([]) for name in required}
    damaged = []
    for folder in folders:
        tables = _tables(folder, required)
        if not isinstance(tables, Damaged):
            tables = _fitting(folder, tables, schemas)
        if isinstance(tables, Damaged):
            damaged.append(tables)
            continue
        for name, table in tables.items():
            parts[name].append(table)
    whole = {
        # one chunk a column: a thousand small ones take longest to send
        name: pa.concat_tables(each, promote_options="permissive").combine_chunks()
        for name, each in parts.items()
        if each
    }
    return whole, damaged


def _tables(folder: Path, required: Mapping[str, Sequence[str]]) -> dict[str, pa.Table] | Damaged:
    tables = {}
    for name, columns in required.items():
        found = _read(folder / name, columns)
        if isinstance(found, str):
            return Damaged(folder, name, found)
        tables[name] = found
    return tables


def _read(path: Path, required: Sequence[str], *, only: bool = False) -> pa.Table | str:
    """The table, or what is wrong with it; `only`: of its columns just those that are required."""
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read([*required, "cell"] if only else None, use_threads=False)
    except FileNotFoundError:
        return "it is missing"
    except (pa.ArrowException, OSError) as error:
        return first_line(error).rstrip(".")
    there = set(table.column_names)
    missing = [name for name in required if name not in there]
    if missing:
        return f"it has no column {missing[0]}"
    others = set(table["cell"].unique().to_pylist()) - {path.parent.parent.name}
    if others:
        return f"it holds rows of cell {others.pop()}"
    return table.replace_schema_metadata(None)


def _fitting(
    folder: Path, tables: dict[str, pa.Table], schemas: dict[str, pa.Schema]
) -> dict[str, pa.Table] | Damaged:
    """The block's tables if they fit below those before; `schemas` then grow by theirs."""
    grown = {}
    for name, table in tables.items():
        try:
            grown[name] = (
                schemas[name]
                if table.schema.equals(schemas[name])
                else pa.unify_schemas([schemas[name], table.schema], promote_options="permissive")
            )
        except pa.ArrowException as error:
            return Damaged(folder, name, first_line(error).rstrip("."))
    schemas |= grown
    return tables
