"""The mean final energy error of the double pendulum, beside the published one.

Knows: the column `energy_drift_final_mean`, the protocol it can be compared at. Does not know:
rollouts, training.

Cranmer et al. (2020), arXiv 2003.04630: double pendulum, 40 trajectories to t = 100, the mean of
|final energy error| over the energy scale is 0.43 % for their Lagrangian network of 724,801
parameters and 7.4 % for their baseline, a network of accelerations.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, curve, diverged_remark, make
from study.analysis.design import Design
from study.analysis.names import name_of
from study.analysis.naming import count
from study.analysis.statistics.ratios import Estimate
from study.analysis.wording import estimate, number
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


def comparable(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows at the published system and horizon of the models that have a published figure."""
    if FINAL.column not in rows:
        return rows.head(0)
    here = (rows["system"] == SYSTEM) & (rows["rollout.horizon"] == HORIZON)
    default = rows["system.constants"] == "default"
    return rows.loc[here & default & rows["model"].isin(list(PAPER))]


def percent(rows: pd.DataFrame, cell: str) -> Estimate:
    """Median over replicates of the mean final energy error of one cell, in percent."""
    found = curve(rows, (cell,), FINAL).estimate(0)
    return Estimate(100 * found.value, 100 * found.low, 100 * found.high, found.n, found.draws)


def answers(rows: pd.DataFrame) -> Iterator[Answer]:
    """One a cell: is the target met?"""
    chosen = comparable(rows)
    if chosen.empty:
        return
    design = Design(chosen)
    order = sorted(
        design.cells.index, key=lambda c: list(PAPER).index(design.cells.loc[c, "model"])
    )
    for k, cell in enumerate(str(c) for c in order):
        yield _answer(chosen, design, cell, k)


def _answer(rows: pd.DataFrame, design: Design, cell: str, k: int) -> Answer:
    model = str(design.cells.loc[cell, "model"])
    found, target, paper = percent(rows, cell), TARGET[model], PAPER[model]
    whose = "baseline" if model == "acceleration_mlp" else "LNN"
    verdict = {"yes": "no", "no": "yes"}.get(found.verdict(target), "undecided")
    beside = "" if target == paper else f" The target is {target:g} %."
    sentence = (
        f"The {name_of(model)} with P = {count(design.cells.loc[cell, 'n_params'])} ends with a "
        f"mean energy error of {estimate(found)} % of the energy scale (mean over trajectories at "
        f"t = {HORIZON:g} s, median over replicates), {_times(found, paper)} the published "
        f"{whose}'s {paper:g} %.{beside}{diverged_remark(curve(rows, (cell,), FINAL))}"
    )
    return make(
        f"published.{model}.{k}",
        f"Is the {name_of(model)}'s mean final energy error below {target:g} %"
        + (", the published baseline's?" if target == paper else "?"),
        verdict,
        sentence,
        found,
        rows,
        (cell,),
        FIGURE,
    )


def _times(found: Estimate, paper: float) -> str:
    return f"{number(found.value / paper)} times" if np.isfinite(found.value) else "far above"
