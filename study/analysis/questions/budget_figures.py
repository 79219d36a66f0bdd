"""The error budget as a figure: every control against the model's own rollout error.

Knows: budgets. Does not know: verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from study.analysis.answer import Question
from study.analysis.questions import budget_answers
from study.analysis.questions.budget_answers import CONTROLS, EXPLAINS, FIGURE, Budget, budgets
from study.analysis.style import REFERENCE, Plot, canvas, decade_axis, finish, look
from study.analysis.wording import number, plural, span
from study.tables.measures import ROLLOUT


def plots(rows: pd.DataFrame) -> Iterator[Plot]:
    """One figure with a panel for each system and horizon; none without controls."""
    found = budgets(rows)
    if found:
        yield _budget(found[:4])


def _budget(found: list[Budget]) -> Plot:
    figure, axes = canvas(len(found), height=0.4 + 3.6 * len(found))
    tables = []
    for axis, budget in zip(axes, found, strict=True):
        data = _data(budget)
        tables.append(data)
        for k, (control, measure) in enumerate(CONTROLS.items()):
            part = data.loc[data["control"] == control]
            axis.plot(
                part["model"],
                part["error"],
                linestyle="none",
                alpha=0.85,
                label=measure.label,
                **look(k, len(CONTROLS)),
            )
        ends = np.array([data["model"].min() / 2, min(1.0, 2 * data["model"].max())])
        axis.plot(ends, ends, color="black", linewidth=1.0, zorder=0)
        axis.fill_between(
            ends, ends / EXPLAINS, ends * EXPLAINS, color=REFERENCE, alpha=0.15, linewidth=0
        )
        axis.set_xlim(*ends)
        axis.set_xlabel(f"rollout error of the model, {budget.where}")
        axis.set_ylabel("rollout error of the control")
        decade_axis(axis, "x")
        decade_axis(axis, "y", most=8)
    finish(figure, axes[0])
    data = pd.concat(tables, ignore_index=True)
    near = [b.over("matched") for b in found]
    told = [number(e.value) for e in near if e is not None]
    return Plot(
        id=FIGURE,
        title="What makes the trajectory wrong",
        caption="Median rollout error over "
        f"{span([c for b in found for c in b.columns[ROLLOUT.column].counts], 'replicate')} of "
        f"{plural(sum(len(b.cells) for b in found), 'cell')}, the model's across and each "
        "control's upwards: the true field perturbed by the size of the model's acceleration error "
        "(white noise, smooth, conservative), a start 1e-4 off, the rollout's solver alone, two "
        "tight solvers. A control on the line alone makes as large an error as the model; grey: a "
        f"factor of {EXPLAINS:g} either way. Intervals are in the CSV.",
        alt="Scatter plot on logarithmic axes of the rollout error of six controls against that of "
        f"the model; the model's is {' and '.join(told) or 'at most about 1'} times that of the "
        "matching perturbation.",
        data=data,
        figure=figure,
    )


def _data(budget: Budget) -> pd.DataFrame:
    model = budget.columns[ROLLOUT.column]
    parts = []
    for control in CONTROLS:
        medians = budget.columns[control]
        estimates = [medians.estimate(k) for k in range(len(budget.cells))]
        parts.append(
            pd.DataFrame(
                {
                    "where": budget.where,
                    "cell": budget.cells,
                    "control": control,
                    "model": model.middle,
                    "error": [e.value for e in estimates],
                    "low": [e.low for e in estimates],
                    "high": [e.high for e in estimates],
                    "replicates": model.counts,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


QUESTION = Question(
    lambda t: budget_answers.answers(t.rows),
    lambda t: plots(t.rows),
    place=90,
)
