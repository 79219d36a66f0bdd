"""A cell's config in its folder: written, and read back as a cell."""

import contextlib
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from study.config import data_files
from study.config.cell import Cell, make_cell
from study.config.errors import first_line
from study.core.files import write_text
from study.sweeping.folder import StudyError, as_yaml, sentence
from study.tables.records import YAML_LOADER


def read_cell(folder: Path) -> Cell:
    """The cell whose folder this is. **Raises:** `ValueError` if its config is not that cell's."""
    path = folder / "config.yaml"
    try:
        config = read_config(path)
        data_files.supply(config, folder.parents[1])
        cell = make_cell(config, compile=config["compile"])
    except (TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is torn ({sentence(error)}): the sweep's command, given again, writes it anew"
        ) from None
    if cell.hash != folder.name:
        raise ValueError(
            f"{path} describes cell {cell.hash}: it was edited, or written by another version; "
            "the sweep's command, given again, writes it anew"
        )
    return cell


def read_config(path: Path) -> dict[str, Any]:
    """A cell's `config.yaml`. **Raises:** `StudyError` if it cannot be read."""
    try:
        data = yaml.load(path.read_text(), YAML_LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StudyError(f"{path} cannot be read: {first_line(error)}") from None
    if not isinstance(data, dict):
        raise StudyError(f"{path} is not a mapping")
    return data


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Write a cell's `config.yaml`, unless it is there as it should be.

    Without an fsync, which would be most of the cost of planning: the command that is given again
    writes anew what a loss of power has torn.
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
    return as_yaml(json.loads(data))
