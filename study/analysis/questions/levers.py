"""Which lever lowers the error most: a better optimiser, more points, another size, another model.

Knows: cells that differ from one another in one lever alone. Does not know: curves, ladders, pages.

All levers are pulled from one cell, the *standing point*: the cell of the plain network trained by
Adam from which the most levers can be pulled, of these the one of middle N and P. A lever's effect
is the factor by which the median error falls, all else equal; where it has several settings the
best by median test error is taken and the interval widened for the choice. A lever is what bounds
the error if the squared error falls by more than `BOUNDS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, curve, make
from study.analysis.design import POINTS, WIDTH, Design
from study.analysis.names import name_of
from study.analysis.naming import count, heads
from study.analysis.statistics.ratios import LEVEL, Estimate
from study.analysis.wording import estimate, number, plural
from study.tables.measures import ROLLOUT, TEST, TEST_IN_RANGE, TRAIN

BOUNDS = 2.0
FIGURE = "levers"
PLAIN, SIMPLE = "lnn", "adam"  # the model and optimiser one stands on


@dataclass(frozen=True)
class Lever:
    """One lever pulled from the standing point.

    - `name`: optimiser, points, size or model.
    - `setting`: what it is set to ('structured_lnn'); `before`: what it was.
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


def standing_point(design: Design) -> str | None:
    """The cell to pull levers from; None unless the optimiser and another lever can be."""
    cells = design.cells
    if "optimizer" not in design.varying:
        return None
    plain = cells[(cells["model"] == PLAIN) & (cells["optimizer"] == SIMPLE)]
    if plain.empty:
        return None
    levers = {str(cell): set(neighbours(design, str(cell))) for cell in plain.index}
    most = max(len(found) for found in levers.values())
    best = [c for c, found in levers.items() if len(found) == most and "optimiser" in found]
    if most < 2 or not best:
        return None
    sizes = np.log(plain.loc[best, [POINTS, "n_params"]].astype(float).to_numpy())
    return best[int(np.abs(sizes - np.median(sizes, axis=0)).sum(axis=1).argmin())]


def neighbours(design: Design, cell: str) -> dict[str, list[str]]:
    """Lever -> the cells that differ from this one in that lever alone."""
    factors = {
        "optimiser": _following(design, "optimizer"),
        "points": [POINTS],
        "size": [WIDTH, "model.depth"],
        "model": _following(design, "model"),
    }
    here = design.cells.loc[cell]
    found = {}
    for lever, own in factors.items():
        others = [f for f in design.factors if f not in own]
        same = (design.cells[others] == here[others]).all(axis=1)
        cells = design.cells[same & (design.cells.index != cell)]
        if lever == "points":
            cells = cells[cells[POINTS].astype(float) > float(here[POINTS])]
        if len(cells):
            found[lever] = [str(c) for c in cells.index]
    return found


def pulled(rows: pd.DataFrame, design: Design) -> list[Lever]:
    """Every lever at the standing point, the one that lowers the test error most first."""
    start = standing_point(design)
    if start is None:
        return []
    found = [
        _lever(rows, design, start, lever, cells)
        for lever, cells in neighbours(design, start).items()
    ]
    return sorted(found, key=lambda lever: -lever.test.value)


def _lever(rows: pd.DataFrame, design: Design, start: str, name: str, cells: list[str]) -> Lever:
    everything = (start, *cells)
    test = curve(rows, everything, TEST)
    best = 1 + int(np.argmin(test.middle[1:]))
    level = 1 - (1 - LEVEL) / len(cells)
    rollout, train = (curve(rows, everything, m) for m in (ROLLOUT, TRAIN))
    before, setting = (_setting(design, c, name) for c in (start, everything[best]))
    return Lever(
        name=name,
        setting=setting,
        before=before,
        cells=(start, everything[best]),
        n_settings=len(cells),
        test=test.ratio(0, best, level),
        rollout=rollout.ratio(0, best, level),
        train=train.ratio(0, best, level),
    )


def answers(rows: pd.DataFrame, design: Design) -> Iterator[Answer]:
    """The lever to pull, then each lever by itself."""
    levers = pulled(rows, design)
    if not levers:
        return
    yield _largest(rows, design, levers)
    for lever in levers:
        yield _bounds(rows, design, lever)


def leads(rows: pd.DataFrame, levers: list[Lever]) -> tuple[str, Estimate]:
    """Whether the first lever surely lowers the test error more than every other, and surely the
    rollout error, in which none surely beats it; with the factor by which it is ahead."""
    first = levers[0]
    if len(levers) < 2:
        return first.test.verdict(), first.test
    cells = tuple(dict.fromkeys([lever.cells[1] for lever in levers]))
    level = 1 - (1 - LEVEL) / sum(lever.n_settings for lever in levers)
    test, rollout = (curve(rows, cells, m) for m in (TEST, ROLLOUT))
    ahead = [test.ratio(k, 0, level) for k in range(1, len(cells))]
    also = [rollout.ratio(k, 0, level) for k in range(1, len(cells))]
    least = min(ahead, key=lambda factor: (factor.low, factor.value))
    if first.test.enough and all(lever.test.high < 1 for lever in levers):
        return "no", least
    surely = all(f.verdict() == "yes" for f in (*ahead, first.test, first.rollout))
    beaten = any(f.verdict() == "no" for f in also)
    return ("yes" if surely and not beaten else "undecided"), least


def _largest(rows: pd.DataFrame, design: Design, levers: list[Lever]) -> Answer:
    first, *others = levers
    verdict, ahead = leads(rows, levers)
    by_rollout = max(levers, key=lambda lever: lever.rollout.value)
    pull = {
        "yes": f"Pull this one: {_change(first)}",
        "no": f"No lever helps; least harm does {_change(first)}",
    }.get(verdict, f"Largest, though not surely so: {_change(first)}")
    rest = "; ".join(f"{_change(o)} {estimate(o.test)} and {estimate(o.rollout)}" for o in others)
    sentence = (
        f"{pull}. From the standing point ({_standing(design, first.cells[0])}) it lowers the "
        f"{TEST.words} by a factor of {estimate(first.test)} and the rollout error by "
        f"{estimate(first.rollout)}; it is {estimate(ahead)} times ahead of the next. The others, "
        f"test and rollout error: {rest}."
        + ("" if by_rollout is first else f" By rollout error {_change(by_rollout)} comes first.")
    )
    return make(
        "lever",
        "Does one lever lower the error more than all others?",
        verdict,
        sentence,
        first.test,
        rows,
        tuple(cell for lever in levers for cell in lever.cells),
        FIGURE,
    )


_QUESTIONS = {
    "optimiser": "Is the optimiser what bounds the acceleration error?",
    "points": "Are too few points what bounds the acceleration error?",
    "size": "Is the number of parameters what bounds the acceleration error?",
    "model": "Is the kind of model what bounds the acceleration error?",
}


def _bounds(rows: pd.DataFrame, design: Design, lever: Lever) -> Answer:
    of = f" (the best of {plural(lever.n_settings, 'setting')})" if lever.n_settings > 1 else ""
    sentence = (
        f"With {_change(lever)}{of} the {TEST.words} falls by a factor of {estimate(lever.test)}, "
        f"the rollout error by {estimate(lever.rollout)} and the mean train error by "
        f"{estimate(lever.train)}. It counts as what bounds the error above a factor of "
        f"{BOUNDS:g}.{_gap(rows, lever) if lever.name == 'points' else ''}"
    )
    return make(
        f"bounds.{lever.name}",
        _QUESTIONS[lever.name],
        lever.test.verdict(BOUNDS),
        sentence,
        lever.test,
        rows,
        lever.cells,
        FIGURE,
    )


def _gap(rows: pd.DataFrame, lever: Lever) -> str:
    """Mean test over mean train error at the standing point."""
    both = [curve(rows, lever.cells[:1], m).middle[0] for m in (TEST_IN_RANGE, TRAIN)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.divide(*both))
    return (
        " At the standing point the mean test error in the training range is "
        f"{number(ratio)} times the mean train error."
    )


def _change(lever: Lever) -> str:
    return f"{lever.setting} for {lever.before}"


def _setting(design: Design, cell: str, lever: str) -> str:
    row = design.cells.loc[cell]
    if lever == "points":
        return f"N = {count(row[POINTS])}"
    if lever == "size":
        return f"P = {count(row['n_params'])}"
    return name_of(row["optimizer" if lever == "optimiser" else "model"])


def _standing(design: Design, cell: str) -> str:
    row = design.cells.loc[cell]
    return (
        f"{name_of(row['model'])} by {name_of(row['optimizer'])}, N = {count(row[POINTS])}, "
        f"P = {count(row['n_params'])}"
    )


def _following(design: Design, head: str) -> tuple[str, ...]:
    """A name and the settings that it fixes; the name alone where another goes with it."""
    bundle = next((b for b in design.bundles() if head in b), (head,))
    return bundle if heads(bundle) == [head] else (head,)
