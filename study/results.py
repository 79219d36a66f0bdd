"""Read the tables and trained models of a study.

from study import results
results.load("outputs/n_vs_p")
"""

import pickle
from pathlib import Path

from study.config.errors import ConfigError, first_line
from study.tables.gather import block_folders, load, load_curves
from study.tables.measures import THRESHOLDS
from study.tables.records import TableError

__all__ = ["THRESHOLDS", "TableError", "load", "load_curves", "load_model"]


def load_model(folder: str | Path, cell: str, replicate: int):
    """A trained model of a study, as `study.core.models.TrainedModel`.

    The terms of a library are code, which `study.config.own_system.load(path)` runs before.

    **Raises:** `TableError` if the folder has no model of that replicate, numbered from 0, or its
    library was not loaded.
    """
    import torch  # the tables alone must load without it

    from study.core.models import TrainedModel

    for block in block_folders(folder, [cell]):
        try:
            # only tensors and plain data: nothing in the file is ever run
            saved = torch.load(block / "weights.pt", weights_only=True)
        except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
            path = block / "weights.pt"
            raise TableError(f"{path} cannot be read: {first_line(error)}") from None
        if replicate in saved["replicates"]:
            library = saved["model"].get("features") == "library"
            system = _loaded_system(**saved["system"]) if library else None
            return TrainedModel.from_saved(saved, saved["replicates"].index(replicate), system)
    raise TableError(f"no trained model of cell {cell}, replicate {replicate} in {folder}")


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
