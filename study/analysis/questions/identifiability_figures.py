"""Spectra of d(qddot)/d(theta) and the numbers of parameters they show.

Knows: ranks by cell, and the long table's curve 'spectrum'. Does not know: verdicts.
"""

# ruff: noqa: RUF001 (a reader gets the minus sign)

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from study.analysis.answer import Question, curve
from study.analysis.questions import identifiability_answers
from study.analysis.questions.identifiability_answers import SHOWN, Seen, seen
from study.analysis.style import (
    COLOURS,
    REFERENCE,
    Plot,
    canvas,
    decade_axis,
    finish,
    look,
    ratio_axis,
)
from study.analysis.wording import plural, span
from study.tables.measures import Measure
from study.tables.schema import THRESHOLDS

MOST = 7  # spectra in one figure
MOST_SETTINGS = 26
FLOOR = 1e-18  # relative singular values below are nought to float64

EFFECTIVE = Measure("effective_dimension", "effective dimension", "effective dimension", worst=0.0)
CONDITION = Measure("jacobian_condition", "condition", "condition number")


def plots(rows: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Plot]:
    """Spectra, shares seen by setting, and the rank along N; none where nothing was measured."""
    found = seen(rows)
    if found is None:
        return
    spectra = curves.loc[(curves["curve"] == "spectrum") & curves["cell"].isin(found.cells)]
    for kind in ("initial", "trained"):
        part = spectra.loc[spectra["metric"] == kind]
        if len(part):
            yield _spectra(found, part, kind)
    yield _shares(found)
    yield from _along_n(found)


def _chosen(found: Seen) -> list[int]:
    """The question's network, and others from most to least seen, evenly."""
    kinds = _kinds(found)
    own = [k for k in np.flatnonzero(found.of_question()) if k in kinds][-1:]
    share = found.initial[THRESHOLDS[0]].middle / found.n_params
    order = sorted((k for k in kinds if k not in own), key=lambda k: (share[k], k))
    spread = np.linspace(0, len(order) - 1, min(len(order), MOST - len(own))).round()
    rest = [order[int(k)] for k in np.unique(spread)] if order else []
    return sorted([*(int(k) for k in own), *rest], key=lambda k: (found.n_params[k], k))


def _kinds(found: Seen) -> list[int]:
    """One cell for each label: that with the most points."""
    best: dict[str, int] = {}
    for k in range(len(found.cells)):
        label = found.label(k)
        if label not in best or found.n_equations[k] > found.n_equations[best[label]]:
            best[label] = k
    return list(best.values())


def _spectra(found: Seen, part: pd.DataFrame, kind: str) -> Plot:
    chosen = _chosen(found)
    tables = []
    figure, (axis,) = canvas(height=4.2)
    trained = kind == "trained"
    for place, k in enumerate(chosen):
        one = part.loc[part["cell"] == found.cells[k]]
        medians = one.groupby("x")["value"].median().reset_index()
        P = found.n_params[k]
        label = found.label(k)
        unseen = found.unseen(k, trained=trained)
        tables.append(
            pd.DataFrame(
                {
                    "cell": found.cells[k],
                    "setting": label,
                    "n_params": P,
                    "unseen": unseen,
                    "index": medians["x"],
                    "share": medians["x"] / P,
                    "relative_singular_value": medians["value"],
                    "replicates": one["replicate"].nunique(),
                }
            )
        )
        style = look(place, len(chosen))
        axis.plot(
            medians["x"] / P,
            np.maximum(medians["value"], FLOOR),
            label=f"{label}: {unseen}",
            markevery=(
                len(medians) // 12 * place % max(1, len(medians) // 6),
                max(1, len(medians) // 6),
            ),
            linewidth=1.2,
            color=style["color"],
            marker=style["marker"],
            markersize=3.5,
        )
    for threshold in THRESHOLDS:
        axis.axhline(
            float(threshold), color=REFERENCE, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0
        )
    axis.set_xlabel("index / P")
    axis.set_ylabel("singular value / largest")
    decade_axis(axis)
    finish(figure, axis, columns=1)
    data = pd.concat(tables, ignore_index=True)
    when = "as trained, on the training points" if trained else "at initialisation, on ample data"
    return Plot(
        id=f"spectrum_{kind}",
        title=f"What the accelerations can see, {'trained' if trained else 'at initialisation'}",
        caption="Singular values of the derivative of the accelerations by the parameters, "
        f"{when}; float64, median over {span(data['replicates'], 'replicate')}. Dashed: the "
        f"thresholds {', '.join(SHOWN)}. In the legend: P − rank at each of them; 2 of these are "
        f"gauge without the mass prior, 1 with it. {plural(len(chosen), 'cell')} of "
        f"{len(found.cells)} shown; what is below 10⁻¹⁸ is drawn there.",
        alt="Relative singular values against their index over P on a logarithmic axis; unseen "
        + "; ".join(f"{label}: {one['unseen'].iloc[0]}" for label, one in data.groupby("setting"))
        + ".",
        data=data,
        figure=figure,
    )


def _shares(found: Seen) -> Plot:
    """P less the rank at initialisation, at the three thresholds, one line a cell."""
    share = found.initial[THRESHOLDS[0]].middle / found.n_params
    kinds = _kinds(found)
    order = np.array(sorted(kinds, key=lambda k: (share[k], k))[:MOST_SETTINGS])
    labels = [found.label(k) for k in order]
    conditions = curve(found.rows, found.cells, CONDITION).middle
    figure, (axis,) = canvas(height=0.9 + 0.24 * len(order))
    tables = []
    place = np.arange(len(order))[::-1]
    for i, (threshold, text) in enumerate(zip(THRESHOLDS, SHOWN, strict=True)):
        estimates = [found.initial[threshold].estimate(int(k)) for k in order]
        P = found.n_params[order]
        value = 1 - np.array([e.value for e in estimates]) / P
        tables.append(
            pd.DataFrame(
                {
                    "cell": [found.cells[k] for k in order],
                    "setting": labels,
                    "threshold": threshold,
                    "n_params": P,
                    "rank": [e.value for e in estimates],
                    "low": [e.low for e in estimates],
                    "high": [e.high for e in estimates],
                    "replicates": [e.n for e in estimates],
                    "unseen_share": value,
                    "condition_trained": conditions[order],
                }
            )
        )
        style, height = look(i, 3), place + 0.2 * (1 - i)
        limits = [100 * (1 - tables[-1][end] / P) for end in ("high", "low")]
        axis.hlines(height, *limits, color=style["color"], linewidth=1)
        axis.plot(100 * value, height, linestyle="none", label=f"threshold {text}", **style)
    gauge = 100 * found.gauge[order] / found.n_params[order]
    axis.plot(gauge, place, "|", color="black", markersize=11, label="gauge alone", zorder=0)
    axis.set_yticks(list(place), labels)
    axis.set_ylim(-0.7, len(order) - 0.3)
    axis.set_xlabel("parameters unseen,\n1 − rank/P (%)")
    axis.set_xscale("symlog", linthresh=1.0, linscale=0.6)
    axis.set_xlim(0, 130 * max(float(table["unseen_share"].max()) for table in tables))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    finish(figure, axis, columns=4)
    data = pd.concat(tables, ignore_index=True)
    more = len(kinds) - len(order)
    left_out = f" {plural(more, 'setting')} that see more left out." if more else ""
    return Plot(
        id="seen_share",
        title="How much the accelerations cannot see, by setting",
        caption="Share of the parameters that the accelerations do not see at initialisation on "
        f"ample data, at three thresholds; median over {span(data['replicates'], 'replicate')} "
        "with 95 % intervals; the condition of the trained Jacobian is in the CSV. Upright bar: "
        f"the gauge directions alone. Linear axis below 1 %.{left_out}",
        alt=f"Dot plot of the share of unseen parameters for {plural(len(order), 'setting')}, from "
        f"{100 * data['unseen_share'].min():.2g} to {100 * data['unseen_share'].max():.2g} %.",
        data=data,
        figure=figure,
    )


def _along_n(found: Seen) -> Iterator[Plot]:
    """Rank as trained along the longest ladder of N; none below three points."""
    ladders = [ladder for ladder in found.design.ladders("N") if len(ladder.cells) > 2]
    if not ladders:
        return
    ladder = max(ladders, key=lambda ladder: len(ladder.cells))
    where = [found.cells.index(cell) for cell in ladder.cells]
    x = ladder.equations_per_param
    figure, (axis,) = canvas(height=3.6)
    tables = []
    effective = curve(found.rows, ladder.cells, EFFECTIVE)
    lines = [
        *(
            (f"rank at {text}", found.trained[t], where)
            for t, text in zip(THRESHOLDS, SHOWN, strict=True)
        ),
        ("effective dimension", effective, range(len(where))),
    ]
    P = ladder.n_params
    for i, (label, medians, columns) in enumerate(lines):
        estimates = [medians.estimate(int(k)) for k in columns]
        value = np.array([e.value for e in estimates])
        low, high = (np.array([getattr(e, end) for e in estimates]) for end in ("low", "high"))
        axis.errorbar(
            x,
            value / P,
            yerr=np.clip([(value - low) / P, (high - value) / P], 0, None),
            capsize=2.0,
            elinewidth=1.0,
            label=label,
            **look(i, len(lines)),
        )
        tables.append(
            pd.DataFrame(
                {
                    "cell": ladder.cells,
                    "line": label,
                    "equations_per_param": x,
                    "value": value,
                    "low": low,
                    "high": high,
                    "n_params": P,
                    "replicates": [e.n for e in estimates],
                }
            )
        )
    fine = np.geomspace(x.min(), x.max(), 200)
    axis.plot(
        fine, np.minimum(fine, 1), color="black", linewidth=0.9, linestyle=(0, (4, 3)), zorder=0
    )
    axis.axvline(1.0, color=COLOURS[-1], linewidth=0.8, alpha=0.5, zorder=0)
    ratio_axis(axis, x)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("N·D/P")
    axis.set_ylabel("share of P")
    finish(figure, axis, columns=2)
    data = pd.concat(tables, ignore_index=True)
    yield Plot(
        id="rank_by_n",
        title="Parameters seen by N points",
        caption=f"{ladder.label}: rank of the trained network's Jacobian on its own points at "
        "three thresholds, and its effective dimension at 10⁻⁸ of the largest eigenvalue, over P; "
        f"median over {span(data['replicates'], 'replicate')}, bars: 95 % bootstrap interval. "
        "Dashed: as many as there are equations, at most P.",
        alt="Rank over P against equations per parameter; it follows the number of equations up to "
        f"{data.loc[data['line'].str.startswith('rank'), 'value'].max():.0f}.",
        data=data,
        figure=figure,
    )


QUESTION = Question(
    lambda t: identifiability_answers.answers(t.rows),
    lambda t: () if t.curves is None else plots(t.rows, t.curves),
    place=11,
    replaces=("compare.model", "compare.optimizer"),
)
