"""Double descent: does the test error peak along a ladder, and up to where can a network fit?

See `statistics/peaks.py` and `statistics/thresholds.py`.
"""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, Question, Tables, curve
from study.analysis.design import Ladder
from study.analysis.questions import ladder_curves, tolerances
from study.analysis.statistics.limits import FITTED, NO_PEAK, Turn
from study.analysis.statistics.medians import Estimate
from study.analysis.statistics.peaks import TEST_LEVEL, Peak
from study.analysis.statistics.thresholds import CLEAN, NOISY, Threshold, tolerance
from study.analysis.style import REFERENCE, Plot, decade_axis
from study.analysis.words import count, estimate, number, plural
from study.tables.measures import TEST, TRAIN

NEAR = 0.05  # 'at' a mark: within 5 %
SHOWN = 1e-6  # smaller parts of the tolerance are drawn at this one: they are all rounding


def answers(tables: Tables) -> Iterator[Answer]:
    for axis in ("N", "P"):
        ladders = enumerate(tables.design.ladders(axis))
        for k, ladder in sorted(ladders, key=lambda numbered: numbered[1].control):
            if not ladder_curves.crosses(ladder):
                continue
            say = partial(ladder_curves.answer, tables.rows, ladder, k)
            end = ladder_curves.threshold(tables.rows, ladder)
            test = curve(tables.rows, ladder.cells, TEST)
            if (top := ladder_curves.peak(test, ladder)) is not None:
                question, verdict = _asks(ladder, top)
                sentence = f"{height(ladder, top)} {_place(ladder, top, end)}"
                figure = f"{'control' if ladder.control else 'test_error'}_by_{axis.lower()}"
                id, prominence = f"peak_along_{axis.lower()}", top.prominence
                p = min(1.0, 2 * (top.p_none if verdict == "no" else top.p_peak))
                about = (id, question, prominence, sentence, figure, test)
                yield say(*about, verdict=verdict, p=p, remedy=remedy(top))
            question = "Can as many equations be fitted as there are parameters, N·D = P?"
            id, figure = f"threshold.{axis.lower()}", f"threshold_by_{axis.lower()}"
            turns = {"verdict": end.ratio.verdict(FITTED), "turn": Turn.at(FITTED)}
            yield say(id, question, end.ratio, _fitted(ladder, end), figure, **turns, errors=False)


def _asks(ladder: Ladder, top: Peak) -> tuple[str, str]:
    """Question and verdict: the control's peak has to be at N = p."""
    if not (ladder.control and ladder.axis == "N"):
        return f"Does the test error peak along {ladder.axis} (double descent)?", top.verdict
    elsewhere = abs(top.place.value / ladder.widths[top.at] - 1) > NEAR
    verdict = "no" if top.verdict == "yes" and elsewhere else top.verdict
    return "Does the positive control, random features, peak where it must, at N = p?", verdict


def height(ladder: Ladder, top: Peak, words: str = TEST.words) -> str:
    """What the test says of the peak's height, in words."""
    factor, largest = top.prominence.value, top.prominence.high
    error = f"{words} along {ladder.axis}"
    at = f"at {ladder.axis} = {count(round(top.place.value))}"
    chance = (
        f"noise alone makes {number(factor / top.prominence.low)} once in "
        f"{1 / (1 - TEST_LEVEL):.0f} times."
    )
    if top.verdict == "yes":
        return (
            f"the {error} peaks {at}, {number(factor)} times the larger of the lowest medians on "
            f"its two sides; {chance}"
        )
    if factor > 1:
        start = f"the {error} stands out most {at}, by a factor of {number(factor)}; {chance}"
    else:
        start = f"no inner point of the {error} is above both sides."
    if top.verdict == "no":
        return f"{start} A peak of a factor of {number(max(1.0, largest))} or more is excluded."
    return (
        f"{start} A peak of up to a factor of {number(largest)} is not excluded; there is said to "
        f"be none below {NO_PEAK:g}."
    )


def remedy(top: Peak) -> str:
    """How many replicates would decide whether there is a peak, in a sentence."""
    needed = max(math.ceil(top.needed), top.prominence.n + 1)
    return f" About {plural(needed, 'replicate')} a cell would decide it."


def _place(ladder: Ladder, top: Peak, end: Threshold) -> str:
    """Where the peak is: in equations per parameter, and beside the threshold."""
    value, *ends = (
        float(ladder.equations_per_param[np.argmin(np.abs(ladder.steps - step))])
        for step in (top.place.value, top.place.low, top.place.high)
    )
    ratio = Estimate(value, min(ends), max(ends), top.place.n, top.place.draws)
    parts = [f"N·D/P = {estimate(ratio)}", f"N/P = {number(value / ladder.dof)}"]
    if ladder.control and ladder.axis == "N":
        p = float(ladder.widths[0])
        parts = [f"N/p = {number(top.place.value / p)}, p = {count(p)} features an output"]
    text = f"That is at {', '.join(parts)}"
    if top.verdict != "yes":
        return f"{text}."
    text += f", {_side(ratio, 1.0)} N·D = P"
    if ladder.dof > 1 and not ladder.control:
        text += f" and {_side(ratio, float(ladder.dof))} N = P"
    if not _inside(end):
        return f"{text}; interpolation ends outside the ladder."
    return (
        f"{text}, and at {number(top.place.value / end.at.value)} times the {ladder.axis} at which "
        f"interpolation ends ({count(round(end.at.value))})."
    )


def _side(ratio: Estimate, mark: float) -> str:
    if ratio.low <= mark * (1 + NEAR) and ratio.high >= mark * (1 - NEAR):
        return "at" if abs(ratio.value / mark - 1) <= NEAR else "not told apart from"
    return "below" if ratio.value < mark else "above"


def _fitted(ladder: Ladder, end: Threshold) -> str:
    """Where fitting ends, what counts as fitted, and what other tolerances say."""
    what = "largest N" if ladder.axis == "N" else "smallest P"
    looser, stricter = (_text(step, ladder) for step in (end.looser, end.stricter))
    others = "at ten times that and at a tenth it is the same"
    if end.looser != end.stricter:
        others = f"at ten times that the {what} is {looser}, at a tenth {stricter}"
    meaning = f"that is {np.sqrt(CLEAN):g} of the targets' standard deviation"
    if ladder.noise > 0:
        meaning = f"{100 * NOISY:g} % of the variance of the label noise"
    return (
        f"{_location(ladder, end, what)}; N·D = P counts as fitted from {FITTED:g} on. Fitted "
        f"means a mean train error below {number(end.tolerance)}, {meaning}; {others}."
        f"{_rank(ladder, end)}"
    )


def _location(ladder: Ladder, end: Threshold, what: str) -> str:
    at, ratios = end.at, ladder.equations_per_param
    if _inside(end):
        return (
            f"the {what} that is fitted is {count(round(at.value))} [{_text(at.low, ladder)}, "
            f"{_text(at.high, ladder)}], between the rungs {' and '.join(map(count, end.between))}:"
            f" N·D/P = {estimate(end.ratio)}, N/P = {number(end.ratio.value / ladder.dof)}"
        )
    many, few = ladder.steps[[-1, 0] if ladder.axis == "N" else [0, -1]]  # equations a parameter
    if (at.value == 0) != (ladder.axis == "N"):
        limit = number(ratios.max())
        return f"every rung is fitted, to {ladder.axis} = {count(many)}, N·D/P = {limit}"
    limit = number(ratios.min())
    return f"no rung is fitted, not {ladder.axis} = {count(few)} at N·D/P = {limit} either"


def _inside(end: Threshold) -> bool:
    """Whether the threshold is on the ladder."""
    return 0 < end.at.value < np.inf


def _text(step: float, ladder: Ladder) -> str:
    """A place on the ladder; beyond its ends, the end."""
    if step == 0:
        return f"below {count(ladder.steps[0])}"
    return f"above {count(ladder.steps[-1])}" if np.isinf(step) else count(round(step))


def _rank(ladder: Ladder, end: Threshold) -> str:
    """The rank of the Jacobian, if it was measured."""
    if not np.isfinite(end.rank):
        return ""
    rank = f"{count(end.rank)} at 1e-10"
    if ladder.axis == "P":
        return f" The Jacobian of the smallest network that fits has rank {rank}."
    text = f" The Jacobian of the accelerations has rank {rank} (P = {count(ladder.n_params[0])})"
    if _inside(end):
        text += f": N·D over rank is {number(end.at.value * ladder.dof / end.rank)} there"
    return f"{text}."


def plots(tables: Tables) -> Iterator[Plot]:
    for letter in ("N", "P"):
        if ladders := list(filter(ladder_curves.crosses, tables.design.ladders(letter))):
            yield _plot(tables.rows, ladders, letter)
    yield from tolerances.plots(tables)


def _plot(rows: pd.DataFrame, ladders: list[Ladder], letter: str) -> Plot:
    tables, errors = [], ["median", "low", "high"]
    for ladder in ladders:
        table = ladder_curves.table(rows, ladder, TRAIN)
        table = ladder_curves.mark(rows, ladder, table).drop(columns="peak")
        table["tolerance"] = tolerance(ladder.noise)
        table[errors] = (table[errors] / tolerance(ladder.noise)).clip(lower=SHOWN)
        tables.append(table)
    figure, panel, data = ladder_curves.draw_ladders(ladders, tables)
    decade_axis(panel)
    panel.axhline(1.0, color=REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    panel.set_ylabel("mean train error / tolerance")
    title = f"Where interpolation ends along {letter}"
    caption = (
        f"Mean train error over what counts as fitted: {100 * NOISY:g} % of the variance of the "
        f"label noise, or {CLEAN:g} without noise. Below the dashed line the points are fitted; "
        "triangles at the foot: the threshold, where it lies on the ladder. Values below "
        f"{SHOWN:g} drawn there. {ladder_curves.medians_are(data)}.{ladder_curves.undrawn(data)}"
    )
    alt = f"Train error over tolerance against N·D/P, {plural(len(ladders), 'line')}."
    return Plot(f"threshold_by_{letter.lower()}", title, caption, alt, data, figure)


QUESTION = Question(answers, plots, place=30)
