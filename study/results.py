"""Read the tables and trained models of a study.

from study import results
results.load("outputs/n_vs_p")
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.config.errors import ConfigError, first_line, nearest
from study.tables.gather import block_folders, load, load_curves
from study.tables.measures import MEASURES, TEST, THRESHOLDS
from study.tables.records import TableError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from study.core.learned import LearnedModel
    from study.core.systems import System

__all__ = [
    "THRESHOLDS",
    "TableError",
    "animation",
    "error_plot",
    "load",
    "load_curves",
    "load_file",
    "load_model",
    "rollout_plot",
]


def load_model(folder: str | Path, cell: str, replicate: int) -> LearnedModel:
    """A trained model of a study.

    The terms of a library are code, which `study.config.own_system.load(path)` runs before.

    **Raises:** `TableError` if the folder has no model of that replicate, numbered from 0, or its
    library was not loaded.
    """
    for block in block_folders(folder, [cell]):
        saved = _saved(block / "weights.pt")
        if replicate in saved["replicates"]:
            return _model(saved, saved["replicates"].index(replicate))
    raise TableError(f"no trained model of cell {cell}, replicate {replicate} in {folder}")


def load_file(path: str | Path, system: System | None = None) -> LearnedModel:
    """The model in a file that `LearnedModel.save` or `python -m study.fit` wrote.

    - `system`: that states the terms of its library, if it has one.

    **Raises:** `TableError` for a file that holds none.
    """
    path = Path(path)
    if path.suffix != ".npz":
        return _model(_saved(path), 0, system)
    from study.core.learned import LearnedModel
    from study.core.models import portable

    try:
        return LearnedModel.from_portable(portable.load(path))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise TableError(f"{path} cannot be read as a model: {first_line(error)}") from None


def _saved(path: Path) -> dict[str, Any]:
    """Trained weights and what they are of. **Raises:** `TableError`."""
    import torch  # the tables alone must load without it

    try:
        # only tensors and plain data: nothing in the file is ever run
        saved = torch.load(path, weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise TableError(f"{path} cannot be read: {first_line(error)}") from None
    if not (isinstance(saved, dict) and {"model", "angles", "theta"} <= set(saved)):
        raise TableError(f"{path} holds no model: give a file that model.save wrote")
    return saved


def _model(saved: dict[str, Any], index: int, system: System | None = None) -> LearnedModel:
    from study.core.learned import LearnedModel

    if saved["model"].get("features") == "library" and system is None:
        system = _loaded_system(**saved["system"])
    return LearnedModel.from_saved(saved, index, system)


def error_plot(rows: pd.DataFrame, ax: Axes | None = None, measure: str = TEST.column) -> Axes:
    """Medians of an error against N·D/P, equations per parameter, with 95 % intervals.

    One line for each setting whose N is varied; of a table in which P alone varies, along P.

        ax = results.error_plot(results.load("outputs/n_vs_p"))

    - `ax`: where to draw; new axes if not given.
    - `measure`: a column of the table that is a measure.

    **Raises:** `TableError` if there is no such measure, or no two cells differ in N or P alone.
    """
    from study.analysis import figures

    if measure not in MEASURES:
        raise TableError(f"measure={measure} is none: {nearest(measure, MEASURES)}")
    return figures.error_by_size(rows, MEASURES[measure], ax)


def rollout_plot(rows: pd.DataFrame, ax: Axes | None = None, error: str = "median") -> Axes:
    """The rollout error of each replicate against its root mean square acceleration error.

    - `ax`: as in `error_plot`.
    - `error`: over the test points, `median` or `mean`.

    **Raises:** `TableError` for another error, or if nothing is finite and positive.
    """
    from study.analysis import figures

    return figures.rollout_by_acceleration(rows, error, ax)


def animation(folder: str | Path, path: str | Path) -> Path:
    """Write a GIF of the true and the learned system: the best and the middle cell of a study.

    **Raises:** `TableError` if it has no rollouts of a system whose bodies are known.
    """
    from study.analysis import motion
    from study.analysis.answer import Tables

    shown = motion.motions(Tables(load(folder), load_curves(folder)))
    firsts = [one for one in shown if one.bodies is not None and one.number == 0]
    if not firsts:
        raise TableError(f"{folder} has no rollouts of a system that states its bodies")
    return motion.gif(firsts, path)


def _loaded_system(name: str, constants: dict[str, float], sha256: str):
    """The system of a file that was loaded. **Raises:** `TableError` if it was not."""
    from study.config import own_system

    try:
        return own_system.system(sha256).with_constants(**constants)
    except ConfigError:
        raise TableError(
            f"the terms of this model are code (SHA-256 {sha256[:12]}...), which runs only where "
            "its file is named: call study.config.own_system.load('my_system.py') first"
        ) from None
