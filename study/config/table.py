"""The columns of measured data: CSV and other text, NPZ or Parquet.

Nothing in a file is run: no pickles. Sentences count rows from 1, below the header.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from study.config import data_files
from study.config.as_typed import to_type
from study.config.errors import ConfigError, close_name
from study.config.physical_units import in_brackets
from study.config.text_table import read_text

Array = np.ndarray

UNREADABLE = (zipfile.BadZipFile, csv.Error)
TEXT = (".csv", ".tsv", ".txt", ".dat")
SUFFIXES = (".csv", ".npz", ".parquet", *TEXT[1:])


class Table:
    """The columns of a registered file; `wanted` are the names by which a header is known.

    **Raises:** `ConfigError` for a file that is not what its name says.
    """

    def __init__(self, sha256: str, wanted: Collection[str] = ()):
        data, path = data_files.content(sha256)
        self.name, self.where, self._decimal = path.name, f"data.path={path.name}", "."
        try:
            named = self._read(data, path.suffix.lower(), wanted)
        except ConfigError:
            raise
        except (pa.ArrowException, OSError, ValueError, EOFError, *UNREADABLE) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"{self.where} cannot be read: {reason}") from None
        self._columns: dict[str, list[Any]] = {}
        for name, values in named:
            self._columns.setdefault(name.strip(), []).append(values)

    def _read(self, data: bytes, suffix: str, wanted: Collection[str]) -> Iterable[tuple[str, Any]]:
        """Names and columns; several may have the same name."""
        if suffix == ".npz":
            stored = np.load(io.BytesIO(data), allow_pickle=False)
            if isinstance(stored, np.ndarray):
                raise ValueError("it holds one array without a name: use numpy.savez")
            with stored:
                return list(dict(stored).items())
        if suffix == ".parquet":
            table = parquet.ParquetFile(io.BytesIO(data)).read()  # with columns of one name too
            return zip(map(str, table.column_names), table.columns, strict=True)
        if suffix not in TEXT:
            raise ValueError(f"it should end with {', '.join(SUFFIXES)}")
        names, columns, self._decimal = read_text(data, wanted, self.where)
        return zip(names, columns, strict=True)

    @property
    def names(self) -> list[str]:
        """Of the columns that have one."""
        return [name for name in self._columns if name]

    def numbers(self, name: str, key: str, names: Sequence[str] = ()) -> Array:
        """A column of numbers, (n) or, in an NPZ, (n, k); NaN where none is.

        `names`: all that the key names, if it takes several.

        **Raises:** `ConfigError` with the row and column of the first text or infinite number, or
        if most rows lack a number.
        """
        column = self._column(name, key, names)
        kind = column.dtype if isinstance(column, np.ndarray) else column.type
        values = column if isinstance(column, np.ndarray) else self._array(column, name)
        if values.dtype.kind not in "iuf":
            raise ConfigError(
                f"{self.where}, column {name}: it holds {kind}, and should hold numbers"
            )
        if values.ndim not in (1, 2):
            raise ConfigError(
                f"{self.where}: {name} has shape {values.shape}: it should be one number a row"
            )
        values = values.astype(float)
        for place in np.argwhere(np.isinf(values))[:1]:
            inner = f"[:, {place[1]}]" if values.ndim == 2 else ""
            raise ConfigError(
                f"{self.where}, row {place[0] + 1}, column {name}{inner}: it is infinite: put the "
                "number there, or leave the row out"
            )
        empty = np.isnan(values).reshape(len(values), -1).any(axis=1)
        if len(values) and empty.all():
            raise ConfigError(f"{self.where}: column {name} is empty: it holds no number")
        if 2 * empty.sum() > len(values):
            raise ConfigError(
                f"{self.where}, row {empty.argmax() + 1}, column {name}: it is empty or NaN, as in "
                f"{empty.sum()} of {len(values)} rows: put numbers there, or leave the rows out"
            )
        return values

    def labels(self, name: str, key: str, rows: Array) -> Array:
        """A column of names or whole numbers, as text; `rows`: which need one.

        **Raises:** `ConfigError`.
        """
        column = self._column(name, key)
        values = column if isinstance(column, np.ndarray) else np.array(column.to_pylist(), object)
        if values.ndim != 1:
            raise ConfigError(f"{self.where}: {name} has shape {values.shape}: one name a row")
        if len(values) != len(rows):
            raise ConfigError(
                f"{self.where}: {name} has {len(values)} rows, and others {len(rows)}"
            )
        named = [
            "" if value is None or value != value else _whole(value) for value in values.tolist()
        ]
        for row in np.flatnonzero(rows):
            if not named[row]:
                raise ConfigError(
                    f"{self.where}, row {row + 1}, column {name}: it is empty: every row belongs "
                    "to a trajectory"
                )
        return np.array(named)

    def side_by_side(self, names: Sequence[str], key: str, D: int, whose: str) -> Array:
        """(n, D) from D columns, or from one array of an NPZ with D columns of its own.

        **Raises:** `ConfigError` if there are not D of them.
        """
        columns = {name: self.numbers(name, key, names) for name in names}
        self.n_rows(columns)
        wide = [v[:, None] if v.ndim == 1 else v for v in columns.values()]
        values = np.concatenate(wide, axis=1)
        if values.shape[1] != D:
            raise ConfigError(
                f"{key}=[{','.join(names)}] gives {values.shape[1]} columns, and {whose} has {D} "
                f"coordinate{'s' * (D != 1)}: name one for each"
            )
        return values

    def n_rows(self, columns: Mapping[str, Array]) -> int:
        """The number of rows that all columns have. **Raises:** `ConfigError` if they differ."""
        (first, n), *others = ((name, len(values)) for name, values in columns.items())
        for name, length in others:
            if length != n:
                raise ConfigError(f"{self.where}: {name} has {length} rows, and {first} has {n}")
        if n == 0:
            raise ConfigError(f"{self.where}: it has no rows")
        return n

    def _column(self, name: str, key: str, names: Sequence[str] = ()) -> pa.ChunkedArray | Array:
        columns = self._columns.get(name.strip(), [])
        if len(columns) == 1:
            return columns[0]
        if columns:
            raise ConfigError(
                f"{key}={name}: {self.name} has {len(columns)} columns of that name: give those "
                "that are read names of their own"
            )
        raise ConfigError(
            f"{key}={name} is no column of {self.name}: {self._hint(name, key, names)}"
        )

    def _hint(self, name: str, key: str, names: Sequence[str]) -> str:
        """What to type instead of a name that is no column."""
        known = self.names
        alike = [c for c in known if in_brackets(c)[0].lower() == name.strip().lower()]
        close = alike[0] if alike else close_name(name, known)
        if close is None:
            return f"known are {', '.join(sorted(known))}"
        if close.isidentifier() and close.isascii():
            return f"did you mean {close}?"
        several = [close if other == name else other for other in names]
        return f"write {to_type(key, several or close)}"

    def _array(self, column: pa.ChunkedArray, name: str) -> Array:
        kind = column.type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            return column.cast(pa.float64()).to_numpy() if kind == pa.null() else column.to_numpy()
        numbers = []
        for row, text in enumerate(column.to_pylist(), start=1):
            try:
                numbers.append(float((text or "nan").replace(self._decimal, ".")))
            except ValueError:
                raise ConfigError(
                    f"{self.where}, row {row}, column {name}: {text!r} is not a number"
                ) from None
        return np.array(numbers)


def _whole(value: Any) -> str:
    """A label as text; a whole number that a missing one beside it made a float is whole."""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)
