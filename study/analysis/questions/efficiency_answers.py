"""How many points each kind of model needs.

Knows: ladders of N that hold the same points for several models. Does not know: what the models
are, single ladders.

Two figures for one comparison: the factor by which another model lowers the error at the same N,
and how many fewer points it needs for the same error. The second is where the curve of its medians,
never rising, first falls below the plain network's error at its largest N, log against log.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, curve, diverged_remark, make
from study.analysis.design import Design, Ladder
from study.analysis.names import name_of
from study.analysis.naming import count
from study.analysis.statistics.ratios import Estimate, Medians, interval, mean_ratio
from study.analysis.wording import estimate, number
from study.tables.measures import ROLLOUT, TEST

PLAIN = "lnn"
LEAST = 4  # numbers of points, below which there is no curve
FIGURE = "data_efficiency"


@dataclass(frozen=True)
class Race:
    """The ladders of several models over the same numbers of points.

    - `points`: (K,) ascending; `cells[model]`: (K,) of them.
    - `others`: what sets this race apart from another of the study; '' for the only one.
    """

    points: np.ndarray
    cells: dict[str, tuple[str, ...]]
    n_params: dict[str, int]
    others: str

    @property
    def everything(self) -> tuple[str, ...]:
        return tuple(cell for cells in self.cells.values() for cell in cells)

    def columns(self, model: str) -> slice:
        """Where a model's cells are in `everything`."""
        first = list(self.cells).index(model) * len(self.points)
        return slice(first, first + len(self.points))


def races(design: Design) -> list[Race]:
    """Ladders of N grouped by all that does not go with the model."""
    if "model" not in design.varying:
        return []
    bundle = next(names for names in design.bundles() if "model" in names)
    apart = [f for f in design.varying if f not in bundle and f != "data.n_train"]
    groups: dict[tuple, list[Ladder]] = {}
    for ladder in design.ladders("N"):
        row = design.cells.loc[ladder.cells[0]]
        groups.setdefault(tuple(row[f] for f in apart), []).append(ladder)
    found = [_race(key, apart, ladders) for key, ladders in groups.items()]
    return [race for race in found if race is not None]


def _race(key: tuple, apart: list[str], ladders: list[Ladder]) -> Race | None:
    by_model = {ladder.model: ladder for ladder in ladders}
    if PLAIN not in by_model or len(by_model) < 2 or len(by_model) < len(ladders):
        return None
    common = sorted(set.intersection(*(set(ladder.n_points) for ladder in ladders)))
    if len(common) < LEAST:
        return None
    order = sorted(by_model, key=lambda model: (model != PLAIN, model))
    cells = {
        model: tuple(
            cell
            for cell, n in zip(by_model[model].cells, by_model[model].n_points, strict=True)
            if n in common
        )
        for model in order
    }
    return Race(
        points=np.array(common),
        cells=cells,
        n_params={model: int(by_model[model].n_params[0]) for model in order},
        others=", ".join(f"{f.split('.')[-1]} {v}" for f, v in zip(apart, key, strict=True)),
    )


def answers(rows: pd.DataFrame, design: Design) -> Iterator[Answer]:
    """One a model and race."""
    for k, race in enumerate(races(design)):
        test, rollout = (curve(rows, race.everything, m) for m in (TEST, ROLLOUT))
        for model in list(race.cells)[1:]:
            yield _answer(rows, race, model, test, rollout, k)


def _answer(
    rows: pd.DataFrame, race: Race, model: str, test: Medians, rollout: Medians, k: int
) -> Answer:
    overall = advantage(race, model, test)
    each = [at_same_n(race, model, test, i) for i in range(len(race.points))]
    shown = [0, len(each) // 2, len(each) - 1]
    factors = ", ".join(f"{estimate(each[i])} at N = {count(race.points[i])}" for i in shown)
    fewer = ratio_of_points(race, model, test)
    where = f" ({race.others})" if race.others else ""
    sentence = (
        f"Beside the plain LNN{where}, the {name_of(model)} (P = {count(race.n_params[model])} "
        f"against {count(race.n_params[PLAIN])}) has a {TEST.words} lower by a factor of "
        f"{estimate(overall)} over all N ({factors}), and a rollout error lower by "
        f"{estimate(advantage(race, model, rollout))}. {_fewer(race, model, fewer)}"
        f"{diverged_remark(test)}"
    )
    return make(
        f"efficiency.{model}.{k}",
        f"Does the {name_of(model)} need fewer points than the plain LNN?",
        overall.verdict(),
        sentence,
        overall,
        rows,
        (*race.cells[PLAIN], *race.cells[model]),
        FIGURE,
    )


def at_same_n(race: Race, model: str, curve: Medians, i: int) -> Estimate:
    """Plain over other at the i-th number of points."""
    return curve.ratio(race.columns(PLAIN).start + i, race.columns(model).start + i)


def advantage(race: Race, model: str, curve: Medians) -> Estimate:
    """Geometric mean over N of plain over other."""
    plain, other = race.columns(PLAIN).start, race.columns(model).start
    return mean_ratio([(curve, plain + i, other + i) for i in range(len(race.points))])


def ratio_of_points(race: Race, model: str, curve: Medians) -> Estimate:
    """Largest N over the N at which the other model reaches the plain one's error there.

    Above 1: fewer points. At least (largest over smallest N) where it is there from the smallest on
    (the upper limit is then infinite); 0 where it never is.
    """
    plain, other = race.columns(PLAIN), race.columns(model)
    value = _ratio_of_points(race.points, curve.middle[None, plain], curve.middle[None, other])
    draws = _ratio_of_points(race.points, curve.draws[:, plain], curve.draws[:, other])
    low, high = interval(draws)
    most = race.points[-1] / race.points[0]
    upper = np.inf if high >= most else float(high)
    n = int(curve.counts.min())
    return Estimate(float(value[0]), float(low), upper, n, curve.independent)


def _ratio_of_points(points: np.ndarray, plain: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(B,) from medians (B, K) of both."""
    goal = plain[:, -1]
    lowest = np.minimum.accumulate(other, axis=1)
    reached = lowest <= goal[:, None]
    out = np.zeros(len(goal))
    for b in np.flatnonzero(reached.any(axis=1)):
        k = int(reached[b].argmax())
        if k == 0:
            out[b] = points[-1] / points[0]
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            above, below, wanted = np.log([lowest[b, k - 1], lowest[b, k], goal[b]])
            share = (above - wanted) / (above - below)
        share = share if np.isfinite(share) else 1.0
        at = np.log(points[k - 1]) + share * np.log(points[k] / points[k - 1])
        out[b] = points[-1] / np.exp(at)
    return out


def _fewer(race: Race, model: str, fewer: Estimate) -> str:
    last = f"the plain LNN's error at N = {count(race.points[-1])}"
    if fewer.value == 0:
        return f"It does not reach {last} at any N tried."
    most = race.points[-1] / race.points[0]
    if fewer.value >= most * 0.999:
        return f"It is below {last} from the smallest N on: at least {number(most)} times fewer."
    return f"It reaches {last} with {estimate(fewer)} times fewer points."
