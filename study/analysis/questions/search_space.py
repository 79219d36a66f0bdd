"""What a search tried, setting by setting: slices and parallel coordinates, as Optuna has them.

No answers: which settings matter and whether the best lies inside are those of `search_settings`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps

from study.analysis.answer import Question, Tables
from study.analysis.design import sort_key
from study.analysis.marks import mark
from study.analysis.searches import SearchResults
from study.analysis.style import Plot, canvas, decade_axis, finish, ring
from study.analysis.words import number, plural
from study.config.factors import short_name

MOST = 8  # settings in a figure


def _plots(tables: Tables) -> Iterator[Plot]:
    """Of the first search that has two finite trials."""
    for search in tables.searches:
        trials = _finite(search)
        if len(trials) > 1:
            keys = search.used(search.best_trial).head(MOST)
            yield _slices(tables, search, trials, keys)
            if len(keys) > 1:
                yield _parallel(tables, search, trials, keys)
            return


QUESTION = Question(lambda _: (), _plots, place=125, about_searches=True)


def _finite(search: SearchResults) -> pd.DataFrame:
    """The complete trials whose objectives are finite and positive, the worst first."""
    names = [objective.column for objective in search.objectives]
    values = search.complete[names].to_numpy(float)
    good = (np.isfinite(values) & (values > 0)).all(axis=1)
    return search.complete.loc[good].sort_values(names[0], ascending=False)


def _places(trials: pd.DataFrame, key: dict[str, Any]) -> tuple[np.ndarray, dict[float, str]]:
    """Where values stand on the axis of a setting, and the labels of a choice's."""
    values = trials[key["key"]].to_numpy()
    if key["kind"] != "choice":
        return values.astype(float), {}
    levels = sorted(set(values), key=lambda value: sort_key((value,)))
    places = {value: float(k) for k, value in enumerate(levels)}
    labels = [f"{value:g}" if isinstance(value, float) else str(value) for value in levels]
    return np.array([places[value] for value in values]), dict(enumerate(labels))


def _slices(
    tables: Tables, search: SearchResults, trials: pd.DataFrame, keys: pd.DataFrame
) -> Plot:
    objective, columns = search.objectives[0], min(2, len(keys))
    lines = -(-len(keys) // columns)
    figure, axes = canvas(lines, columns, height=0.6 + 2.1 * lines, sharey=True)
    y = trials[objective.column].to_numpy(float)
    for axis in axes[len(keys) :]:
        axis.set_visible(False)
    for k, (axis, key) in enumerate(zip(axes, keys.to_dict("records"), strict=False)):
        x, labels = _places(trials, key)
        axis.scatter(x, y, c=trials["number"], cmap="viridis_r", s=16, linewidths=0)
        mark(axis, x, y, trials.filter(["cell"]))
        ring(axis, x[-1], y[-1])
        axis.set_xlabel(short_name(key["key"]))
        axis.set_yscale("log")
        if labels:
            axis.set_xticks(list(labels), list(labels.values()))
            axis.set_xlim(-0.5, len(labels) - 0.5)
        elif key["log"]:
            axis.set_xscale("log")
            decade_axis(axis, "x", most=5)
        if k % columns == 0:
            axis.set_ylabel(objective.axis.replace(" (", "\n("))
    axes[0].margins(y=0.12)  # the ring stays inside
    decade_axis(axes[0])
    finish(figure)
    caption = (
        f"Each dot one of {plural(len(trials), 'trial')} with finite errors{_which(tables, search)}"
        ", dark ones later; ring: the best. Median over the replicates it was chosen by."
    )
    alt = (
        f"{objective.words} of {plural(len(trials), 'trial')} against each of "
        f"{plural(len(keys), 'setting')}; the least is {number(float(y[-1]))}."
    )
    data = _data(search, trials)
    return Plot("search_slices", "The trials by each setting", caption, alt, data, figure)


def _parallel(
    tables: Tables, search: SearchResults, trials: pd.DataFrame, keys: pd.DataFrame
) -> Plot:
    scales = [(short_name(key["key"]), *_scaled(trials, key)) for key in keys.to_dict("records")]
    for objective in reversed(search.objectives):
        key = {"key": objective.column, "kind": "number", "log": True}
        scales.insert(0, (objective.words, *_scaled(trials, key)))
    heights = np.stack([heights for _, heights, _ in scales], axis=1)
    figure, (axis,) = canvas(height=4.2)
    for k, line in enumerate(heights):  # the best last, on top
        rank = k / (len(heights) - 1)
        width = 2.2 if k == len(heights) - 1 else 0.9
        colour = colormaps["viridis_r"](rank)
        axis.plot(line, color=colour, linewidth=width, alpha=0.35 + 0.65 * rank)
    ground = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
    for place, (_, _, ticks) in enumerate(scales):
        axis.axvline(place, color="#555555", linewidth=0.8, zorder=0)
        for height, words in ticks.items():
            axis.text(place + 0.04, height, words, fontsize=8, va="center", bbox=ground)
    axis.set_xticks(range(len(scales)), [textwrap.fill(name, 14) for name, _, _ in scales])
    axis.set_yticks([])
    axis.set_xlim(-0.1, len(scales) - 0.5)
    axis.grid(False)
    finish(figure)
    axis.spines["left"].set_visible(False)
    caption = (
        f"Each line one of {plural(len(trials), 'trial')} with finite errors"
        f"{_which(tables, search)}, from the worst (light) to the best (dark, thick) in "
        f"{search.objectives[0].words}; each axis from its lowest to its highest value."
    )
    alt = (
        f"Parallel coordinates of {plural(len(trials), 'trial')} over "
        f"{plural(len(keys), 'setting')}, coloured by {search.objectives[0].words}."
    )
    title = "The trials over all settings"
    return Plot("search_parallel", title, caption, alt, _data(search, trials), figure)


def _scaled(trials: pd.DataFrame, key: dict[str, Any]) -> tuple[np.ndarray, dict[float, str]]:
    """Heights between 0 and 1 on an axis of its own, and the labels of its ends or choices."""
    x, labels = _places(trials, key)
    shown = labels or {float(end): number(float(end)) for end in (x.min(), x.max())}
    if key["log"] and not labels:
        x, shown = np.log(x), {float(np.log(end)): words for end, words in shown.items()}
    low, length = x.min(), np.ptp(x) or 1.0
    return (x - low) / length, {(end - low) / length: words for end, words in shown.items()}


def _which(tables: Tables, search: SearchResults) -> str:
    if len(tables.searches) == 1:
        return ""
    return f" at {search.label}, one of {plural(len(tables.searches), 'search', 'searches')}"


def _data(search: SearchResults, trials: pd.DataFrame) -> pd.DataFrame:
    names = [*search.keys["key"], *(objective.column for objective in search.objectives)]
    return trials.filter(["number", *dict.fromkeys(names)]).sort_values("number")
