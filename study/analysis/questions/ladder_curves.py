"""What all questions along a ladder share: frame of a sentence, table, peak, marks and curves."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study.analysis import style
from study.analysis.answer import Answer, curve, diverged_remark, make, medians_of
from study.analysis.design import Design, Ladder
from study.analysis.statistics import peaks, thresholds
from study.analysis.statistics.limits import CHANGED, PEAK_REPLICATES, PEAK_RUNGS, Turn
from study.analysis.statistics.medians import Estimate, Medians
from study.analysis.words import plural, span, with_article
from study.tables.measures import TEST, TRAIN, Measure

RANK = "jacobian_rank_1e-10"
FULL = 0.995  # N*D/P or N/P from which on it counts as 1, because sizes are rounded
RUNGS = 5  # a ladder with fewer is too coarse to show a peak, or what N >= P is worth
CLOSE = 1.5  # one rung is within this factor of N*D = P, with others on both sides


def networks(design: Design, axis: str) -> list[tuple[int, Ladder]]:
    """The ladders along 'N' or 'P' but for the control's, each with its number among all."""
    return [(k, ladder) for k, ladder in enumerate(design.ladders(axis)) if not ladder.control]


def answer(
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
    turn: Turn | None = None,
    p: float = math.nan,
    cells: tuple[str, ...] = (),
    errors: bool = True,
    remedy: str = "",
) -> Answer:
    """An answer about one ladder.

    - `sentence`: what follows 'At P = 214, '.
    - `counted`: the medians whose diverged replicates the sentence mentions.
    - `verdict`, `turn`: by default whether `deciding` is above 1, and where that turns.
    - `p`: of `answer.Verdict`; `cells`: by default all of the ladder.
    - `errors`, `remedy`: as for `make`.
    """
    text = f"At {with_article(ladder.label)}, {sentence}{diverged_remark(*counted)}"
    return make(
        f"{id}.{number}",
        question,
        verdict or CHANGED.verdict(deciding),
        text,
        deciding,
        rows,
        cells or ladder.cells,
        figure,
        turn=turn if verdict else CHANGED,
        p=p,
        errors=errors,
        remedy=remedy,
    )


def crosses(ladder: Ladder) -> bool:
    """Whether its rungs go through N*D = P closely enough to show what happens there."""
    off = np.log(ladder.equations_per_param)
    return bool(
        len(off) >= RUNGS and off.min() < 0 < off.max() and np.abs(off).min() <= np.log(CLOSE)
    )


def peak(test: Medians, ladder: Ladder, above: float = 0.0) -> peaks.Peak | None:
    """The most prominent interior point of a measure, plus `above`, along a ladder, tested; None if
    the ladder has fewer than `PEAK_RUNGS`, or a cell fewer than `PEAK_REPLICATES`, of which the
    test can say little."""
    if len(ladder.cells) < PEAK_RUNGS or test.counts.min() < PEAK_REPLICATES:
        return None
    return peaks.peak(test.table + above, ladder.steps, test.groups)


def threshold(rows: pd.DataFrame, ladder: Ladder) -> thresholds.Threshold:
    """Where the ladder stops being fitted, by its train errors."""
    ranks = np.full(len(ladder.cells), np.nan)
    if RANK in rows:
        ranks = rows.groupby("cell")[RANK].median().loc[list(ladder.cells)].to_numpy(float)
    return thresholds.threshold(curve(rows, ladder.cells, TRAIN), ladder, ranks)


def table(rows: pd.DataFrame, ladder: Ladder, measure: Measure) -> pd.DataFrame:
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


def mark(rows: pd.DataFrame, ladder: Ladder, table: pd.DataFrame) -> pd.DataFrame:
    """A ladder's table with what is to be marked in its figure.

    `peak`: true for the rung that is one by the test; `threshold`: N*D/P where fitting ends, NaN
    if that is not on the ladder.
    """
    ratio = threshold(rows, ladder).ratio.value
    inside = crosses(ladder) and 0 < ratio < np.inf
    top = peak(curve(rows, ladder.cells, TEST), ladder) if crosses(ladder) else None
    at = top.at if top is not None and top.verdict == "yes" else -1
    return table.assign(peak=np.arange(len(table)) == at, threshold=ratio if inside else np.nan)


def draw_ladders(
    ladders: Sequence[Ladder], tables: Sequence[pd.DataFrame], hollow: Sequence[pd.DataFrame] = ()
) -> tuple[Figure, Axes, pd.DataFrame]:
    """Medians and bars against equations per parameter: the figure, its panel and what is drawn.

    - `tables`: one a ladder, by `table`; rows whose `peak` is true get a ring, and where
      `threshold` is on the axis stands a triangle.
    - `hollow`: another one a ladder, dotted with open markers.
    """
    figure, (panel,) = style.canvas()
    data = draw_on(panel, ladders, tables, hollow)
    style.finish(figure, panel)
    return figure, panel, data


def draw_on(
    panel: Axes,
    ladders: Sequence[Ladder],
    tables: Sequence[pd.DataFrame],
    hollow: Sequence[pd.DataFrame] = (),
) -> pd.DataFrame:
    """As `draw_ladders`, on given axes and without a legend; what is drawn."""
    triangle: dict[str, Any] = {"marker": "^", "markersize": 8, "markeredgecolor": "white"}
    triangle |= {"transform": panel.get_xaxis_transform(), "clip_on": False, "zorder": 5}
    for k, (ladder, table) in enumerate(zip(ladders, tables, strict=True)):
        look_of = style.look(k, len(ladders))
        style.errorbars(panel, "equations_per_param", table, ladder.label, **look_of)
        if "peak" in table:
            tops = table.loc[table["peak"]]
            for x, y in zip(tops["equations_per_param"], tops["median"], strict=True):
                style.ring(panel, x, y)
        if "threshold" in table:
            panel.plot(table["threshold"].iloc[0], 0.0, color=look_of["color"], **triangle)
    for k, table in enumerate(hollow):
        look_of = {**style.look(k, len(ladders)), "linestyle": ":", "markerfacecolor": "white"}
        style.errorbars(panel, "equations_per_param", table, **look_of)
    data = pd.concat([*tables, *hollow], ignore_index=True)
    _equations_axis(panel, data["equations_per_param"].to_numpy(), {x.dof for x in ladders})
    return data


def _equations_axis(panel: Axes, ratios: np.ndarray, dofs: set[int]) -> None:
    """N*D/P along x, with lines where it is 1 and where N = P."""
    style.ratio_axis(panel, ratios)
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
            panel.axvline(x, color=style.REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
            panel.text(x, 1.01, text, ha=side, color="#555555", **top)


def medians_are(table: pd.DataFrame) -> str:
    """For a caption: how many replicates the medians rest on, and what the bars are."""
    n = table["replicates"]
    return f"Median over {span(n, 'replicate')}; {style.bars_are(n)}"


def undrawn(table: pd.DataFrame) -> str:
    """A remark on medians that are infinite and so have no place on the axis."""
    n = int((~np.isfinite(table["median"])).sum())
    return f" {plural(n, 'median')} not finite and not drawn." if n else ""
