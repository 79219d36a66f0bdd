"""How many of the P unknowns can the accelerations see? The rank of d(qddot)/d(theta) says it.

The accelerations do not change under L -> a L + b: a plain network has 2 gauge directions, and 1
with a mass prior, which fixes the scale a.
"""

# ruff: noqa: RUF001 (a reader gets the minus sign)

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis import style
from study.analysis.answer import Answer, Question, Tables, curve, make, medians_table
from study.analysis.design import POINTS, WIDTH, Design, Ladder
from study.analysis.statistics.medians import Estimate, Medians, medians
from study.analysis.statistics.ratios import share
from study.analysis.words import QUESTIONED, count, estimate, level_name, plural, span
from study.tables.measures import IDENTIFIABILITY, MEASURES, THRESHOLDS

SHOWN = dict(zip(THRESHOLDS, ("1e-8", "1e-10", "1e-12"), strict=True))  # as a reader writes them
COARSE, *_, FINE = THRESHOLDS
SETTINGS = ("model.activation", "model.beta", "model.encoding", "model.mass_prior")
QUESTIONS_OWN = {"model": "lnn", "model.width": 32, "model.depth": 4}
QUESTIONS_OWN |= {name: QUESTIONED[name] for name in SETTINGS}
INDEPENDENT = 0.95  # share of the equations seen, from which on they count as independent
SPECTRUM, SHARES, BY_N = "spectrum_initial", "seen_share", "rank_by_n"
SPECTRA, MOST = 7, 26  # the most spectra, and the most settings, in one figure
ZERO = 1e-18  # relative singular values below are 0 to float64


@dataclass(frozen=True)
class Seen:
    """The K cells whose ranks were measured.

    - `labels`: each cell by what sets it apart from most others, and P; N is left out.
    - `own` (K,): which are the question's own network.
    - `initial`, `trained`: threshold -> medians of the rank, one column a cell; as initialised on
      ample data and as trained on the N training points.
    - `n_params`, `n_equations`, `gauge` (K,): P, N*D, and the directions that cannot be seen;
      `gauge` is NaN for a model other than the plain network.
    """

    rows: pd.DataFrame
    design: Design
    cells: tuple[str, ...]
    labels: list[str]
    own: np.ndarray
    initial: dict[str, Medians]
    trained: dict[str, Medians]
    n_params: np.ndarray
    n_equations: np.ndarray
    gauge: np.ndarray

    def unseen(self, k: int, trained: bool = False) -> str:
        """P less the median rank of one cell at each threshold: 1153 / 292 / 2."""
        ranks = self.trained if trained else self.initial
        return " / ".join(count(self.n_params[k] - ranks[t].middle[k]) for t in THRESHOLDS)

    def missing(self, threshold: str) -> np.ndarray:
        """(replicates, K) P less the rank at initialisation."""
        return self.n_params - self.initial[threshold].table

    def full(self, chosen: np.ndarray, threshold: str, exactly: bool = False) -> Estimate:
        """Share of replicates with P - rank = gauge (or, unless `exactly`, less)."""
        missing, gauge = self.missing(threshold)[:, chosen], self.gauge[chosen]
        hits = (missing == gauge) if exactly else (missing <= gauge)
        return share(int(hits.sum()), int((~np.isnan(missing)).sum()))

    def kinds(self) -> list[int]:
        """One cell for each label, that with the most points; those that see least first."""
        best: dict[str, int] = {}
        for k in np.argsort(-self.n_equations, kind="stable"):
            best.setdefault(self.labels[k], int(k))
        part = self.initial[COARSE].middle / self.n_params
        return sorted(best.values(), key=lambda k: (part[k], k))


def seen_in(rows: pd.DataFrame) -> Seen | None:
    """What was measured; None if nothing was."""
    if not set(IDENTIFIABILITY) <= set(rows):
        return None
    measured = rows.loc[np.isfinite(rows[IDENTIFIABILITY[:6]].to_numpy(float)).all(axis=1)]
    if measured.empty:
        return None
    design = Design(measured)
    table, cells = design.cells, tuple(str(cell) for cell in design.cells.index)
    own = np.all([table[name] == value for name, value in QUESTIONS_OWN.items()], axis=0)
    names = [name for name in design.varying if name not in (POINTS, WIDTH)]
    usual = {name: table[name].value_counts().index[0] for name in names}

    def label(cell: pd.Series, is_own: bool) -> str:
        parts = [level_name((f,), (cell[f],)) for f, most in usual.items() if cell[f] != most]
        if is_own:
            parts = ["the question's", str(cell["model.init"]).replace("_", " ")]
        return ", ".join([*parts, f"P = {count(cell['n_params'])}"])

    def ranks(kind: str) -> dict[str, Medians]:
        return {t: curve(measured, cells, MEASURES[f"{kind}_rank_{t}"]) for t in THRESHOLDS}

    prior = measured.drop_duplicates("cell")["model.mass_prior"].to_numpy(float)
    return Seen(
        rows=measured,
        design=design,
        cells=cells,
        labels=[label(row, o) for (_, row), o in zip(table.iterrows(), own, strict=True)],
        own=own,
        initial=ranks("initial"),
        trained=ranks("jacobian"),
        n_params=table["n_params"].to_numpy(float),
        n_equations=table["n_equations"].to_numpy(float),
        gauge=np.where(table["model"] == "lnn", np.where(prior > 0, 1.0, 2.0), np.nan),
    )


def _answers(tables: Tables) -> Iterator[Answer]:
    if (seen := seen_in(tables.rows)) is None:
        return
    for k in np.flatnonzero(seen.own):
        yield _of_question(seen, int(k))
    plain = ~np.isnan(seen.gauge)
    few = seen.n_equations < seen.n_params
    for answer, chosen in ((_gauge, plain), (_others, plain & ~seen.own), (_equations, few)):
        if chosen.any():
            yield answer(seen, np.flatnonzero(chosen))


def _of_question(seen: Seen, k: int) -> Answer:
    P, gauge = seen.n_params[k], seen.gauge[k]
    rank = seen.initial[COARSE].estimate(k)
    part = rank.map(lambda seen: seen / P)
    init = str(seen.design.cells.loc[seen.cells[k], "model.init"])
    sentence = (
        f"Of the P = {count(P)} parameters of the question's own network (initialised by "
        f"{init.replace('_', ' ')}), {seen.unseen(k)} are unseen at thresholds "
        f"{' / '.join(SHOWN.values())} as initialised on ample data; {count(gauge)} are gauge "
        f"directions. At {SHOWN[COARSE]} it sees a share of {estimate(part, digits=3)}."
    )
    if seen.n_equations[k] >= P:
        sentence += (
            f" Trained, on its own {count(seen.n_equations[k])} equations: "
            f"{seen.unseen(k, trained=True)} unseen."
        )
    verdict = "yes" if rank.low >= P - gauge else "no" if rank.high < P - gauge else "undecided"
    question = (
        "Apart from gauge, can the accelerations see all parameters of the question's network?"
    )
    id, cells = f"seen.question.{init}", seen.cells[k : k + 1]
    return make(id, question, verdict, sentence, part, seen.rows, cells, SPECTRUM, trained=False)


def _gauge(seen: Seen, chosen: np.ndarray) -> Answer:
    """Never fewer than the gauge directions are missing, and often just these."""
    exact, gauge = seen.full(chosen, FINE, exactly=True), seen.gauge[chosen]
    alike = np.all([seen.missing(t)[:, chosen] == gauge for t in THRESHOLDS], axis=0)
    fewer = int((seen.missing(FINE)[:, chosen] < gauge).sum())
    means = " and ".join(
        f"P − {g:g} {'without the' if g == 2 else 'with the'} mass prior"
        for g in sorted(set(gauge), reverse=True)
    )
    sentence = (
        f"Rank at initialisation {means}: so at {SHOWN[FINE]} in {100 * exact.value:.0f} % of "
        f"{plural(exact.n, 'replicate')}, at all three thresholds alike in {count(alike.sum())} of "
        f"them; {count(fewer)} see more than that."
    )
    question = (
        "Are the scale and the constant of L invisible, so that P − 2 parameters count (P − 1 with "
        "a mass prior)?"
    )
    verdict, cells = "no" if fewer else exact.verdict(0.5), tuple(seen.cells[k] for k in chosen)
    about = (exact, seen.rows, cells, SPECTRUM)
    return make("gauge", question, verdict, sentence, *about, trained=False)


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
    verdict = "yes" if first.value == 1 else "no" if first.high < 1 else "undecided"
    cells = tuple(seen.cells[k] for k in chosen)
    about = (first, seen.rows, cells, SHARES)
    return make("seen.others", question, verdict, sentence, *about, trained=False)


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


def _plots(tables: Tables) -> Iterator[style.Plot]:
    if (seen := seen_in(tables.rows)) is None:
        return
    if (curves := tables.curves) is not None:
        spectra = curves.loc[(curves["curve"] == "spectrum") & curves["cell"].isin(seen.cells)]
        for kind, own in spectra.groupby("metric", sort=True):  # 'initial' before 'trained'
            yield _spectra(seen, own, trained=kind == "trained")
    yield _shares(seen)
    if ladders := [ladder for ladder in seen.design.ladders("N") if len(ladder.cells) > 2]:
        yield _along_n(seen, max(ladders, key=lambda ladder: len(ladder.cells)))


def _spectra(seen: Seen, spectra: pd.DataFrame, trained: bool) -> style.Plot:
    """Of the question's network, and of others from the least to the most seen, evenly."""
    kinds = seen.kinds()
    own = sorted(k for k in kinds if seen.own[k])[-1:]
    others = [k for k in kinds if k not in own]
    spread = np.linspace(0, len(others) - 1, min(len(others), SPECTRA - len(own))).round()
    chosen = [*own, *(others[int(k)] for k in np.unique(spread))]
    chosen.sort(key=lambda k: (seen.n_params[k], k))
    figure, (axis,) = style.canvas(height=4.2)
    parts = []
    for place, k in enumerate(chosen):
        replicates = spectra.loc[spectra["cell"] == seen.cells[k]]
        values = replicates.groupby("x")["value"].median()
        P, unseen = seen.n_params[k], seen.unseen(k, trained)
        about = {"cell": seen.cells[k], "setting": seen.labels[k], "n_params": P, "unseen": unseen}
        part = pd.DataFrame({**about, "index": values.index, "share": values.index / P})
        n = replicates["replicate"].nunique()
        part = part.assign(relative_singular_value=values.to_numpy(), replicates=n)
        every = max(1, len(part) // 6)
        look_of = {"markevery": (len(part) // 12 * place % every, every), "linewidth": 1.2}
        look_of |= {"label": f"{seen.labels[k]}: {unseen}", "markersize": 3.5}
        look_of |= style.look(place, len(chosen))
        axis.plot(part["share"], np.maximum(part["relative_singular_value"], ZERO), **look_of)
        parts.append(part)
    for threshold in map(float, THRESHOLDS):
        axis.axhline(
            threshold, color=style.REFERENCE, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0
        )
    axis.set(xlabel="index / P", ylabel="singular value / largest")
    style.decade_axis(axis)
    style.finish(figure, axis, columns=1)
    data = pd.concat(parts, ignore_index=True)
    when = "as trained, on the training points" if trained else "at initialisation, on ample data"
    by_setting = data.groupby("setting")["unseen"].first()
    title = f"What the accelerations can see, {'trained' if trained else 'at initialisation'}"
    caption = (
        "Singular values of the derivative of the accelerations by the parameters, "
        f"{when}; float64, median over {span(data['replicates'], 'replicate')}. Dashed: the "
        f"thresholds {', '.join(SHOWN.values())}. In the legend: P − rank at each of them; 2 of "
        f"these are gauge without the mass prior, 1 with it. {plural(len(chosen), 'cell')} of "
        f"{len(seen.cells)} shown; what is below 10⁻¹⁸ is drawn there."
    )
    unseen = "; ".join(f"{label}: {text}" for label, text in by_setting.items())
    alt = (
        "Relative singular values against their index over P on a logarithmic axis; unseen "
        f"{unseen}."
    )
    id = "spectrum_trained" if trained else SPECTRUM
    return style.Plot(id, title, caption, alt, data, figure)


def _shares(seen: Seen) -> style.Plot:
    """P less the rank at initialisation, at the three thresholds, one line a cell."""
    kinds = seen.kinds()
    order = np.array(kinds[:MOST])
    P = seen.n_params[order]
    condition = curve(seen.rows, seen.cells, MEASURES["jacobian_condition"]).middle
    about = {"setting": seen.labels, "n_params": seen.n_params, "condition_trained": condition}
    figure, (axis,) = style.canvas(height=0.9 + 0.24 * len(order))
    parts, percent = [], {}
    for threshold, text in SHOWN.items():
        ranks = medians_table(seen.initial[threshold], seen.cells, threshold=threshold, **about)
        part = ranks.iloc[order]
        parts.append(part.assign(unseen_share=1 - part["median"] / P))
        seen_share = part[["high", "median", "low"]].div(P, axis=0)
        unseen = (100 * (1 - seen_share)).set_axis(["low", "median", "high"], axis=1)
        percent[f"threshold {text}"] = unseen
    data = pd.concat(parts, ignore_index=True)
    place = style.dot_plot(axis, [seen.labels[k] for k in order], percent, capsize=0)
    gauge = 100 * seen.gauge[order] / P
    axis.plot(gauge, place, "|", color="black", markersize=11, label="gauge alone", zorder=0)
    axis.set_xlabel("parameters unseen,\n1 − rank/P (%)")
    axis.set_xscale("symlog", linthresh=1.0, linscale=0.6)
    axis.set_xlim(0, 130 * max(data["unseen_share"]))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    style.finish(figure, axis, columns=4)
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
    return style.Plot(SHARES, title, caption, alt, data, figure)


def _along_n(seen: Seen, ladder: Ladder) -> style.Plot:
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
    data, limits = pd.concat(parts, ignore_index=True), ["low", "median", "high"]
    figure, (axis,) = style.canvas(height=3.6)
    style.lines(axis, "x", {k: t[limits].div(P, axis=0).assign(x=x) for k, t in tables.items()})
    fine = np.geomspace(x.min(), x.max(), 200)
    dashed = {"color": "black", "linewidth": 0.9, "linestyle": (0, (4, 3)), "zorder": 0}
    axis.plot(fine, np.minimum(fine, 1), **dashed)
    axis.axvline(1.0, color=style.COLOURS[-1], linewidth=0.8, alpha=0.5, zorder=0)
    style.ratio_axis(axis, x)
    axis.set_ylim(bottom=0)
    axis.set(xlabel="N·D/P", ylabel="share of P")
    style.finish(figure, axis, columns=2)
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
    return style.Plot(BY_N, "Parameters seen by N points", caption, alt, data, figure)


QUESTION = Question(_answers, _plots, place=11, replaces=("compare.model", "compare.optimizer"))
