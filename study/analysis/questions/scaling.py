"""Does the test error fall as a power law of N or of P, on either side of N*D = P?

A law with a floor (`statistics/power_law.py`) is fitted apart to the rungs with as many equations
as parameters or more, and to those with fewer.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, Question, Tables, curve
from study.analysis.design import Ladder
from study.analysis.questions import ladder_curves
from study.analysis.statistics.medians import Medians
from study.analysis.statistics.power_law import Law, fit
from study.analysis.style import Plot, canvas, decade_axis, errorbars, finish, look
from study.analysis.words import capital, count, estimate, number, plural
from study.tables.measures import TEST

DECADE = 10.0  # a power law over less is none


@dataclass(frozen=True)
class Side:
    """One side of N*D = P on a ladder, with the law of its points.

    - `words`, `symbols`: which side; `chosen`: its rungs, as indices of the ladder.
    """

    words: str
    symbols: str
    chosen: np.ndarray
    law: Law


def sides(test: Medians, ladder: Ladder) -> list[Side]:
    """The sides of a ladder that have points enough for a law, over a decade or more."""
    under = ladder.equations_per_param >= ladder_curves.FULL
    fitted = []
    for words, symbols, inside in (
        ("with as many equations as parameters or more", "N·D ≥ P", under),
        ("with fewer equations than parameters", "N·D < P", ~under),
    ):
        chosen = np.flatnonzero(inside)
        if not len(chosen) or ladder.steps[chosen[-1]] < DECADE * ladder.steps[chosen[0]]:
            continue
        if (law := fit(test, ladder.steps, chosen)) is not None:
            fitted.append(Side(words, symbols, chosen, law))
    return fitted


def answers(tables: Tables) -> Iterator[Answer]:
    for axis in ("N", "P"):
        for k, ladder in ladder_curves.networks(tables.design, axis):
            test = curve(tables.rows, ladder.cells, TEST)
            if not (fitted := sides(test, ladder)):
                continue
            supported = [side for side in fitted if side.law.supported]
            id = f"scaling_{axis.lower()}"
            question = f"Does the test error fall with {axis} as a power law?"
            alpha = (supported or fitted)[0].law.alpha
            sentence = "; ".join(_clause(axis, side) for side in fitted) + "."
            verdict = "yes" if len(supported) == len(fitted) else "undecided"
            if any(side.law.refuted for side in fitted):
                verdict = "no"
            remedy = " More replicates, or rungs over a wider range, would decide it."
            cells = tuple(ladder.cells[i] for side in fitted for i in side.chosen)
            about = (id, question, alpha, sentence, id, test)
            kept = {"verdict": verdict, "cells": cells, "remedy": remedy}
            yield ladder_curves.answer(tables.rows, ladder, k, *about, **kept)


def _clause(axis: str, side: Side) -> str:
    law = side.law
    points = plural(len(law.x), "point")
    start = f"{side.words} ({points}, {axis} = {count(law.x[0])} to {count(law.x[-1])})"
    fit_is = f"R² = {number(law.r2)}, residual {number(law.residual)} in log error"
    if not law.supported:
        return f"{start} no power law is supported ({', '.join(law.reasons)}; {fit_is})"
    floor = "without a floor"
    if law.floor.value > 0:
        floor = f"to a floor of {estimate(law.floor)}"
    elif law.floor.high > 0:
        floor += f" (at most {number(law.floor.high)})"
    return (
        f"{start} the {TEST.words} falls as a power of {axis}, by the exponent "
        f"{estimate(law.alpha)}, {floor} ({fit_is}, standard error of the medians "
        f"{number(law.scatter)})"
    )


def plots(tables: Tables) -> Iterator[Plot]:
    for axis in ("N", "P"):
        ladders = [ladder for _, ladder in ladder_curves.networks(tables.design, axis)]
        pairs = [(x, sides(curve(tables.rows, x.cells, TEST), x)) for x in ladders]
        if fitted := [(ladder, laws) for ladder, laws in pairs if laws]:
            yield _plot(tables.rows, fitted, axis)


def _plot(rows: pd.DataFrame, fitted: list[tuple[Ladder, list[Side]]], axis: str) -> Plot:
    figure, (panel,) = canvas(height=3.8)
    drawn, labels = [], []
    for k, (ladder, ladder_sides) in enumerate(fitted):
        style, exponents = look(k, len(fitted)), []
        table = ladder_curves.table(rows, ladder, TEST).assign(law=np.nan, supported=False)
        for side in ladder_sides:
            law = side.law
            table.loc[side.chosen, "law"] = law(ladder.steps[side.chosen])
            table.loc[side.chosen, "supported"] = law.supported
            x = np.geomspace(law.x[0], law.x[-1], 100)
            panel.plot(x, law(x), color=style["color"], linestyle="-" if law.supported else ":")
            exponent = f"exponent {estimate(law.alpha)}" if law.supported else "no law"
            exponents.append(f"{side.symbols}: {exponent}")
        labels.append(f"{ladder.label}\n{'; '.join(exponents)}")
        errorbars(panel, ladder.steps, table, labels[-1], linestyle="none", **style)
        drawn.append(table)
    data = pd.concat(drawn, ignore_index=True)
    decade_axis(panel, "x")
    decade_axis(panel)
    xlabel = f"{axis}, {'training points' if axis == 'N' else 'parameters'}"
    panel.set(xlabel=xlabel, ylabel=TEST.axis)
    finish(figure, panel, columns=1)
    laws = [side.law for _, ladder_sides in fitted for side in ladder_sides]
    n_supported = sum(law.supported for law in laws)
    title = f"{capital(TEST.words)} along {axis} and its power laws"
    caption = (
        f"{capital(TEST.words)}. {ladder_curves.medians_are(data)}. Curves: power law with a "
        "floor, fitted apart where N·D ≥ P and where N·D < P; solid where the data support it "
        f"({n_supported} of {plural(len(laws), 'fit')}), dotted where they do not. Exponents "
        f"with 95 % bootstrap intervals.{ladder_curves.undrawn(data)}"
    )
    laws_are = "; ".join(labels).replace("\n", ", ")
    alt = f"Test error against {axis} on logarithmic axes with fitted power laws: {laws_are}"
    return Plot(f"scaling_{axis.lower()}", title, caption, alt, data, figure)


QUESTION = Question(answers, plots, place=40)
