"""Which figures a study supports: gathers them, and draws acceleration against rollout error.

Knows: fits over all replicates. Does not know: the page. The others are in the modules named
`..._figures`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd

from study.analysis.design import Design
from study.analysis.questions import (
    beta_answers,
    beta_figures,
    budget_figures,
    comparison_figures,
    curve_figures,
    efficiency_figures,
    epoch_figures,
    identifiability_figures,
    interpolation_figures,
    ladder_figures,
    lever_figures,
    pareto_figures,
    published_figures,
    scaling_figures,
    search_figures,
    seed_figures,
)
from study.analysis.questions.rollout_answers import Propagation, fits
from study.analysis.questions.searches import Search
from study.analysis.roles import counted, curves_of
from study.analysis.style import RC, Drawn, Plot, canvas, decade_axis, draw, finish
from study.analysis.wording import estimate, number, plural
from study.tables.measures import ROLLOUT, TEST


def plots(rows: pd.DataFrame, curves: pd.DataFrame, searches: Sequence[Search] = ()) -> list[Plot]:
    """All figures that what was swept supports, in the order of the page.

    **Arguments:**

    - `rows`, `curves`: the two tables of a study; what a search was steered by is drawn in the
      figures of the search alone.
    - `searches`: what the study searched.
    """
    return [plot for k in PARTS for plot in _part(k, rows, curves, searches)]


def drawn(
    part: int, rows: pd.DataFrame, curves: pd.DataFrame, searches: Sequence[Search]
) -> list[Drawn]:
    """The figures of one of `PARTS`, drawn: one after another they are those of `plots`."""
    return [draw(plot) for plot in _part(part, rows, curves, searches)]


def _part(
    part: int, rows: pd.DataFrame, curves: pd.DataFrame, searches: Sequence[Search]
) -> list[Plot]:
    with mpl.rc_context(RC):
        if part >= len(_OF_CELLS):
            return list(_OF_SEARCHES[part - len(_OF_CELLS)](rows, searches))
        count = counted(rows)
        if count.empty:
            return []
        if count is not rows:
            curves = curves_of(count, curves)
        return list(_OF_CELLS[part](count, curves, Design(count)))


def _compared(rows: pd.DataFrame, design: Design) -> Iterator[Plot]:
    chosen = beta_answers.as_it_comes(rows)
    return comparison_figures.plots(chosen, design if chosen is rows else Design(chosen))


def _along(axis: str) -> list[OfCells]:
    """What is drawn along N, or along P."""
    return [
        lambda rows, curves, design: ladder_figures.plots(rows, design, axis),
        lambda rows, curves, design: interpolation_figures.plots(rows, design, axis),
        lambda rows, curves, design: scaling_figures.plots(rows, design, axis),
    ]


OfCells = Callable[[pd.DataFrame, pd.DataFrame, Design], Iterator[Plot]]

_OF_CELLS: Sequence[OfCells] = (
    lambda rows, curves, design: published_figures.plots(rows),
    lambda rows, curves, design: identifiability_figures.plots(rows, curves),
    lambda rows, curves, design: lever_figures.plots(rows, design),
    lambda rows, curves, design: efficiency_figures.plots(rows, design),
    lambda rows, curves, design: beta_figures.plots(rows),
    lambda rows, curves, design: _compared(rows, design),
    *_along("N"),
    *_along("P"),
    lambda rows, curves, design: seed_figures.plots(rows, design),
    lambda rows, curves, design: (_propagation(rows, design, found) for found in fits(rows)),
    lambda rows, curves, design: budget_figures.plots(rows),
    lambda rows, curves, design: epoch_figures.plots(rows, curves, design),
    lambda rows, curves, design: curve_figures.plots(rows, curves, design),
)
_OF_SEARCHES = (pareto_figures.plots, search_figures.plots)

PARTS = range(len(_OF_CELLS) + len(_OF_SEARCHES))
"""Figures come in parts that need nothing of each other, in the order of the page."""


def _propagation(rows: pd.DataFrame, design: Design, found: Propagation) -> Plot:
    figure, (axis,) = canvas(height=4.1)
    data = pd.DataFrame(
        {
            "cell": rows["cell"],
            "replicate": rows["replicate"],
            "equations_per_param": rows["equations_per_param"],
            "root_error": np.sqrt(rows[found.measure.column]),
            "rollout_error": rows[ROLLOUT.column],
        }
    )
    pair = data[["root_error", "rollout_error"]].to_numpy(float)
    shown = data.loc[(np.isfinite(pair) & (pair > 0)).all(axis=1)]
    hue = np.log2(shown["equations_per_param"].to_numpy(float))
    points = axis.scatter(
        shown["root_error"],
        shown["rollout_error"],
        c=hue,
        cmap="viridis",
        s=20,
        alpha=0.85,
        linewidths=0.3,
        edgecolors="white",
    )
    ends = np.array([shown["root_error"].min(), shown["root_error"].max()])
    fit = found.fit
    axis.plot(
        ends,
        10**fit.intercept * ends**fit.slope.value,
        color="black",
        linewidth=1.2,
        label=f"slope {estimate(fit.slope)},  R² = {estimate(fit.r2)}",
    )
    decade_axis(axis, "x")
    decade_axis(axis, "y")
    axis.set_xlabel(f"{found.words} (normalised)")
    axis.set_ylabel(ROLLOUT.axis)
    if len(set(hue)) > 1:
        bar = figure.colorbar(points, ax=axis, pad=0.02, aspect=30)
        low, high = np.floor(hue.min()), np.ceil(hue.max())
        ticks = np.arange(low, high + 0.5, max(1, round((high - low) / 6)))
        ticks = ticks[(ticks >= hue.min() - 0.05) & (ticks <= hue.max() + 0.05)]
        bar.set_ticks(list(ticks), labels=[f"{2.0**t:.3g}" for t in ticks])
        bar.set_label("N·D/P")
        bar.outline.set_visible(False)  # type: ignore[operator]
    kind = "median" if found.measure is TEST else "mean"
    title = f"Rollout error against {kind} acceleration error"
    finish(figure, axis)
    return Plot(
        id=found.figure,
        title=title,
        caption=(
            f"Each point one replicate, {len(shown)} of {len(rows)} shown, from "
            f"{plural(len(design.cells), 'cell')}; line: least squares in logarithms, slope "
            f"{estimate(fit.slope)}, R² = {estimate(fit.r2)} (95 % bootstrap over cells and "
            "replicates). A replicate without a positive finite value has no place here."
        ),
        alt=f"Scatter plot on logarithmic axes of rollout error against {found.words}: slope "
        f"{number(fit.slope.value)}, R² {number(fit.r2.value)}.",
        data=data,
        figure=figure,
    )
