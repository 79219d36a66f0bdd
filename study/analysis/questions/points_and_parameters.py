"""Do more points N, or more parameters P, help or hurt? Ratios of medians of two rungs of a ladder.

Along N at a fixed network: do more points lower the error, does it need N >= P, where does it
flatten, do many more equations than parameters overdetermine it? Along P: does P > N*D hurt?
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, Question, Tables, curve
from study.analysis.design import Ladder
from study.analysis.questions import ladder_curves
from study.analysis.statistics.limits import EQUIVALENT, NEEDED, Turn
from study.analysis.statistics.medians import Estimate, Medians
from study.analysis.statistics.ratios import flattens_at, rises
from study.analysis.style import Plot, decade_axis
from study.analysis.words import capital, count, estimate, multiple, number, plural
from study.tables.measures import ROLLOUT, TEST, TEST_IN_RANGE, TRAIN, VALID_TIME, Measure

FIGURE = "test_error_by_n"


def answers(tables: Tables) -> Iterator[Answer]:
    rows = tables.rows
    for k, ladder in ladder_curves.networks(tables.design, "N"):
        yield from _along_n(rows, ladder, partial(ladder_curves.answer, rows, ladder, k))
    for k, ladder in ladder_curves.networks(tables.design, "P"):
        yield from _along_p(rows, ladder, partial(ladder_curves.answer, rows, ladder, k))


def _along_n(rows: pd.DataFrame, ladder: Ladder, say: Callable[..., Answer]) -> Iterator[Answer]:
    test, train, in_range, times = (
        curve(rows, ladder.cells, m) for m in (TEST, TRAIN, TEST_IN_RANGE, VALID_TIME)
    )
    equations = [number(ratio) for ratio in ladder.equations_per_param]
    from_to = f"{_n_of(ladder, 0)} to {_n_of(ladder, -1)}"

    question, gain = "Do more points lower the acceleration error?", test.ratio(0, -1)
    sentence = (
        f"raising N from {from_to} (N·D/P from {equations[0]} to {equations[-1]}) "
        f"{_changes(gain)}; {_rise_clause(ladder, test)}."
    )
    yield say("raise_n", question, gain, sentence, FIGURE, test)

    fine = len(ladder.cells) >= ladder_curves.RUNGS
    if fine and (rungs := _on_both_sides(ladder.n_over_p, test)):
        last, best = rungs
        question = "Does it need at least as many points as parameters, N ≥ P?"
        cost = test.ratio(last, best)
        sentence = (
            f"the largest N below P ({_n_of(ladder, last)}, N·D/P = {equations[last]}) has "
            f"{estimate(cost)} times the {TEST.words} of the best N from P on "
            f"({_n_of(ladder, best)}); N ≥ P counts as needed above a factor of {NEEDED:g}. "
            f"{_flattens(ladder, test)}"
        )
        turns = {"verdict": cost.verdict(NEEDED), "turn": Turn.at(NEEDED)}
        yield say("n_at_least_p", question, cost, sentence, FIGURE, test, **turns)

    enough = np.flatnonzero(ladder.n_over_p >= ladder_curves.FULL)
    if fine and len(enough) > 1:
        question = (
            "Do many more points than parameters overdetermine the network, so that its test error "
            "rises?"
        )
        harm = test.ratio(-1, enough[0])
        sentence = (
            f"from {from_to} the {TRAIN.words} goes from {_ends(train)}, and the "
            f"{TEST_IN_RANGE.words} from {_ends(in_range)}; the {TEST.words} at the largest N is "
            f"{estimate(harm)} times that at the first N from P on ({_n_of(ladder, enough[0])}); "
            f"above {EQUIVALENT:g} counts as a rise."
        )
        turns = {"verdict": harm.verdict(EQUIVALENT), "turn": Turn.at(EQUIVALENT)}
        about = (harm, sentence, "train_test_by_n", train, in_range)
        yield say("overdetermined", question, *about, **turns)

    question, longer = "Do more points keep the trajectory right for longer?", times.ratio(-1, 0)
    sentence = (
        f"raising N from {from_to} takes the valid time of a rollout from "
        f"{_ends(times, 's')}, a factor of {estimate(longer)}."
    )
    about = (longer, sentence, "valid_time_by_n", times)
    yield say("valid_time_by_n", question, *about, errors=False)


def _along_p(rows: pd.DataFrame, ladder: Ladder, say: Callable[..., Answer]) -> Iterator[Answer]:
    test = curve(rows, ladder.cells, TEST)
    if rungs := _on_both_sides(ladder.equations_per_param, test):
        largest, best = rungs
        question, harm = "Do more parameters than equations, P > N·D, hurt?", test.ratio(*rungs)
        sentence = (
            f"the largest network (P = {count(ladder.n_params[largest])}, "
            f"N·D/P = {number(ladder.equations_per_param[largest])}) has {estimate(harm)} times "
            f"the {TEST.words} of the best one with P ≤ N·D (P = {count(ladder.n_params[best])}); "
            f"along P {_rise_clause(ladder, test)}."
        )
        yield say("overparameterised", question, harm, sentence, "test_error_by_p", test)


def _flattens(ladder: Ladder, test: Medians) -> str:
    """Where the error stops falling."""
    at = flattens_at(test, ladder.n_points)
    ratio = at.map(lambda n: n / ladder.n_params[0])
    equations = ladder.equations_per_param[list(ladder.n_points).index(at.value)]
    sentence = (
        f"The smallest N within a factor of {NEEDED:g} of the best is {count(at.value)} "
        f"[{count(at.low)}, {count(at.high)}], that is N/P = {estimate(ratio)} and N·D/P = "
        f"{number(equations)}."
    )
    if at.value == ladder.n_points[-1]:
        sentence += " That is the largest N tried: the curve may fall on."
    return sentence


def _on_both_sides(ratio: np.ndarray, test: Medians) -> tuple[int, int] | None:
    """The last rung whose ratio is below 1, and the best of the others; None without either."""
    under = ratio < ladder_curves.FULL
    if under.all() or not under.any():
        return None
    above = np.flatnonzero(~under)
    return int(np.flatnonzero(under)[-1]), int(above[np.argmin(test.middle[above])])


def _n_of(ladder: Ladder, i: int) -> str:
    """N of a rung in units of P and in points."""
    return f"{multiple(ladder.n_over_p[i])} = {count(ladder.n_points[i])}"


def _ends(measured: Medians, unit: str = "") -> str:
    """Medians at the first and the last rung."""
    return f"{estimate(measured.estimate(0), unit)} to {estimate(measured.estimate(-1), unit)}"


def _changes(gain: Estimate) -> str:
    if (gain.enough and gain.high < 1) or (not gain.enough and gain.value < 1):
        ends = (1 / x if x else np.inf for x in (gain.value, gain.high, gain.low))
        raised = estimate(Estimate(*ends, n=gain.n))
        return f"raises the {TEST.words} by a factor of {raised}"
    if gain.verdict() == "yes" or not gain.enough:
        return f"lowers the {TEST.words} by a factor of {estimate(gain)}"
    return f"changes the {TEST.words} by no certain amount (lower by a factor of {estimate(gain)})"


def _rise_clause(ladder: Ladder, test: Medians) -> str:
    """The largest rise of the curve that is sure, else the largest, in words."""
    all_rises = rises(test)
    sure = [rise for rise in all_rises if rise.sure]
    if not all_rises:
        return "no point of the curve rises"
    rise = max(sure or all_rises, key=lambda rise: rise.factor.value)
    at, above = (f"{ladder.axis} = {count(ladder.steps[i])}" for i in (rise.at, rise.above))
    if sure:
        return f"the curve rises at {at}, by a factor of {estimate(rise.factor)} above {above}"
    return (
        f"no rise of the curve is sure among all that were looked at (the largest, at {at}, is a "
        f"factor of {estimate(rise.factor)} above {above})"
    )


def plots(tables: Tables) -> Iterator[Plot]:
    rows = tables.rows
    for letter in ("N", "P"):
        end = f"by_{letter.lower()}"
        ladders = tables.design.ladders(letter)
        if controls := [ladder for ladder in ladders if ladder.control]:
            title = f"Positive control: {TEST.words} of random features along {letter}"
            yield _plot(rows, controls, TEST, f"control_{end}", title)
        if ladders := [ladder for ladder in ladders if not ladder.control]:
            yield _plot(rows, ladders, TEST, f"test_error_{end}")
            yield _plot(rows, ladders, ROLLOUT, f"rollout_error_{end}")
            yield _train_test(rows, ladders, f"train_test_{end}")
            yield _plot(rows, ladders, VALID_TIME, f"valid_time_{end}")


def _plot(
    rows: pd.DataFrame, ladders: list[Ladder], measure: Measure, id: str, title: str = ""
) -> Plot:
    tables = [ladder_curves.table(rows, ladder, measure) for ladder in ladders]
    if measure is TEST:
        pairs = zip(ladders, tables, strict=True)
        tables = [ladder_curves.mark(rows, ladder, table) for ladder, table in pairs]
    figure, panel, data = ladder_curves.draw_ladders(ladders, tables)
    if measure.lower_is_better:
        decade_axis(panel)
    else:
        panel.set_ylim(bottom=0)
    panel.set_ylabel(measure.axis)
    marks = ""
    if measure is TEST:
        n = int(data["peak"].to_numpy().sum())
        rings = f"Rings: {plural(n, 'peak')} by the test" if n else "No line has a peak by the test"
        marks = (
            f" {rings}. Triangles at the foot: the measured interpolation threshold, where it lies "
            "on the ladder."
        )
    words, letter = capital(measure.words), ladders[0].axis
    features = ", which is points over features, N/p" if ladders[0].control else ""
    caption = (
        f"{words} against equations per parameter{features}; one line a "
        f"{'model' if letter == 'N' else 'number of points'}. {ladder_curves.medians_are(data)}. "
        f"Vertical lines: N·D = P and N = P.{marks}{ladder_curves.undrawn(data)}"
    )
    alt = f"{words} against N·D/P, {plural(len(ladders), 'line')}: {_in_words(data)}"
    return Plot(id, title or f"{words} along {letter}", caption, alt, data, figure)


def _train_test(rows: pd.DataFrame, ladders: list[Ladder], id: str) -> Plot:
    test, train = (
        [ladder_curves.table(rows, ladder, measure) for ladder in ladders]
        for measure in (TEST_IN_RANGE, TRAIN)
    )
    figure, panel, data = ladder_curves.draw_ladders(ladders, test, hollow=train)
    decade_axis(panel)
    panel.set_ylabel("mean error (normalised square)")
    title = f"Train error beside test error along {ladders[0].axis}"
    caption = (
        "Mean squared acceleration error, normalised, on the training points (open, dotted) and "
        "on test points within their range (filled). "
        f"{ladder_curves.medians_are(data)}.{ladder_curves.undrawn(data)}"
    )
    alt = f"Train and test error against N·D/P: {_in_words(pd.concat(test))}"
    return Plot(id, title, caption, alt, data, figure)


def _in_words(data: pd.DataFrame, most: int = 4) -> str:
    """The ends of the first lines of a figure."""
    lines = []
    for name, line in list(data.groupby("line", sort=False))[:most]:
        ends = line.sort_values(by="equations_per_param")[["median", "equations_per_param"]]
        first, last = (" at ".join(map(number, end)) for end in ends.to_numpy()[[0, -1]])
        lines.append(f"{name}: from {first} to {last}")
    return "; ".join(lines) + "."


QUESTION = Question(answers, plots, place=20)
