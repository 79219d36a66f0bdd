"""The tidy tables: their schema, how they are found, loaded and saved.

Knows: columns and files. Does not know: how a number came about. One row of `results` is one
replicate of one cell; `curves` is long: cell, replicate, curve, x, metric, value.

    from study import results
    results.load("outputs/n_vs_p")
"""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from study import blocks, searched
from study.tables import TableError, checked, pa, read, save

BUDGET = [
    "budget_integrator",
    "budget_reference",
    "budget_initial",
    "budget_white",
    "budget_smooth",
    "budget_conservative",
]
THRESHOLDS = ("1e-08", "1e-10", "1e-12")  # of a singular value over the largest
IDENTIFIABILITY = [
    *[f"initial_rank_{threshold}" for threshold in THRESHOLDS],
    *[f"jacobian_rank_{threshold}" for threshold in THRESHOLDS],
    "effective_dimension",
    "jacobian_condition",
]
KEYS = ["study", "cell", "replicate", "data_seed", "init_seed"]


YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class NothingYet(TableError):  # noqa: N818  it is a state more than an error
    """A study of which no block is committed yet."""


def _number(low: float | None = None, high: float | None = None, nullable: bool = True):
    checks = []
    if low is not None:
        checks.append(pa.Check.ge(low))
    if high is not None:
        checks.append(pa.Check.le(high))
    return pa.Column(float, checks, nullable=nullable, coerce=True)


def _later(column):
    """A column that tables of earlier versions do not have."""
    column = copy.deepcopy(column)
    column.required = False
    return column


_text = pa.Column(str, coerce=True)
_maybe = pa.Column(str, nullable=True)
_count = pa.Column("int64", pa.Check.ge(0), coerce=True)
_positive = pa.Column("int64", pa.Check.ge(1), coerce=True)

RESULTS = pa.DataFrameSchema(
    {
        "study": _text,
        "cell": pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{12}$")),
        "replicate": _count,
        "data_seed": _count,
        "init_seed": _count,
        # whether it was trained to choose by, and what was chosen: `searched.with_roles`
        "role": _later(pa.Column(str, pa.Check.isin(searched.ROLES))),
        "tuned": _later(pa.Column(str)),
        "system": _text,
        "system.constants": _text,
        "data.n_train": _positive,
        "data.noise": _number(0, nullable=False),
        "data.sampler": _text,
        "data.order": _text,
        "data.n_trajectories": _positive,
        "data.units": _text,
        "data.pool_size": _positive,
        "model": _text,
        "model.width": _positive,
        "model.depth": _positive,
        "model.activation": _text,
        "model.beta": _number(0, nullable=False),
        "model.encoding": _text,
        "model.mass_prior": _number(0, nullable=False),
        "model.init": _text,
        "optimizer": _text,
        "optimizer.lr": _number(0, nullable=False),
        "optimizer.steps": _count,
        "optimizer.batch_size": _count,
        "optimizer.schedule": _text,
        "optimizer.clip": _number(0),
        "optimizer.loss": _later(pa.Column(str, coerce=True)),
        "optimizer.iterations": _later(pa.Column("int64", pa.Check.ge(0), coerce=True)),
        "rollout.horizon": _number(0, nullable=False),
        "rollout.n_trajectories": _later(_positive),
        "rollout.n_times": _later(_positive),
        "rollout.rtol": _later(_number(0, nullable=False)),
        "rollout.max_steps": _later(_positive),
        # of cells made from files of the user's: hashes of what is in them, what was estimated
        "system.file": _later(_maybe),
        "data.file": _later(_maybe),
        "data.estimate": _later(_maybe),
        "data.held_out": _later(_number(0, 1)),
        "precision": _text,
        "coordinates": _later(_text),
        "n_params": _positive,
        "n_equations": _positive,
        "n_over_p": _number(0, nullable=False),
        "equations_per_param": _number(0, nullable=False),
        # acceleration error: mean squared, normalised coordinate by coordinate by the variance of
        # the test targets; mean, median and 99th percentile over points
        "train_nmse": _number(0),
        "test_mse": _number(0),
        "test_nmse": _number(0),
        "test_nmse_median": _number(0),
        "test_nmse_p99": _number(0),
        "test_nmse_in_range": _number(0),
        "test_nmse_out_of_range": _number(0),
        "test_nmse_median_in_range": _number(0),
        "test_nmse_median_out_of_range": _number(0),
        "singular_fraction": _number(0, 1),
        # of measured labels against the true system's accelerations, where both are known
        "label_nmse": _later(_number(0)),
        # rollouts from held-out initial conditions
        "rollout_error": _number(0, 1),
        "valid_time": _number(0),
        "valid_time_lyapunov": _number(0),
        "diverged_fraction": _number(0, 1),
        "energy_drift": _number(0),
        "energy_drift_final": _number(0),
        "energy_drift_final_mean": _later(_number(0)),
        # rollout errors of the controls, and the median finite-time Lyapunov exponent in 1/s;
        # missing where diagnostics.error_budget is false
        **{name: _later(_number(0, 1)) for name in BUDGET},
        "lyapunov": _later(_number()),
        # of d(qddot)/d(theta), as initialised on ample data and as trained on the training points;
        # missing where diagnostics.identifiability is false
        **{name: _later(_number(0)) for name in IDENTIFIABILITY},
        "train_seconds": _number(0),
        "rollout_seconds": _number(0),  # all that is measured after training
        # slope of log loss along log parameters at the end of training
        "relative_gradient": _later(_number(0)),
        "converged": pa.Column(bool, coerce=True),
        "stop_reason": _text,
    },
    unique=["cell", "replicate"],
    strict=False,  # later measures may be added; none is renamed
)

_columns = list(RESULTS.columns)
MEASURES = _columns[_columns.index("train_nmse") : _columns.index("converged") + 1]

CURVES = pa.DataFrameSchema(
    {
        "cell": pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{12}$")),
        "replicate": _count,
        "curve": pa.Column(str, pa.Check.isin(["training", "rollout", "spectrum"])),
        "x": _number(nullable=False),
        "metric": _text,
        "value": _number(),
    },
    strict=True,
)


def load(folder: str | Path) -> pd.DataFrame:
    """The results of a study, one row a cell and replicate.

    **Raises:** `TableError` if there is no table or it is not of the schema.
    """
    return _load(Path(folder) / "results.parquet", RESULTS)


def load_curves(folder: str | Path) -> pd.DataFrame:
    """Training and rollout curves of a study, long form. **Raises:** `TableError`."""
    return _load(Path(folder) / "curves.parquet", CURVES)


def load_model(folder: str | Path, cell: str, replicate: int):
    """A trained model of a study, as `study.core.models.TrainedModel`.

    **Arguments:**

    - `folder`: the study's folder.
    - `cell`: the cell's hash.
    - `replicate`: which replicate of it.

    **Raises:** `TableError` if that replicate was not trained here.
    """
    import torch  # the tables alone must load without it

    from study.core.models import TrainedModel

    for block in block_folders(folder, [cell]):
        try:
            # only tensors and plain data: nothing in the file is ever run
            saved = torch.load(block / "weights.pt", weights_only=True)
        except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise TableError(f"{block / 'weights.pt'} cannot be read: {reason}") from None
        if replicate in saved["replicates"]:
            return TrainedModel.from_saved(saved, saved["replicates"].index(replicate))
    raise TableError(f"no trained model of cell {cell}, replicate {replicate} in {folder}")


def block_folders(folder: str | Path, cells: Iterable[str] | None = None) -> list[Path]:
    """The committed blocks of a study, in order of cell and block."""
    root = Path(folder) / "cells"
    patterns = ["*"] if cells is None else list(cells)
    return sorted(
        path.parent for cell in patterns for path in root.glob(f"{cell}/block-*/replicates.parquet")
    )


def compact(folder: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gather the study's committed blocks into `results.parquet` and `curves.parquet`, and what it
    searched into `trials.parquet` and `searches.parquet`.

    Blocks of cells that its `study.yaml` does not list, another budget's say, are left out; so are
    damaged ones, which are named in the results' `attrs` (`unreadable`).

    **Raises:** `NothingYet` if no block is committed yet, `TableError` if none can be read.
    """
    folder = Path(folder)
    study = _study(folder)
    found = block_folders(folder, _cells(folder, study))
    if not found:
        raise NothingYet(f"{folder} holds no finished block yet")
    files = {
        "replicates.parquet": [
            n for n, c in RESULTS.columns.items() if c.required and n != "study"
        ],
        "curves.parquet": list(CURVES.columns),
    }
    tables, damaged = blocks.gather(found, files)
    if not tables:
        raise TableError(f"{folder} holds no block that can be read: {damaged[0]}")
    rows, curves = (tables[name] for name in files)
    rows.insert(0, "study", folder.resolve().name)
    tables = searched.compact(folder, study)
    rows = searched.with_roles(rows, tables, study.get("block_size"))
    rows = checked(rows, RESULTS, folder).sort_values(["cell", "replicate"], ignore_index=True)
    curves = checked(curves, CURVES, folder)
    if damaged:
        rows.attrs["unreadable"] = [str(block) for block in damaged]
    save(rows, folder / "results.parquet")
    save(curves, folder / "curves.parquet")
    return rows, curves


def unreadable(folder: str | Path) -> list[str]:
    """A sentence for each block that the tables of a study lack because it is damaged."""
    path = Path(folder) / "results.parquet"
    return list(read(path, columns=["cell"]).attrs.get("unreadable", [])) if path.exists() else []


def _study(folder: Path) -> dict[str, Any]:
    """What `study.yaml` says; nothing where there is none, or it is none."""
    path = folder / "study.yaml"
    if not path.exists():
        return {}
    try:
        study = yaml.load(path.read_text(encoding="utf-8"), YAML_LOADER)
    except yaml.YAMLError as error:
        raise TableError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    return study if isinstance(study, dict) else {}


def _cells(folder: Path, study: Mapping[str, Any]) -> list[str] | None:
    """The cells that belong to the study; all there are where no `study.yaml` says."""
    if "cells" not in study:
        return None
    path = folder / "study.yaml"
    searched_cells = searched.complete_cells(folder, study)
    lists = [study["cells"], study.get("earlier_cells", []), searched_cells]
    if not all(isinstance(each, list) for each in lists):
        raise TableError(f"{path}: cells and earlier_cells are lists of names")
    found = list(dict.fromkeys(cell for each in lists for cell in each))
    for cell in found:
        if not re.fullmatch(r"[0-9A-Za-z_-]+", str(cell)):
            raise TableError(f"{path}: {cell!r} names no cell")
    return found


def _load(path: Path, schema: pa.DataFrameSchema) -> pd.DataFrame:
    if not path.exists():
        raise TableError(f"{path} does not exist: run `python -m study.report {path.parent}` first")
    return checked(read(path), schema, path)
