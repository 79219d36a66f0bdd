"""What is recommended for given data and time: of the design's settings the best predicted."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.advice.forecast import QUIET, Forecasts, Ridge
from study.analysis.advice.table import DATA, FOUND, read, settings

Interval = tuple[float, float, float]  # a value and the ends of its 90 % interval


@dataclass(frozen=True)
class Choice:
    """One setting and what is expected of it.

    - `features`: of a linear Lagrangian, else ''; its `width` and `steps` are 0, the data choose.
    - `iterations`: of Levenberg-Marquardt, after `steps` of SOAP.
    - `seconds`: of training, on the machine of the study.
    - `error`: median squared acceleration error over the variance; `time`: valid time in s, at most
      `HORIZON`.
    """

    model: str
    features: str
    optimizer: str
    width: int
    n_params: int
    steps: int
    iterations: int
    seconds: float
    error: Interval
    time: Interval


@functools.cache
def forecasts() -> Forecasts:
    """Those that rest on the whole table."""
    return Forecasts(read())


def predicted(
    forecast: Forecasts, candidates: pd.DataFrame, known: Mapping[str, float]
) -> pd.DataFrame:
    """The candidates on the same data, with `error_value`, `error_low`, ..., `time_high`.

    - `known`: dof, n, noise, trajectories and what the pilots found.
    """
    rows = candidates.assign(**known)
    for target in ("error", "time"):
        columns = forecast(rows, target)
        rows[[f"{target}_{name}" for name in columns]] = columns.to_numpy()
    return rows


def choose(known: Mapping[str, float], seconds: float) -> Choice:
    """The setting with the least expected error among those that take at most `seconds`.

    If none is so quick, it is the quickest.
    """
    candidates = settings(read(), int(known["dof"]))
    affordable = candidates["seconds"] <= max(seconds, candidates["seconds"].min())
    rows = predicted(forecasts(), candidates.loc[affordable].reset_index(drop=True), known)
    best = rows.loc[rows["error_value"].idxmin()]

    def interval(target: str) -> Interval:
        value, low, high = (float(best[f"{target}_{end}"]) for end in ("value", "low", "high"))
        return value, low, high

    return Choice(
        model=str(best["model"]),
        features=str(best["features"]),
        optimizer=str(best["optimizer"]),
        width=int(best["width"]),
        n_params=int(best["n_params"]),
        steps=int(best["steps"]),
        iterations=int(best["iterations"]),
        seconds=float(best["seconds"]),
        error=interval("error"),
        time=interval("time"),
    )


def pilots(system: str, n: float, noise: float, trajectories: float) -> dict[str, float] | None:
    """What pilots of a studied system find on data of these sizes, interpolated between the study's
    own, beyond which the nearest count; None for another system."""
    rows = read()
    rows = rows.loc[(rows["system"] == system) & (rows["features"] == "structured")]
    if rows.empty:
        return None
    at = pd.DataFrame({"n": [n], "noise": [noise], "trajectories": [trajectories]})
    x = _sizes(rows)
    here = _sizes(at).clip(x.min(0), x.max(0))
    values = {
        name: float(10 ** Ridge.fit(x, np.log10(rows[name].to_numpy(float))).predict(here)[0])
        for name in FOUND
    }
    return {"dof": int(rows["dof"].iloc[0]), **dict(zip(DATA, at.iloc[0], strict=True)), **values}


def _sizes(rows: pd.DataFrame) -> np.ndarray:
    return np.log10(rows[DATA].to_numpy(float) + np.array([0, QUIET, 0]))
