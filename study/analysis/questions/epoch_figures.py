"""Figure of test and train error along the training, by label noise.

Knows: the courses of `epochs.py`. Does not know: the peak test, final errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from study.analysis.answer import Question
from study.analysis.design import Design
from study.analysis.questions import epochs
from study.analysis.questions.epochs import Course, courses
from study.analysis.statistics.ratios import Medians, interval
from study.analysis.style import Plot, canvas, decade_axis, finish, log_axis, look
from study.analysis.wording import plural, span
from study.tables.measures import TEST

MOST_PANELS = 3  # levels of noise
MOST_LINES = 4  # settings of each
DEEPEST = 1e4  # train errors so far below the lowest test error are left out of the frame


def plots(rows: pd.DataFrame, curves: pd.DataFrame, design: Design) -> Iterator[Plot]:
    """One panel a level of label noise, a few settings in each."""
    found = courses(rows, curves)
    if not found:
        return
    levels = sorted({course.noise for course in found})[:MOST_PANELS]
    found = [course for course in found if course.noise in levels]
    labels = {course.cell: _label(design, course, len(levels) > 1) for course in found}
    names = _chosen(found, labels)
    figure, axes = canvas(len(levels), 1, height=1.0 + 2.3 * len(levels), sharex=True)
    data = []
    for axis, level in zip(axes, levels, strict=True):
        arm = [each for each in found if each.noise == level and labels[each.cell] in names]
        for course in arm:
            name = labels[course.cell]
            data.append(_drawn(axis, course, name, look(names.index(name), len(names))))
        log_axis(axis, "x")
        log_axis(axis, "y")
        lowest = [np.nanmin(course.test.middle) / DEEPEST for course in arm]
        if lowest and min(lowest) > 0:
            axis.set_ylim(bottom=max(min(lowest), axis.get_ylim()[0]))
        decade_axis(axis, most=5)
        noise = f"noise {level:g}\n" if len(levels) > 1 else ""
        axis.set_ylabel(f"{noise}error (normalised square)")
    axes[-1].set_xlabel("optimiser step")
    _legend(axes, names)
    finish(figure, axes[0])
    table = pd.concat(data, ignore_index=True)
    rings = int(table["peak"].to_numpy(bool).sum())
    shown = len(set(table["cell"]))
    yield Plot(
        id="epochs",
        title="Test and train error along the training",
        caption=(
            f"{TEST.words.capitalize()} (solid, band: 95 % bootstrap interval) and mean train "
            f"error (dotted), median of {span(table['replicates'], 'replicate')}; "
            f"{plural(shown, 'cell')} of {len(found)}, those whose test error stands out most at "
            f"an inner step at some noise. Rings: {plural(rings, 'peak')} by the test. Train "
            "errors far below all test errors are out of the frame."
        ),
        alt=f"Test and train error against optimiser steps for {plural(shown, 'cell')}.",
        data=table,
        figure=figure,
    )


def _chosen(found: list[Course], labels: dict[str, str]) -> list[str]:
    """The settings with the most prominent inner points at any noise, drawn at every one."""
    most: dict[str, float] = {}
    for course in found:
        if course.peak is not None:
            name = labels[course.cell]
            most[name] = max(most.get(name, 0.0), course.peak.prominence.value)
    return sorted(most, key=lambda name: -most[name])[:MOST_LINES]


def _label(design: Design, course: Course, panels: bool) -> str:
    """Of a cell; without the noise, where the panels tell it."""
    parts = design.label(course.cell).split(", ")
    if panels:
        parts = [part for part in parts if part != f"noise {course.noise:g}"]
    return ", ".join(parts) or "all settings"


def _drawn(axis: Axes, course: Course, name: str, style: dict) -> pd.DataFrame:
    thin = style | {"markersize": 3.5, "markevery": max(1, len(course.steps) // 8)}
    low, high = _line(axis, course.steps, course.test, thin | {"linestyle": "-"})
    axis.fill_between(course.steps, low, high, color=style["color"], alpha=0.15, linewidth=0)
    _line(axis, course.steps, course.train, thin | {"linestyle": ":", "marker": ""})
    marked = np.zeros(len(course.steps), bool)
    if course.top is not None and course.peak is not None and course.peak.verdict == "yes":
        marked[course.top] = True
        axis.plot(
            course.steps[course.top],
            course.test.middle[course.top],
            linestyle="none",
            marker="o",
            markersize=13,
            markerfacecolor="none",
            markeredgecolor="black",
            zorder=4,
        )
    return pd.DataFrame(
        {
            "line": name,
            "cell": course.cell,
            "noise": course.noise,
            "step": course.steps,
            "median": course.test.middle,
            "low": low,
            "high": high,
            "train": course.train.middle,
            "replicates": course.test.counts,
            "peak": marked,
        }
    )


def _line(axis: Axes, steps: np.ndarray, errors: Medians, style: dict):
    """Draws the finite medians; their limits."""
    shown = np.where(np.isfinite(errors.middle) & (errors.middle > 0), errors.middle, np.nan)
    axis.plot(steps, shown, **style)
    low, high = interval(errors.draws)
    return np.maximum(low, np.finfo(float).tiny), np.where(np.isfinite(high), high, np.nan)


def _legend(axes: list[Axes], names: list[str]) -> None:
    """Every line of every panel, once, in the first panel's legend."""
    for k, name in enumerate(names):
        style: dict[str, Any] = look(k, len(names)) | {"markersize": 3.5}
        axes[0].plot([], [], label=name, **style)


QUESTION = Question(
    lambda t: () if t.curves is None else epochs.answers(t.rows, t.curves, t.design),
    lambda t: () if t.curves is None else plots(t.rows, t.curves, t.design),
    place=60,
)
