"""Files of the user's that a cell is made from: its own system, its own data.

Knows: a path on the command line becomes the hash of what is in the file, a study keeps a copy
under that hash, workers find it there. Does not know: what such files hold.

    outputs/<study>/inputs/<hash>.py       a system      (`own_system.py`)
    outputs/<study>/inputs/<hash>.csv      measured data (`recordings.py`)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.config import measured, own_system
from study.config.errors import ConfigError
from study.core.files import write_whole

FOLDER = "inputs"
_DIGITS = 16  # of a hash, in a file's name


def by_content(system: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[dict, dict]:
    """The groups `system` and `data` with hashes where the config has paths.

    The file of a system is run. **Raises:** `ConfigError` for one that cannot be used.
    """
    system, data = dict(system), dict(data)
    if system.get("name") == "file":
        path = system.pop("path", None)
        if path is not None:
            system["sha256"] = own_system.load(path)
        elif not system.get("sha256"):
            raise ConfigError(
                "system.path is not given: system=file needs system.path=my_system.py"
            )
    if data.get("sampler") == "file":
        path = data.pop("path", None)
        if path is not None:
            data["sha256"] = measured.register(path)
        elif not data.get("sha256"):
            raise ConfigError(
                "data.path is not given: data=file needs data.path=measured.csv (or .npz, .parquet)"
            )
    return system, data


def keep(cell: Mapping[str, Any], root: Path) -> None:
    """Copy the files of a cell into its study's folder. **Raises:** `OSError`, `ConfigError`."""
    if digest := cell["system"].get("sha256"):
        _keep(own_system.source(digest), root / FOLDER / f"{digest[:_DIGITS]}.py")
    digest = cell["data"].get("sha256")
    if digest and not list((root / FOLDER).glob(f"{digest[:_DIGITS]}.*")):
        content, path = measured.content(digest)
        _keep(content, root / FOLDER / f"{digest[:_DIGITS]}{path.suffix.lower()}")


def _keep(content: bytes, path: Path) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: file.write(content))


def supply(cell: Mapping[str, Any], root: Path) -> None:
    """Find the files of a cell in its study's folder, for a worker.

    Code among them is run only where the command that started this process named it.

    **Raises:** `ConfigError` for a copy that is not what the cell was made from.
    """
    if digest := _hash(cell, "system"):
        own_system.supply(digest, root / FOLDER / f"{digest[:_DIGITS]}.py")
    if digest := _hash(cell, "data"):
        for path in sorted((root / FOLDER).glob(f"{digest[:_DIGITS]}.*")):
            measured.register(path)


def _hash(cell: Mapping[str, Any], group: str) -> str | None:
    found = cell.get(group)
    digest = found.get("sha256") if isinstance(found, Mapping) else None
    return digest if isinstance(digest, str) and digest.isalnum() else None
