"""Parquet tables of single blocks, whatever their columns: written, and gathered by thousands."""

import contextlib
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


def from_rows(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A table of plain rows, with all columns that one of them has."""
    return pa.Table.from_struct_array(pa.array(rows))


def write(table: pa.Table, path: Path) -> None:
    """Write a table of one block: few rows, many columns."""
    buffer = pa.BufferOutputStream()  # a file would be written to a hundred times
    parquet.write_table(
        table,
        buffer,
        use_dictionary=False,  # this and the next two would be most of the file and of the time
        write_statistics=False,
        store_schema=False,
        write_page_checksum=True,  # a damaged page may well decode to numbers
    )
    path.write_bytes(buffer.getvalue())


def gather(
    folders: Sequence[Path], required: Mapping[str, Sequence[str]]
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """The tables of many blocks, one below the other in the order of `folders`.

    `required` names each file, with the columns it must have, `cell` among them.

    **Returns:** a table for each file name, without the damaged blocks (empty if all are damaged);
    and a sentence for each damaged block.
    """
    # processes, because threads would mostly wait for each other
    parts = [folders[k : k + PART] for k in range(0, len(folders), PART)]
    if len(parts) > 1 and (cores := cpu_count()) > 1:
        read: Any = Parallel(min(cores, MOST))(delayed(_gather)(p, required) for p in parts)
        with contextlib.suppress(pa.ArrowException):  # a block may fit only those of its own part
            return _joined([tables for tables, _ in read]), [d for _, part in read for d in part]
    tables, damaged = _gather(folders, required)
    return _joined([tables]), damaged


def _joined(parts: Sequence[Mapping[str, pa.Table]]) -> dict[str, pd.DataFrame]:
    """The parts one below the other. **Raises:** `pa.ArrowException` if they do not fit."""
    parts = [part for part in parts if part]  # a part of damaged blocks alone has no table
    names = parts[0] if parts else ()
    return {name: _concatenated([part[name] for part in parts]).to_pandas() for name in names}


def _concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables, promote_options="permissive")


def _gather(
    folders: Sequence[Path], required: Mapping[str, Sequence[str]]
) -> tuple[dict[str, pa.Table], list[str]]:
    """The tables of the blocks that fit below those before, and a sentence for each other one."""
    blocks: list[dict[str, pa.Table]] = []
    schemas = {name: pa.schema([]) for name in required}
    damaged = []
    for folder in folders:
        tables, name = {}, ""
        unified = dict(schemas)
        try:
            for name, columns in required.items():
                tables[name] = table = _read(folder / name, columns)
                if not table.schema.equals(schemas[name]):
                    both = [schemas[name], table.schema]
                    unified[name] = pa.unify_schemas(both, promote_options="permissive")
        except (OSError, ValueError, pa.ArrowException) as error:
            missing = isinstance(error, FileNotFoundError)
            reason = "it is missing" if missing else first_line(error).rstrip(".")
            damaged.append(
                f"cell {folder.parent.name}, block {folder.name.removeprefix('block-')}: {name} is "
                f"damaged ({reason}) and its block left out: remove {folder} and give the sweep's "
                "command again, which trains it anew"
            )
        else:
            blocks.append(tables)
            schemas = unified
    if not blocks:
        return {}, damaged
    # one chunk a column: a thousand small ones take longest to send
    return {
        name: _concatenated([tables[name] for tables in blocks]).combine_chunks()
        for name in required
    }, damaged


def _read(path: Path, required: Sequence[str]) -> pa.Table:
    """The table of one block. **Raises:** `ValueError` if it is of another cell or lacks a column;
    `OSError`, `pa.ArrowException`."""
    with parquet.ParquetFile(path, page_checksum_verification=True) as file:
        table = file.read(use_threads=False)
    names = set(table.column_names)
    for name in required:
        if name not in names:
            raise ValueError(f"it has no column {name}")
    others = set(table["cell"].unique().to_pylist()) - {path.parent.parent.name}
    if others:
        raise ValueError(f"it holds rows of cell {others.pop()}")
    return table.replace_schema_metadata(None)
