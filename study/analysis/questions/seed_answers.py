"""Answers on the replicates' scatter: is it the data's or the initialisation's?

Knows: cells whose seeds are crossed. Does not know: how variance components are found, ladders.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, make
from study.analysis.design import CONTROL
from study.analysis.names import name_of
from study.analysis.statistics.variance import Components, crossed, pooled, squares
from study.analysis.wording import estimate, plural
from study.tables.measures import TEST


def crossed_cells(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Log test errors (data seeds, initialisation seeds) of each cell where both were crossed."""
    found = {}
    for cell, replicates in rows.groupby("cell", sort=False):
        table = crossed(replicates, TEST)
        if table is not None:
            found[str(cell)] = table
    return found


def variances(rows: pd.DataFrame) -> Iterator[Answer]:
    """One answer for networks and one for the control, over cells with the same seeds crossed."""
    tables = crossed_cells(rows)
    control = set(rows.loc[rows["model"] == CONTROL, "cell"])
    for k, which in enumerate((False, True)):
        cells = [cell for cell in tables if (cell in control) == which]
        sizes = [tables[cell].shape for cell in cells]
        if not cells:
            continue
        most = max(sizes, key=sizes.count)
        cells = [cell for cell in cells if tables[cell].shape == most]
        found = pooled([squares(tables[cell]) for cell in cells])
        n_all = rows.loc[rows["cell"].isin(list(control)) == which, "cell"].nunique()
        yield _answer(rows, found, tuple(cells), n_all, k, name_of(CONTROL) if which else "")


def _answer(
    rows: pd.DataFrame, found: Components, cells: tuple[str, ...], n_all: int, k: int, name: str
) -> Answer:
    what = f"log test error of the {name}" if name else "log test error"
    parts = [
        f"{estimate(part)} by {words}"
        for part, words in (
            (found.data, "the data"),
            (found.init, "the initialisation"),
            (found.rest, "neither alone (their interaction and the rest)"),
        )
    ]
    left = n_all - len(cells)
    sentence = (
        f"Over {plural(len(cells), 'cell')} with {plural(found.n_data, 'data seed')} crossed with "
        f"{plural(found.n_init, 'initialisation')}, the standard deviation of the {what} is "
        f"{', '.join(parts)}. The variance by the data is {estimate(found.ratio)} times that by "
        f"the initialisation."
        + (f" {plural(left, 'cell')} with diverged or missing replicates left out." if left else "")
    )
    return make(
        f"variance.{k}",
        "Does the choice of the data scatter the error more than that of the initialisation?",
        found.ratio.verdict(),
        sentence,
        found.ratio,
        rows,
        cells,
        "variance",
    )
