"""Do the settings that a search chose hold with new seeds, lie inside its ranges, and matter?"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from study.analysis import style
from study.analysis.answer import Answer, Question, Tables, curve, make, medians_of
from study.analysis.searches import HISTORY, SearchResults, exactly, plain, spread
from study.analysis.statistics.importance import DRAWS, ENOUGH, TOP
from study.analysis.statistics.limits import NEEDED, Turn
from study.analysis.statistics.medians import Estimate
from study.analysis.words import capital, estimate, number, plural, span
from study.tables.measures import TEST, Measure

RERUN = "search_rerun"
FIGURE = "search_importance"
MOST, MOST_LEVELS = 12, 12  # panels of trials, and searches whose settings are compared


def _answers(tables: Tables) -> Iterator[Answer]:
    rows = tables.every
    known = [(k, search) for k, search in enumerate(tables.searches) if search.best_trial]
    yield from (_holds(rows, search, k) for k, search in known)
    yield from (_lost(rows, s, k) for k, s in enumerate(tables.searches) if s.all_diverged)
    ranged = [(k, s) for k, s in known if set(s.used(s.best_trial)["kind"]) - {"choice"}]
    yield from (_inside(rows, search, k) for k, search in ranged)
    yield from _matter(tables)


def _holds(rows: pd.DataFrame, search: SearchResults, k: int) -> Answer:
    best, objective, again = search.best_trial, search.objectives[0], search.reruns(rows)
    assert best is not None
    value = float(best[objective.column])
    sentence = (
        f"{search.where}{search.outcomes()}, number {best['number']} is best with a "
        f"{objective.words} of {number(value)}: {search.settings(best)}."
    )
    if again.empty:
        cell, figure, deciding, verdict = str(best["cell"]), HISTORY, exactly(value), "undecided"
        again = rows.loc[rows["role"] == "trial"]
        sentence += (
            " It was chosen by the replicates it was trained with, so new seeds will likely do "
            "worse."
        )
        remedy, turn = " search.rerun=true trains it again, which would decide it.", None
    else:
        remedy, turn = "", Turn.at(NEEDED, below=True)
        cell, figure = search.best, RERUN
        new = curve(again, (cell,), objective).estimate(0)
        deciding = new.map(lambda error: error / value)
        verdict = deciding.verdict(NEEDED, below=True)
        sentence += (
            f" With {plural(new.n, 'new seed')} it has {estimate(new)}, {estimate(deciding)} times "
            f"what it was chosen by; it holds below a factor of {NEEDED:g}."
        )
    question = "Do the settings that the search chose hold with new seeds?"
    id, sentence = f"search_best.{k}", capital(sentence)
    about = (id, question, verdict, sentence, deciding, again, (cell,), figure)
    return make(*about, turn=turn, remedy=remedy)


def _lost(rows: pd.DataFrame, search: SearchResults, k: int) -> Answer:
    question = "Do the settings that the search chose hold with new seeds?"
    sentence = (
        f"{search.where}{search.outcomes()} all diverged, so there is no best: search other ranges "
        f"of {', '.join(search.keys['key'])}."
    )
    cells, trials = tuple(search.complete["cell"]), rows.loc[rows["role"] == "trial"]
    about = capital(sentence), exactly(np.inf), trials, cells, HISTORY
    return make(f"search_best.{k}", question, "undecided", *about, trained=False)


def _inside(rows: pd.DataFrame, search: SearchResults, k: int) -> Answer:
    best = search.best_trial
    assert best is not None
    edges = search.edges(best)
    inside = ", ".join(
        f"{row['key']}={plain(best[row['key']])} in {plain(row['low'])} to {plain(row['high'])}"
        for row in search.used(best).query("kind != 'choice'").to_dict("records")
    )
    warnings = " ".join(capital(_edge(key, *edge)) for key, edge in edges.items())
    id, question = f"search_inside.{k}", "Does the best lie inside the ranges that were searched?"
    sentence = capital(search.where + (warnings or f"The best values lie inside: {inside}."))
    verdict, n, cells = "no" if edges else "yes", exactly(float(len(edges))), (str(best["cell"]),)
    trials = rows.loc[rows["role"] == "trial"]
    return make(id, question, verdict, sentence, n, trials, cells, HISTORY)


def edge_warnings(searches: Sequence[SearchResults]) -> list[str]:
    """One sentence for each key whose best value lies at an edge, in whichever searches."""
    at: dict[str, list[tuple[SearchResults, str, str]]] = {}
    for search in searches:
        best = search.best_trial
        for key, edge in search.edges(best).items() if best else ():
            at.setdefault(key, []).append((search, *edge))
    if len(searches) == 1:
        return [capital(_edge(key, *edge[1:])) for key, (edge,) in at.items()]
    return [
        f"In {len(edges)} of {len(searches)} searches "
        f"({'; '.join(search.label for search, _, _ in edges)}) the best value of {key} lies at "
        f"the edge of its range {edges[0][2]}: widen the range."
        for key, edges in at.items()
    ]


def _edge(key: str, value: str, ends: str) -> str:
    return (
        f"the best value of {key}, {value}, lies at the edge of its range {ends}: widen the range."
    )


def _plots(tables: Tables) -> Iterator[style.Plot]:
    if tables.searches:
        yield _history(tables.every, tables.searches)
        yield from _rerun(tables.every, tables.searches)
        yield from _shares(tables)


def _trials(rows: pd.DataFrame, search: SearchResults, objective: Measure) -> pd.DataFrame:
    """One row a trial: what became of it, its value, its range, the best of those so far."""
    trials, name = search.trials, objective.column
    values, state = trials[name].to_numpy(float), trials["state"].to_numpy(object)
    state = np.where((state == "complete") & ~np.isfinite(values), "diverged", state)
    complete = state == "complete"
    best = np.minimum.accumulate(np.where(complete, values, np.inf))
    # pruned by the median test error: a pruned trial has no value in another objective
    last = trials["last"].to_numpy(float) if name == TEST.column else np.nan
    ranges = spread(rows, trials["cell"], objective).reset_index(drop=True).astype(float)
    about = {"search": search.name, "point": search.label, "objective": name}
    table = trials[["number", "steps"]].reset_index(drop=True).assign(**about, state=state)
    table["value"] = np.where(complete, values, np.where(state == "pruned", last, np.nan))
    table["best_so_far"] = np.where(np.isfinite(best), best, np.nan)
    table = table[[*about, "number", "state", "steps", "value", "best_so_far"]]
    return table.join(ranges[["low", "high", "replicates"]].where(pd.Series(complete), axis=0))


def _history(rows: pd.DataFrame, searches: Sequence[SearchResults]) -> style.Plot:
    panels = [(search, objective) for search in searches for objective in search.objectives]
    parts = [_trials(rows, search, objective) for search, objective in panels]
    table = pd.concat(parts, ignore_index=True)
    shown = panels[:MOST]
    columns = 1 if len(shown) == 1 else 2 if len(shown) <= 4 else 3
    lines = -(-len(shown) // columns)
    same = len(set(table["objective"])) == 1
    height = 3.6 if lines == 1 else 0.5 + 1.75 * lines
    figure, axes = style.canvas(lines, columns, height=height, sharex=True, sharey=same)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    for axis, (search, _), part in zip(axes, shown, parts, strict=False):
        _draw(axis, part, set(table["state"]))
        axis.set_title(search.label)
        axis.set_yscale("log")
    for k, (axis, (_, objective)) in enumerate(zip(axes, shown, strict=False)):
        style.decade_axis(axis, most=5 if lines > 1 else 7)
        if k + columns >= len(shown):
            axis.set_xlabel("trial")
            axis.tick_params(labelbottom=True)
        if not same or k % columns == 0:
            axis.set_ylabel(objective.axis.replace(" (", "\n("))
    style.finish(figure, axes[0])
    n_of = table.drop_duplicates(["search", "number"])["state"].value_counts()
    states = ("complete", "pruned", "failed", "impossible", "diverged")
    became = ", ".join(f"{n_of[state]} {state}" for state in states if state in n_of)
    left_out = len(panels) - len(shown)
    more = f" {plural(left_out, 'further panel')} in the CSV alone." if left_out else ""
    replicates = table["replicates"].dropna().astype(int)
    over = span(replicates, "replicate") if len(replicates) else "no replicates"
    best = float(np.nanmin([*table["best_so_far"].to_numpy(float), np.inf]))
    caption = (
        f"{plural(int(n_of.sum()), 'trial')} ({became}). Dots: median "
        f"over {over}, bars their range; line: the best so far; crosses: pruned trials, at the "
        f"error where they ended; ticks at the top: trials without a value.{more}"
    )
    alt = f"Error against trial number with the best so far, {became}; the least is {number(best)}."
    return style.Plot(HISTORY, "What the search found, trial by trial", caption, alt, table, figure)


def _draw(axis: Axes, part: pd.DataFrame, states: set[str]) -> None:
    """One panel; `states` are those of all panels, so that the first one's legend has them all."""
    number_of, value, state = (part[c].to_numpy() for c in ("number", "value", "state"))
    look_of = {"marker": "o", "markersize": 3.5, "color": style.COLOURS[0], "elinewidth": 0.8}
    look_of |= {"linestyle": "none", "capsize": 0.0}
    complete, table = state == "complete", part.loc[state == "complete"]
    style.errorbars(axis, "number", table, "trained to the end", value="value", **look_of)
    pruned = (state == "pruned") & np.isfinite(value)
    if "pruned" in states:
        x, y = number_of[pruned], value[pruned]
        axis.plot(x, y, ls="none", marker="x", ms=4, color=style.REFERENCE, label="pruned")
    others = number_of[~complete & ~pruned & (state != "running")]
    if len(others) or states - {"complete", "pruned", "running"}:
        y, top = np.full(len(others), 0.99), axis.get_xaxis_transform()
        colour = style.COLOURS[1]
        axis.plot(others, y, ls="none", marker="|", color=colour, label="no value", transform=top)
    axis.step(number_of, part["best_so_far"], where="post", color="black", label="best so far")


def _rerun(rows: pd.DataFrame, searches: Sequence[SearchResults]) -> Iterator[style.Plot]:
    """The chosen cells by the seeds that they were chosen by, and by new ones."""
    parts = []
    for search in searches:
        again, objective = search.reruns(rows), search.objectives[0]
        if len(again) and search.best_trial:
            about = {"point": search.label or "all settings", "objective": objective.column}
            old = spread(rows, (search.best,), objective).reset_index()
            new = medians_of(again, (search.best,), objective)
            parts += [old.assign(seeds="chosen by", **about), new.assign(seeds="new", **about)]
    if not parts:
        return
    data = pd.concat(parts, ignore_index=True)
    points = list(dict.fromkeys(data["point"]))
    old, new = data.loc[data["seeds"] == "chosen by"], data.loc[data["seeds"] == "new"]
    figure, (axis,) = style.canvas(height=1.1 + 0.3 * len(points))
    style.dot_plot(axis, points, {"seeds it was chosen by": old, "new seeds": new})
    objective = searches[0].objectives[0]
    axis.set_xlabel(objective.axis)
    style.decade_axis(axis, "x")
    style.finish(figure, axis)
    factor = number(np.median(new["median"].to_numpy(float) / old["median"].to_numpy(float)))
    title = "The best of each search, trained again with new seeds"
    caption = (
        f"{capital(objective.words)}, median. Seeds it was chosen by: "
        f"{span(old['replicates'], 'replicate')}, bars their range. New seeds: "
        f"{span(new['replicates'], 'replicate')}; {style.bars_are(new['replicates'])}. Median "
        f"ratio {factor} over {len(points)} of them."
    )
    alt = (
        f"Dot plot of the error of {len(points)} chosen settings with the seeds they were "
        f"chosen by and with new ones; median ratio {factor}."
    )
    yield style.Plot(RERUN, title, caption, alt, data, figure)


def _matter(tables: Tables) -> Iterator[Answer]:
    rows = tables.every.loc[tables.every["role"] == "trial"] if tables.searches else tables.every
    for k, search in enumerate(tables.searches):
        several = len(search.used(search.best_trial)) > 1 and not search.all_diverged
        for objective in search.objectives if several else ():
            one_of = len(search.objectives) > 1
            keys = search.importances[objective.column]
            trials = plural(search.n_trained, "trial")
            if keys:
                sure = [key.key for key in keys if key.sure]
                shares = ", ".join(
                    f"{key.key} {number(key.share)} [{number(key.low)}, {number(key.high)}]"
                    for key in keys[: max(3, len(sure))]
                )
                sentence = (
                    f"{search.where}over {trials}, the settings' shares in what tells the best "
                    f"quarter from all: {shares}. More than chance gives: "
                    f"{', '.join(sure) or 'none'}."
                )
                best, verdict = keys[0], "yes" if sure else "undecided"
                deciding = Estimate(best.share, best.low, best.high, search.n_trained)
            else:
                verdict, deciding = "undecided", exactly(np.nan)
                sentence = (
                    f"{search.where}{trials} are fewer than the {ENOUGH} that tell a setting's "
                    "importance."
                )
            about, words = f".{objective.column}" * one_of, f" for {objective.words}" * one_of
            id, sentence = f"search_keys{about}.{k}", capital(sentence)
            question = f"Does it matter which values the searched settings have{words}?"
            cells = tuple(search.complete["cell"])
            yield make(id, question, verdict, sentence, deciding, rows, cells, FIGURE)


def _shares(tables: Tables) -> Iterator[style.Plot]:
    data = pd.DataFrame(
        [
            {
                "search": search.name,
                "level": ", ".join(filter(None, (search.label, words))),
                "objective": objective.column,
                **dataclasses.asdict(importance),
                "trials": search.n_trained,
            }
            for search in tables.searches
            for objective in search.objectives
            for words in [objective.words if len(search.objectives) > 1 else ""]
            for importance in search.importances[objective.column]
        ]
    )
    if data.empty:
        return
    levels = list(dict.fromkeys(data["level"]))[:MOST_LEVELS]
    drawn = data.loc[data["level"].isin(levels)]
    keys = list(drawn.groupby("key")["share"].mean().sort_values(ascending=False).index)
    by_level = {k: t.set_index("key").loc[keys] for k, t in drawn.groupby("level", sort=False)}
    figure, (axis,) = style.canvas(height=1.0 + max(0.3, 0.14 * len(levels)) * len(keys))
    sure = {k: t.where(t["p_value"] < 0.05) for k, t in by_level.items()}
    filled = {"elinewidth": 0.0, "capsize": 0.0, "zorder": 5}  # above the hollow ones
    style.dot_plot(axis, keys, sure, value="share", **filled)
    style.dot_plot(axis, keys, by_level, value="share", elinewidth=0.9, markerfacecolor="white")
    axis.set_xlim(0, 1)
    axis.set_xlabel(f"share in what tells the best {100 * TOP:.0f} % of trials from all (0 to 1)")
    style.finish(figure, axis if levels != [""] else None)
    first = drawn.iloc[int(np.argmax(drawn["share"].to_numpy()))]
    caption = (
        "Share of each setting in the divergence between the best quarter of the trials and "
        f"all (PED-ANOVA, by Optuna), over {span(data['trials'], 'trial')} a search, pruned "
        f"ones behind the others; bars: 95 % bootstrap interval over the trials ({DRAWS} "
        "draws). Filled: more than random orders of the trials give, at 5 % after Bonferroni; "
        "hollow: undecided."
    )
    alt = (
        f"Dot plot of the importance of {plural(len(keys), 'setting')}; the largest share is "
        f"{number(float(first['share']))} for {first['key']}."
    )
    yield style.Plot(FIGURE, "Which searched settings matter", caption, alt, data, figure)


QUESTION = Question(_answers, _plots, place=120, about_searches=True)
