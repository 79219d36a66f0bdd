"""Which of several settings of two levels costs what, alone and together with another?

Asked where all combinations were trained. Then effects and interactions of two are orthogonal:
each is a difference of two means of the log error over all cells, free of every other (Box, Hunter
and Hunter 2005, chapter 5). The scatter is that of the medians of cells around the model of main
effects and interactions of two, so interactions of three and more widen the intervals.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from study.analysis.answer import Answer, Question, Tables, curve, make
from study.analysis.design import Design, sort_key
from study.analysis.statistics.limits import CHANGED
from study.analysis.statistics.medians import LEVEL, Estimate
from study.analysis.style import REFERENCE, Plot, canvas, dot_plot, finish, log_axis
from study.analysis.words import estimate, level_name, number, plural
from study.tables.measures import TEST

FIGURE = "factorial"
LEAST = 3  # factors
REACHED = 1e-2  # test error to which steps are counted
SHOWN = 4  # interactions in a sentence


@dataclass(frozen=True)
class Effect:
    """What one or two settings do to a measure.

    - `names`: of the settings, the costly level first ('encoding raw for encoding trig'); of two,
      those levels that together cost more than their factors say.
    - `factor`: mean of the measure with the first level over that with the second, geometric; for
      an interaction how many times larger the factor of one setting is beside the other.
    """

    names: tuple[str, ...]
    factor: Estimate


@dataclass(frozen=True)
class Effects:
    """All effects of a full factorial on the logarithm of a measure.

    - `main`, `pairs`: largest first; `shares`: of the variance between cells, main and pairs.
    """

    main: list[Effect]
    pairs: list[Effect]
    shares: tuple[float, float]


@dataclass(frozen=True)
class Factorial:
    """Cells that are all combinations of two levels of each factor; `signs` (cells, factors) is -1
    for the first level, +1 for the second."""

    cells: tuple[str, ...]
    levels: dict[str, tuple[object, object]]
    signs: np.ndarray

    def effects(self, values: np.ndarray, n: int) -> Effects:
        """Of values (cells,), geometric means or medians over n replicates."""
        logs, K = np.log(values), len(self.levels)
        pairs = list(itertools.combinations(range(K), 2))
        columns = np.column_stack(
            [self.signs, *(self.signs[:, i] * self.signs[:, j] for i, j in pairs)]
        )
        slopes = columns.T @ (logs - logs.mean()) / len(logs)
        rest = logs - logs.mean() - columns @ slopes
        freedom = len(logs) - 1 - columns.shape[1]
        total = float(np.square(logs - logs.mean()).sum())
        error = math.sqrt(float(rest @ rest) / freedom / len(logs))
        half = error * float(stats.t.ppf((1 + LEVEL) / 2, freedom))

        def effect(of: tuple[int, ...], slope: float) -> Effect:
            # from -1 to +1 are two slopes; between two such differences lie four
            size, reach = abs(slope) * 2 ** len(of), half * 2 ** len(of)
            ends = (math.exp(size + by) for by in (0.0, -reach, reach))
            worse = self._worse(of, slope, slopes)
            return Effect(worse, Estimate(*ends, n=n * len(logs)))

        every = [
            effect(of, float(slope))
            for of, slope in zip([*((k,) for k in range(K)), *pairs], slopes, strict=True)
        ]
        by_size = {
            size: sorted((e for e in every if len(e.names) == size), key=lambda e: -e.factor.value)
            for size in (1, 2)
        }
        squares = len(logs) * np.square(slopes) / total
        return Effects(by_size[1], by_size[2], (squares[:K].sum(), squares[K:].sum()))

    def _worse(self, of: tuple[int, ...], slope: float, slopes: np.ndarray) -> tuple[str, ...]:
        """The costly level of one setting, or the costly corner of two: of the two corners in
        which the interaction costs, that with the larger main effects."""
        if len(of) == 1:
            worse = int(slope > 0)
            return (f"{self._level(of[0], worse)} for {self._level(of[0], 1 - worse)}",)
        i, j = of
        corners = [(a, b) for a in (0, 1) for b in (0, 1) if ((a == b) == (slope > 0))]
        a, b = max(corners, key=lambda c: slopes[i] * (2 * c[0] - 1) + slopes[j] * (2 * c[1] - 1))
        return self._level(i, a), self._level(j, b)

    def _level(self, k: int, which: int) -> str:
        factor = list(self.levels)[k]
        return level_name((factor,), (self.levels[factor][which],))


def found(design: Design) -> Factorial | None:
    """The study as a full factorial of at least `LEAST` factors; None if it is none."""
    cells, varying = design.cells, design.varying
    levels = {
        name: tuple(sorted(set(cells[name]), key=lambda v: sort_key((v,)))) for name in varying
    }
    two = all(len(each) == 2 for each in levels.values())
    if len(varying) < LEAST or not two or len(cells) != 2 ** len(varying):
        return None
    signs = [np.where(cells[name] == levels[name][0], -1.0, 1.0) for name in varying]
    return Factorial(tuple(map(str, cells.index)), levels, np.stack(signs, axis=1))


def _errors(tables: Tables, design: Factorial) -> np.ndarray:
    """(cells,) medians of the test error."""
    return curve(tables.rows, design.cells, TEST).middle


def _steps(tables: Tables, design: Factorial) -> tuple[np.ndarray, float] | None:
    """(cells,) geometric means of the steps to `REACHED`, and the share of runs that get there;
    the others count as twice their steps. None without curves."""
    if tables.curves is None:
        return None
    training = tables.curves["curve"].eq("training") & tables.curves["metric"].eq(TEST.column)
    logs, reached = dict[str, list[float]](), list[bool]()
    for cell, run in _runs(tables.curves.loc[training]):
        steps, errors = (run[name].to_numpy(float) for name in ("x", "value"))
        below = steps[errors <= REACHED]
        reached.append(len(below) > 0)
        first = below.min() if len(below) else 2 * steps.max()
        logs.setdefault(cell, []).append(math.log(max(1.0, first)))
    means = [math.exp(float(np.mean(logs[cell]))) for cell in design.cells]
    return np.array(means), float(np.mean(reached))


def _runs(curves: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The points of each training curve."""
    for name, run in curves.groupby(["cell", "replicate"]):
        assert isinstance(name, tuple)
        yield str(name[0]), run


def _replicates(tables: Tables) -> int:
    """The fewest of a cell."""
    return int(tables.rows.groupby("cell").size().to_numpy().min())


def answers(tables: Tables) -> Iterator[Answer]:
    if (design := found(tables.design)) is None:
        return
    n = _replicates(tables)
    errors = design.effects(_errors(tables, design), n)
    steps, words = _steps(tables, design), ""
    in_steps = dict[str, tuple[str, Estimate]]()
    if steps:
        effects = design.effects(steps[0], n)
        in_steps = {_setting(e): (e.names[0], e.factor) for e in effects.main}
        words = (
            f" {100 * steps[1]:.0f} % of the runs get to {REACHED:g}; the others count as twice "
            "their steps."
        )
    for effect in errors.main:
        (name,), setting = effect.names, _setting(effect)
        sentence = (
            f"Over all {len(design.cells)} combinations {name} costs a factor of "
            f"{estimate(effect.factor)} of the {TEST.words}"
        )
        if setting in in_steps:
            other, factor = in_steps[setting]
            which = "and" if other == name else f"and {other}"
            sentence += f", {which} a factor of {estimate(factor)} in steps to {REACHED:g}"
        yield make(
            f"factorial.{setting.replace(' ', '_')}",
            f"Does the setting matter: {setting}?",
            CHANGED.verdict(effect.factor),
            f"{sentence}.{words}",
            effect.factor,
            tables.rows,
            design.cells,
            FIGURE,
            remedy=" It differs between the other settings, which no more replicates would change: "
            "say it for some of them, by the interactions.",
        )
    first = errors.pairs[0]
    sentence = (
        f"Of the variance of the log {TEST.words} between cells, the {len(design.levels)} settings "
        f"by themselves explain {_percent(errors.shares[0])}, their "
        f"{plural(len(errors.pairs), 'interaction')} of two {_percent(errors.shares[1])}. The "
        "largest, by how many times a setting costs more beside the other: "
    )
    sentence += "; ".join(
        f"{' with '.join(e.names)} {estimate(e.factor)}" for e in errors.pairs[:SHOWN]
    )
    yield make(
        "factorial.interactions",
        "Do settings cost more together than each by itself?",
        CHANGED.verdict(first.factor),
        f"{sentence}.",
        first.factor,
        tables.rows,
        design.cells,
        FIGURE,
        turn=CHANGED,
    )


def _setting(effect: Effect) -> str:
    """'encoding' of 'encoding raw for encoding trig'."""
    return effect.names[0].split(" for ")[0].rsplit(" ", 1)[0]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def plots(tables: Tables) -> Iterator[Plot]:
    if (design := found(tables.design)) is None:
        return
    n = _replicates(tables)
    parts = {TEST.words: design.effects(_errors(tables, design), n)}
    if steps := _steps(tables, design):
        parts[f"steps to {REACHED:g}"] = design.effects(steps[0], n)
    first = next(iter(parts.values()))
    labels = [e.names[0] for e in first.main]
    labels += [" with ".join(e.names) for e in first.pairs[: 2 * SHOWN]]
    of_measure = {}
    for words, effects in parts.items():
        known = {" with ".join(e.names): e.factor for e in (*effects.main, *effects.pairs)}
        values = [known.get(label) for label in labels]
        of_measure[words] = pd.DataFrame(
            {
                "setting": labels,
                "measure": words,
                "median": [v.value if v else np.nan for v in values],
                "low": [v.low if v else np.nan for v in values],
                "high": [v.high if v else np.nan for v in values],
            }
        )
    figure, (axis,) = canvas(height=0.9 + 0.27 * len(labels))
    dot_plot(axis, labels, of_measure)
    axis.axvline(1.0, color=REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    log_axis(axis, "x")
    axis.set_xlabel("factor by which it costs")
    finish(figure, axis)
    caption = (
        f"Effects of {plural(len(design.levels), 'setting')} over all {len(design.cells)} "
        f"combinations, {plural(n, 'replicate')} each, largest first; below them the largest "
        "interactions of two: how many times one costs more beside the other. A setting whose "
        "costly level is another in steps has no second dot. Bars: 95 % by Student's t of the rest."
    )
    alt = f"Dot plot: {labels[0]} costs most, a factor of {number(first.main[0].factor.value)}."
    data = pd.concat(of_measure.values(), ignore_index=True)
    yield Plot(FIGURE, "What each setting costs", caption, alt, data, figure)


QUESTION = Question(answers, plots, place=13)
