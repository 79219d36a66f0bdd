"""A user's files, found by the hash of their content, and their copies in a study's folder.

outputs/<study>/inputs/<hash>.py is a system, and <hash>.csv, .npz or .parquet are data.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.config import own_system
from study.config.as_typed import to_type
from study.config.errors import ConfigError, close_name
from study.core.files import write_whole

FOLDER = "inputs"

_paths: dict[str, Path] = {}  # of data, by the hash of their content; only of this process


def register(path: str | Path) -> str:
    """Remember a file of data and return its SHA-256. **Raises:** `ConfigError`."""
    path = Path(path).expanduser()
    try:
        status = path.stat()
        digest = _digest(path.resolve(), status.st_mtime_ns, status.st_size)
    except OSError as error:
        reason = f"there is no such file{_near(path)}" if not path.exists() else error.strerror
        raise ConfigError(f"data.path={path}: {reason}") from None
    _paths[digest] = path.resolve()
    return digest


def _near(path: Path) -> str:
    """What to type if a file beside it has nearly the same name."""
    beside: list[str] = []
    with contextlib.suppress(OSError):
        beside = [file.name for file in path.parent.iterdir()]
    begun = [name for name in beside if path.name and name.startswith(f"{path.name} ")]
    close = begun[0] if begun else close_name(path.name, beside, cutoff=0.8)
    return f": write {to_type('data.path', str(path.with_name(close)))}" if close else ""


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
