"""The table that advice rests on: one row a network of the study `advise`, and what a pilot found.

It is made from the study's results and travels in the package. A pilot is the linear Lagrangian,
structured and random, which is solved in a second on the data at hand: its errors tell more of a
system than anything known before. Each row carries the pilots of the *other* replicate, whose data
are drawn anew, so that a row is never its own pilot.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from study.tables.measures import TEST, VALID_TIME

PATH = Path(__file__).with_name("advice.parquet")
HORIZON = 10.0  # s, the cap of a valid time
LEAST_TIME = 0.1  # s, half the spacing of the times that a rollout is compared at
LEAST, WORST = 1e-16, 1e2  # errors: the first is rounding, the second that of a diverged network
MODEL = ["model", "features", "optimizer"]
DATA = ["n", "noise", "trajectories"]
SPENT = ["width", "steps", "iterations"]
FEATURES = {"structured": 64, "random": 256}  # of a pilot on many points, for it to take seconds
MANY = 256
PILOTS = tuple(FEATURES)
FOUND = [f"{kind}_{what}" for kind in PILOTS for what in ("error", "time")]
_NAMES = {
    "model.features": "features",
    "model.width": "width",
    "optimizer.steps": "steps",
    "optimizer.iterations": "iterations",
    "data.n_train": "n",
    "data.noise": "noise",
    "data.n_trajectories": "trajectories",
    "train_seconds": "seconds",
    TEST.column: "error",
    VALID_TIME.column: "time",
}


def of_results(rows: pd.DataFrame) -> pd.DataFrame:
    """The table of the results of the study `advise`.

    - `error`: median squared acceleration error over the variance, within `LEAST` and `WORST`,
      which a diverged network has; `time`: valid time in s, within `LEAST_TIME` and `HORIZON`.
    - `structured_error`, ...: the pilots'.
    """
    table = pd.DataFrame(rows.rename(columns=_NAMES))
    table["dof"] = table["n_equations"] // table["n"]
    table["features"] = table["features"].fillna("")
    table["error"] = table["error"].fillna(WORST).clip(LEAST, WORST)
    table["time"] = table["time"].fillna(LEAST_TIME).clip(LEAST_TIME, HORIZON)
    columns = ["system", "dof", *DATA, *MODEL, *SPENT, "n_params", "seconds"]
    return _with_pilots(table.filter([*columns, "replicate", "error", "time"])).sort_values(
        [*columns, "replicate"], ignore_index=True
    )


def width(kind: str, n: int) -> int | str:
    """`model.width` of a pilot on n points."""
    return FEATURES[kind] if n > MANY else "auto"


def measured(kind: str, error: float, time: float) -> dict[str, float]:
    """What a pilot found, as the table has it."""
    error = min(max(error, LEAST), WORST) if np.isfinite(error) else WORST
    time = min(max(time, LEAST_TIME), HORIZON) if np.isfinite(time) else LEAST_TIME
    return {f"{kind}_error": error, f"{kind}_time": time}


def _with_pilots(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the pilots of the other replicate on the same sizes of data."""
    by = ["system", *DATA, "replicate"]
    for kind in PILOTS:
        pilots = table.loc[table["features"] == kind, [*by, "error", "time"]]
        pilots = pilots.assign(replicate=1 - pilots["replicate"])
        names = {"error": f"{kind}_error", "time": f"{kind}_time"}
        table = table.merge(pilots.rename(columns=names), on=by, validate="many_to_one")
    return table


@functools.cache
def read() -> pd.DataFrame:
    """The table in the package."""
    return pd.read_parquet(PATH)


def write(rows: pd.DataFrame, path: Path = PATH) -> None:
    """Make the table of a study's results and write it, numbers to four digits."""
    table = of_results(rows)
    for name in table.select_dtypes("float"):
        table[name] = [float(f"{value:.4g}") for value in table[name]]
    table.to_parquet(path, index=False)


def settings(table: pd.DataFrame, dof: int) -> pd.DataFrame:
    """What may be recommended for a system of `dof` degrees of freedom: the settings of the design.

    P and seconds are medians over the systems with as many degrees of freedom, or next to as many.
    """
    known = np.unique(table["dof"].to_numpy(int))
    nearest = known[np.abs(known - dof).argmin()]
    like = table.loc[table["dof"] == nearest].copy()
    like.loc[like["features"] != "", SPENT] = 0  # one setting, whose size the data choose
    return like.groupby([*MODEL, *SPENT], as_index=False)[["n_params", "seconds"]].median()
