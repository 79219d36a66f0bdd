"""The table of cells: their factors, and the medians of all measures with intervals.

Knows: one row a cell. Does not know: pages, comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.answer import curve
from study.analysis.design import Design
from study.analysis.statistics.medians import Estimate
from study.analysis.words import count, estimate
from study.tables.measures import MEASURES, diverged


@dataclass(frozen=True)
class CellTable:
    """`data`: numbers, for the CSV. `text`: the same for a reader, fewer columns."""

    data: pd.DataFrame
    text: pd.DataFrame


def cell_table(rows: pd.DataFrame) -> CellTable:
    """One row a cell, by the factors that vary, in their order."""
    design = Design(rows.drop(columns=["tuned", "role"], errors="ignore"))  # values as they are
    by = [*design.varying, "n_params"]
    place = {str(c): tuple(map(_sortable, row)) for c, row in design.cells.loc[:, by].iterrows()}
    cells = tuple(sorted(place, key=lambda cell: place[cell]))
    order = design.cells.loc[list(cells)]
    parts = dict(list(rows.groupby("cell")))
    per_cell = {cell: parts[cell] for cell in cells}
    size = [len(part) for part in per_cell.values()]
    dead = [int(diverged(part).to_numpy().sum()) for part in per_cell.values()]
    data: dict[str, list] = {"cell": list(cells)}
    for factor in [*design.factors, "n_params", "n_equations", "n_over_p", "equations_per_param"]:
        data[factor] = order[factor].to_list()
    data |= {"replicates": size, "diverged": dead}
    text: dict[str, list] = {"cell": list(cells)}
    for factor in design.varying:
        text[factor] = [_text(v) for v in order[factor]]
    text |= {"P": [count(v) for v in order["n_params"]]}
    text |= {"N·D/P": [f"{v:.3g}" for v in order["equations_per_param"]]}
    text |= {"replicates": [count(v) for v in size]}
    shown = [m for m in MEASURES.values() if m.shown and m.column in rows]
    for measure in [m for m in shown if not m.share]:
        found = curve(rows, cells, measure)
        estimates = [found.estimate(k) for k in range(len(cells))]
        # what no replicate has, though none diverged, was not measured: energy without a system
        absent = [
            bool(part[measure.column].isna().all()) and not n
            for part, n in zip(per_cell.values(), dead, strict=True)
        ]
        estimates = [
            Estimate(np.nan, np.nan, np.nan, e.n) if missing else e
            for e, missing in zip(estimates, absent, strict=True)
        ]
        data[f"{measure.column}"] = [e.value for e in estimates]
        data[f"{measure.column}_low"] = [e.low for e in estimates]
        data[f"{measure.column}_high"] = [e.high for e in estimates]
        name = measure.words + (f" ({measure.unit})" if measure.unit else "")
        text[name] = [
            "not measured" if missing else estimate(e)
            for e, missing in zip(estimates, absent, strict=True)
        ]
    for measure in [m for m in shown if m.share]:
        middle = np.mean if rows[measure.column].dtype == bool else np.median
        values = [part[measure.column].to_numpy(float) for part in per_cell.values()]
        data[measure.column] = [float(middle(v)) for v in values]
        text[measure.words] = [_share(v) for v in data[measure.column]]
    text["diverged"] = [count(v) for v in dead]
    return CellTable(pd.DataFrame(data), pd.DataFrame(text))


def _sortable(value) -> tuple:
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))


def _text(value) -> str:
    if isinstance(value, int | np.integer):
        return count(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _share(value: float) -> str:
    return f"{100 * value:.3g} %" if np.isfinite(value) else "unknown"
