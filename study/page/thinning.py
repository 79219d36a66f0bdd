"""A grid too large for one page, made coarser: whole ladders with fewer rungs.

Knows: cells and the factors that vary. Does not know: measures, what will be asked.

Answers and figures cost time for each cell and curve, and nobody reads a hundred curves in one
figure. The ends of each ladder are kept, and every name (of a model, an activation) is.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from study.analysis.words import count, plural

MOST_CELLS = 256  # that answers and figures rest on


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
