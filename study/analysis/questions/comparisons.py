"""Do factors without an order of their own matter: sampling order, trajectories, activation?

Statistic: the test error of the worst level over that of the best, geometric mean over the groups
of cells in which all else is equal. Figures: the levels side by side, all cells, and the heat map
of activation and beta.
"""

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import LogNorm
from matplotlib.ticker import NullLocator

from study.analysis.answer import (
    Answer,
    Question,
    Tables,
    curve,
    diverged_remark,
    make,
    medians_of,
)
from study.analysis.design import Comparison, Design
from study.analysis.questions import factorial
from study.analysis.questions.beta import as_it_comes
from study.analysis.statistics.limits import CHANGED
from study.analysis.statistics.medians import LEVEL
from study.analysis.statistics.ratios import mean_ratio
from study.analysis.style import Plot, bars_are, canvas, decade_axis, dot_plot, finish, legible
from study.analysis.words import capital, estimate, number, plural, span, with_article
from study.tables.measures import TEST, VALID_TIME
from study.tables.schema import RESULTS

ASKS: dict[tuple[str, ...], str] = {
    ("data.order",): "Does the order of the points (shuffled or along the curve) matter?",
    ("data.n_trajectories",): "Do many initial conditions instead of few matter?",
    ("data.noise",): "Does label noise matter?",
    ("model.activation",): "Does the activation matter?",
    ("model.beta",): "Does beta matter?",
}
COMBINED = ("model.activation", "model.beta")
MOST = 24  # settings in one dot plot


def _comparisons(tables: Tables) -> tuple[pd.DataFrame, Design, list[Comparison]]:
    """The rows compared, their design and its comparisons; activation with beta first.

    Rows whose initial scale is held (`beta`) are no part of them. A full factorial has none:
    `factorial` says more.
    """
    rows = as_it_comes(tables.rows)
    design = tables.design if rows is tables.rows else Design(rows)
    if factorial.found(design):
        return rows, design, []
    comparisons = [c for c in design.comparisons() if c.factors != COMBINED]
    both = design.compare(COMBINED) if set(COMBINED) <= set(design.varying) else None
    return rows, design, [both, *comparisons] if both else comparisons


def answers(tables: Tables) -> Iterator[Answer]:
    rows, _, comparisons = _comparisons(tables)
    for comparison in comparisons:
        yield _matters(rows, comparison)


def _matters(rows: pd.DataFrame, comparison: Comparison) -> Answer:
    names, n_groups = comparison.levels, len(comparison.groups)
    by_level = np.array(list(comparison.groups.values())).T
    columns = np.arange(by_level.size).reshape(by_level.shape)  # of the medians: levels by groups
    test, times = (curve(rows, tuple(by_level.flat), measure) for measure in (TEST, VALID_TIME))
    with np.errstate(divide="ignore"):  # geometric means over the groups
        error, time = (np.exp(np.log(m.middle[columns]).mean(axis=1)) for m in (test, times))
    best, *others = np.argsort(error, kind="stable").tolist()
    worst, n_levels = others[-1], len(names)
    # the two were chosen among all pairs of levels by what they show, so the interval is widened
    level = 1 - (1 - LEVEL) / (n_levels * (n_levels - 1) / 2)

    over_best = {i: mean_ratio(test, columns[i], columns[best], level) for i in others}
    factor = over_best[worst]
    equal = [names[i] for i in others if over_best[i].verdict() != "yes"]
    ties = ""
    if n_levels > 2:
        ties = f" {capital(names[best])} is best of {n_levels} beyond the intervals."
        if equal:
            more = f" and {len(equal) - 4} more" if len(equal) > 4 else ""
            ties = f" Of {n_levels}, not told apart from the best: {'; '.join(equal[:4])}{more}."
    over = f", over {plural(n_groups, 'setting')} of the rest" if n_groups > 1 else ""
    sentence = (
        f"The {TEST.words} with {with_article(names[worst])} is {estimate(factor)} times that with "
        f"{with_article(names[best])} ({number(error[worst])} against {number(error[best])}), and "
        f"the valid time {number(time[worst])} s against {number(time[best])} s{over}, all else "
        f"equal.{ties}{diverged_remark(test)}"
    )
    question = f"Does it matter which {comparison.name}?"
    if comparison.name == "recipe":
        question = "Do the question's own settings matter, beside the good defaults?"
    question = ASKS.get(comparison.factors, question)
    id, about = f"compare.{comparison.name.replace(' ', '_')}", (rows, comparison.cells)
    figure, verdict = figure_id(comparison), CHANGED.verdict(factor)
    return make(id, question, verdict, sentence, factor, *about, figure, turn=CHANGED)


def figure_id(comparison: Comparison) -> str:
    """The figure that shows a comparison, which names files: by a number if an unknown factor,
    which may be called anything (`../x`), is in it."""
    if set(comparison.factors) == set(COMBINED):
        return "activation_beta"
    if not set(comparison.factors) <= {*RESULTS.columns, "setting"}:
        return f"compare_other_{zlib.crc32(repr(comparison.factors).encode()):08x}"
    return f"compare_{comparison.name.replace(' ', '_')}"


def plots(tables: Tables) -> Iterator[Plot]:
    rows, design, comparisons = _comparisons(tables)
    if comparisons and comparisons[0].factors == COMBINED:
        yield _heat_map(rows, comparisons.pop(0))
    if comparisons and len(design.cells) <= MOST:
        centre = curve(rows, tuple(design.cells.index), TEST).middle
        order = [str(cell) for cell in design.cells.index[np.argsort(-centre, kind="stable")]]
        labels = [design.label(cell) for cell in order]
        yield _dot_plot(rows, labels, {"": order}, "all_cells", "All cells side by side")
    for comparison in comparisons:
        by_level = map(list, zip(*comparison.groups.values(), strict=True))
        cells = dict(zip(comparison.levels, by_level, strict=True))
        title = f"{capital(comparison.name)} compared, all else equal"
        yield _dot_plot(rows, list(comparison.groups), cells, figure_id(comparison), title)


def _heat_map(rows: pd.DataFrame, both: Comparison) -> Plot:
    factors = rows.drop_duplicates("cell").set_index("cell").loc[list(both.cells)]
    activation, beta = (factors[name].to_numpy() for name in COMBINED)
    data = medians_of(rows, both.cells, TEST, activation=activation, beta=beta)
    logs = data.assign(log=np.log(data["median"].to_numpy(float)))
    grid = logs.pivot_table(index="activation", columns="beta", values="log", sort=True)
    grid = grid.iloc[np.argsort(grid.to_numpy(float).mean(axis=1), kind="stable")].apply(np.exp)
    figure, (axis,) = canvas(height=1.6 + 0.5 * len(grid))
    finite = grid.to_numpy()[np.isfinite(grid.to_numpy())]
    low, high = finite.min(), max(finite.max(), finite.min() * 1.5)
    sns.heatmap(
        grid.replace(np.inf, np.nan),
        ax=axis,
        norm=LogNorm(low, high),
        cmap="cividis_r",
        annot=np.array([[number(v) for v in line] for line in grid.to_numpy()]),
        fmt="",
        annot_kws={"size": 8.5},
        linewidths=1,
        cbar_kws={"label": TEST.label, "aspect": 16},
    )
    mesh: Any = axis.collections[0]
    written = ~np.ma.getmaskarray(np.ma.ravel(mesh.get_array()))
    for text, ground in zip(axis.texts, mesh.get_facecolors()[written], strict=True):
        text.set_color(legible(ground))
    bar = figure.axes[-1]  # seaborn keeps it to itself
    decade_axis(bar, most=5)
    bar.yaxis.set_minor_locator(NullLocator())
    axis.set(xlabel="beta", ylabel="")
    axis.set_xticks(axis.get_xticks(), [f"{b:g}" for b in grid.columns])
    axis.tick_params(length=0, rotation=0)
    axis.grid(False)
    finish(figure)
    groups = len(both.groups)
    over = f", geometric mean over {plural(groups, 'setting')} of the rest" if groups > 1 else ""
    title = "Median test error by activation and beta"
    caption = (
        f"Median test error over {span(data['replicates'], 'replicate')} a cell{over}; "
        "smaller is better. Intervals are in the CSV."
    )
    alt = (
        f"Heat map of the median test error for {plural(len(grid), 'activation')} and "
        f"{len(grid.columns)} values of beta, from {number(finite.min())} to "
        f"{number(finite.max())}."
    )
    return Plot("activation_beta", title, caption, alt, data, figure)


def _dot_plot(
    rows: pd.DataFrame, labels: list[str], cells: dict[str, list[str]], id: str, title: str
) -> Plot:
    """Test error and valid time, one line a label (from the top) and one colour a level.

    `cells[level]`: one cell a label.
    """
    measures = (TEST, VALID_TIME)
    left_out, labels = len(labels[MOST:]), labels[:MOST]
    settings = [_wrap(label) or "all" for label in labels]
    heights = [max(0.15 * (1 + s.count("\n")), 0.13 * len(cells)) + 0.1 for s in settings]
    height = max(1.2, len(labels) * max(heights)) + 0.7
    figure, axes = canvas(columns=len(measures), height=height, sharey=True)
    drawn = []
    for axis, measure in zip(axes, measures, strict=True):
        named = {"measure": measure.column, "setting": labels}
        tables = {
            level: medians_of(rows, own[:MOST], measure, **named, level=level)
            for level, own in cells.items()
        }
        dot_plot(axis, settings, tables)
        drawn += tables.values()
        axis.set_xlabel(measure.axis.replace(" (", "\n("))
        if measure.lower_is_better:
            decade_axis(axis, "x", most=4)
        else:
            axis.set_xlim(left=0)
    finish(figure, None if "" in cells else axes[0])
    data = pd.concat(drawn, ignore_index=True)
    words = " and ".join(measure.words for measure in measures)
    more = f" {plural(left_out, 'further setting')} left out." if left_out else ""
    tests = data.loc[data["measure"] == TEST.column]
    best = tests.iloc[int(np.argmin(tests["median"].to_numpy(float)))]
    caption = (
        f"{capital(words)}; median over {span(data['replicates'], 'replicate')}; "
        f"{bars_are(data['replicates'])}.{more}"
    )
    alt = (
        f"Dot plot of {words} for {plural(len(labels), 'setting')}; smallest median test "
        f"error {number(best['median'])} for {best['setting']} {best['level']}.".replace(" .", ".")
    )
    return Plot(id, title, caption, alt, data, figure)


def _wrap(text: str) -> str:
    """A long label over several lines, broken at its commas."""
    lines = [""]
    for part in text.split(", "):
        if lines[-1] and len(lines[-1]) + len(part) > 34:
            lines.append("")
        lines[-1] += (", " if lines[-1] else "") + part
    return ",\n".join(lines)


QUESTION = Question(answers, plots, place=50)
