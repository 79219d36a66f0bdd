"""What all questions along a ladder share: the frame of a sentence, the table, and its curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study.analysis.answer import Answer, diverged_remark, make, medians_of
from study.analysis.design import Design, Ladder
from study.analysis.statistics.medians import Estimate, Medians
from study.analysis.style import (
    REFERENCE,
    bars_are,
    canvas,
    errorbars,
    finish,
    look,
    ratio_axis,
    ring,
)
from study.analysis.words import RECIPES, plural, span
from study.tables.measures import Measure

FULL = 0.995  # N*D/P or N/P from which on it counts as 1, because sizes are rounded


def networks(design: Design, axis: str) -> list[tuple[int, Ladder]]:
    """The ladders along 'N' or 'P' but for the control's, each with its number among all."""
    return [(k, ladder) for k, ladder in enumerate(design.ladders(axis)) if not ladder.control]


def ladder_answer(
    rows: pd.DataFrame,
    ladder: Ladder,
    number: int,
    id: str,
    question: str,
    deciding: Estimate,
    sentence: str,
    figure: str,
    *counted: Medians,
    verdict: str = "",
    cells: tuple[str, ...] = (),
) -> Answer:
    """An answer about one ladder.

    **Arguments:**

    - `sentence`: what follows 'At P = 214, '.
    - `counted`: the medians whose diverged replicates the sentence mentions.
    - `verdict`, `cells`: by default the verdict of `deciding`, and all cells of the ladder.
    """
    recipe = any(ladder.label.startswith(name) for name in RECIPES)
    label = f"the {ladder.label}" if recipe else ladder.label
    text = f"At {label}, {sentence}{diverged_remark(*counted)}"
    verdict, cells = verdict or deciding.verdict(), cells or ladder.cells
    return make(f"{id}.{number}", question, verdict, text, deciding, rows, cells, figure)


def ladder_table(rows: pd.DataFrame, ladder: Ladder, measure: Measure) -> pd.DataFrame:
    """Medians with intervals, one row a rung."""
    return medians_of(
        rows,
        ladder.cells,
        measure,
        line=ladder.label,
        measure=measure.column,
        N=ladder.n_points.astype(int),
        P=ladder.n_params.astype(int),
        equations_per_param=ladder.equations_per_param,
    )


def draw_ladders(
    ladders: Sequence[Ladder], tables: Sequence[pd.DataFrame], hollow: Sequence[pd.DataFrame] = ()
) -> tuple[Figure, Axes, pd.DataFrame]:
    """Medians and bars against equations per parameter: the figure, its panel and what is drawn.

    **Arguments:**

    - `tables`: one a ladder, by `ladder_table`; rows whose `peak` is true get a ring, and where
      `threshold` is on the axis stands a triangle.
    - `hollow`: another one a ladder, dotted with open markers.
    """
    figure, (panel,) = canvas()
    for k, (ladder, table) in enumerate(zip(ladders, tables, strict=True)):
        style = look(k, len(ladders))
        errorbars(panel, "equations_per_param", table, ladder.label, **style)
        if "peak" in table:
            tops = table.loc[table["peak"]]
            for x, y in zip(tops["equations_per_param"], tops["median"], strict=True):
                ring(panel, x, y)
        if "threshold" in table:
            triangle: dict[str, Any] = {"marker": "^", "markersize": 8, "markeredgecolor": "white"}
            triangle |= {"transform": panel.get_xaxis_transform(), "clip_on": False, "zorder": 5}
            panel.plot(table["threshold"].iloc[0], 0.0, color=style["color"], **triangle)
    for k, table in enumerate(hollow):
        style = look(k, len(ladders)) | {"linestyle": ":", "markerfacecolor": "white"}
        errorbars(panel, "equations_per_param", table, **style)
    data = pd.concat([*tables, *hollow], ignore_index=True)
    _equations_axis(panel, data["equations_per_param"].to_numpy(), {x.dof for x in ladders})
    finish(figure, panel)
    return figure, panel, data


def _equations_axis(panel: Axes, ratios: np.ndarray, dofs: set[int]) -> None:
    """N*D/P along x, with lines where it is 1 and where N = P."""
    ratio_axis(panel, ratios)
    panel.set_xlabel("N·D/P, equations per parameter")
    left, right = panel.get_xlim()
    marks = [(1.0, "N·D = P ", "right")]
    marks += [
        (float(D), f" N = P{f' (D = {D})' if len(dofs) > 1 else ''}", "left")
        for D in sorted(dofs - {1})
    ]
    top: dict[str, Any] = {"transform": panel.get_xaxis_transform(), "va": "bottom", "fontsize": 8}
    for x, text, side in marks:
        if left < x < right:
            panel.axvline(x, color=REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
            panel.text(x, 1.01, text, ha=side, color="#555555", **top)


def medians_are(table: pd.DataFrame) -> str:
    """For a caption: how many replicates the medians rest on, and what the bars are."""
    return f"Median over {span(table['replicates'], 'replicate')}; {bars_are(table['replicates'])}"


def undrawn(table: pd.DataFrame) -> str:
    """A remark on medians that are infinite and so have no place on the axis."""
    n = int((~np.isfinite(table["median"])).sum())
    return f" {plural(n, 'median')} not finite and not drawn." if n else ""
