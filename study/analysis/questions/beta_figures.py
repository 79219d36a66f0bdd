"""Error against beta, with the initial scale moving along and held.

Knows: spreads. Does not know: verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from study.analysis.answer import Question
from study.analysis.questions import beta_answers
from study.analysis.questions.beta_answers import FIGURE, MATCHED, MOVING, Spread, spreads
from study.analysis.style import Plot, bars, bars_are, canvas, decade_axis, finish, look, ratio_axis
from study.analysis.wording import number
from study.tables.measures import TEST

_TITLES = {MOVING: "initial scale moves with beta", MATCHED: "initial scale held"}


def plots(rows: pd.DataFrame) -> Iterator[Plot]:
    """Two panels side by side, where both initialisations were swept."""
    found = spreads(rows)
    if not found:
        return
    data = pd.concat([_data(spread) for spread in found.values()], ignore_index=True)
    labels = list(dict.fromkeys(data["setting"]))
    figure, axes = canvas(1, 2, height=3.6, sharey=True)
    for axis, init in zip(axes, (MOVING, MATCHED), strict=True):
        for k, label in enumerate(labels):
            part = data.loc[(data["init"] == init) & (data["setting"] == label)]
            part = part.loc[np.isfinite(part["median"].to_numpy(float))].sort_values("beta")
            value = part["median"].to_numpy(float)
            axis.errorbar(
                part["beta"],
                value,
                yerr=bars(part["low"].to_numpy(float), value, part["high"].to_numpy(float)),
                capsize=2.0,
                elinewidth=1.0,
                label=label or "all",
                **look(k, len(labels)),
            )
        ratio_axis(axis, data["beta"].to_numpy(float))
        axis.set_title(_TITLES[init])
        axis.set_xlabel("beta")
    axes[0].set_ylabel(TEST.label)
    decade_axis(axes[0])
    finish(figure, axes[0])
    told = ", ".join(f"{_TITLES[k]}: {number(s.factor.value)}" for k, s in found.items())
    yield Plot(
        id=FIGURE,
        title="Beta with and without its effect on the initial scale",
        caption="Median test error against beta. Left: as it comes, beta moves the scale of the "
        "function at the start; right: first and last layer are scaled so that the function at the "
        f"start is the same for every beta; {bars_are(data['replicates'])}.",
        alt=f"Curves of the median test error against beta in two panels; worst over best, {told}.",
        data=data,
        figure=figure,
    )


def _data(spread: Spread) -> pd.DataFrame:
    found = [spread.medians.estimate(k) for k in range(len(spread.cells))]
    n = len(spread.betas)
    return pd.DataFrame(
        {
            "init": spread.init,
            "setting": np.repeat(spread.groups, n),
            "beta": np.tile(
                [float(level.split()[-1]) for level in spread.betas], len(spread.groups)
            ),
            "cell": spread.cells,
            "median": [e.value for e in found],
            "low": [e.low for e in found],
            "high": [e.high for e in found],
            "replicates": [e.n for e in found],
        }
    )


QUESTION = Question(
    lambda t: beta_answers.answers(t.rows),
    lambda t: plots(t.rows),
    place=14,
    replaces=("compare.model", "compare.optimizer"),
)
