"""Rollout error against acceleration error, over all replicates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, Question, Tables
from study.analysis.design import Design
from study.analysis.questions.rollout_answers import Propagation, fits, propagation, shares
from study.analysis.style import Plot, canvas, decade_axis, finish
from study.analysis.wording import estimate, number, plural
from study.tables.measures import ROLLOUT, TEST


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


def _answers(tables: Tables) -> Iterator[Answer]:
    yield from propagation(tables.rows, tables.design)
    yield from shares(tables.rows)


def _plots(tables: Tables) -> Iterable[Plot]:
    return (_propagation(tables.rows, tables.design, fit) for fit in fits(tables.rows))


QUESTION = Question(_answers, _plots, place=80)
