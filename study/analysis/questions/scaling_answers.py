"""Answers on scaling: is the error a power law of N or P, on either side of N*D = P?

Knows: ladders and their sides. Does not know: how a law is fitted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, curve, diverged_remark, make
from study.analysis.design import Design, Ladder, count
from study.analysis.questions.ladder_answers import label_of
from study.analysis.statistics.power_law import Law, fit
from study.analysis.statistics.ratios import Medians
from study.analysis.wording import capital, estimate, number, plural
from study.tables.measures import TEST


@dataclass(frozen=True)
class Side:
    """One side of N*D = P on a ladder, with the law of its points."""

    words: str
    chosen: np.ndarray
    law: Law


def sides(test: Medians, ladder: Ladder) -> list[Side]:
    """The sides with points enough for a law: as many equations as parameters or more, then fewer.

    `chosen` holds indices of the ladder.
    """
    under = ladder.equations_per_param >= 0.995  # N*D = P up to rounding is not below
    found = []
    for words, inside in (
        ("with as many equations as parameters or more", under),
        ("with fewer equations than parameters", ~under),
    ):
        chosen = np.flatnonzero(inside)
        law = fit(test, ladder.steps, chosen)
        if law is not None:
            found.append(Side(words, chosen, law))
    return found


def along(rows: pd.DataFrame, design: Design, axis: str) -> Iterator[Answer]:
    """One answer for each network's ladder that has points enough on a side."""
    for k, ladder in enumerate(design.ladders(axis)):
        if ladder.control:
            continue
        test = curve(rows, ladder.cells, TEST)
        found = sides(test, ladder)
        if found:
            yield _power_law(rows, ladder, test, found, k)


def _power_law(
    rows: pd.DataFrame, ladder: Ladder, test: Medians, found: list[Side], k: int
) -> Answer:
    supported = [side for side in found if side.law.supported]
    deciding = (supported or found)[0].law
    clauses = "; ".join(_clause(ladder, side) for side in found)
    sentence = f"At {label_of(ladder)}, {clauses}.{diverged_remark(test)}"
    return make(
        f"scaling_{axis_of(ladder)}.{k}",
        f"Does the test error fall with {ladder.axis} as a power law?",
        "yes" if len(supported) == len(found) else "undecided",
        sentence,
        deciding.alpha,
        rows,
        tuple(ladder.cells[i] for side in found for i in side.chosen),
        f"scaling_{axis_of(ladder)}",
    )


def axis_of(ladder: Ladder) -> str:
    """'n' or 'p'."""
    return ladder.axis.lower()


def _clause(ladder: Ladder, side: Side) -> str:
    law, axis = side.law, ladder.axis
    where = (
        f"{side.words} ({plural(len(law.x), 'point')}, {axis} = {count(law.x[0])} to "
        f"{count(law.x[-1])})"
    )
    fit_is = f"R² = {number(law.r2)}, residual {number(law.residual)} in log error"
    if not law.supported:
        return f"{where} no power law is supported ({', '.join(law.reasons)}; {fit_is})"
    floor = (
        f"to a floor of {estimate(law.floor)}"
        if law.floor.value > 0
        else f"without a floor (at most {number(law.floor.high)})"
        if law.floor.high > 0
        else "without a floor"
    )
    return (
        f"{where} the {TEST.words} falls as a power of {axis}, by the exponent "
        f"{estimate(law.alpha)}, {floor} ({fit_is}, standard error of the medians "
        f"{number(law.scatter)})"
    )


def title(axis: str) -> str:
    """Of the figure."""
    return f"{capital(TEST.words)} along {axis} and its power laws"
