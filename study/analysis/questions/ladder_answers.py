"""Answers along N at a fixed model, and along P at a fixed number of points.

Knows: ladders. Does not know: peaks and thresholds (`interpolation_answers`), power laws
(`scaling_answers`), categorical factors, rollouts against accelerations.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, curve, diverged_remark, make
from study.analysis.design import Design, Ladder, count
from study.analysis.naming import RECIPES
from study.analysis.statistics.ratios import Estimate, Medians, flattens_at, rises
from study.analysis.wording import estimate, multiple, number
from study.tables.measures import TEST, TEST_IN_RANGE, TRAIN, VALID_TIME

NEEDED = 2.0  # 'needed' and 'flat' mean: a factor of two


def along_n(rows: pd.DataFrame, design: Design) -> Iterator[Answer]:
    """For each network with a ladder of N."""
    for number_, ladder in enumerate(design.ladders("N")):
        if ladder.control:
            continue
        test = curve(rows, ladder.cells, TEST)
        yield _raise_n(rows, ladder, test, number_)
        yield from _needed(rows, ladder, test, number_)
        yield from _flattens(rows, ladder, test, number_)
        yield _overdetermined(rows, ladder, test, number_)
        yield _valid_time(rows, ladder, number_)


def along_p(rows: pd.DataFrame, design: Design) -> Iterator[Answer]:
    """For each number of points with a ladder of P of networks."""
    for number_, ladder in enumerate(design.ladders("P")):
        if ladder.control:
            continue
        test = curve(rows, ladder.cells, TEST)
        yield from _overparameterised(rows, ladder, test, number_)


def _raise_n(rows: pd.DataFrame, ladder: Ladder, test: Medians, k: int) -> Answer:
    gain = test.ratio(0, -1)
    sentence = (
        f"At {label_of(ladder)}, raising N from {_n_of(ladder, 0)} to {_n_of(ladder, -1)} "
        f"(N·D/P from {number(ladder.equations_per_param[0])} "
        f"to {number(ladder.equations_per_param[-1])}) "
        f"{_changes(gain, TEST.words)}; {_rise_clause(ladder, test)}.{diverged_remark(test)}"
    )
    return make(
        f"raise_n.{k}",
        "Do more points lower the acceleration error?",
        gain.verdict(),
        sentence,
        gain,
        rows,
        ladder.cells,
        "test_error_by_n",
    )


def _needed(rows: pd.DataFrame, ladder: Ladder, test: Medians, k: int) -> Iterator[Answer]:
    below = np.flatnonzero(ladder.n_over_p < 0.995)  # N = P up to rounding is not below
    above = np.flatnonzero(ladder.n_over_p >= 0.995)
    if not (len(below) and len(above)):
        return
    last, best = int(below[-1]), int(above[np.argmin(test.middle[above])])
    cost = test.ratio(last, best)
    sentence = (
        f"At {label_of(ladder)}, the largest N below P ({_n_of(ladder, last)}, "
        f"N·D/P = {number(ladder.equations_per_param[last])}) has {estimate(cost)} times the "
        f"{TEST.words} of the best N from P on ({_n_of(ladder, best)}); N ≥ P counts as needed "
        f"above a factor of {NEEDED:g}.{diverged_remark(test)}"
    )
    yield make(
        f"n_at_least_p.{k}",
        "Does it need at least as many points as parameters, N ≥ P?",
        cost.verdict(NEEDED),
        sentence,
        cost,
        rows,
        ladder.cells,
        "test_error_by_n",
    )


def _flattens(rows: pd.DataFrame, ladder: Ladder, test: Medians, k: int) -> Iterator[Answer]:
    if len(ladder.cells) < 3 or not np.isfinite(test.middle).any():
        return
    at = flattens_at(test, ladder.n_points)
    params = ladder.n_params[0]
    ratio = Estimate(at.value / params, at.low / params, at.high / params, at.n)
    where = int(np.flatnonzero(ladder.n_points == at.value)[0])
    verdict = "yes" if at.high < 0.995 * params else "no" if at.low >= 0.995 * params else ""
    sentence = (
        f"At {label_of(ladder)}, the smallest N whose {TEST.words} is within a factor of "
        f"{NEEDED:g} of the best is {count(at.value)} [{count(at.low)}, {count(at.high)}], that is "
        f"N/P = {estimate(ratio)} and N·D/P = {number(ladder.equations_per_param[where])}."
        + (
            " That is the largest N tried: the curve may fall on."
            if at.value == ladder.n_points[-1]
            else ""
        )
    )
    yield make(
        f"flattens.{k}",
        "Does the error stop falling before N = P?",
        verdict or "undecided",
        sentence,
        ratio,
        rows,
        ladder.cells,
        "test_error_by_n",
    )


def _overdetermined(rows: pd.DataFrame, ladder: Ladder, test: Medians, k: int) -> Answer:
    train = curve(rows, ladder.cells, TRAIN)
    in_range = curve(rows, ladder.cells, TEST_IN_RANGE)
    best = int(np.argmin(test.middle[:-1]))
    harm = test.ratio(-1, best)
    sentence = (
        f"At {label_of(ladder)}, from {_n_of(ladder, 0)} to {_n_of(ladder, -1)} the {TRAIN.words} "
        f"goes from {_ends(train)}, and the {TEST_IN_RANGE.words} from {_ends(in_range)}; the "
        f"{TEST.words} at the largest N is {estimate(harm)} times the best at a smaller N."
        f"{diverged_remark(train, in_range)}"
    )
    return make(
        f"overdetermined.{k}",
        "Do many more points than parameters overdetermine the network, so that its test error "
        "rises?",
        harm.verdict(),
        sentence,
        harm,
        rows,
        ladder.cells,
        "train_test_by_n",
    )


def _ends(measured: Medians) -> str:
    """Medians at the first and the last rung."""
    return f"{estimate(measured.estimate(0))} to {estimate(measured.estimate(-1))}"


def _valid_time(rows: pd.DataFrame, ladder: Ladder, k: int) -> Answer:
    times = curve(rows, ladder.cells, VALID_TIME)
    longer = times.ratio(-1, 0)
    first, last = times.estimate(0), times.estimate(-1)
    sentence = (
        f"At {label_of(ladder)}, raising N from {_n_of(ladder, 0)} to {_n_of(ladder, -1)} takes "
        f"the valid time of a rollout from {estimate(first, 's')} to {estimate(last, 's')}, a "
        f"factor of {estimate(longer)}.{diverged_remark(times)}"
    )
    return make(
        f"valid_time_by_n.{k}",
        "Do more points keep the trajectory right for longer?",
        longer.verdict(),
        sentence,
        longer,
        rows,
        ladder.cells,
        "valid_time_by_n",
    )


def _overparameterised(
    rows: pd.DataFrame, ladder: Ladder, test: Medians, k: int
) -> Iterator[Answer]:
    question = "Do more parameters than equations, P > N·D, hurt?"
    over = np.flatnonzero(ladder.equations_per_param < 0.995)
    under = np.flatnonzero(ladder.equations_per_param >= 0.995)
    if not (len(over) and len(under)):
        return
    largest, best = int(over[-1]), int(under[np.argmin(test.middle[under])])
    harm = test.ratio(largest, best)
    sentence = (
        f"At {label_of(ladder)}, the largest network (P = {count(ladder.n_params[largest])}, "
        f"N·D/P = {number(ladder.equations_per_param[largest])}) has {estimate(harm)} times the "
        f"{TEST.words} of the best one with P ≤ N·D (P = {count(ladder.n_params[best])}); "
        f"along P {_rise_clause(ladder, test)}.{diverged_remark(test)}"
    )
    yield make(
        f"overparameterised.{k}",
        question,
        harm.verdict(),
        sentence,
        harm,
        rows,
        ladder.cells,
        "test_error_by_p",
    )


def label_of(ladder: Ladder) -> str:
    """The ladder's label within a sentence: a recipe takes the article."""
    recipe = any(ladder.label.startswith(name) for name in RECIPES)
    return f"the {ladder.label}" if recipe else ladder.label


def _n_of(ladder: Ladder, i: int) -> str:
    """N in points, and in units of P when the ladder has one P."""
    text = multiple(ladder.n_over_p[i])
    return f"{text} = {count(ladder.n_points[i])}"


def _changes(gain: Estimate, what: str) -> str:
    if gain.verdict() == "no" or (not gain.enough and gain.value < 1):
        inverse = Estimate(_inverse(gain.value), _inverse(gain.high), _inverse(gain.low), gain.n)
        return f"raises the {what} by a factor of {estimate(inverse)}"
    if gain.verdict() == "yes" or not gain.enough:
        return f"lowers the {what} by a factor of {estimate(gain)}"
    return f"changes the {what} by no certain amount (lower by a factor of {estimate(gain)})"


def _inverse(value: float) -> float:
    return float(np.divide(1.0, value)) if value else float("inf")


def _rise_clause(ladder: Ladder, test: Medians) -> str:
    found = rises(test)
    sure = [rise for rise in found if rise.sure]
    values = ladder.n_points if ladder.axis == "N" else ladder.n_params
    if sure:
        rise = max(sure, key=lambda r: r.factor.value)
        return (
            f"the curve rises at {ladder.axis} = {count(values[rise.at])}, by a factor of "
            f"{estimate(rise.factor)} above {ladder.axis} = {count(values[rise.above])}"
        )
    if found:
        rise = max(found, key=lambda r: r.factor.value)
        return (
            "no point of the curve rises by more than its interval (the largest rise, at "
            f"{ladder.axis} = {count(values[rise.at])}, is a factor of {estimate(rise.factor)})"
        )
    return "no point of the curve rises"
