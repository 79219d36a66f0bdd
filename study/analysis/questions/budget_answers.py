"""What makes the trajectory wrong: the model's rollout error beside those of the controls.

Knows: the columns `budget_*` and `lyapunov`. Does not know: how a control is integrated, training.

Errors of different causes do not add, so each control is set beside the model by itself: the
factor model over control (geometric mean over cells of the ratio of medians), and the ratio of
logarithms, log control over log model, which is 1 where the control alone makes as large an error
and 2 where it makes the square of it. A control is enough to explain the model if it comes within a
stated factor. Cells whose rollouts are lost altogether, with an error near the ceiling of 1, are
left out where a factor means nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, curve, make
from study.analysis.questions.rollout_answers import SATURATED
from study.analysis.statistics.ratios import (
    Estimate,
    Medians,
    interval,
    mean_ratio,
    medians,
    resamples,
)
from study.analysis.wording import estimate, number, plural
from study.tables.measures import ROLLOUT, Measure
from study.tables.schema import BUDGET

EXPLAINS = 2.0  # a control within this factor of the model explains its error
INTEGRATOR = 1.5  # the same for the solver alone
# The true motion counts as chaotic where it multiplies a small error by so many times the horizon
# in seconds: an integrable one multiplies it in proportion to time (Kepler: by 2 to 3 a second).
CHAOTIC = 10.0
FIGURE = "error_budget"

CONTROLS = {
    "budget_white": Measure("budget_white", "white noise", "white noise"),
    "budget_smooth": Measure("budget_smooth", "smooth", "a smooth error"),
    "budget_conservative": Measure("budget_conservative", "conservative", "a conservative error"),
    "budget_initial": Measure("budget_initial", "start off by 1e-4", "a start off by 1e-4"),
    "budget_integrator": Measure("budget_integrator", "solver alone", "the solver alone"),
    "budget_reference": Measure("budget_reference", "two tight solvers", "two tight solvers"),
}
LAGRANGIAN = {"lnn", "structured_lnn"}  # their acceleration error is that of a Lagrangian system


@dataclass(frozen=True)
class Budget:
    """Cells of one system and horizon, with the model's and the controls' medians.

    - `columns[name]`: medians of `rollout_error` or of a control, one column a cell.
    - `matched`: the control of each model's own kind: conservative for a Lagrangian network,
      smooth for any other.
    - `growth`: e to the Lyapunov exponent times the horizon, median over cells.
    """

    rows: pd.DataFrame
    where: str
    cells: tuple[str, ...]
    columns: dict[str, Medians]
    growth: float
    horizon: float

    @property
    def lost(self) -> np.ndarray:
        """(K,) which cells' rollouts are near the ceiling."""
        return self.columns[ROLLOUT.column].middle >= SATURATED

    def over(self, control: str, chosen: np.ndarray | None = None) -> Estimate | None:
        """Model over control; None without a cell."""
        keep = np.flatnonzero(~self.lost if chosen is None else chosen)
        if not len(keep):
            return None
        both = self._both(control, keep)
        return mean_ratio([(both, k, len(keep) + k) for k in range(len(keep))])

    def log_ratio(self, control: str) -> Estimate | None:
        """Mean over cells of log control / log model, both below 1; None without a cell."""
        keep = np.flatnonzero(~self.lost)
        if not len(keep):
            return None
        both, K = self._both(control, keep), len(keep)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.log(both.middle[K:]) / np.log(both.middle[:K])
            draws = np.log(both.draws[:, K:]) / np.log(both.draws[:, :K])
        drawn = np.take_along_axis(draws, resamples(K, key=10_000), axis=1)
        low, high = interval(drawn.mean(axis=1))
        n = int(both.counts.min())
        return Estimate(float(value.mean()), float(low), float(high), n, both.independent)

    def _both(self, control: str, keep: np.ndarray) -> Medians:
        """Model, then control, in one table, so that one draw of replicates serves both."""
        tables = [self.columns[name].table[:, keep] for name in (ROLLOUT.column, control)]
        shared = self.columns[ROLLOUT.column].groups
        return medians(np.concatenate(tables, axis=1), groups=shared)


def budgets(rows: pd.DataFrame) -> list[Budget]:
    """One for each system and horizon whose controls were measured, largest first."""
    if not {*BUDGET, "lyapunov"} <= set(rows):
        return []
    measured = rows.loc[np.isfinite(rows[BUDGET].to_numpy(float)).all(axis=1)]
    found = []
    for _, part in measured.groupby(["system", "system.constants", "rollout.horizon"], sort=False):
        cells = tuple(dict.fromkeys(part["cell"]))
        measures = {ROLLOUT.column: ROLLOUT, **CONTROLS}
        columns = {name: curve(part, cells, measure) for name, measure in measures.items()}
        shared = columns[ROLLOUT.column].groups
        kind = part.drop_duplicates("cell").set_index("cell")["model"]
        lagrangian = np.array([kind[cell] in LAGRANGIAN for cell in cells])
        chosen = (columns["budget_conservative"].table, columns["budget_smooth"].table)
        columns["matched"] = medians(np.where(lagrangian, *chosen), groups=shared)
        horizon = float(part["rollout.horizon"].iloc[0])
        growth = float(np.exp(np.median(part["lyapunov"].to_numpy(float)) * horizon))
        system = str(part["system"].iloc[0]).replace("_", " ")
        where = f"{system} over {number(horizon)} s"
        found.append(Budget(part, where, cells, columns, growth, horizon))
    return sorted(found, key=lambda budget: -len(budget.cells))


def answers(rows: pd.DataFrame) -> Iterator[Answer]:
    """Is it the acceleration error, the integrator, or chaos?"""
    for k, budget in enumerate(budgets(rows)):
        yield _explained(budget, k)
        yield _integrator(budget, k)
        yield _chaos(budget, k)


def explained(factor: Estimate) -> str:
    """The verdict on model over matching control: enough if surely below the factor."""
    return {"yes": "no", "no": "yes"}.get(factor.verdict(EXPLAINS), "undecided")


def _explained(budget: Budget, k: int) -> Answer:
    factor = budget.over("matched")
    question = (
        "Is the network's acceleration error, propagated by the true dynamics, enough to explain "
        "the trajectory error?"
    )
    if factor is None:
        return _all_lost(budget, f"budget.explained.{k}", question)
    logs, white = budget.log_ratio("matched"), budget.over("budget_white")
    assert logs is not None
    assert white is not None
    more = (
        " The control makes more error than the model: the model's error is kinder than one of its "
        "size at random."
        if factor.enough and factor.high < 1 / EXPLAINS
        else ""
    )
    sentence = (
        f"On {budget.where}, the rollout error is {estimate(factor)} times that of the true field "
        "with a perturbation of the size of the model's own acceleration error (smooth in the "
        "state; conservative where the model is a Lagrangian's); log error of the control over "
        f"that of the model: {estimate(logs)}. Enough means less than {EXPLAINS:g} times. Beside "
        f"white noise of that size it is {estimate(white)} times.{more}{_left_out(budget)}"
    )
    return _make(budget, f"budget.explained.{k}", question, explained(factor), sentence, factor)


def _integrator(budget: Budget, k: int) -> Answer:
    factor = budget.over("budget_integrator")
    question = "Is the integrator to blame for the trajectory error?"
    if factor is None:
        return _all_lost(budget, f"budget.integrator.{k}", question)
    logs, tight = budget.log_ratio("budget_integrator"), budget.over("budget_reference")
    assert logs is not None
    assert tight is not None
    sentence = (
        f"On {budget.where}, the rollout error is {estimate(factor)} times that of the true field "
        "by the same solver at the same tolerance (log error of the control over that of the "
        f"model: {estimate(logs)}), and {estimate(tight)} times the difference of two tight "
        f"solvers. To blame means less than {INTEGRATOR:g} times.{_left_out(budget)}"
    )
    verdict = {"yes": "no", "no": "yes"}.get(factor.verdict(INTEGRATOR), "undecided")
    return _make(budget, f"budget.integrator.{k}", question, verdict, sentence, factor)


def _chaos(budget: Budget, k: int) -> Answer:
    """Here lost rollouts count: in chaos both the model and the control end at the ceiling."""
    factor = budget.over("budget_initial", np.ones(len(budget.cells), bool))
    assert factor is not None
    chaotic = budget.growth >= CHAOTIC * budget.horizon
    reached = {"yes": "no", "no": "yes"}.get(factor.verdict(EXPLAINS), "undecided")
    verdict = reached if chaotic else "no"
    times = np.log(budget.growth)
    sentence = (
        f"On {budget.where}, the median finite-time Lyapunov exponent times the horizon is "
        f"{number(times)}: the true motion multiplies a small error by {number(budget.growth)}; "
        f"from {number(CHAOTIC * budget.horizon)} on it counts as chaotic, for without chaos an "
        f"error grows as time. The rollout error is {estimate(factor)} times that of the true "
        "system started 1e-4 off; chaos is to blame where the motion is chaotic and this is less "
        f"than {EXPLAINS:g}."
    )
    question = "Is chaos, the sensitivity to initial conditions, to blame?"
    return _make(budget, f"budget.chaos.{k}", question, verdict, sentence, factor)


def _make(
    budget: Budget, id: str, question: str, verdict: str, sentence: str, deciding: Estimate
) -> Answer:
    return make(id, question, verdict, sentence, deciding, budget.rows, budget.cells, FIGURE)


def _all_lost(budget: Budget, id: str, question: str) -> Answer:
    n = int(budget.columns[ROLLOUT.column].counts.min())
    sentence = (
        f"On {budget.where}, every cell's rollout error is at or above {SATURATED:g}, near its "
        "ceiling of 1: the trajectories are lost, whatever the cause."
    )
    return _make(budget, id, question, "undecided", sentence, Estimate(np.nan, 0.0, np.inf, n))


def _left_out(budget: Budget) -> str:
    n = int(budget.lost.sum())
    if not n:
        return ""
    return f" {plural(n, 'cell')} left out, with rollouts lost (error of {SATURATED:g} and more)."
