"""What measured labels do not let a study see: the noise in them, and what they contradict.

Of an unknown system the measured accelerations are what errors are measured against, and no error
falls below the noise in them. Of a known one the tests are the true system's, and noise is in what
is trained on alone.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from study.analysis.statistics.limits import (
    CONSTANT,
    CONTRADICTS,
    EQUIVALENT,
    EXPLAINS,
    NEAR_FLOOR,
)
from study.analysis.style import REFERENCE, Plot, decade_axis
from study.analysis.words import number, plural
from study.tables.measures import NOISE_FLOOR, NOISE_FLOOR_MEDIAN, TEST

LABELS = "label_nmse"
BELOW = 30.0  # a floor so many times below an axis is said, and not drawn
# of an axis: whether it has the root of an error, and whether the error is a mean
_AXIS = re.compile(r"(root )?(median|mean)?.*\(normalised( square)?\)")


def measured(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows on measured data that have a floor; those of earlier versions have none."""
    if "data.file" not in rows or NOISE_FLOOR not in rows:
        return rows.iloc[:0]
    return rows.loc[rows["data.file"].notna()]


def no_verdict(rows: pd.DataFrame) -> str:
    """Why these cells support no verdict, and what to do, in one sentence; empty if they do."""
    rows = measured(rows)
    if rows.empty:
        return ""
    if LABELS in rows:
        values = rows.loc[:, [LABELS, NOISE_FLOOR]].fillna(0.0).to_numpy(float)
        off, noise = map(float, np.median(values, axis=0))
        if off > CONTRADICTS and off > EXPLAINS * noise:
            return (
                "No verdict: the measured accelerations contradict those of "
                f"{rows['system'].iloc[0]}, which models are tested on, by {number(off)} of their "
                f"variance, of which noise explains {number(noise)}; correct its constants, the "
                "zero of its angles, the columns or data.window, or use system=unknown."
            )
    errors = _medians(rows, "constant_nmse_median")
    error, constant = errors[np.argmin(np.nan_to_num(errors[:, 0], nan=np.inf))]
    if error > CONSTANT * constant or np.isnan(error):
        return (
            "No verdict: no model predicts held-out accelerations much better than a constant "
            f"does (the best median error is {number(error)}, a constant's {number(constant)}); "
            "train longer, or look for what the file lacks: a force, a coordinate, a unit."
        )
    return ""


def remark(rows: pd.DataFrame) -> str:
    """A sentence on the cells whose errors are near the noise of the labels; empty if none is."""
    rows = measured(rows)
    rows = rows.loc[rows["system"] == "unknown"]
    if rows.empty:
        return ""
    cells = _medians(rows, NOISE_FLOOR_MEDIAN)
    floors = cells[cells[:, 0] < NEAR_FLOOR * cells[:, 1], 1]
    if not len(floors):
        return ""
    are = "is" if len(floors) == 1 else "are"
    return (
        f" At the noise floor: {len(floors)} of {plural(len(cells), 'cell')} {are} within a "
        f"factor of {NEAR_FLOOR:g} of what noise leaves in the test labels "
        f"({number(float(np.median(floors)))}), so that true errors differ by more than this shows."
    )


def _medians(rows: pd.DataFrame, column: str) -> np.ndarray:
    """(cells, 2) medians over the replicates: of the test error, and of a column."""
    of_cells = rows.groupby("cell").agg({TEST.column: "median", column: "median"})
    return of_cells.to_numpy(float)


def marked(plot: Plot, rows: pd.DataFrame) -> Plot:
    """The plot with the noise of the labels as a dashed line on every axis of acceleration errors;
    the same plot if no cell in it is on measured data."""
    rows = measured(rows)
    data = plot.data
    if "cell" in data and (drawn := rows["cell"].isin(list(data["cell"])).to_numpy(bool)).any():
        rows = rows.loc[drawn]
    if rows.empty:
        return plot
    tests = set(rows["system"]) == {"unknown"}
    words = "noise of the test labels" if tests else "noise of the labels trained on"
    said: dict[str, str] = {}
    for axis in plot.figure.axes:
        for which in ("x", "y"):
            kind = _AXIS.fullmatch(" ".join(getattr(axis, f"get_{which}label")().split()))
            if kind is None or axis.get_label() == "<colorbar>" or "percentile" in kind[0]:
                continue
            column = NOISE_FLOOR if kind[2] == "mean" else NOISE_FLOOR_MEDIAN
            floors = np.unique(rows[column].dropna().to_numpy(float))
            floors = floors[floors > 0]
            if not len(floors):
                continue
            ends = floors[[0]] if floors[-1] < EQUIVALENT * floors[0] else floors[[0, -1]]
            ends = np.sqrt(ends) if kind[1] else ends
            shown = _draw(axis, which, ends, words)
            text = " to ".join(map(number, ends))
            said[text] = text if shown else f"{text}, below what is drawn"
            named = zip((column, f"{column}_highest"), ends, strict=False)
            data = data.assign(**dict(named))
    if not said:
        return plot
    seen = "Dashed, grey" if set(said) & set(said.values()) else "Not drawn"
    dashed = f" {seen}: {words} ({'; '.join(said.values())})"
    more = ", below which no error can be seen." if tests else ", which the tests are free of."
    return dataclasses.replace(plot, caption=plot.caption + dashed + more, data=data)


def _draw(axis: Axes, which: str, values: np.ndarray, words: str) -> bool:
    """Draw lines across an axis, which grows to hold them; whether it does."""
    low, high = sorted(getattr(axis, f"get_{which}lim")())
    if getattr(axis, f"get_{which}scale")() != "log" or values[0] < low / BELOW:
        return False
    if values[0] < 1.2 * low or values[-1] > high / 1.2:
        limits = min(low, values[0] / 1.5), max(high, values[-1] * 1.5)
        getattr(axis, f"set_{which}lim")(*limits)
        decade_axis(axis, which)
    line: dict[str, Any] = {"color": REFERENCE, "linewidth": 1.1, "linestyle": (0, (5, 3))}
    text: dict[str, Any] = {"color": "#555555", "fontsize": 7.5, "clip_on": True}
    for value in values:
        if which == "y":
            axis.axhline(value, zorder=0, **line)
            place = axis.get_yaxis_transform()
            # left, where errors are far above it: they fall onto the line at the right end
            axis.text(0.01, value, words, transform=place, ha="left", va="bottom", **text)
        else:
            axis.axvline(value, zorder=0, **line)
            place = axis.get_xaxis_transform()
            axis.text(
                value, 0.98, words, transform=place, ha="right", va="top", rotation=90, **text
            )
    return True
