"""Figures of a search: its history, which keys matter, how its choice holds with new seeds.

Knows: searches, rows. Does not know: fronts (`pareto_figures`), how importance is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from study.analysis.answer import Question, curve
from study.analysis.questions import search_answers
from study.analysis.questions.search_answers import HISTORY, IMPORTANCE, RERUN, reruns
from study.analysis.questions.searches import Search, spread
from study.analysis.statistics.importance import DRAWS, TOP
from study.analysis.style import (
    COLOURS,
    REFERENCE,
    Plot,
    bars,
    bars_are,
    canvas,
    decade_axis,
    finish,
    look,
)
from study.analysis.wording import capital, number, plural, span
from study.tables.measures import TEST, Measure

MOST = 12  # searches in one figure
OTHER = ("failed", "impossible", "diverged")  # trials without a value to draw


def plots(rows: pd.DataFrame, searches: Sequence[Search]) -> Iterator[Plot]:
    """The figures that a study's searches support.

    **Arguments:**

    - `rows`: all results, those of trials too.
    """
    if not searches:
        return
    yield _history(rows, searches)
    yield from _importance(searches)
    yield from _rerun(rows, searches)


def history(rows: pd.DataFrame, search: Search, objective: Measure) -> pd.DataFrame:
    """One row a trial: what became of it, its value, the best of those so far, its range."""
    trials = search.trials
    name = objective.column
    values = trials[name].to_numpy(float)
    state = trials["state"].to_numpy(object)
    state = np.where((state == "complete") & ~np.isfinite(values), "diverged", state)
    complete = state == "complete"
    best = np.minimum.accumulate(np.where(complete, values, np.inf))
    # judged by the median test error: in another objective a pruned trial has no value
    last = trials["last"].to_numpy(float) if name == TEST.column else np.full(len(trials), np.nan)
    ranges = spread(rows, tuple(trials["cell"]), objective)
    return pd.DataFrame(
        {
            "search": search.name,
            "point": search.label,
            "objective": name,
            "number": trials["number"].to_numpy(),
            "state": state,
            "steps": trials["steps"].to_numpy(),
            "value": np.where(complete, values, np.where(state == "pruned", last, np.nan)),
            "low": np.where(complete, ranges["low"].to_numpy(float), np.nan),
            "high": np.where(complete, ranges["high"].to_numpy(float), np.nan),
            "replicates": np.where(complete, ranges["replicates"].to_numpy(float), np.nan),
            "best_so_far": np.where(np.isfinite(best), best, np.nan),
        }
    )


def _history(rows: pd.DataFrame, searches: Sequence[Search]) -> Plot:
    panels = [(search, objective) for search in searches for objective in search.objectives]
    data = [history(rows, search, objective) for search, objective in panels]
    shown = list(zip(panels, data, strict=True))[:MOST]
    columns = 1 if len(shown) == 1 else 2 if len(shown) <= 4 else 3
    lines = -(-len(shown) // columns)
    same = len({objective.column for _, objective in panels}) == 1
    figure, axes = canvas(
        lines, columns, height=3.6 if lines == 1 else 0.5 + 1.75 * lines, sharex=True, sharey=same
    )
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    for axis, ((search, _), part) in zip(axes, shown, strict=False):
        _trials(axis, part)
        axis.set_title(search.label)
        axis.set_yscale("log")
    for k, (axis, ((_, objective), _)) in enumerate(zip(axes, shown, strict=False)):
        decade_axis(axis, most=5 if lines > 1 else 7)
        if k + columns >= len(shown):
            axis.set_xlabel("trial")
            axis.tick_params(labelbottom=True)
        if not same or k % columns == 0:
            axis.set_ylabel(objective.axis.replace(" (", "\n("))
    _one_legend(axes)
    finish(figure, axes[0])
    table = pd.concat(data, ignore_index=True)
    n_of = table.drop_duplicates(["search", "number"])["state"].value_counts()
    became = ", ".join(f"{n_of[s]} {s}" for s in ("complete", "pruned", *OTHER) if s in n_of)
    left_out = len(panels) - len(shown)
    more = f" {plural(left_out, 'further panel')} in the CSV alone." if left_out else ""
    replicates = table["replicates"].dropna().astype(int)
    over = span(replicates, "replicate") if len(replicates) else "no replicates"
    best = float(np.nanmin([*table["best_so_far"].to_numpy(float), np.inf]))
    return Plot(
        id=HISTORY,
        title="What the search found, trial by trial",
        caption=(
            f"{plural(int(n_of.sum()), 'trial')} ({became}). Dots: median "
            f"over {over}, bars their range; line: the best so far; crosses: pruned trials, at the "
            f"error where they ended; ticks at the top: trials without a value.{more}"
        ),
        alt=f"Error against trial number with the best so far, {became}; the least is "
        f"{number(best)}.",
        data=table,
        figure=figure,
    )


def _trials(axis: Axes, part: pd.DataFrame) -> None:
    x, y = part["number"].to_numpy(float), part["value"].to_numpy(float)
    complete = (part["state"] == "complete").to_numpy()
    pruned = (part["state"] == "pruned").to_numpy() & np.isfinite(y)
    value = y[complete]
    length = bars(part["low"].to_numpy()[complete], value, part["high"].to_numpy()[complete])
    axis.errorbar(
        x[complete],
        value,
        yerr=length,
        linestyle="none",
        marker="o",
        markersize=3.5,
        elinewidth=0.8,
        color=COLOURS[0],
        label="trained to the end",
    )
    if pruned.any():
        axis.plot(
            x[pruned],
            y[pruned],
            linestyle="none",
            marker="x",
            markersize=4,
            color=REFERENCE,
            label="pruned",
        )
    others = ~complete & ~pruned & (part["state"] != "running").to_numpy()
    if others.any():
        axis.plot(
            x[others],
            np.full(int(others.sum()), 0.99),
            transform=axis.get_xaxis_transform(),
            linestyle="none",
            marker="|",
            color=COLOURS[1],
            label="no value",
        )
    axis.step(
        x, part["best_so_far"].to_numpy(float), where="post", color="black", label="best so far"
    )


def _one_legend(axes: Sequence[Axes]) -> None:
    """What only other panels show stands in the legend of the first too."""
    known = set(axes[0].get_legend_handles_labels()[1])
    for line in (line for axis in axes[1:] for line in axis.lines):
        label = str(line.get_label())
        if label not in known and not label.startswith("_"):
            known.add(label)
            style = {"marker": line.get_marker(), "color": line.get_color()}
            axes[0].plot([], [], linestyle="none", label=label, **style)


def _importance(searches: Sequence[Search]) -> Iterator[Plot]:
    parts = []
    for search in searches:
        for objective in search.objectives:
            found = search.importances(objective)
            words = objective.words if len(search.objectives) > 1 else ""
            level = ", ".join(each for each in (search.label, words) if each)
            parts += [
                {
                    "search": search.name,
                    "level": level,
                    "objective": objective.column,
                    "key": one.key,
                    "share": one.share,
                    "low": one.low,
                    "high": one.high,
                    "p_value": one.p_value,
                    "trials": search.n_trained,
                }
                for one in found
            ]
    if not parts:
        return
    data = pd.DataFrame(parts)
    levels = list(dict.fromkeys(data["level"]))[:MOST]
    drawn = data.loc[data["level"].isin(levels)]
    keys = list(drawn.groupby("key")["share"].mean().sort_values(ascending=False).index)
    figure, (axis,) = canvas(height=1.0 + max(0.3, 0.14 * len(levels)) * len(keys))
    for k, level in enumerate(levels):
        part = drawn.loc[drawn["level"] == level].set_index("key").loc[keys]
        y = np.arange(len(keys)) + 0.7 * ((k + 0.5) / len(levels) - 0.5)
        sure = (part["p_value"] < 0.05).to_numpy()
        style = look(k, len(levels))
        share = part["share"].to_numpy()
        axis.errorbar(
            share,
            y,
            xerr=bars(part["low"].to_numpy(), share, part["high"].to_numpy()),
            linestyle="none",
            capsize=2.0,
            elinewidth=0.9,
            markerfacecolor="white",
            label=level or None,
            **style,
        )
        axis.plot(
            share[sure],
            y[sure],
            linestyle="none",
            color=style["color"],
            marker=style["marker"],
            zorder=5,  # above the hollow one
        )
    axis.set_yticks(np.arange(len(keys)), keys)
    axis.set_ylim(len(keys) - 0.5, -0.5)
    axis.set_xlim(0, 1)
    axis.set_xlabel(f"share in what tells the best {100 * TOP:.0f} % of trials from all (0 to 1)")
    finish(figure, axis if levels != [""] else None)
    first = drawn.iloc[int(np.argmax(drawn["share"].to_numpy()))]
    yield Plot(
        id=IMPORTANCE,
        title="Which searched settings matter",
        caption=(
            "Share of each setting in the divergence between the best quarter of the trials and "
            f"all (PED-ANOVA, by Optuna), over {span(data['trials'], 'trial')} a search, pruned "
            f"ones behind the others; bars: 95 % bootstrap interval over the trials ({DRAWS} "
            "draws). Filled: more than random orders of the trials give, at 5 % after Bonferroni; "
            "hollow: undecided."
        ),
        alt=f"Dot plot of the importance of {plural(len(keys), 'setting')}; the largest share is "
        f"{number(float(first['share']))} for {first['key']}.",
        data=data,
        figure=figure,
    )


def _rerun(rows: pd.DataFrame, searches: Sequence[Search]) -> Iterator[Plot]:
    found = []
    for search in searches:
        again = reruns(rows, search)
        best = search.best_trial()
        if again.empty or best is None:
            continue
        objective = search.objectives[0]
        new = curve(again, (search.best,), objective).estimate(0)
        old = spread(rows, (search.best,), objective).iloc[0]
        label = search.label or "all settings"
        names = ("point", "objective", "seeds", "median", "low", "high", "replicates")
        was = (old["median"], old["low"], old["high"], int(old["replicates"]))
        found += [
            dict(zip(names, (label, objective.column, "chosen by", *was), strict=True)),
            dict(
                zip(
                    names,
                    (label, objective.column, "new", new.value, new.low, new.high, new.n),
                    strict=True,
                )
            ),
        ]
    if not found:
        return
    data = pd.DataFrame(found)
    points = list(dict.fromkeys(data["point"]))
    figure, (axis,) = canvas(height=1.1 + 0.3 * len(points))
    for k, seeds in enumerate(("chosen by", "new")):
        part = data.loc[data["seeds"] == seeds]
        value = part["median"].to_numpy(float)
        axis.errorbar(
            value,
            np.arange(len(part)) + 0.2 * (k - 0.5),
            xerr=bars(part["low"].to_numpy(float), value, part["high"].to_numpy(float)),
            linestyle="none",
            capsize=2.0,
            elinewidth=0.9,
            label={"chosen by": "seeds it was chosen by", "new": "new seeds"}[seeds],
            **look(k, 2),
        )
    axis.set_yticks(np.arange(len(points)), points)
    axis.set_ylim(len(points) - 0.5, -0.5)
    decade_axis(axis, "x")
    objective = searches[0].objectives[0]
    axis.set_xlabel(objective.axis)
    finish(figure, axis)
    new = data.loc[data["seeds"] == "new"]
    old = data.loc[data["seeds"] == "chosen by"]
    factor = np.median(new["median"].to_numpy(float) / old["median"].to_numpy(float))
    yield Plot(
        id=RERUN,
        title="The best of each search, trained again with new seeds",
        caption=(
            f"{capital(objective.words)}, median. Seeds it was chosen by: "
            f"{span(old['replicates'], 'replicate')}, bars their range. New seeds: "
            f"{span(new['replicates'], 'replicate')}; {bars_are(new['replicates'])}. Median ratio "
            f"{number(factor)} over {len(points)} of them."
        ),
        alt=f"Dot plot of the error of {len(points)} chosen settings with the seeds they were "
        f"chosen by and with new ones; median ratio {number(factor)}.",
        data=data,
        figure=figure,
    )


QUESTION = Question(
    lambda t: search_answers.answers(t.every, t.searches),
    lambda t: plots(t.every, t.searches),
    place=120,
    about_searches=True,
)
