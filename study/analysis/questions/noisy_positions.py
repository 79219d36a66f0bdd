"""Which method learns best from positions with noise, and does training through the integrator beat
training on differentiated positions?

A method is a model and a loss. Methods are compared on the same positions: the same noise, number
of trajectories, and samples of each.
"""

from collections.abc import Iterator
from dataclasses import dataclass

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
from study.analysis.design import Design
from study.analysis.statistics.limits import CHANGED
from study.analysis.statistics.ratios import mean_ratio
from study.analysis.style import Plot, bars_are, canvas, decade_axis, finish, lines
from study.analysis.words import count, estimate, name_of, number, plural
from study.tables.measures import TEST

NOISE, LOSS = "data.position_noise", "optimizer.loss"
SAMPLED = ("system", "system.constants", "data.n_trajectories", "data.pool_size")
HOW = {"squared": "pointwise", "absolute": "pointwise, absolute error", "weak": "weak form"}
THROUGH = "through the integrator"
FIGURE = "noisy_positions"


@dataclass(frozen=True)
class Method:
    """A model of one size and the loss it is trained by."""

    model: str
    n_params: int | None
    how: str

    @property
    def name(self) -> str:
        size = "" if self.n_params is None else f", P = {count(self.n_params)}"
        return f"{name_of(self.model)}{size}, {self.how}"


@dataclass(frozen=True)
class Race:
    """All methods at one noise.

    `cells[method]`: (K,) one for each set of positions, in the same order.
    """

    noise: float
    cells: dict[Method, tuple[str, ...]]

    @property
    def all_cells(self) -> tuple[str, ...]:
        return tuple(cell for cells in self.cells.values() for cell in cells)

    def columns(self, method: Method) -> range:
        """Where a method's cells are in `all_cells`."""
        n = len(self.cells[method])
        first = list(self.cells).index(method) * n
        return range(first, first + n)


def _methods(design: Design) -> pd.Series:
    """The method of each cell. A size is told if networks of one model have several."""
    cells = design.cells
    free = cells["optimizer"] != "least_squares"  # whose P follows from N
    several = cells.loc[free].groupby("model")["n_params"].transform("nunique") > 1
    sizes = cells["n_params"].where(several.reindex(cells.index, fill_value=False))
    rows = zip(cells["model"], sizes, cells[LOSS], strict=True)
    return pd.Series(
        [
            Method(model, None if np.isnan(size) else int(size), HOW.get(loss, THROUGH))
            for model, size, loss in rows
        ],
        cells.index,
        dtype=object,
    )


def races(design: Design) -> list[Race]:
    """One for each noise, of the positions that all methods were tried on."""
    if NOISE not in design.factors or LOSS not in design.varying:
        return []
    noisy = design.cells.loc[design.cells[NOISE] != "none"]
    methods = _methods(design)
    races = []
    for noise, own in sorted(noisy.groupby(NOISE), key=lambda pair: float(pair[0])):
        tried: dict[Method, dict[tuple, str]] = {}
        for cell, row in own.iterrows():
            method: Method = methods.loc[cell]  # type: ignore[assignment]
            tried.setdefault(method, {})[tuple(row[list(SAMPLED)])] = str(cell)
        common = sorted(set.intersection(*(set(cells) for cells in tried.values())), key=str)
        if len(tried) > 1 and common:
            cells = {method: tuple(own[key] for key in common) for method, own in tried.items()}
            races.append(Race(float(noise), cells))
    return races


def answers(tables: Tables) -> Iterator[Answer]:
    for k, race in enumerate(races(tables.design)):
        errors = curve(tables.rows, race.all_cells, TEST)
        mean = {m: np.log(errors.middle[list(race.columns(m))]).mean() for m in race.cells}
        best, second, *_ = sorted(mean, key=mean.__getitem__)
        factor = mean_ratio(errors, race.columns(second), race.columns(best))
        values = "; ".join(
            f"{m.name} {number(np.exp(mean[m]))}" for m in sorted(mean, key=mean.__getitem__)
        )
        sets = plural(len(race.cells[best]), "set of positions", "sets of positions")
        at = f"noise of {number(race.noise)} in the positions"
        sentence = (
            f"With {at} the {best.name} has the least {TEST.words}, {estimate(factor)} times below "
            f"the next, the {second.name}. Geometric means over {sets}: {values}."
            f"{diverged_remark(errors)}"
        )
        about = (tables.rows, race.all_cells, FIGURE)
        question, verdict = f"Is one method best with {at}?", CHANGED.verdict(factor)
        yield make(
            f"noisy_positions.{k}", question, verdict, sentence, factor, *about, turn=CHANGED
        )
        for method in race.cells:
            pointwise = Method(method.model, method.n_params, HOW["squared"])
            if method.how != THROUGH or pointwise not in race.cells:
                continue
            factor = mean_ratio(errors, race.columns(pointwise), race.columns(method))
            cells = (*race.cells[pointwise], *race.cells[method])
            id = f"integrator.{k}.{list(race.cells).index(method)}"
            question = f"Does the {method.name} beat its pointwise training with {at}?"
            sentence = (
                f"With {at} training the {method.name} lowers its {TEST.words} by a factor of "
                f"{estimate(factor)} against training on differentiated positions, over {sets}."
            )
            about, verdict = (tables.rows, cells, FIGURE), CHANGED.verdict(factor)
            yield make(id, question, verdict, sentence, factor, *about, turn=CHANGED)


def plots(tables: Tables) -> Iterator[Plot]:
    """A panel for each set of positions, error against noise, a line for each method."""
    if not (drawn := races(tables.design)):
        return
    methods = _methods(tables.design)
    every = pd.concat([pd.DataFrame({"cell": r.all_cells, "noise": r.noise}) for r in drawn])
    keys = tables.design.cells.loc[every["cell"], list(SAMPLED)]
    panels = [group for _, group in keys.groupby(list(SAMPLED), sort=True)]
    figure, axes = canvas(len(panels), height=2.4 * len(panels), sharex=True)
    tables_drawn, noise = [], dict(zip(every["cell"], every["noise"], strict=True))
    for axis, panel in zip(axes, panels, strict=True):
        of_method: dict[str, pd.DataFrame] = {}
        for method in dict.fromkeys(methods[panel.index]):
            cells = sorted((c for c in panel.index if methods[c] == method), key=noise.__getitem__)
            about = {"position_noise": [noise[c] for c in cells], "method": method.name}
            about |= {"n_trajectories": panel["data.n_trajectories"].iloc[0]}
            about |= {"samples": panel["data.pool_size"].iloc[0]}
            of_method[method.name] = medians_of(tables.rows, cells, TEST, **about)
        lines(axis, "position_noise", of_method)
        n, pool = panel["data.n_trajectories"].iloc[0], panel["data.pool_size"].iloc[0]
        what = f"{plural(int(n), 'trajectory', 'trajectories')} of {count(pool / n)} samples"
        axis.set_ylabel(TEST.axis.replace(" (", "\n("))
        axis.set_title(what, loc="left")
        decade_axis(axis)
        tables_drawn += of_method.values()
    last = axes[-1]
    last.set_xlabel("noise of the positions, rad or m")
    decade_axis(last, "x")
    finish(figure, axes[0], columns=2)
    data = pd.concat(tables_drawn, ignore_index=True)
    caption = (
        f"Median test error on exact accelerations by the noise of the positions it was learned "
        f"from; {bars_are(data['replicates'])}. Pointwise: on accelerations from local polynomials."
    )
    least = data.loc[data.groupby("position_noise")["median"].idxmin()]
    told = (f"{row.method} at {number(row.position_noise)}" for row in least.itertuples())
    alt = f"Test error against noise on logarithmic axes; the least at each: {', '.join(told)}."
    yield Plot(FIGURE, "Which method at which noise?", caption, alt, data, figure)


QUESTION = Question(answers, plots, place=13.5, replaces=("compare.model", "compare.optimizer"))
