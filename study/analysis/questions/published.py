"""Is the double pendulum's mean final energy error as small as the published one?

Cranmer et al. (2020), arXiv 2003.04630: double pendulum, 40 trajectories to t = 100, the mean of
|final energy error| over the energy scale is 0.43 % for their Lagrangian network of 724,801
parameters and 7.4 % for their baseline, a network of accelerations.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from study.analysis import style
from study.analysis.answer import Answer, Question, Tables, curve, diverged_remark, make, medians_of
from study.analysis.design import Design
from study.analysis.words import count, estimate, name_of, number
from study.tables.measures import Measure

SYSTEM, HORIZON = "double_pendulum_wide", 100.0
FINAL = Measure(
    "energy_drift_final_mean",
    "mean |final energy error| / energy scale (%)",
    "mean final energy error",
)
PAPER = {"lnn": 0.43, "structured_lnn": 0.43, "acceleration_mlp": 7.4}  # percent
TARGET = {"lnn": 0.1, "structured_lnn": 0.01, "acceleration_mlp": 7.4}
FIGURE = "published"


def _comparable(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows at the published system and horizon, trained on uniform states as the paper does, of
    the models with a published figure."""
    if FINAL.column not in rows:
        return rows.head(0)
    here = (rows["system"] == SYSTEM) & (rows["rollout.horizon"] == HORIZON)
    default = (rows["system.constants"] == "default") & (rows["data.sampler"] == "uniform")
    return rows.loc[here & default & rows["model"].isin(list(PAPER))]


def _cells(rows: pd.DataFrame) -> pd.DataFrame:
    """The cells to compare: `model` and `n_params` by cell, in the order of the publication."""
    cells = Design(rows).cells[["model", "n_params"]]
    cells = cells.assign(order=cells["model"].map(list(PAPER).index))
    return cells.sort_values("order", kind="stable")


def _answers(tables: Tables) -> Iterator[Answer]:
    rows = _comparable(tables.rows)
    if rows.empty:
        return
    for k, (cell, model, n_params, _) in enumerate(_cells(rows).itertuples()):
        medians = curve(rows, (cell,), FINAL)
        error = medians.estimate(0).map(lambda share: 100 * share)
        target, paper = TARGET[model], PAPER[model]
        whose = "baseline" if model == "acceleration_mlp" else "LNN"
        times = f"{number(error.value / paper)} times" if np.isfinite(error.value) else "far above"
        sentence = (
            f"The {name_of(model)} with P = {count(n_params)} ends with a mean energy error of "
            f"{estimate(error)} % of the energy scale (mean over trajectories at t = {HORIZON:g} "
            f"s, median over replicates), {times} the published {whose}'s {paper:g} %."
        )
        if target != paper:
            sentence += f" The target is {target:g} %."
        sentence += diverged_remark(medians)
        question = f"Is the {name_of(model)}'s mean final energy error below {target:g} %"
        question += ", the published baseline's?" if target == paper else "?"
        id, verdict = f"published.{model}.{k}", error.verdict(target, below=True)
        yield make(id, question, verdict, sentence, error, rows, (cell,), FIGURE)


def _plots(tables: Tables) -> Iterator[style.Plot]:
    rows = _comparable(tables.rows)
    if rows.empty:
        return
    parts = [
        medians_of(rows, (cell,), FINAL, model=m, n_params=P, published=PAPER[m], target=TARGET[m])
        for cell, m, P, _ in _cells(rows).sort_values(["order", "n_params"]).itertuples()
    ]
    data = pd.concat(parts, ignore_index=True)
    data[["median", "low", "high"]] *= 100
    data = data.rename(columns={"median": "percent"})

    figure, (axis,) = style.canvas(height=1.0 + 0.5 * len(data))
    models, sizes = [name_of(m) for m in data["model"]], data["n_params"]
    labels = [f"{model}\nP = {count(P)}" for model, P in zip(models, sizes, strict=True)]
    place = style.dot_plot(axis, labels, {"this study": data}, value="percent")
    for column, colour, zorder in (("published", "black", 2), ("target", style.REFERENCE, 1)):
        mark = {"color": colour, "markersize": 22, "markeredgewidth": 1.6, "zorder": zorder}
        axis.plot(data[column], place, "|", label=column, **mark)

    replicates = rows.set_index("cell")[FINAL.column]
    for y, cell in zip(place, data["cell"], strict=True):
        values = 100 * np.atleast_1d(np.asarray(replicates.loc[cell], float))
        axis.plot(values, np.full(len(values), y), ".", color=style.COLOURS[0], alpha=0.45)
    axis.set_xlabel(FINAL.label)
    style.decade_axis(axis, "x")
    style.finish(figure, axis)
    errors = [f"{m} {number(v)} %" for m, v in zip(models, data["percent"], strict=True)]
    caption = (
        "Mean over trajectories of |energy at t = 100 s less that at the start| over the energy "
        f"scale; small dots: replicates, {style.bars_are(data['replicates'])} of the median. "
        "Published: Cranmer et al. (2020), arXiv 2003.04630, with 724,801 parameters."
    )
    alt = (
        f"Dot plot of the mean final energy error: {', '.join(errors)}; published 0.43 % and 7.4 %."
    )
    title = "Final energy error beside the published one"
    yield style.Plot(FIGURE, title, caption, alt, data, figure)


QUESTION = Question(_answers, _plots, place=10, replaces=("compare.model", "compare.optimizer"))
