"""Copies of a user's files in a study's folder, under the hash of their content.

outputs/<study>/inputs/<hash>.py       a system
outputs/<study>/inputs/<hash>.csv      measured data
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.config import measured, own_system
from study.core.files import write_whole

FOLDER = "inputs"
_DIGITS = 16  # of a hash, in a file's name


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
    """Find the files of a cell in its study's folder.

    Code among them is run only if the command that started this process named it.

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
