"""Which lever lowers the error most: a better optimiser, more points, another size, another model?

A lever's effect is the factor by which the median error falls, all else equal, from one cell, the
standing point. It is what bounds the error if the squared error falls by more than `BOUNDS`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from study.analysis.answer import (
    Answer,
    Question,
    Tables,
    curve,
    make,
    more_replicates,
    seconds_of_one,
)
from study.analysis.design import POINTS, WIDTH, Design
from study.analysis.statistics.limits import BOUNDS, Turn
from study.analysis.statistics.medians import LEVEL, Estimate
from study.analysis.style import REFERENCE, Plot, bars_are, canvas, decade_axis, dot_plot, finish
from study.analysis.words import capital, count, estimate, heads, name_of, number, plural
from study.tables.measures import ROLLOUT, TEST, TEST_IN_RANGE, TRAIN

FIGURE = "levers"
PLAIN, SIMPLE = "lnn", "adam"  # the model and optimiser of the standing point


@dataclass(frozen=True)
class Lever:
    """One lever pulled from the standing point.

    - `name`: optimiser, points, size or model.
    - `setting`: what it is set to ('structured LNN'); `before`: what it was.
    - `cells`: of the standing point and of the best setting; `n_settings`: how many were tried.
    - `test`, `rollout`, `train`: factor by which each error falls.
    """

    name: str
    setting: str
    before: str
    cells: tuple[str, str]
    n_settings: int
    test: Estimate
    rollout: Estimate
    train: Estimate

    @property
    def change(self) -> str:
        return f"{self.setting} for {self.before}"


def standing_points(design: Design) -> list[str]:
    """Of each system the cell of the plain network by Adam from which most levers can be pulled, of
    these that of middle N and P; none unless the optimiser and another lever can be pulled."""
    cells = design.cells
    if "optimizer" not in design.varying:
        return []
    plain = cells[(cells["model"] == PLAIN) & (cells["optimizer"] == SIMPLE)]
    points = []
    for _, own in plain.groupby(["system", "system.constants"], sort=False):
        levers = {str(cell): neighbours(design, str(cell)) for cell in own.index}
        most = max(map(len, levers.values()))
        best = [cell for cell, around in levers.items() if len(around) == most]
        best = [cell for cell in best if "optimiser" in levers[cell]]
        if most > 1 and best:
            sizes = np.log(own.loc[best, [POINTS, "n_params"]].astype(float).to_numpy())
            middle = np.abs(sizes - np.median(sizes, axis=0)).sum(axis=1).argmin()
            points.append(best[int(middle)])
    return points


def neighbours(design: Design, cell: str) -> dict[str, list[str]]:
    """Lever -> the cells that differ from this one in that lever alone."""
    factors = {
        "optimiser": _with_settings(design, "optimizer"),
        "points": (POINTS,),
        "size": (WIDTH, "model.depth"),
        "model": _with_settings(design, "model"),
    }
    here, others = design.cells.loc[cell], design.cells.drop(index=cell)
    around = {}
    for lever, own in factors.items():
        rest = [factor for factor in design.factors if factor not in own]
        cells = others[(others[rest] == here[rest]).all(axis=1)]
        if lever == "points":
            cells = cells[cells[POINTS].astype(float) > float(here[POINTS])]
        around[lever] = [str(c) for c in cells.index]
    return {lever: cells for lever, cells in around.items() if cells}


def _with_settings(design: Design, head: str) -> tuple[str, ...]:
    """A name and the settings that it fixes; the name alone if another goes with it."""
    bundle = next((b for b in design.bundles if head in b), (head,))
    return bundle if heads(bundle) == [head] else (head,)


def pulled(rows: pd.DataFrame, design: Design, start: str) -> list[Lever]:
    """Every lever at a standing point, the one that lowers the test error most first.

    Of several settings the best is taken, and the interval widened for the choice.
    """
    levers = []
    for name, settings in neighbours(design, start).items():
        cells = (start, *settings)
        test, rollout, train = (curve(rows, cells, measure) for measure in (TEST, ROLLOUT, TRAIN))
        best = 1 + int(np.argmin(test.middle[1:]))
        level = 1 - (1 - LEVEL) / len(settings)
        before, setting = (_setting(design.cells.loc[c], name) for c in (start, cells[best]))
        factors = (errors.ratio(0, best, level) for errors in (test, rollout, train))
        levers.append(Lever(name, setting, before, (start, cells[best]), len(settings), *factors))
    return sorted(levers, key=lambda lever: -lever.test.value)


def _setting(cell: Any, lever: str) -> str:
    if lever == "points":
        return f"N = {count(cell[POINTS])}"
    if lever == "size":
        return f"P = {count(cell['n_params'])}"
    return name_of(cell["optimizer" if lever == "optimiser" else "model"])


def _answers(tables: Tables) -> Iterator[Answer]:
    rows, design = tables.rows, tables.design
    for k, start in enumerate(standing_points(design)):
        levers = pulled(rows, design, start)
        yield _largest(rows, design, levers, k)
        yield from (_bounds(rows, design, lever, k) for lever in levers)


def _where(design: Design, cell: str) -> str:
    """'On kepler, ' if the study has several systems."""
    system = str(design.cells.loc[cell, "system"]).replace("_", " ")
    return f"On {system}: " if "system" in design.varying else ""


def _leads(rows: pd.DataFrame, levers: Sequence[Lever]) -> tuple[str, Estimate]:
    """Whether the first lever leads, and the factor by which it is ahead of the next.

    It leads if it surely lowers the test error, more than every other, and surely the rollout
    error, in which none surely beats it.
    """
    first = levers[0]
    cells = tuple(dict.fromkeys(lever.cells[1] for lever in levers))
    level = 1 - (1 - LEVEL) / sum(lever.n_settings for lever in levers)
    test, rollout = (curve(rows, cells, measure) for measure in (TEST, ROLLOUT))
    ahead = [test.ratio(k, 0, level) for k in range(1, len(cells))]
    also = [rollout.ratio(k, 0, level) for k in range(1, len(cells))]
    least = min(ahead, key=lambda factor: (factor.low, factor.value))
    if first.test.enough and all(lever.test.high < 1 for lever in levers):
        return "no", least
    surely = all(f.verdict() == "yes" for f in (*ahead, first.test, first.rollout))
    beaten = any(f.verdict() == "no" for f in also)
    return ("yes" if surely and not beaten else "undecided"), least


def _largest(rows: pd.DataFrame, design: Design, levers: list[Lever], k: int) -> Answer:
    first, *others = levers
    verdict, ahead = _leads(rows, levers)
    by_rollout = max(levers, key=lambda lever: lever.rollout.value)
    pull = {
        "yes": f"Pull this one: {first.change}",
        "no": f"No lever helps; least harm does {first.change}",
    }.get(verdict, f"Largest, though not surely so: {first.change}")
    rest = "; ".join(f"{o.change} {estimate(o.test)} and {estimate(o.rollout)}" for o in others)
    start = design.cells.loc[first.cells[0]]
    sentence = (
        f"{_where(design, first.cells[0])}{pull}. "
        f"From the standing point ({name_of(start['model'])} by "
        f"{name_of(start['optimizer'])}, N = {count(start[POINTS])}, P = "
        f"{count(start['n_params'])}) it lowers the {TEST.words} by a factor of "
        f"{estimate(first.test)} and the rollout error by {estimate(first.rollout)}; it is "
        f"{estimate(ahead)} times ahead of the next. The others, test and rollout error: {rest}."
        + ("" if by_rollout is first else f" By rollout error {by_rollout.change} comes first.")
    )
    question = "Does one lever lower the error more than all others?"
    cells = tuple(cell for lever in levers for cell in lever.cells)
    more = more_replicates(ahead, Turn.at(1), seconds_of_one(rows.loc[rows["cell"].isin(cells)]))
    about = (f"lever.{k}", question, verdict, sentence, first.test, rows, cells, FIGURE)
    return make(*about, remedy=more)


_CAUSES = {
    "optimiser": "Is the optimiser",
    "points": "Are too few points",
    "size": "Is the number of parameters",
    "model": "Is the kind of model",
}


def _bounds(rows: pd.DataFrame, design: Design, lever: Lever, k: int) -> Answer:
    of = f" (the best of {plural(lever.n_settings, 'setting')})" if lever.n_settings > 1 else ""
    sentence = (
        f"{_where(design, lever.cells[0])}With {lever.change}{of} the {TEST.words} falls by a "
        f"factor of {estimate(lever.test)}, the rollout error by {estimate(lever.rollout)} "
        f"and the mean train error by {estimate(lever.train)}. It counts as what bounds the error "
        f"above a factor of {BOUNDS:g}."
    )
    if lever.name == "points":
        both = [curve(rows, lever.cells[:1], m).middle[0] for m in (TEST_IN_RANGE, TRAIN)]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = float(np.divide(*both))
        sentence += (
            " At the standing point the mean test error in the training range is "
            f"{number(ratio)} times the mean train error."
        )
    id, verdict = f"bounds.{lever.name}.{k}", lever.test.verdict(BOUNDS)
    question = f"{_CAUSES[lever.name]} what bounds the acceleration error?"
    about = (rows, lever.cells, FIGURE)
    return make(id, question, verdict, sentence, lever.test, *about, turn=Turn.at(BOUNDS))


def _plots(tables: Tables) -> Iterator[Plot]:
    rows, design = tables.rows, tables.design
    by_start = [pulled(rows, design, start) for start in standing_points(design)]
    if not by_start:
        return
    records, labels = [], []
    for lever in (lever for levers in by_start for lever in levers):
        system = str(design.cells.loc[lever.cells[0], "system"])
        about = {"system": system, "lever": lever.name}
        about |= {"setting": lever.setting, "before": lever.before}
        if len(by_start) > 1:
            labels.append(f"{system.replace('_', ' ')}: {lever.setting}")
        else:
            labels.append(f"{capital(lever.name)}:\n{lever.setting}\nfor {lever.before}")
        for measure, factor in ((TEST, lever.test), (ROLLOUT, lever.rollout)):
            of = {"settings_tried": lever.n_settings, "measure": measure.column}
            records.append({**about, **of, **asdict(factor), "cell": lever.cells[1]})
    names = {"value": "factor", "n": "replicates"}
    data = pd.DataFrame(records).drop(columns="draws").rename(columns=names)
    shown = data.assign(low=np.maximum(data["low"], data["factor"] / 10))  # the axis has no 0
    by_measure = {m.words: shown.loc[shown["measure"] == m.column] for m in (TEST, ROLLOUT)}
    lines = max(label.count("\n") for label in labels) + 1
    figure, (axis,) = canvas(height=0.7 + 0.24 * lines * len(labels))
    dot_plot(axis, labels, by_measure, value="factor")
    axis.axvline(1.0, color="black", linewidth=0.9, zorder=0)
    axis.axvline(BOUNDS, color=REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    axis.set_xlabel("factor by which the error falls")
    decade_axis(axis, "x")
    finish(figure, axis)
    first = by_start[0]
    factors = ", ".join(f"{lever.name} ({number(lever.test.value)})" for lever in first)
    caption = (
        "Each lever pulled by itself from one cell, all else equal; its best setting if "
        f"several were tried. Black: no effect; dashed: a factor of {BOUNDS:g}, from which on a "
        f"lever counts as what bounds the (squared) test error; {bars_are(data['replicates'])}."
    )
    alt = (
        f"Dot plot of the factors by which {factors} lower the median test error, and the "
        "rollout error."
    )
    yield Plot(FIGURE, "Which lever lowers the error most", caption, alt, data, figure)


QUESTION = Question(_answers, _plots, place=12, replaces=("compare.model", "compare.optimizer"))
