"""The small files of a study: YAML and JSON, there whole or not at all."""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from study.config.errors import first_line
from study.core.files import temporary_name, write_text
from study.tables.study_yaml import YAML_LOADER

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_KEY = re.compile(r"^(?=\w)", re.MULTILINE)  # where one of a mapping's own keys begins

SPARE = 1 << 16  # bytes that must be free before it is worth training


class StudyError(ValueError):
    """A study's folder that cannot be used: one sentence."""


def read_config(path: Path) -> Mapping[str, Any]:
    """A cell's `config.yaml`, to be read only: cells share what they have in common.

    **Raises:** `StudyError` if it cannot be read.
    """
    try:
        data = _from_yaml(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StudyError(f"{path} cannot be read: {first_line(error)}") from None
    if not isinstance(data, dict):
        raise StudyError(f"{path} is not a mapping")
    return data


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Write a cell's `config.yaml`, unless it is there as it should be.

    Not worth an fsync, which would be most of the cost of planning: after a power cut the command
    that is given again finds what is torn, and writes it anew.
    """
    text = "".join(_as_yaml(json.dumps({key: value})) for key, value in config.items())
    try:
        path.parent.mkdir(parents=True)
        path.write_bytes(text.encode())  # nobody has heard of this cell yet
        return
    except FileExistsError:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if path.read_text() == text:
                return
    write_text(path, text, fsync=False)


@functools.lru_cache(maxsize=10_000)
def _as_yaml(data: str) -> str:
    """JSON as YAML; most cells of a study share most of their groups."""
    return yaml.dump(json.loads(data), Dumper=_DUMPER, sort_keys=False, width=100)


def _from_yaml(text: str) -> Any:
    """YAML read key by key, as `write_config` writes it; as a whole if that does not do."""
    try:
        groups = [_read_key(key) for key in _KEY.split(text) if key]
        data = {key: value for group in groups for key, value in group.items()}
    except (yaml.YAMLError, AttributeError):
        data = None
    return data or yaml.load(text, YAML_LOADER)


@functools.lru_cache(maxsize=10_000)
def _read_key(text: str) -> Any:
    """What one key's lines say; most cells of a study share most of their groups."""
    return yaml.load(text, YAML_LOADER)


def write_yaml(path: Path, data: Mapping[str, Any]) -> None:
    """Replace a small file by YAML, keys in the order given."""
    write_text(path, yaml.dump(dict(data), Dumper=_DUMPER, sort_keys=False, width=100))


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace a small file that others poll; it is not worth an fsync."""
    write_text(path, json.dumps(data), fsync=False)


def read_json(path: Path) -> dict[str, Any] | None:
    """The file's mapping, or None if it is missing or cannot be read."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        data = json.loads(path.read_text())
        if isinstance(data, dict):
            return data
    return None


def check_space(folder: Path) -> None:
    """Learn at once whether a folder takes files. **Raises:** `OSError` if it does not."""
    probe = temporary_name(folder / "space")
    try:
        probe.write_bytes(bytes(SPARE))
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


def sentence(error: BaseException) -> str:
    """An exception's type and the first line of its message."""
    name, line = type(error).__name__, first_line(error)
    return name if line == name else f"{name}: {line}"
