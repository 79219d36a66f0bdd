"""Which rows count: what a search was steered by is no evidence for what it found.

Knows: the columns `role` and `tuned` of the results. Does not know: searches, statistics.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

COUNTED = ("grid", "rerun")
# a size is what an N/P curve goes along: where a search chose it, cells are of different sizes
SIZES = ("data.n_train", "model.width", "model.depth", "model", "optimizer", "system")
TUNED = "tuned"  # the level of a factor whose value each cell's own search chose


def counted(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that answers rest on: a grid's, and new seeds of cells that a search chose.

    The same table where all do.
    """
    counts = rows["role"].isin(COUNTED).to_numpy(bool) if "role" in rows else np.array(True)
    return rows if counts.all() else rows.loc[counts].reset_index(drop=True)


def curves_of(rows: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """The curves of these rows' replicates."""
    names = ["cell", "replicate"]
    mine, theirs = (pd.MultiIndex.from_frame(table.loc[:, names]) for table in (rows, curves))
    return curves.loc[theirs.isin(mine)].reset_index(drop=True)


def tuned_keys(row: pd.Series) -> list[str]:
    """The factors of a cell that are its own best, and so set it apart from no other."""
    if row.get("role") != "rerun":
        return []
    return [key for key in str(row["tuned"]).split() if key not in SIZES]
