"""How do the network's settings and N change how many of the P unknowns the accelerations see?"""

# ruff: noqa: RUF001 (a reader gets the minus sign)

from collections.abc import Iterator

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, Question, Tables, curve, make, medians_table
from study.analysis.design import Ladder
from study.analysis.questions.identifiability import COARSE, FINE, SHOWN, Seen, seen_in
from study.analysis.statistics.medians import medians
from study.analysis.style import COLOURS, Plot, canvas, dot_plot, finish, lines, ratio_axis
from study.analysis.words import estimate, plural, span
from study.tables.measures import MEASURES, THRESHOLDS

INDEPENDENT = 0.95  # share of the equations seen, from which on they count as independent
MOST = 26  # settings in one figure
SHARES, BY_N = "seen_share", "rank_by_n"


def _answers(tables: Tables) -> Iterator[Answer]:
    seen = seen_in(tables.rows)
    if seen is None:
        return
    others = np.flatnonzero(~np.isnan(seen.gauge) & ~seen.own)
    if len(others):
        yield _others(seen, others)
    few = np.flatnonzero(seen.n_equations < seen.n_params)
    if len(few):
        yield _equations(seen, few)


def _others(seen: Seen, chosen: np.ndarray) -> Answer:
    """The share of replicates that see all but gauge at the coarsest threshold decides."""
    question = "Apart from gauge, can the accelerations see all parameters of the networks here?"
    full = [seen.full(chosen, threshold) for threshold in THRESHOLDS]
    first = full[0]
    worst = chosen[np.argmin((seen.initial[COARSE].middle / seen.n_params)[chosen])]
    at = [f"{100 * e.value:.0f} %" for e in full]
    depends = "" if first.value in (0, 1) else "It depends on the setting. "
    sentence = (
        f"{depends}At initialisation on ample data, {at[0]} of {plural(first.n, 'replicate')} of "
        f"{plural(len(chosen), 'cell')} see all but the gauge directions at {SHOWN[COARSE]}, "
        f"{at[1]} at {SHOWN[THRESHOLDS[1]]} and {at[2]} at {SHOWN[FINE]}. Least is seen with "
        f"{seen.labels[worst]}: {seen.unseen(worst)} unseen."
    )
    verdict = {0.0: "no", 1.0: "yes"}.get(first.value, "undecided")
    cells = tuple(seen.cells[k] for k in chosen)
    return make("seen.others", question, verdict, sentence, first, seen.rows, cells, SHARES)


def _equations(seen: Seen, few: np.ndarray) -> Answer:
    """The cell whose trained rank is the least share of its equations decides."""
    question = "Does each of the N·D equations tell something of its own while N·D < P?"
    ranks, equations = seen.trained[COARSE], seen.n_equations[few]
    most = np.minimum(equations, seen.n_params[few] - np.nan_to_num(seen.gauge[few]))
    shares = medians(ranks.table[:, few] / most, 0.0, ranks.groups)
    least = shares.estimate(int(np.argmin(shares.middle)))
    ratios = equations / seen.n_params[few]
    sentence = (
        f"With fewer equations than parameters (N·D/P from {ratios.min():.2g} to "
        f"{ratios.max():.2g}, {span(shares.counts, 'replicate')} each), the rank at "
        f"{SHOWN[COARSE]} on the training points, as trained, is at least {estimate(least)} of the "
        f"number of equations; from {INDEPENDENT:g} on they count as independent."
    )
    verdict, cells = least.verdict(INDEPENDENT), tuple(seen.cells[k] for k in few)
    return make("equations", question, verdict, sentence, least, seen.rows, cells, BY_N)


def _plots(tables: Tables) -> Iterator[Plot]:
    seen = seen_in(tables.rows)
    if seen is None:
        return
    yield _shares(seen)
    ladders = [ladder for ladder in seen.design.ladders("N") if len(ladder.cells) > 2]
    if ladders:
        yield _along_n(seen, max(ladders, key=lambda ladder: len(ladder.cells)))


def _shares(seen: Seen) -> Plot:
    """P less the rank at initialisation, at the three thresholds, one line a cell."""
    kinds = seen.kinds()
    order = np.array(kinds[:MOST])
    P = seen.n_params[order]
    condition = curve(seen.rows, seen.cells, MEASURES["jacobian_condition"]).middle
    about = {"setting": seen.labels, "n_params": seen.n_params, "condition_trained": condition}
    figure, (axis,) = canvas(height=0.9 + 0.24 * len(order))
    parts, percent = [], {}
    for threshold, text in SHOWN.items():
        ranks = medians_table(seen.initial[threshold], seen.cells, threshold=threshold, **about)
        part = ranks.iloc[order]
        parts.append(part.assign(unseen_share=1 - part["median"] / P))
        low, median, high = (100 * (1 - part[name] / P) for name in ("high", "median", "low"))
        of_all = pd.DataFrame({"low": low, "median": median, "high": high})
        percent[f"threshold {text}"] = of_all
    data = pd.concat(parts, ignore_index=True)
    place = dot_plot(axis, [seen.labels[k] for k in order], percent, capsize=0)
    gauge = 100 * seen.gauge[order] / P
    axis.plot(gauge, place, "|", color="black", markersize=11, label="gauge alone", zorder=0)
    axis.set_xlabel("parameters unseen,\n1 − rank/P (%)")
    axis.set_xscale("symlog", linthresh=1.0, linscale=0.6)
    axis.set_xlim(0, 130 * max(data["unseen_share"]))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    finish(figure, axis, columns=4)
    more = len(kinds) - len(order)
    left_out = f" {plural(more, 'setting')} that see more left out." if more else ""
    title = "How much the accelerations cannot see, by setting"
    caption = (
        "Share of the parameters that the accelerations do not see at initialisation on "
        f"ample data, at three thresholds; median over {span(data['replicates'], 'replicate')} "
        "with 95 % intervals; the condition of the trained Jacobian is in the CSV. Upright bar: "
        f"the gauge directions alone. Linear axis below 1 %.{left_out}"
    )
    alt = (
        f"Dot plot of the share of unseen parameters for {plural(len(order), 'setting')}, from "
        f"{100 * data['unseen_share'].min():.2g} to {100 * data['unseen_share'].max():.2g} %."
    )
    return Plot(SHARES, title, caption, alt, data, figure)


def _along_n(seen: Seen, ladder: Ladder) -> Plot:
    """Ranks as trained, and the effective dimension, along N."""
    x, P = ladder.equations_per_param, ladder.n_params
    where = [seen.cells.index(cell) for cell in ladder.cells]
    tables = {
        f"rank at {text}": medians_table(seen.trained[threshold], seen.cells).iloc[where]
        for threshold, text in SHOWN.items()
    }
    effective = curve(seen.rows, ladder.cells, MEASURES["effective_dimension"])
    tables["effective dimension"] = medians_table(effective, ladder.cells)
    about = {"equations_per_param": x, "n_params": P}
    parts = [table.assign(line=label, **about) for label, table in tables.items()]
    data = pd.concat(parts, ignore_index=True)
    over_p = {
        label: t[["low", "median", "high"]].div(P, axis=0).assign(x=x)
        for label, t in tables.items()
    }
    figure, (axis,) = canvas(height=3.6)
    lines(axis, "x", over_p)
    fine = np.geomspace(x.min(), x.max(), 200)
    dashed = {"color": "black", "linewidth": 0.9, "linestyle": (0, (4, 3)), "zorder": 0}
    axis.plot(fine, np.minimum(fine, 1), **dashed)
    axis.axvline(1.0, color=COLOURS[-1], linewidth=0.8, alpha=0.5, zorder=0)
    ratio_axis(axis, x)
    axis.set_ylim(bottom=0)
    axis.set(xlabel="N·D/P", ylabel="share of P")
    finish(figure, axis, columns=2)
    most = data.loc[data["line"].str.startswith("rank"), "median"].max()
    caption = (
        f"{ladder.label}: rank of the trained network's Jacobian on its own points at "
        "three thresholds, and its effective dimension at 10⁻⁸ of the largest eigenvalue, over P; "
        f"median over {span(data['replicates'], 'replicate')}, bars: 95 % bootstrap interval. "
        "Dashed: as many as there are equations, at most P."
    )
    alt = (
        "Rank over P against equations per parameter; it follows the number of equations up to "
        f"{most:.0f}."
    )
    return Plot(BY_N, "Parameters seen by N points", caption, alt, data, figure)


QUESTION = Question(_answers, _plots, place=11.5, replaces=("compare.model", "compare.optimizer"))
