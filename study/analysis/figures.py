"""The two figures that everybody draws, on axes of the caller's own, as the page draws them."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes

from study.analysis import style
from study.analysis.answer import Tables
from study.analysis.questions import ladder_curves, rollout_error
from study.analysis.words import plural
from study.tables.measures import Measure
from study.tables.records import TableError

HEIGHT = 4.2  # inches of new axes


def error_by_size(rows: pd.DataFrame, measure: Measure, ax: Axes | None = None) -> Axes:
    """Medians of a measure along every ladder of N, or else of P, against N·D/P.

    **Raises:** `TableError` if there is no ladder.
    """
    tables = Tables(rows)
    ladders = tables.design.ladders("N") or tables.design.ladders("P")
    if not ladders:
        raise TableError(
            "no two cells differ in N or in the width alone, so there is no curve to draw: sweep "
            "data.n_train or model.width"
        )
    with mpl.rc_context(style.RC):
        panel = _panel(ax)
        lines = [ladder_curves.table(tables.rows, ladder, measure) for ladder in ladders]
        data = ladder_curves.draw_on(panel, ladders, lines)
        if measure.lower_is_better:
            style.decade_axis(panel)
        panel.set_ylabel(measure.axis)
        _legend(panel, ladder_curves.medians_are(data).replace("; ", "\n"))
    return panel


def rollout_by_acceleration(rows: pd.DataFrame, error: str, ax: Axes | None = None) -> Axes:
    """Rollout error against root mean square acceleration error, a point a replicate.

    **Raises:** `TableError` for an error that is not known, or if no replicate has a place.
    """
    kinds = rollout_error.KINDS
    if error not in kinds:
        raise TableError(f"error={error} is not known: known are {' and '.join(kinds)}")
    rows = Tables(rows).rows
    with mpl.rc_context(style.RC):
        if rollout_error.shown_of(rows, error)[1].empty:
            raise TableError("no replicate has two finite errors above zero: there is no point")
        panel = _panel(ax)
        fit = rollout_error.fits_of(rows).get(error)
        _, shown = rollout_error.scatter_on(panel, rows, error, fit)
        cells = plural(len(set(shown["cell"])), "cell")
        brackets = "; 95 % intervals" if fit else ""
        _legend(panel, f"n = {len(shown)} of {len(rows)} replicates, {cells}{brackets}")
    return panel


def _panel(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # which shows it in a notebook

    figure = plt.figure(figsize=(style.WIDTH, HEIGHT), layout="constrained")
    return figure.add_subplot()


def _legend(panel: Axes, title: str) -> None:
    if panel.get_legend_handles_labels()[0]:
        panel.legend(title=title, title_fontsize="small", fontsize="small")
    else:  # points without a line
        panel.set_title(title, fontsize="small")
    panel.spines[["top", "right"]].set_visible(False)
