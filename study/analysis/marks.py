"""The points of a figure of which each is a cell: where they stand, and what to tell of them.

Only points have this: bars, heat maps and curves over time have no place that is one cell's number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study.analysis.statistics.medians import Estimate
from study.analysis.words import estimate, number

EDGE = 2  # pixels that a point may lie outside the frame
MOST = 800  # points of one figure; with more they cover each other

Point = tuple[float, float, str, str]  # x, y, cell, words; x and y as in `points_of`


class _Marks(Artist):
    """Draws nothing: it holds the points of an axis until the layout is known."""

    def __init__(self, places: np.ndarray, cells: Sequence[str], words: Sequence[str]):
        super().__init__()
        self.set_in_layout(False)
        self.places, self.cells, self.words = places, cells, words

    def draw(self, renderer: Any) -> None:
        """Nothing."""


def mark(axis: Axes, x: Any, y: Any, table: pd.DataFrame, value: str = "median") -> None:
    """Remember that the points at (x, y) are the rows of a table; nothing if it has no `cell`.

    - `table`: `cell`, and what is told of it: `value`, `low`, `high` and `replicates`, or
      `replicate` alone, of which both coordinates are told.
    """
    if "cell" not in table:
        return
    places = np.stack([np.asarray(x, float), np.asarray(y, float)], axis=1)
    if value in table:
        columns = table[[value, "low", "high"]].to_numpy(float)
        words = [estimate(Estimate(*row, n=0)) for row in columns]
    else:
        words = [f"{number(a)} across, {number(b)} up" for a, b in places]
    for column, before in {"replicates": "n = ", "replicate": "replicate "}.items():
        if column in table:
            words = [f"{w}, {before}{n}" for w, n in zip(words, table[column], strict=True)]
    axis.add_artist(_Marks(places, [str(cell) for cell in table["cell"]], words))


def points_of(figure: Figure) -> tuple[Point, ...]:
    """The marked points that are within their axes, once the layout is found; none of too many.

    x and y are fractions of the picture from its upper left corner.
    """
    points: list[Point] = []
    for axis in figure.axes:
        for marks in axis.findobj(_Marks):
            assert isinstance(marks, _Marks)
            at = axis.transData.transform(marks.places)
            # NaN is in no frame
            low, high = np.asarray(axis.bbox) + np.array([[-EDGE], [EDGE]])
            inside = ((at >= low) & (at <= high)).all(axis=1)
            x, y = (at / figure.bbox.size).T
            points += [
                (round(float(x[k]), 4), round(1 - float(y[k]), 4), marks.cells[k], marks.words[k])
                for k in np.flatnonzero(inside).tolist()
            ]
    return tuple(points) if len(points) <= MOST else ()
