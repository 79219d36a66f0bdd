"""Does it matter which values the searched settings have?"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, Question, Tables, make
from study.analysis.searches import exactly
from study.analysis.statistics.importance import DRAWS, ENOUGH, TOP
from study.analysis.statistics.medians import Estimate
from study.analysis.style import Plot, canvas, dot_plot, finish
from study.analysis.words import capital, number, plural, span

FIGURE = "search_importance"
MOST = 12  # searches in one figure


def _answers(tables: Tables) -> Iterator[Answer]:
    rows = tables.every.loc[tables.every["role"] == "trial"] if tables.searches else tables.every
    several = [(k, search) for k, search in enumerate(tables.searches) if len(search.keys) > 1]
    for k, search in several:
        for objective in search.objectives:
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
                first, verdict = keys[0], "yes" if sure else "undecided"
                deciding = Estimate(first.share, first.low, first.high, search.n_trained)
            else:
                verdict, deciding = "undecided", exactly(np.nan)
                sentence = (
                    f"{search.where}{trials} are fewer than the {ENOUGH} that tell a setting's "
                    "importance."
                )
            about, words = (
                (f".{objective.column}", f" for {objective.words}") if one_of else ("", "")
            )
            id, sentence = f"search_keys{about}.{k}", capital(sentence)
            question = f"Does it matter which values the searched settings have{words}?"
            cells = tuple(search.complete["cell"])
            yield make(id, question, verdict, sentence, deciding, rows, cells, FIGURE)


def _plots(tables: Tables) -> Iterator[Plot]:
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
    levels = list(dict.fromkeys(data["level"]))[:MOST]
    drawn = data.loc[data["level"].isin(levels)]
    keys = list(drawn.groupby("key")["share"].mean().sort_values(ascending=False).index)
    tables = {k: t.set_index("key").loc[keys] for k, t in drawn.groupby("level", sort=False)}
    figure, (axis,) = canvas(height=1.0 + max(0.3, 0.14 * len(levels)) * len(keys))
    sure = {k: t.where(t["p_value"] < 0.05) for k, t in tables.items()}
    filled = {"elinewidth": 0.0, "capsize": 0.0, "zorder": 5}  # above the hollow ones
    dot_plot(axis, keys, sure, value="share", **filled)
    dot_plot(axis, keys, tables, value="share", elinewidth=0.9, markerfacecolor="white")
    axis.set_xlim(0, 1)
    axis.set_xlabel(f"share in what tells the best {100 * TOP:.0f} % of trials from all (0 to 1)")
    finish(figure, axis if levels != [""] else None)
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
    yield Plot(FIGURE, "Which searched settings matter", caption, alt, data, figure)


QUESTION = Question(_answers, _plots, place=130, about_searches=True)
