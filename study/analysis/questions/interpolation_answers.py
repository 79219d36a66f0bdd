"""Answers on double descent: is there a peak along a ladder, and where does interpolation end?

Knows: the peak test and the measured threshold. Does not know: how either is found, other questions
on ladders (`ladder_answers`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, curve, diverged_remark, make
from study.analysis.design import Design, Ladder, count
from study.analysis.questions.ladder_answers import label_of
from study.analysis.statistics.peaks import MATTERS, TEST_LEVEL, Peak, peak
from study.analysis.statistics.ratios import Estimate
from study.analysis.statistics.thresholds import CLEAN, NOISY, Threshold, threshold
from study.analysis.wording import estimate, number
from study.tables.measures import TEST

NEAR = 0.05  # 'at' a mark: within 5 %
FITS = 0.9  # so many equations a parameter, and N*D = P counts as fitted
RUNGS = 5  # of a ladder, at least: with fewer, too far apart to show a peak
CLOSE = 1.5  # and one of them within this factor of N*D = P, with others on both sides


def along(rows: pd.DataFrame, design: Design, axis: str) -> Iterator[Answer]:
    """Peak and threshold of each ladder that could show them; networks first."""
    ladders = [(k, ladder) for k, ladder in enumerate(design.ladders(axis)) if crosses(ladder)]
    for k, ladder in sorted(ladders, key=lambda each: each[1].control):
        found = ladder_peak(rows, ladder)
        measured = threshold(rows, ladder)
        if found is not None:
            yield _peak(rows, ladder, found, measured, k)
        yield _threshold(rows, ladder, measured, k)


def crosses(ladder: Ladder) -> bool:
    """Whether its rungs go through N*D = P closely enough to show what happens there."""
    off = np.log(ladder.equations_per_param)
    return bool(
        len(off) >= RUNGS and off.min() < 0 < off.max() and np.abs(off).min() <= np.log(CLOSE)
    )


def ladder_peak(rows: pd.DataFrame, ladder: Ladder) -> Peak | None:
    """The most prominent interior point of the median test error along a ladder, tested."""
    test = curve(rows, ladder.cells, TEST)
    return peak(test.table, ladder.steps, test.groups)


def figure_id(ladder: Ladder) -> str:
    """The figure that shows a ladder's test error."""
    return f"{'control' if ladder.control else 'test_error'}_by_{ladder.axis.lower()}"


def _peak(rows: pd.DataFrame, ladder: Ladder, found: Peak, measured: Threshold, k: int) -> Answer:
    question = f"Does the test error peak along {ladder.axis} (double descent)?"
    verdict = found.verdict
    if ladder.control and ladder.axis == "N":
        question = "Does the positive control, random features, peak where it must, at N = p?"
        if verdict == "yes" and abs(found.place.value / ladder.widths[found.at] - 1) > NEAR:
            verdict = "no"
    sentence = (
        f"At {label_of(ladder)}, {_height(ladder, found)} {_place(ladder, found, measured)}"
        f"{diverged_remark(curve(rows, ladder.cells, TEST))}"
    )
    return make(
        f"peak_along_{ladder.axis.lower()}.{k}",
        question,
        verdict,
        sentence,
        found.prominence,
        rows,
        ladder.cells,
        figure_id(ladder),
    )


def _height(ladder: Ladder, found: Peak) -> str:
    """What the test finds, in words."""
    top = found.prominence
    at = f"{ladder.axis} = {count(round(found.place.value))}"
    chance = number(top.value / top.low)
    once = f"once in {1 / (1 - TEST_LEVEL):.0f} times"
    if found.verdict == "yes":
        return (
            f"the {TEST.words} along {ladder.axis} peaks at {at}, {number(top.value)} times the "
            f"larger of the lowest medians on its two sides; noise alone makes {chance} {once}."
        )
    if top.value > 1:
        start = (
            f"the {TEST.words} along {ladder.axis} stands out most at {at}, by a factor of "
            f"{number(top.value)}; noise alone makes {chance} {once}."
        )
    else:
        start = f"no inner point of the {TEST.words} along {ladder.axis} is above both sides."
    if found.verdict == "no":
        return f"{start} A peak of a factor of {number(max(1.0, top.high))} or more is excluded."
    return (
        f"{start} A peak of up to a factor of {number(top.high)} is not excluded; there is said to "
        f"be none below {MATTERS:g}."
    )


def _place(ladder: Ladder, found: Peak, measured: Threshold) -> str:
    """Where it lies, in the units that might matter."""
    ratio = _ratio(ladder, found.place)
    parts = [f"N·D/P = {estimate(ratio)}", f"N/P = {number(ratio.value / ladder.dof)}"]
    if ladder.control and ladder.axis == "N":
        p = float(ladder.widths[0])
        parts = [f"N/p = {number(found.place.value / p)}, p = {count(p)} features an output"]
    text = f"That is at {', '.join(parts)}"
    if found.verdict != "yes":
        return f"{text}."
    marks = [f"{_side(ratio, 1.0)} N·D = P"]
    if ladder.dof > 1 and not ladder.control:
        marks.append(f"{_side(ratio, float(ladder.dof))} N = P")
    text += f", {' and '.join(marks)}"
    if not _inside(measured.at.value):
        return f"{text}; interpolation ends outside the ladder."
    relative = found.place.value / measured.at.value
    return (
        f"{text}, and at {number(relative)} times the {ladder.axis} at which interpolation ends "
        f"({count(round(measured.at.value))})."
    )


def _ratio(ladder: Ladder, place: Estimate) -> Estimate:
    """N or P as equations per parameter."""
    to = [ladder.equations_per_param[np.argmin(np.abs(ladder.steps - x))] for x in _three(place)]
    low, high = sorted(to[1:])
    return Estimate(float(to[0]), float(low), float(high), place.n, place.draws)


def _three(place: Estimate) -> tuple[float, float, float]:
    return place.value, place.low, place.high


def _side(ratio: Estimate, mark: float) -> str:
    if ratio.low <= mark * (1 + NEAR) and ratio.high >= mark * (1 - NEAR):
        return "at" if abs(ratio.value / mark - 1) <= NEAR else "not told apart from"
    return "below" if ratio.value < mark else "above"


def _threshold(rows: pd.DataFrame, ladder: Ladder, measured: Threshold, k: int) -> Answer:
    sure = measured.ratio
    verdict = "yes" if sure.low >= FITS else "no" if sure.high < FITS else "undecided"
    what = "largest N" if ladder.axis == "N" else "smallest P"
    sentence = (
        f"At {label_of(ladder)}, {_location(ladder, measured, what)}; N·D = P counts as fitted "
        f"from {FITS:g} on. Fitted means a mean train error below {number(measured.tolerance)}, "
        f"{_meaning(ladder)}; {_other_tolerances(ladder, measured, what)}.{_rank(ladder, measured)}"
    )
    return make(
        f"threshold.{ladder.axis.lower()}.{k}",
        "Can as many equations be fitted as there are parameters, N·D = P?",
        verdict,
        sentence,
        sure,
        rows,
        ladder.cells,
        f"threshold_by_{ladder.axis.lower()}",
    )


def _other_tolerances(ladder: Ladder, measured: Threshold, what: str) -> str:
    if measured.looser == measured.stricter:
        return "at ten times that and at a tenth it is the same"
    return (
        f"at ten times that the {what} is {_text(measured.looser, ladder)}, at a tenth "
        f"{_text(measured.stricter, ladder)}"
    )


def _location(ladder: Ladder, measured: Threshold, what: str) -> str:
    at, ends = measured.at, ladder.steps[[0, -1]]
    if _inside(at.value):
        rungs = " and ".join(count(rung) for rung in measured.between)
        low, high = (_text(limit, ladder) for limit in (at.low, at.high))
        return (
            f"the {what} that is fitted is {count(round(at.value))} [{low}, {high}], between the "
            f"rungs {rungs}: N·D/P = {estimate(measured.ratio)}, "
            f"N/P = {number(measured.ratio.value / ladder.dof)}"
        )
    fitted = (at.value == 0) != (ladder.axis == "N")
    if fitted:
        far = ends[1] if ladder.axis == "N" else ends[0]
        limit = ladder.equations_per_param.max()
        return f"every rung is fitted, to {ladder.axis} = {count(far)}, N·D/P = {number(limit)}"
    far = ends[0] if ladder.axis == "N" else ends[1]
    limit = ladder.equations_per_param.min()
    return f"no rung is fitted, not {ladder.axis} = {count(far)} at N·D/P = {number(limit)} either"


def _inside(value: float) -> bool:
    return 0 < value < np.inf


def _text(value: float, ladder: Ladder) -> str:
    """A place on the ladder; beyond its ends, the end."""
    if value == 0:
        return f"below {count(ladder.steps[0])}"
    return f"above {count(ladder.steps[-1])}" if np.isinf(value) else count(round(value))


def _meaning(ladder: Ladder) -> str:
    if ladder.noise > 0:
        return f"{100 * NOISY:g} % of the variance of the label noise"
    return f"that is {np.sqrt(CLEAN):g} of the targets' standard deviation"


def _rank(ladder: Ladder, measured: Threshold) -> str:
    """Beside the rank of the Jacobian, where it was measured."""
    if not np.isfinite(measured.rank):
        return ""
    rank = f"{count(measured.rank)} at 1e-10"
    if ladder.axis == "P":
        return f" The Jacobian of the smallest network that fits has rank {rank}."
    text = f" The Jacobian of the accelerations has rank {rank} (P = {count(ladder.n_params[0])})"
    if _inside(measured.at.value):
        text += f": N·D over rank is {number(measured.at.value * ladder.dof / measured.rank)} there"
    return f"{text}."
