"""Columns of a file of measured data, as arrays of numbers: CSV, NPZ or Parquet.

Sentences count rows from 1, without the header of a CSV. Nothing in a file is run: no pickles.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet

from study.config.errors import ConfigError, nearest

Array = np.ndarray
FORMATS = (".csv", ".npz", ".parquet")


class Table:
    """A file's columns, read when they are asked for.

    **Arguments:**

    - `content`: of the file.
    - `path`: its name, for the sentences; what it ends with says what it is.

    **Raises:** `ConfigError` for a file that is not what its name says.
    """

    def __init__(self, content: bytes, path: Path):
        self.where = f"data.path={path.name}"
        try:
            self._columns = self._read(content, path.suffix.lower())
        except ConfigError:
            raise
        except (pa.ArrowException, OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"{self.where} cannot be read: {reason}") from None

    def _read(self, content: bytes, suffix: str) -> dict[str, pa.ChunkedArray | Array]:
        if suffix == ".npz":
            stored = np.load(io.BytesIO(content), allow_pickle=False)
            if isinstance(stored, np.ndarray):
                raise ValueError("it holds one array without a name: use numpy.savez")
            with stored:
                return {name: stored[name] for name in stored.files}
        if suffix == ".parquet":
            table = parquet.read_table(io.BytesIO(content))
        elif suffix == ".csv":
            table = self._read_csv(content)
        else:
            raise ValueError(f"it should end with {', '.join(FORMATS)}")
        return {str(name).strip(): table[name] for name in table.column_names}

    def _read_csv(self, content: bytes) -> pa.Table:
        uneven: list[csv.InvalidRow] = []

        def ragged(row: csv.InvalidRow) -> str:  # an exception in here would be swallowed
            uneven.append(row)
            return "error"

        try:
            return csv.read_csv(
                io.BytesIO(content),
                read_options=csv.ReadOptions(use_threads=False),
                parse_options=csv.ParseOptions(invalid_row_handler=ragged),
                # other texts that are no numbers are reported as they are
                convert_options=csv.ConvertOptions(null_values=["", "NaN", "nan", "NA"]),
            )
        except pa.ArrowInvalid:
            if not uneven:
                raise
            row = uneven[0]
            raise ConfigError(
                f"{self.where}, row {row.number - 1}: it has {row.actual_columns} values, and the "
                f"header names {row.expected_columns} columns"
            ) from None

    def numbers(self, name: str, key: str) -> Array:
        """A column of finite numbers, (n) or, in an NPZ, (n, k).

        **Raises:** `ConfigError` naming the row and column of the first that is none.
        """
        column = self._column(name, key)
        values = column if isinstance(column, np.ndarray) else self._arrow(column, name)
        if values.dtype.kind not in "iuf":
            raise ConfigError(
                f"{self.where}, column {name}: it holds {values.dtype}, and should hold numbers"
            )
        if values.ndim not in (1, 2):
            raise ConfigError(
                f"{self.where}: {name} has shape {values.shape}: it should be one number a row"
            )
        values = values.astype(float)
        bad = ~np.isfinite(values)
        if bad.any():
            place = np.argwhere(bad)[0]
            inner = f"[:, {place[1]}]" if values.ndim == 2 else ""
            what = "empty or NaN" if np.isnan(values[tuple(place)]) else "infinite"
            raise ConfigError(
                f"{self.where}, row {place[0] + 1}, column {name}{inner}: it is {what}: put the "
                "number there, or leave the row out"
            )
        return values

    def labels(self, name: str, key: str) -> Array:
        """A column of names or whole numbers, as text. **Raises:** `ConfigError`."""
        column = self._column(name, key)
        values = column if isinstance(column, np.ndarray) else np.array(column.to_pylist(), object)
        if values.ndim != 1:
            raise ConfigError(f"{self.where}: {name} has shape {values.shape}: one name a row")
        missing = np.array([v is None or v != v or v == "" for v in values.tolist()], bool)
        if missing.any():
            raise ConfigError(
                f"{self.where}, row {missing.argmax() + 1}, column {name}: it is empty: every row "
                "belongs to a trajectory"
            )
        return np.array([str(v) for v in values.tolist()])

    def _column(self, name: str, key: str) -> pa.ChunkedArray | Array:
        if name not in self._columns:
            raise ConfigError(
                f"{key}={name} is no column of {self.where.partition('=')[2]}: "
                f"{nearest(name, self._columns)}"
            )
        return self._columns[name]

    def _arrow(self, column: pa.ChunkedArray, name: str) -> Array:
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            for row, text in enumerate(column.to_pylist(), start=1):
                if not _is_number(text):
                    raise ConfigError(
                        f"{self.where}, row {row}, column {name}: {text!r} is not a number"
                    )
            column = column.cast(pa.float64())
        elif pa.types.is_null(kind):
            column = column.cast(pa.float64())
        elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise ConfigError(
                f"{self.where}, column {name}: it holds {kind}, and should hold numbers"
            )
        return column.to_numpy()


def _is_number(text: str | None) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def one_length(columns: dict[str, Array], where: str) -> int:
    """The number of rows that all columns have. **Raises:** `ConfigError` if they differ."""
    lengths = {name: len(values) for name, values in columns.items()}
    first, n = next(iter(lengths.items()))
    for name, length in lengths.items():
        if length != n:
            raise ConfigError(f"{where}: {name} has {length} rows, and {first} has {n}")
    if n == 0:
        raise ConfigError(f"{where}: it has no rows")
    return n


def side_by_side(table: Table, names: Sequence[str], key: str, D: int, whose: str) -> Array:
    """(n, D) from D columns, or from one array of an NPZ with D columns of its own.

    **Raises:** `ConfigError` if there are not D of them.
    """
    parts = {name: table.numbers(name, key) for name in names}
    one_length(parts, table.where)
    wide = [v[:, None] if v.ndim == 1 else v for v in parts.values()]
    values = np.concatenate(wide, axis=1)
    if values.shape[1] != D:
        raise ConfigError(
            f"{key}=[{','.join(names)}] gives {values.shape[1]} columns, and {whose} has {D} "
            f"coordinate{'s' * (D != 1)}: name one for each"
        )
    return values
