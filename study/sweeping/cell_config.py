"""A cell, read back from its folder."""

from __future__ import annotations

from pathlib import Path

import yaml

from study.config import inputs
from study.config.cell import Cell, make_cell
from study.sweeping.files import read_config, sentence


def read_cell(folder: Path) -> Cell:
    """The cell whose folder this is. **Raises:** `ValueError` if its config is not that cell's."""
    path = folder / "config.yaml"
    try:
        config = read_config(path)
        inputs.supply(config, folder.parents[1])
        cell = make_cell(config, compile=config["compile"])
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is torn ({sentence(error)}): the sweep's command, given again, writes it anew"
        ) from None
    if cell.hash != folder.name:
        raise ValueError(
            f"{path} describes cell {cell.hash}: it was edited, or written by another version; "
            "the sweep's command, given again, writes it anew"
        )
    return cell
