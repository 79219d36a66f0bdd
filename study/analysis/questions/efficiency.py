"""How many points does each kind of model need?

By which factor another model lowers the error at the same N, and how many fewer points it needs for
the same error.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from study.analysis.answer import (
    Answer,
    Question,
    Tables,
    curve,
    diverged_remark,
    make,
    medians_of,
)
from study.analysis.design import Design, Ladder
from study.analysis.statistics.limits import CHANGED
from study.analysis.statistics.medians import Estimate, Medians
from study.analysis.statistics.ratios import mean_ratio
from study.analysis.style import Plot, bars_are, canvas, decade_axis, finish, lines
from study.analysis.words import count, estimate, name_of, number
from study.tables.measures import ROLLOUT, TEST

PLAIN = "lnn"
LEAST = 4  # numbers of points, below which there is no curve
FIGURE = "data_efficiency"


@dataclass(frozen=True)
class Race:
    """The ladders of several models over the same numbers of points.

    - `points`: (K,) ascending; `cells[model]`: (K,) of them, the plain network first.
    - `others`: what sets this race apart from the others of the study, in brackets; '' if it is
      the only one.
    """

    points: np.ndarray
    cells: dict[str, tuple[str, ...]]
    n_params: dict[str, int]
    others: str

    @property
    def all_cells(self) -> tuple[str, ...]:
        return tuple(cell for cells in self.cells.values() for cell in cells)

    def columns(self, model: str) -> range:
        """Where a model's cells are in `all_cells`."""
        first = list(self.cells).index(model) * len(self.points)
        return range(first, first + len(self.points))


def races(design: Design) -> list[Race]:
    """Ladders of N grouped by all that does not go with the model."""
    if "model" not in design.varying:
        return []
    bundle = next(names for names in design.bundles if "model" in names)
    apart = [f for f in design.varying if f not in bundle and f != "data.n_train"]
    groups: dict[tuple, list[Ladder]] = {}
    for ladder in design.ladders("N"):
        row = design.cells.loc[ladder.cells[0]]
        groups.setdefault(tuple(row[f] for f in apart), []).append(ladder)
    all_races = []
    for key, ladders in groups.items():
        by_model = {ladder.model: ladder for ladder in ladders}
        common = sorted(set.intersection(*(set(ladder.n_points) for ladder in ladders)))
        if PLAIN not in by_model or len(by_model) < max(2, len(ladders)) or len(common) < LEAST:
            continue
        cells, n_params = {}, {}
        for model in sorted(by_model, key=lambda model: (model != PLAIN, model)):
            ladder = by_model[model]
            cells[model] = tuple(np.array(ladder.cells)[np.isin(ladder.n_points, common)].tolist())
            n_params[model] = int(ladder.n_params[0])
        others = ", ".join(f"{f.split('.')[-1]} {v}" for f, v in zip(apart, key, strict=True))
        all_races.append(Race(np.array(common), cells, n_params, f" ({others})" if others else ""))
    return all_races


def answers(tables: Tables) -> Iterator[Answer]:
    rows = tables.rows
    for k, race in enumerate(races(tables.design)):
        test, rollout = (curve(rows, race.all_cells, m) for m in (TEST, ROLLOUT))
        for model in list(race.cells)[1:]:
            name, columns = name_of(model), (race.columns(PLAIN), race.columns(model))
            lower, in_rollout = (mean_ratio(errors, *columns) for errors in (test, rollout))
            last = len(race.points) - 1
            at_same_n = ", ".join(
                f"{estimate(test.ratio(columns[0][i], columns[1][i]))} "
                f"at N = {count(race.points[i])}"
                for i in (0, (last + 1) // 2, last)
            )
            sentence = (
                f"Beside the plain LNN{race.others}, the {name} "
                f"(P = {count(race.n_params[model])} against {count(race.n_params[PLAIN])}) has a "
                f"{TEST.words} lower by a factor of {estimate(lower)} over all N ({at_same_n}), "
                f"and a rollout error lower by {estimate(in_rollout)}. "
                f"{_fewer(race, ratio_of_points(race, model, test))}{diverged_remark(test)}"
            )
            question = f"Does the {name} need fewer points than the plain LNN?"
            cells = (*race.cells[PLAIN], *race.cells[model])
            id, verdict = f"efficiency.{model}.{k}", CHANGED.verdict(lower)
            about = (rows, cells, FIGURE)
            yield make(id, question, verdict, sentence, lower, *about, turn=CHANGED)


def ratio_of_points(race: Race, model: str, errors: Medians) -> Estimate:
    """Largest N over the N at which the running minimum of the other model's medians reaches the
    plain one's error there, log against log. Above 1: fewer points.

    At least (largest over smallest N) if it is there from the smallest on (the upper limit is then
    infinite); 0 if it never is.
    """
    draws = np.concatenate([errors.middle[None], errors.draws])
    value, *drawn = _ratio_of_points(
        race.points, draws[:, race.columns(PLAIN)], draws[:, race.columns(model)]
    )
    fewer = errors.estimated(value, np.array(drawn))
    all_points = fewer.high >= race.points[-1] / race.points[0]
    return replace(fewer, high=np.inf) if all_points else fewer


def _ratio_of_points(points: np.ndarray, plain: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(B,) from medians (B, K) of both."""
    goal, lowest = plain[:, -1], np.minimum.accumulate(other, axis=1)
    reached = lowest <= goal[:, None]
    k = reached.argmax(axis=1)
    rungs = np.arange(len(k)), np.maximum(k - 1, 0), k
    with np.errstate(divide="ignore", invalid="ignore"):
        above, below = (np.log(lowest[rungs[0], at]) for at in rungs[1:])
        share = (above - np.log(goal)) / (above - below)
    share = np.where(np.isfinite(share), share, 1.0)
    before = points[rungs[1]]
    at = np.where(k == 0, points[0], before * (points[k] / before) ** share)
    return np.where(reached.any(axis=1), points[-1] / at, 0.0)


def _fewer(race: Race, fewer: Estimate) -> str:
    last = f"the plain LNN's error at N = {count(race.points[-1])}"
    if fewer.value == 0:
        return f"It does not reach {last} at any N tried."
    most = race.points[-1] / race.points[0]
    if fewer.value >= most * 0.999:
        return f"It is below {last} from the smallest N on: at least {number(most)} times fewer."
    return f"It reaches {last} with {estimate(fewer)} times fewer points."


def plots(tables: Tables) -> Iterator[Plot]:
    for k, race in enumerate(races(tables.design)):
        yield _plot(tables.rows, race, FIGURE if k == 0 else f"{FIGURE}_{k}")


def _plot(rows: pd.DataFrame, race: Race, id: str) -> Plot:
    figure, axes = canvas(2, height=5.6, sharex=True)
    drawn = []
    for axis, measure in zip(axes, (TEST, ROLLOUT), strict=True):
        models = np.repeat(list(race.cells), len(race.points))
        about = {"measure": measure.column, "model": models}
        about["n_train"] = np.tile(race.points, len(race.cells))
        named = medians_of(rows, race.all_cells, measure, **about)
        of_model = {
            f"{name_of(model)}, P = {count(n)}": named.iloc[list(race.columns(model))]
            for model, n in race.n_params.items()
        }
        lines(axis, "n_train", of_model)
        axis.set_ylabel(measure.axis.replace(" (", "\n("))
        decade_axis(axis)
        drawn.append(named)
    axes[-1].set_xlabel("N, training points")
    decade_axis(axes[-1], "x")
    finish(figure, axes[0])
    data = pd.concat(drawn, ignore_index=True)
    ends = data.loc[(data["measure"] == TEST.column) & (data["n_train"] == race.points[-1])]
    medians = (
        f"{name_of(m)} {number(v)}" for m, v in zip(ends["model"], ends["median"], strict=True)
    )
    caption = (
        f"Median test error and rollout error against the number of points{race.others}; "
        f"{bars_are(data['replicates'])}. Finzi et al. (2020), arXiv 2010.13581, give for a "
        "structured network on chain pendulums a geometric-mean relative error of 0.395 at N = 10, "
        "0.017 at 100 and 1.9·10⁻⁴ at 10,000; that is another system with other data, not to be "
        "compared directly."
    )
    alt = (
        "Curves on logarithmic axes of test and rollout error against N; median test error at "
        f"N = {count(race.points[-1])}: {', '.join(medians)}."
    )
    return Plot(id, "Error against N by kind of model", caption, alt, data, figure)


QUESTION = Question(answers, plots, place=13, replaces=("compare.model", "compare.optimizer"))
