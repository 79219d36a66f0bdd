"""The cells of a page: which of them a page can hold, and the table of all of them.

Answers and figures take time for each cell and curve, and nobody reads a hundred curves in one
figure. So a grid that is too large is made coarser: whole ladders with fewer rungs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.answer import curve
from study.analysis.design import Design
from study.analysis.statistics.medians import Estimate
from study.analysis.words import count, estimate, plural
from study.tables.measures import MEASURES, diverged

MOST_CELLS = 256  # that answers and figures rest on


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


def thinned(rows: pd.DataFrame, most: int = MOST_CELLS) -> tuple[pd.DataFrame, str]:
    """The rows of at most so many cells, and a sentence that says so; empty where all are kept.

    Of the number that makes the longest ladder every second value is left out, again and again.
    """
    cells = rows.drop_duplicates("cell").set_index("cell").loc[:, "system":"precision"]
    varying = [name for name in cells.columns if len(cells[name].unique()) > 1]
    numbers = [name for name in varying if pd.api.types.is_numeric_dtype(cells[name])]
    kept = cells.sort_values(varying, kind="stable") if varying else cells
    while len(kept) > most:
        places = {name: _places(kept, name, varying) for name in numbers}
        longest = max(places, key=lambda name: places[name][1].max(), default=None)
        if longest is None or places[longest][1].max() <= 2:
            even = np.linspace(0, len(kept) - 1, most).round().astype(int)
            kept = kept.iloc[np.unique(even)]
            break
        place, length = places[longest]
        kept = kept.loc[(place % 2 == 0) | (place == length - 1)]
    if len(kept) == len(cells):
        return rows, ""
    parts = [
        f"{count(kept[name].nunique())} of the {count(cells[name].nunique())} values of {name}"
        for name in varying
        if kept[name].nunique() < cells[name].nunique()
    ]
    spread = f", with {', '.join(parts)}" if parts else ""
    sentence = (
        f"{count(len(cells))} cells are more than one page can show: answers and figures rest on "
        f"{plural(len(kept), 'cell')}, spread evenly{spread}. results.parquet and curves.parquet "
        "hold all."
    )
    return rows.loc[rows["cell"].isin(kept.index)].reset_index(drop=True), sentence


def _places(cells: pd.DataFrame, name: str, varying: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Of each cell, its place on the ladder along `name`, and how long that ladder is."""
    others = [other for other in varying if other != name]
    if not others:
        ranks = cells[name].rank(method="first").to_numpy(int) - 1
        return ranks, np.full(len(cells), len(cells))
    ladders = cells.groupby(others, sort=False, dropna=False)[name]
    return (
        ladders.rank(method="first").to_numpy(int) - 1,
        ladders.transform("size").to_numpy(int),
    )
