"""Figures along N and along P: test error, train error, rollout error and valid time.

Knows: ladders. Does not know: comparisons, curves over time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from study.analysis.answer import Answer, Question, Tables, curve
from study.analysis.design import Design, Ladder
from study.analysis.questions import ladder_answers
from study.analysis.questions.interpolation_answers import crosses, ladder_peak
from study.analysis.statistics.thresholds import threshold
from study.analysis.style import (
    REFERENCE,
    Plot,
    bars,
    bars_are,
    canvas,
    decade_axis,
    finish,
    look,
    ratio_axis,
)
from study.analysis.wording import capital, number, plural, span
from study.tables.measures import ROLLOUT, TEST, TEST_IN_RANGE, TRAIN, VALID_TIME, Measure


def plots(rows: pd.DataFrame, design: Design, axis: str) -> Iterator[Plot]:
    """The figures along one axis, 'N' or 'P'; none without a ladder.

    The control has one of its own, for its errors are of another kind.
    """
    ladders = [ladder for ladder in design.ladders(axis) if not ladder.control]
    if controls := [ladder for ladder in design.ladders(axis) if ladder.control]:
        yield _along(rows, controls, TEST, f"control_by_{axis.lower()}")
    if not ladders:
        return
    yield _along(rows, ladders, TEST, f"test_error_by_{axis.lower()}")
    yield _along(rows, ladders, ROLLOUT, f"rollout_error_by_{axis.lower()}")
    yield _train_test(rows, ladders, f"train_test_by_{axis.lower()}")
    yield _along(rows, ladders, VALID_TIME, f"valid_time_by_{axis.lower()}")


def _along(rows: pd.DataFrame, ladders: Sequence[Ladder], measure: Measure, id: str) -> Plot:
    axis_letter, control = ladders[0].axis, ladders[0].control
    figure, (axis,) = canvas()
    data = []
    for k, ladder in enumerate(ladders):
        part = ladder_data(rows, ladder, measure)
        style = look(k, len(ladders))
        if measure is TEST:
            part["peak"] = _peak_marked(axis, rows, ladder, part)
            part["threshold"] = threshold_marked(axis, rows, ladder, style["color"])
        data.append(part)
        line(axis, part, ladder.label, **style)
    table = pd.concat(data, ignore_index=True)
    equations_axis(axis, table["equations_per_param"].to_numpy(), ladders)
    if measure.lower_is_better:
        decade_axis(axis)
    else:
        axis.set_ylim(bottom=0)
    axis.set_ylabel(measure.axis)
    title = f"{capital(measure.words)} along {axis_letter}"
    if control:
        title = f"Positive control: {measure.words} of random features along {axis_letter}"
    finish(figure, axis)
    fixed = "model" if axis_letter == "N" else "number of points"
    marks = ""
    if measure is TEST:
        marks = (
            f" {_peaks_are(table)} Triangles at the foot: the measured interpolation threshold, "
            "where it lies on the ladder."
        )
    return Plot(
        id=id,
        title=title,
        caption=(
            f"{capital(measure.words)} against equations per parameter"
            f"{', which is points over features, N/p' if control else ''}; one line a {fixed}. "
            f"Median over {replicates(table)}; {bars_are(table['replicates'])}. "
            f"Vertical lines: N·D = P and N = P.{marks}{undrawn(table)}"
        ),
        alt=f"{capital(measure.words)} against N·D/P, {plural(len(ladders), 'line')}: "
        + _ends(table, measure),
        data=table,
        figure=figure,
    )


def _peak_marked(axis: Axes, rows: pd.DataFrame, ladder: Ladder, part: pd.DataFrame) -> np.ndarray:
    """A ring around the ladder's peak, if the test says there is one; where it is."""
    marked = np.zeros(len(part), bool)
    found = ladder_peak(rows, ladder) if crosses(ladder) else None
    if found is not None and found.verdict == "yes":
        marked[found.at] = True
        top = part.iloc[found.at]
        axis.plot(
            top["equations_per_param"],
            top["median"],
            linestyle="none",
            marker="o",
            markersize=13,
            markerfacecolor="none",
            markeredgecolor="black",
            markeredgewidth=1.1,
            zorder=4,
        )
    return marked


def _peaks_are(data: pd.DataFrame) -> str:
    n = int(data["peak"].to_numpy(bool).sum())
    return f"Rings: {plural(n, 'peak')} by the test." if n else "No line has a peak by the test."


def threshold_marked(axis: Axes, rows: pd.DataFrame, ladder: Ladder, colour: Any) -> float:
    """A triangle at the foot where interpolation ends, if on the ladder; N*D/P there."""
    ratio = threshold(rows, ladder).ratio
    if crosses(ladder) and 0 < ratio.value < np.inf:
        axis.plot(
            ratio.value,
            0.0,
            transform=axis.get_xaxis_transform(),
            linestyle="none",
            marker="^",
            markersize=8,
            color=colour,
            markeredgecolor="white",
            clip_on=False,
            zorder=5,
        )
        return ratio.value
    return float("nan")


def _train_test(rows: pd.DataFrame, ladders: Sequence[Ladder], id: str) -> Plot:
    figure, (axis,) = canvas()
    data = []
    for k, ladder in enumerate(ladders):
        style = look(k, len(ladders))
        for measure, stroke, face in ((TEST_IN_RANGE, "-", None), (TRAIN, ":", "white")):
            part = ladder_data(rows, ladder, measure)
            data.append(part)
            line(
                axis,
                part,
                ladder.label if measure is TEST_IN_RANGE else None,
                **style | {"linestyle": stroke, "markerfacecolor": face or style["color"]},
            )
    table = pd.concat(data, ignore_index=True)
    equations_axis(axis, table["equations_per_param"].to_numpy(), ladders)
    decade_axis(axis)
    axis.set_ylabel("mean error (normalised square)")
    title = f"Train error beside test error along {ladders[0].axis}"
    finish(figure, axis)
    return Plot(
        id=id,
        title=title,
        caption=(
            "Mean squared acceleration error, normalised, on the training points (open, dotted) "
            "and on test points within their range (filled). Median over "
            f"{replicates(table)}; {bars_are(table['replicates'])}.{undrawn(table)}"
        ),
        alt=f"Train and test error against N·D/P: {_ends(table, TEST_IN_RANGE)}",
        data=table,
        figure=figure,
    )


def ladder_data(rows: pd.DataFrame, ladder: Ladder, measure: Measure) -> pd.DataFrame:
    """Medians with intervals, one row a rung."""
    medians = curve(rows, ladder.cells, measure)
    found = [medians.estimate(k) for k in range(len(ladder.cells))]
    return pd.DataFrame(
        {
            "line": ladder.label,
            "measure": measure.column,
            "cell": ladder.cells,
            "N": ladder.n_points.astype(int),
            "P": ladder.n_params.astype(int),
            "equations_per_param": ladder.equations_per_param,
            "median": [e.value for e in found],
            "low": [e.low for e in found],
            "high": [e.high for e in found],
            "replicates": [e.n for e in found],
        }
    )


def line(axis: Axes, part: pd.DataFrame, label: str | None, **style) -> None:
    """Medians and bars of one ladder against equations per parameter."""
    shown = part.loc[np.isfinite(part["median"].to_numpy(float))].sort_values(
        by="equations_per_param"
    )
    value = shown["median"].to_numpy()
    axis.errorbar(
        shown["equations_per_param"],
        value,
        yerr=bars(shown["low"].to_numpy(), value, shown["high"].to_numpy()),
        label=label,
        capsize=2.0,
        elinewidth=0.9,
        **style,
    )


def equations_axis(axis: Axes, x: np.ndarray, ladders: Sequence[Ladder]) -> None:
    """N*D/P along x, with lines where it is 1 and where N = P."""
    ratio_axis(axis, x)
    left, right = axis.get_xlim()
    top = axis.get_xaxis_transform()
    axis.set_xlabel("N·D/P, equations per parameter")
    dofs = sorted({ladder.dof for ladder in ladders})
    marks = [(1.0, "N·D = P ", "right")]
    marks += [
        (float(D), f" N = P{f' (D = {D})' if len(dofs) > 1 else ''}", "left") for D in dofs if D > 1
    ]
    for x_mark, text, side in marks:
        if left < x_mark < right:
            axis.axvline(x_mark, color=REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
            axis.text(
                x_mark, 1.01, text, transform=top, ha=side, va="bottom", fontsize=8, color="#555555"
            )


def replicates(data: pd.DataFrame) -> str:
    """How many replicates the medians of a figure are of: '5 replicates', '2 to 5 replicates'."""
    return span(data["replicates"], "replicate")


def undrawn(data: pd.DataFrame) -> str:
    """A remark on medians that are infinite and so have no place on the axis."""
    n = int((~np.isfinite(data["median"])).sum())
    return f" {plural(n, 'median')} not finite and not drawn." if n else ""


def _ends(data: pd.DataFrame, measure: Measure) -> str:
    chosen = data.loc[data["measure"] == measure.column].sort_values(by="equations_per_param")
    lines = []
    for name, line in list(chosen.groupby("line", sort=False))[:4]:
        first, last = line.iloc[0], line.iloc[-1]
        lines.append(
            f"{name}: from {number(first['median'])} at {number(first['equations_per_param'])} "
            f"to {number(last['median'])} at {number(last['equations_per_param'])}"
        )
    return "; ".join(lines) + "."


def _answers(tables: Tables) -> Iterator[Answer]:
    yield from ladder_answers.along_n(tables.rows, tables.design)
    yield from ladder_answers.along_p(tables.rows, tables.design)


def _plots(tables: Tables) -> Iterator[Plot]:
    for axis in ("N", "P"):
        yield from plots(tables.rows, tables.design, axis)


QUESTION = Question(_answers, _plots, place=20)
