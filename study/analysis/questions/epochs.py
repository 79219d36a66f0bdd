"""Epoch-wise double descent: does the test error rise and fall again while the train error falls?

If both errors rise, training was thrown back, and that is no double descent. Peaks are counted over
cells, because the level of the test (`statistics/peaks.py`) lets some of them by.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from study.analysis.answer import Answer, Question, Tables, make
from study.analysis.design import CONTROL, Design, replicate_groups, table_of
from study.analysis.statistics.medians import Medians, interval, medians
from study.analysis.statistics.peaks import TEST_LEVEL, Peak, beyond_chance, peak
from study.analysis.style import Plot, canvas, decade_axis, finish, log_axis, look, ring
from study.analysis.words import capital, count, estimate, number, plural, span
from study.tables.measures import TEST, TRAIN

NEW_LOW = 1.1  # times the least train error so far: a step up to there is at a new low
FEWEST = 5  # steps at a new low
MOST_PANELS = 3  # levels of noise
MOST_LINES = 4  # settings of each
DEEPEST = 1e4  # train errors so far below the lowest test error are left out of the frame


@dataclass(frozen=True)
class Course:
    """One cell's errors along its training, medians over replicates.

    - `steps` (K,): of the optimiser, without the start; `test`, `train`: medians (K,).
    - `kept` (K',): indices of the steps at which the train error is at a new low.
    - `peak`: of the test error along those, `at` an index of them.
    """

    cell: str
    noise: float
    steps: np.ndarray
    test: Medians
    train: Medians
    kept: np.ndarray
    peak: Peak

    @property
    def top(self) -> int:
        """Index of the steps of the most prominent point."""
        return int(self.kept[self.peak.at])


def courses(rows: pd.DataFrame, curves: pd.DataFrame) -> list[Course]:
    """Of every network's cell whose curves are long enough for the test, in a study that was made
    to show them: all its minibatches at a constant rate, because under a schedule that ends a step
    is no epoch of a longer training."""
    training = curves.loc[(curves["curve"] == "training") & (curves["x"] > 0)]
    training = training.loc[training["metric"].isin([TRAIN.column, TEST.column])]
    by_steps = rows.loc[(rows["model"] != CONTROL) & (rows["optimizer.steps"] > 0)]
    constant = bool((by_steps["optimizer.schedule"] == "constant").all())
    networks = by_steps if constant else by_steps.iloc[:0]
    of_cell = {str(cell): table for cell, table in networks.groupby("cell", sort=False)}
    return [
        course
        for cell, lines in training.groupby("cell", sort=False)
        if str(cell) in of_cell and lines["x"].nunique() >= FEWEST
        if (course := _course(of_cell[str(cell)], lines, str(cell))) is not None
    ]


def _course(rows: pd.DataFrame, lines: pd.DataFrame, cell: str) -> Course | None:
    tables = {metric: _table(part) for metric, part in lines.groupby("metric")}
    test, train = tables[TEST.column], tables[TRAIN.column]
    groups = replicate_groups(rows, [cell])
    errors = medians(test.to_numpy(), TEST.worst, groups)
    fitted = medians(train.to_numpy(), np.inf, groups)
    steps = test.columns.to_numpy(float)
    kept = np.flatnonzero(fitted.middle <= NEW_LOW * np.minimum.accumulate(fitted.middle))
    if len(kept) < FEWEST or (top := peak(errors.table[:, kept], steps[kept], groups)) is None:
        return None
    return Course(cell, float(rows["data.noise"].iloc[0]), steps, errors, fitted, kept, top)


def _table(lines: pd.DataFrame) -> pd.DataFrame:
    """Replicates by steps; +inf if not finite, the last value once training had ended."""
    values = lines["value"].to_numpy(float)
    steps, place = np.unique(lines["x"].to_numpy(float), return_inverse=True)
    finite = np.where(np.isfinite(values), values, np.inf)
    table = table_of(lines["replicate"].to_numpy(), place, finite, len(steps))
    return pd.DataFrame(table, columns=steps).ffill(axis=1)


def answers(tables: Tables) -> Iterator[Answer]:
    if tables.curves is None:
        return
    all_courses = courses(tables.rows, tables.curves)
    noisy = "data.noise" in tables.design.varying
    for k, noise in enumerate(sorted({course.noise for course in all_courses})):
        arm = [course for course in all_courses if course.noise == noise]
        sure = [course for course in arm if course.peak.verdict == "yes"]
        course = max(sure or arm, key=lambda course: course.peak.prominence.value)
        top = course.peak
        final_over_best = [c.test.ratio(-1, int(np.argmin(c.test.middle))) for c in arm]
        longest = max(final_over_best, key=lambda ratio: (ratio.low, ratio.value))
        start = f"With label noise {noise:g}, in" if noisy else "In"
        at = f" ({label})" if (label := tables.design.label(course.cell)) else ""
        sentence = (
            f"{start} {len(sure)} of {plural(len(arm), 'cell')} the {TEST.words} rises and falls "
            f"again while the train error falls. {_most(top, at)} The last step's {TEST.words} is "
            f"at most {estimate(longest)} times the best on the way."
        )
        question = "Does the test error peak along the training (epoch-wise double descent)?"
        cells = tuple(course.cell for course in arm)
        verdict = beyond_chance([course.peak.verdict for course in arm])
        about = (top.prominence, tables.rows, cells, "epochs")
        yield make(f"epochs.{k}", question, verdict, sentence, *about)


def _most(top: Peak, at: str) -> str:
    if top.prominence.value <= 1:
        return (
            "No inner step stands above both sides; a rise by a factor of "
            f"{number(max(1.0, top.prominence.high))} or more is excluded in the nearest case{at}."
        )
    chance = number(top.prominence.value / top.prominence.low)
    return (
        f"The most prominent, at step {count(top.place.value)}{at}, stands out by a factor of "
        f"{number(top.prominence.value)}; noise alone makes {chance} once in "
        f"{1 / (1 - TEST_LEVEL):.0f} times."
    )


def plots(tables: Tables) -> Iterator[Plot]:
    if tables.curves is None or not (shown := courses(tables.rows, tables.curves)):
        return
    levels = sorted({course.noise for course in shown})[:MOST_PANELS]
    shown = [course for course in shown if course.noise in levels]
    labels = {c.cell: _label(tables.design, c, len(levels) > 1) for c in shown}
    # the settings with the most prominent inner points at any noise are drawn at every one
    by_height = sorted(shown, key=lambda course: -course.peak.prominence.value)
    names = list(dict.fromkeys(labels[course.cell] for course in by_height))[:MOST_LINES]
    figure, axes = canvas(len(levels), 1, height=1.0 + 2.3 * len(levels), sharex=True)
    drawn = []
    for axis, level in zip(axes, levels, strict=True):
        arm = [c for c in shown if c.noise == level and labels[c.cell] in names]
        for course in arm:
            name = labels[course.cell]
            drawn.append(_draw(axis, course, name, look(names.index(name), len(names))))
        log_axis(axis, "x")
        log_axis(axis, "y")
        lowest = min((np.nanmin(course.test.middle) / DEEPEST for course in arm), default=0.0)
        if lowest > 0:
            axis.set_ylim(bottom=max(lowest, axis.get_ylim()[0]))
        decade_axis(axis, most=5)
        noise = f"noise {level:g}\n" if len(levels) > 1 else ""
        axis.set_ylabel(f"{noise}error (normalised square)")
    axes[-1].set_xlabel("optimiser step")
    for k, name in enumerate(names):  # the lines of all panels, in the first one's legend
        axes[0].plot([], [], label=name, markersize=3.5, **look(k, len(names)))
    finish(figure, axes[0])
    data = pd.concat(drawn, ignore_index=True)
    rings = plural(int(data["peak"].to_numpy(bool).sum()), "peak")
    cells = plural(len(set(data["cell"])), "cell")
    caption = (
        f"{capital(TEST.words)} (solid, band: 95 % bootstrap interval) and mean train "
        f"error (dotted), median of {span(data['replicates'], 'replicate')}; {cells} of "
        f"{len(shown)}, those whose test error stands out most at an inner step at some noise. "
        f"Rings: {rings} by the test. Train errors far below all test errors are out of the frame."
    )
    alt = f"Test and train error against optimiser steps for {cells}."
    yield Plot("epochs", "Test and train error along the training", caption, alt, data, figure)


def _label(design: Design, course: Course, panels: bool) -> str:
    """Of a cell; without the noise if the panels tell it."""
    parts = design.label(course.cell).split(", ")
    if panels:
        parts = [part for part in parts if part != f"noise {course.noise:g}"]
    return ", ".join(parts) or "all settings"


def _draw(axis: Axes, course: Course, name: str, style: dict[str, Any]) -> pd.DataFrame:
    """Draw both errors of a course; what was drawn."""
    thin: dict[str, Any] = {**style, "markersize": 3.5, "markevery": len(course.steps) // 8 or 1}
    dotted: dict[str, Any] = {**thin, "linestyle": ":", "marker": ""}
    for errors, line in ((course.test, thin), (course.train, dotted)):
        positive = np.isfinite(errors.middle) & (errors.middle > 0)
        axis.plot(course.steps, np.where(positive, errors.middle, np.nan), **line)
    low, high = interval(course.test.draws)
    low = np.maximum(low, np.finfo(float).tiny)
    high = np.where(np.isfinite(high), high, np.nan)
    axis.fill_between(course.steps, low, high, color=style["color"], alpha=0.15, linewidth=0)
    marked = np.zeros(len(course.steps), bool)
    if course.peak.verdict == "yes":
        marked[course.top] = True
        ring(axis, course.steps[course.top], course.test.middle[course.top])
    about = {"line": name, "cell": course.cell, "noise": course.noise, "step": course.steps}
    errors = {"median": course.test.middle, "low": low, "high": high, "train": course.train.middle}
    counts = {"replicates": course.test.counts, "peak": marked}
    return pd.DataFrame({**about, **errors, **counts})


QUESTION = Question(answers, plots, place=60)
