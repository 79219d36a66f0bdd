"""Figure of the replicates' scatter: parts by the data, by the initialisation, by neither.

Knows: cells with crossed seeds. Does not know: how variance components are found.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from study.analysis.answer import Question
from study.analysis.design import CONTROL, Design
from study.analysis.questions import seed_answers
from study.analysis.questions.seed_answers import crossed_cells
from study.analysis.statistics.variance import Components, pooled, squares
from study.analysis.style import COLOURS, MARKERS, Plot, canvas, finish
from study.analysis.wording import plural, span
from study.tables.measures import TEST

PARTS = {"data": "by the data", "init": "by the initialisation", "rest": "by neither alone"}


def plots(rows: pd.DataFrame, design: Design) -> Iterator[Plot]:
    """One row a ladder, its cells pooled; cells on no ladder have a row of their own."""
    tables = crossed_cells(rows)
    networks = set(rows.loc[rows["model"] != CONTROL, "cell"]) & set(tables)
    if networks:  # the control's scatter at its peak would hide all else
        tables = {cell: table for cell, table in tables.items() if cell in networks}
    if not tables:
        return
    data = pd.concat(
        [_data(line, *_pooled(tables, cells)) for line, cells in _lines(design, list(tables))],
        ignore_index=True,
    )
    names = list(dict.fromkeys(data["line"]))
    figure, (axis,) = canvas(height=1.2 + 0.55 * len(names))
    for k, (part, words) in enumerate(PARTS.items()):
        shown = data.loc[data["part"] == part]
        y = np.arange(len(names)) + 0.22 * (k - 1)
        value = shown["deviation"].to_numpy()
        length = np.stack([value - shown["low"].to_numpy(), shown["high"].to_numpy() - value])
        axis.errorbar(
            value,
            y,
            xerr=np.maximum(length, 0),
            label=words,
            linestyle="none",
            capsize=2.0,
            elinewidth=0.9,
            color=COLOURS[k],
            marker=MARKERS[k],
            clip_on=True,
        )
    axis.set_yticks(np.arange(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlim(0, 2.5 * float(data["deviation"].to_numpy(float).max()))
    axis.set_xlabel(f"standard deviation of log {TEST.words}")
    finish(figure, axis)
    yield Plot(
        id="variance",
        title="Scatter by the data and by the initialisation",
        caption=(
            f"Parts of the standard deviation of the log {TEST.words} (1 is a factor of e) over "
            f"{span(data['data_seeds'], 'data seed')} crossed with "
            f"{span(data['initialisations'], 'initialisation')}, by two-way random effects, "
            f"truncated at 0; {plural(len(tables), 'cell')}, those of a line pooled. Bars: 95 % "
            "generalised intervals, which for few seeds reach beyond the frame."
        ),
        alt="Standard deviation of log test error by data, by initialisation and by neither, for "
        f"{plural(len(names), 'line')}.",
        data=data,
        figure=figure,
    )


def _pooled(tables: dict[str, np.ndarray], cells: list[str]) -> tuple[Components, int]:
    """Of the cells with the most common number of seeds, and how many they are."""
    shapes = [tables[cell].shape for cell in cells]
    most = max(shapes, key=shapes.count)
    chosen = [tables[cell] for cell in cells if tables[cell].shape == most]
    return pooled([squares(table) for table in chosen]), len(chosen)


def _data(line: str, found: Components, n_cells: int) -> pd.DataFrame:
    parts = [getattr(found, part) for part in PARTS]
    return pd.DataFrame(
        {
            "line": line,
            "part": list(PARTS),
            "deviation": [part.value for part in parts],
            "low": [part.low for part in parts],
            "high": [part.high for part in parts],
            "cells": n_cells,
            "data_seeds": found.n_data,
            "initialisations": found.n_init,
        }
    )


def _lines(design: Design, cells: list[str]) -> list[tuple[str, list[str]]]:
    """The ladder along N, else along P, that each cell is on; else its own label."""
    names = {cell: design.label(cell) or "all settings" for cell in cells}
    for axis in ("P", "N"):
        for ladder in design.ladders(axis):
            names |= {cell: ladder.label for cell in ladder.cells if cell in names}
    found: dict[str, list[str]] = {}
    for cell in sorted(cells, key=lambda cell: names[cell]):
        found.setdefault(names[cell], []).append(cell)
    return list(found.items())


QUESTION = Question(
    lambda t: seed_answers.variances(t.rows),
    lambda t: plots(t.rows, t.design),
    place=70,
)
