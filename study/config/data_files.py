"""A user's files: their copies in a study's folder, and the columns of numbers of measured data.

Files are found by the hash of their content: outputs/<study>/inputs/<hash>.py is a system, and
<hash>.csv, .npz or .parquet are data. Nothing in a file of data is run: no pickles. Sentences count
rows from 1, without the header of a CSV.
"""

from __future__ import annotations

import functools
import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from study.config import own_system
from study.config.errors import ConfigError, nearest
from study.core.files import write_whole

if TYPE_CHECKING:  # only commands with files of data need it
    import pyarrow as pa
    from pyarrow import csv

Array = np.ndarray

FOLDER = "inputs"

_paths: dict[str, Path] = {}  # of data, by the hash of their content; only of this process


def register(path: str | Path) -> str:
    """Remember a file of data and return its SHA-256. **Raises:** `ConfigError`."""
    path = Path(path)
    try:
        status = path.stat()
        digest = _digest(path.resolve(), status.st_mtime_ns, status.st_size)
    except OSError as error:
        reason = "there is no such file" if not path.exists() else error.strerror
        raise ConfigError(f"data.path={path}: {reason}") from None
    _paths[digest] = path.resolve()
    return digest


@functools.lru_cache(maxsize=64)
def _digest(path: Path, changed: int, size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def content(sha256: str) -> tuple[bytes, Path]:
    """A file's content and its name. **Raises:** `ConfigError` if it is gone or another."""
    path = _paths.get(sha256)
    if path is None:
        raise ConfigError(
            f"data=file: no file with the data of this cell (SHA-256 {sha256[:12]}...) is known: "
            "give data.path=FILE"
        )
    try:
        read = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"data.path={path} cannot be read: {error.strerror}") from None
    if hashlib.sha256(read).hexdigest() != sha256:
        raise ConfigError(f"data.path={path} changed while it was used: give the command again")
    return read, path


def _copies(cell: Mapping[str, Any], group: str, root: Path) -> tuple[str, Path]:
    """The hash of the file that a group of a cell is made from, or '', and its copy's stem."""
    digest = cell[group].get("sha256") if isinstance(cell.get(group), Mapping) else None
    digest = digest if isinstance(digest, str) and digest.isalnum() else ""
    return digest, root / FOLDER / digest[:16]


def keep(cell: Mapping[str, Any], root: Path) -> None:
    """Copy the files of a cell into its study's folder. **Raises:** `OSError`, `ConfigError`."""
    for group in ("system", "data"):
        digest, copy = _copies(cell, group, root)
        if not digest or list(copy.parent.glob(f"{copy.name}.*")):
            continue
        if group == "system":
            source, suffix = own_system.source(digest), ".py"
        else:
            source, path = content(digest)
            suffix = path.suffix.lower()
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_whole(copy.with_suffix(suffix), lambda file, source=source: file.write(source))


def supply(cell: Mapping[str, Any], root: Path) -> None:
    """Find the files of a cell in its study's folder.

    Code among them is run only if the command that started this process named it.

    **Raises:** `ConfigError` for a copy that is not what the cell was made from.
    """
    digest, copy = _copies(cell, "system", root)
    if digest:
        own_system.supply(digest, copy.with_suffix(".py"))
    digest, copy = _copies(cell, "data", root)
    for path in sorted(copy.parent.glob(f"{copy.name}.*")) if digest else ():
        register(path)


class Table:
    """The columns of a registered file: CSV, NPZ or Parquet.

    **Raises:** `ConfigError` for a file that is not what its name says.
    """

    def __init__(self, sha256: str):
        import pyarrow as pa

        data, path = content(sha256)
        self.where = f"data.path={path.name}"
        try:
            columns = _read(data, path.suffix.lower(), self.where)
        except ConfigError:
            raise
        except (pa.ArrowException, OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"{self.where} cannot be read: {reason}") from None
        self._columns = {name.strip(): values for name, values in columns.items()}

    def numbers(self, name: str, key: str) -> Array:
        """A column of finite numbers, (n) or, in an NPZ, (n, k).

        **Raises:** `ConfigError` with the row and column of the first that is none.
        """
        column = self._column(name, key)
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
        for place in np.argwhere(~np.isfinite(values))[:1]:
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
        for row, value in enumerate(values.tolist(), start=1):
            if value is None or value != value or value == "":
                raise ConfigError(
                    f"{self.where}, row {row}, column {name}: it is empty: every row belongs to a "
                    "trajectory"
                )
        return np.array([str(value) for value in values.tolist()])

    def side_by_side(self, names: Sequence[str], key: str, D: int, whose: str) -> Array:
        """(n, D) from D columns, or from one array of an NPZ with D columns of its own.

        **Raises:** `ConfigError` if there are not D of them.
        """
        columns = {name: self.numbers(name, key) for name in names}
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

    def _column(self, name: str, key: str) -> pa.ChunkedArray | Array:
        if name not in self._columns:
            raise ConfigError(
                f"{key}={name} is no column of {self.where.partition('=')[2]}: "
                f"{nearest(name, self._columns)}"
            )
        return self._columns[name]

    def _array(self, column: pa.ChunkedArray, name: str) -> Array:
        import pyarrow as pa

        kind = column.type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            return column.cast(pa.float64()).to_numpy() if kind == pa.null() else column.to_numpy()
        numbers = []
        for row, text in enumerate(column.to_pylist(), start=1):
            try:
                numbers.append(float(text or "nan"))
            except ValueError:
                raise ConfigError(
                    f"{self.where}, row {row}, column {name}: {text!r} is not a number"
                ) from None
        return np.array(numbers)


def _read(data: bytes, suffix: str, where: str) -> dict[str, Any]:
    if suffix == ".npz":
        stored = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(stored, np.ndarray):
            raise ValueError("it holds one array without a name: use numpy.savez")
        with stored:
            return dict(stored)
    if suffix == ".parquet":
        from pyarrow import parquet

        table = parquet.read_table(io.BytesIO(data))
    elif suffix == ".csv":
        table = _read_csv(data, where)
    else:
        raise ValueError("it should end with .csv, .npz, .parquet")
    return {str(name): table[name] for name in table.column_names}


def _read_csv(data: bytes, where: str) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    uneven: list[csv.InvalidRow] = []

    def ragged(row: csv.InvalidRow) -> str:  # an exception in here would be swallowed
        uneven.append(row)
        return "error"

    try:
        return csv.read_csv(
            io.BytesIO(data),
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=csv.ParseOptions(invalid_row_handler=ragged),
            # other texts that are no numbers are reported as they are
            convert_options=csv.ConvertOptions(null_values=["", "NaN", "nan", "NA"]),
        )
    except pa.ArrowInvalid:
        for row in uneven[:1]:
            raise ConfigError(
                f"{where}, row {row.number - 1}: it has {row.actual_columns} values, and the "
                f"header names {row.expected_columns} columns"
            ) from None
        raise
