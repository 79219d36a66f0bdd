"""How far advice can be trusted: intervals and recommendations on systems that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from study.analysis.advice.forecast import TARGETS, Forecasts
from study.analysis.advice.table import DATA, MODEL

# chosen before any result of the study was looked at
HELD_OUT = ("cart_pole", "spring_pendulum")
EVERY = "all"
FACTOR = 3.0  # times the error of the best that still counts as good advice


def _unseen(table: pd.DataFrame, systems: Sequence[str]) -> pd.DataFrame:
    """The rows of these systems with predictions of a fit to all others."""
    unseen = table["system"].isin(systems)
    forecast, rows = Forecasts(table.loc[~unseen]), table.loc[unseen].copy()
    for target in TARGETS:
        columns = forecast(rows, target)
        rows[[f"{target}_{name}" for name in columns]] = columns.to_numpy()
    return rows


def calibration(table: pd.DataFrame) -> pd.DataFrame:
    """How many networks of each system lie in the 90 % intervals of a fit without that system.

    One row a system and measure, and one for all systems: `inside`, a share; `factor`, the median
    over networks of the upper over the lower end.
    """
    rows = pd.concat([_unseen(table, [system]) for system in sorted(table["system"].unique())])
    lines = []
    for target in TARGETS:
        low, value, high = (rows[name] for name in (f"{target}_low", target, f"{target}_high"))
        rows["inside"] = (value >= low * (1 - 1e-9)) & (value <= high * (1 + 1e-9))
        rows["factor"] = high / low
        for system, part in [*rows.groupby("system"), (EVERY, rows)]:
            lines.append(
                {
                    "system": system,
                    "measure": target,
                    "networks": len(part),
                    "inside": round(float(part["inside"].mean()), 4),
                    "factor": float(f"{part['factor'].median():.3g}"),
                }
            )
    return pd.DataFrame(lines)


def regret(table: pd.DataFrame, held_out: Sequence[str] = HELD_OUT) -> pd.DataFrame:
    """The recommended setting beside the best on each set of data of systems that no fit has seen.

    One row a system, set of data and replicate: `recommended` and `error`, `best` and `best_error`,
    their `factor`. A row without data (n = 0) is the recommendation among all cells of a system,
    data included, beside the best of the whole design.
    """
    rows = _unseen(table, held_out)
    rows["setting"] = rows[MODEL].agg(lambda names: " ".join(filter(None, names)), axis=1)
    lines = []
    for _, own in rows.groupby(["system", "replicate"]):
        sets = [(part.iloc[0][DATA].to_dict(), part) for _, part in own.groupby(DATA)]
        for data, part in [*sets, (dict.fromkeys(DATA, 0), own)]:
            taken = part.loc[part["error_value"].idxmin()]
            best = part.loc[part["error"].idxmin()]
            lines.append(
                {
                    "system": taken["system"],
                    "replicate": taken["replicate"],
                    **data,
                    "recommended": taken["setting"],
                    "error": taken["error"],
                    "best": best["setting"],
                    "best_error": best["error"],
                    "factor": float(f"{taken['error'] / best['error']:.4g}"),
                }
            )
    return pd.DataFrame(lines)


def each_left_out(table: pd.DataFrame) -> pd.DataFrame:
    """`regret` of every system, each left out alone."""
    systems = sorted(table["system"].unique())
    return pd.concat([regret(table, [system]) for system in systems], ignore_index=True)


def summary(regrets: pd.DataFrame) -> pd.DataFrame:
    """One row a system, and one for all: the share of sets within `FACTOR` of the best, median and
    largest factor, and the factor of the whole design, geometric mean over replicates."""
    lines = []
    for system, rows in [*regrets.groupby("system"), (EVERY, regrets)]:
        sets, whole = (rows.loc[of, "factor"] for of in (rows["n"] > 0, rows["n"] == 0))
        lines.append(
            {
                "system": system,
                "within_3": round(float((sets <= FACTOR).mean()), 3),
                "median": round(float(sets.median()), 2),
                "largest": round(float(sets.max()), 1),
                "whole_design": round(float(np.exp(np.log(whole).mean())), 2),
            }
        )
    return pd.DataFrame(lines)
