"""Does the acceleration error predict the rollout error, and does its median or its mean?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from study.analysis.answer import Answer, Question, Tables, make
from study.analysis.statistics.medians import Estimate, interval
from study.analysis.statistics.ratios import LogLogFit, loglog
from study.analysis.style import Plot, canvas, decade_axis, finish
from study.analysis.words import estimate, number, plural
from study.tables.measures import ROLLOUT, TEST, TEST_MEAN, Measure

EXPLAINED = 0.5  # R2 above which one 'predicts' the other
SATURATED = 0.5  # a relative rollout error above this no longer grows with its cause


@dataclass(frozen=True)
class Propagation:
    """A fit of log rollout error on log root square acceleration error over all replicates.

    `kind`: median or mean, over test points. `id`: of the answer and of the figure.
    """

    measure: Measure
    kind: str
    words: str
    id: str
    fit: LogLogFit


def _fits(rows: pd.DataFrame) -> list[Propagation]:
    """For the median and the mean of the squared error, if there are enough cells."""
    fits = []
    for measure, kind, words in (
        (TEST, "median", "root median square acceleration error"),
        (TEST_MEAN, "mean", "root mean square acceleration error"),
    ):
        x = np.sqrt(rows[measure.column].to_numpy(float))
        fit = loglog(x, rows[ROLLOUT.column].to_numpy(float), rows["cell"].to_list())
        if fit is not None:
            fits.append(Propagation(measure, kind, words, f"rollout_by_{kind}_error", fit))
    return fits


def _answers(tables: Tables) -> Iterator[Answer]:
    rows = tables.rows
    cells = tuple(tables.design.cells.index)
    fits = _fits(rows)
    saturated = float((rows[ROLLOUT.column].to_numpy(float) > SATURATED).mean())
    blind = saturated > 0.5  # most rollouts have failed: there is little to predict
    flattened = (
        f" {number(100 * saturated)} % of the replicates have a rollout error above {SATURATED:g}, "
        "near its ceiling of 1, which flattens the slope."
    )
    for propagation in fits:
        fit, words = propagation.fit, propagation.words
        sentence = (
            f"Over {plural(fit.slope.n, 'replicate')} of {plural(len(cells), 'cell')}, log rollout "
            f"error against log {words} has slope {estimate(fit.slope)} and "
            f"R² = {estimate(fit.r2)}; it counts as predicting above R² = {EXPLAINED:g}."
        )
        if fit.left_out:
            left_out = plural(fit.left_out, "replicate")
            sentence += f" {left_out} without a positive finite value left out."
        sentence += flattened if saturated >= 0.05 else ""
        id, question = propagation.id, f"Does the {words} predict the rollout error?"
        verdict = "undecided" if blind else fit.r2.verdict(EXPLAINED)
        yield make(id, question, verdict, sentence, fit.r2, rows, cells, id)
    if len(fits) == 2 and fits[0].fit.left_out == fits[1].fit.left_out:
        median, mean = (propagation.fit for propagation in fits)
        low, high = interval(median.r2_draws - mean.r2_draws)
        gain = Estimate(median.r2.value - mean.r2.value, float(low), float(high), median.r2.n)
        sentence = (
            f"R² against the rollout error is {number(median.r2.value)} for the root median and "
            f"{number(mean.r2.value)} for the root mean square acceleration error, a difference of "
            f"{estimate(gain)}."
        )
        question = "Does the median error predict rollouts better than the mean error?"
        verdict = "undecided" if blind else gain.verdict(0.0)
        yield make("median_or_mean", question, verdict, sentence, gain, rows, cells, fits[0].id)


def _plots(tables: Tables) -> Iterator[Plot]:
    rows = tables.rows
    for propagation in _fits(rows):
        fit = propagation.fit
        data = rows[["cell", "replicate", "equations_per_param"]].assign(
            root_error=np.sqrt(rows[propagation.measure.column]),
            rollout_error=rows[ROLLOUT.column],
        )
        pair = data[["root_error", "rollout_error"]].to_numpy(float)
        shown = data.loc[(np.isfinite(pair) & (pair > 0)).all(axis=1)]
        title = f"Rollout error against {propagation.kind} acceleration error"
        caption = (
            f"Each point one replicate, {len(shown)} of {len(rows)} shown, from "
            f"{plural(len(tables.design.cells), 'cell')}; line: least squares in logarithms, "
            f"slope {estimate(fit.slope)}, R² = {estimate(fit.r2)} (95 % bootstrap over cells "
            "and replicates). A replicate without a positive finite value has no place here."
        )
        alt = (
            f"Scatter plot on logarithmic axes of rollout error against {propagation.words}: "
            f"slope {number(fit.slope.value)}, R² {number(fit.r2.value)}."
        )
        yield Plot(propagation.id, title, caption, alt, data, _scatter(shown, propagation))


def _scatter(shown: pd.DataFrame, propagation: Propagation) -> Figure:
    """The replicates, coloured by N·D/P, and the fitted line."""
    figure, (axis,) = canvas(height=4.1)
    x, y = shown["root_error"], shown["rollout_error"]
    hue = np.log2(shown["equations_per_param"].to_numpy(float))
    look = {"cmap": "viridis", "s": 20, "alpha": 0.85, "linewidths": 0.3, "edgecolors": "white"}
    points = axis.scatter(x, y, c=hue, **look)
    ends, fit = np.array([x.min(), x.max()]), propagation.fit
    label = f"slope {estimate(fit.slope)},  R² = {estimate(fit.r2)}"
    line = 10**fit.intercept * ends**fit.slope.value
    axis.plot(ends, line, color="black", linewidth=1.2, label=label)
    decade_axis(axis, "x")
    decade_axis(axis, "y")
    axis.set_xlabel(f"{propagation.words} (normalised)")
    axis.set_ylabel(ROLLOUT.axis)
    if len(set(hue)) > 1:
        bar = figure.colorbar(points, ax=axis, pad=0.02, aspect=30)
        low, high = np.floor(hue.min()), np.ceil(hue.max())
        ticks = np.arange(low, high + 0.5, max(1, round((high - low) / 6)))
        ticks = ticks[(ticks >= hue.min() - 0.05) & (ticks <= hue.max() + 0.05)]
        bar.set_ticks(list(ticks), labels=[f"{2.0**t:.3g}" for t in ticks])
        bar.set_label("N·D/P")
        bar.outline.set_visible(False)  # type: ignore[operator]
    finish(figure, axis)
    return figure


QUESTION = Question(_answers, _plots, place=80)
