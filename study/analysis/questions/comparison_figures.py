"""Figures that set levels side by side: dot plots and the heat map of activation and beta.

Knows: comparisons. Does not know: ladders, curves over time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import LogNorm
from matplotlib.ticker import NullLocator

from study.analysis.answer import Question, Tables, curve
from study.analysis.design import Comparison, Design
from study.analysis.questions import comparison_answers
from study.analysis.questions.beta_answers import as_it_comes
from study.analysis.questions.comparison_answers import COMBINED, figure_id
from study.analysis.style import Plot, bars, bars_are, canvas, decade_axis, finish, look
from study.analysis.wording import capital, number, plural, span
from study.tables.measures import MEASURES, TEST, VALID_TIME, Measure

MOST = 24  # settings in one dot plot


def plots(rows: pd.DataFrame, design: Design) -> Iterator[Plot]:
    """The heat map where activation and beta were swept, all cells, and each comparison."""
    if set(COMBINED) <= set(design.varying) and (both := design.compare(COMBINED)):
        yield _heat_map(rows, both)
    comparisons = [c for c in design.comparisons() if c.factors != COMBINED]
    if comparisons and len(design.cells) <= MOST:
        yield _all_cells(rows, design)
    for comparison in comparisons:
        yield _compared(rows, comparison)


def _heat_map(rows: pd.DataFrame, both: Comparison) -> Plot:
    cells = both.cells
    medians = curve(rows, cells, TEST)
    design = rows.drop_duplicates("cell").set_index("cell")
    found = [medians.estimate(k) for k in range(len(cells))]
    data = pd.DataFrame(
        {
            "cell": cells,
            "activation": [design.loc[c, "model.activation"] for c in cells],
            "beta": [design.loc[c, "model.beta"] for c in cells],
            "median": [e.value for e in found],
            "low": [e.low for e in found],
            "high": [e.high for e in found],
            "replicates": [e.n for e in found],
        }
    )
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
    bar = figure.axes[-1]  # seaborn keeps it to itself
    decade_axis(bar, most=5)
    bar.yaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("beta")
    axis.set_ylabel("")
    axis.set_xticks(axis.get_xticks(), [f"{b:g}" for b in grid.columns])
    axis.tick_params(length=0, rotation=0)
    axis.grid(False)
    title = "Median test error by activation and beta"
    finish(figure)
    groups = len(both.groups)
    over = f", geometric mean over {plural(groups, 'setting')} of the rest" if groups > 1 else ""
    return Plot(
        id="activation_beta",
        title=title,
        caption=f"Median test error over {span(data['replicates'], 'replicate')} a cell{over}; "
        "smaller is better. Intervals are in the CSV.",
        alt=f"Heat map of the median test error for {plural(len(grid), 'activation')} and "
        f"{len(grid.columns)} values of beta, from {number(finite.min())} to "
        f"{number(finite.max())}.",
        data=data,
        figure=figure,
    )


def _compared(rows: pd.DataFrame, comparison: Comparison) -> Plot:
    labels = list(comparison.groups)[:MOST]
    data = pd.concat(
        [
            _dots(rows, tuple(comparison.groups[g][i] for g in labels), labels, level, measure)
            for measure in (TEST, VALID_TIME)
            for i, level in enumerate(comparison.levels)
        ],
        ignore_index=True,
    )
    title = f"{capital(comparison.name)} compared, all else equal"
    return _dot_plot(data, figure_id(comparison), title, len(comparison.groups) - len(labels))


def _all_cells(rows: pd.DataFrame, design: Design) -> Plot:
    centre = curve(rows, tuple(design.cells.index), TEST).middle
    ranked = design.cells.index[np.argsort(-centre, kind="stable")]
    cells = tuple(str(cell) for cell in ranked)
    labels = [design.label(cell) for cell in cells]
    data = pd.concat(
        [_dots(rows, cells, labels, "", measure) for measure in (TEST, VALID_TIME)],
        ignore_index=True,
    )
    return _dot_plot(data, "all_cells", "All cells side by side", 0)


def _dots(rows, cells, labels, level: str, measure: Measure) -> pd.DataFrame:
    medians = curve(rows, cells, measure)
    found = [medians.estimate(k) for k in range(len(cells))]
    return pd.DataFrame(
        {
            "measure": measure.column,
            "setting": labels,
            "level": level,
            "cell": cells,
            "median": [e.value for e in found],
            "low": [e.low for e in found],
            "high": [e.high for e in found],
            "replicates": [e.n for e in found],
        }
    )


def _dot_plot(data: pd.DataFrame, id: str, title: str, more: int) -> Plot:
    settings = list(dict.fromkeys(data["setting"]))
    levels = list(dict.fromkeys(data["level"]))
    measures = [MEASURES[name] for name in dict.fromkeys(data["measure"])]
    place = {setting: len(settings) - 1 - k for k, setting in enumerate(settings)}
    labels = [_wrap(setting) or "all" for setting in settings]
    each = [max(0.15 * (1 + label.count("\n")), 0.13 * len(levels)) + 0.1 for label in labels]
    figure, axes = canvas(
        columns=len(measures), height=max(1.2, len(each) * max(each)) + 0.7, sharey=True
    )
    for axis, measure in zip(axes, measures, strict=True):
        for k, level in enumerate(levels):
            part = data.loc[(data["measure"] == measure.column) & (data["level"] == level)]
            part = part.loc[np.isfinite(part["median"].to_numpy(float))]
            value = part["median"].to_numpy()
            offset = 0.6 * ((len(levels) - 1) / 2 - k) / max(1, len(levels))
            axis.errorbar(
                value,
                np.array([place[s] for s in part["setting"]]) + offset,
                xerr=bars(part["low"].to_numpy(), value, part["high"].to_numpy()),
                linestyle="none",
                capsize=2.0,
                elinewidth=1.0,
                label=level or None,
                **look(k, len(levels)),
            )
        axis.set_yticks(list(place.values()), labels)
        axis.set_ylim(-0.6, len(settings) - 0.4)
        axis.set_xlabel(measure.axis.replace(" (", "\n("))
        if measure.lower_is_better:
            decade_axis(axis, "x", most=4)
        else:
            axis.set_xlim(left=0)
    finish(figure, axes[0] if levels != [""] else None)
    words = " and ".join(m.words for m in measures)
    left_out = f" {plural(more, 'further setting')} left out." if more else ""
    tests = data.loc[data["measure"] == TEST.column]
    best = tests.iloc[int(np.argmin(tests["median"].to_numpy(float)))]
    return Plot(
        id=id,
        title=title,
        caption=f"{capital(words)}; median over {span(data['replicates'], 'replicate')}; "
        f"{bars_are(data['replicates'])}.{left_out}",
        alt=f"Dot plot of {words} for {plural(len(settings), 'setting')}; smallest median test "
        f"error {number(best['median'])} for {best['setting']} {best['level']}.".replace(" .", "."),
        data=data,
        figure=figure,
    )


def _wrap(text: str) -> str:
    """A long label over several lines, broken at its commas."""
    lines = [""]
    for part in text.split(", "):
        if lines[-1] and len(lines[-1]) + len(part) > 34:
            lines.append("")
        lines[-1] += (", " if lines[-1] else "") + part
    return ",\n".join(lines)


def _chosen(tables: Tables) -> tuple[pd.DataFrame, Design]:
    rows = as_it_comes(tables.rows)
    return rows, tables.design if rows is tables.rows else Design(rows)


QUESTION = Question(
    lambda t: comparison_answers.compared(*_chosen(t)),
    lambda t: plots(*_chosen(t)),
    place=50,
)
