"""The answers and figures of a study: every question of the registry, asked of its tables."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd

from study.analysis.answer import Answer, Tables
from study.analysis.questions import registered
from study.analysis.searches import SearchResults
from study.analysis.style import RC, Drawn, Plot, draw
from study.core.files import write_text

# the luck of one search may set cells apart as much as their sizes do
OF_TUNED = (
    " Each cell is at its own search's best: the brackets cover seeds, not the search's luck."
)

QUESTIONS = registered()
PARTS = range(len(QUESTIONS))  # the figures of each can be drawn in a process of their own


def answer(
    rows: pd.DataFrame, curves: pd.DataFrame | None = None, searches: Sequence[SearchResults] = ()
) -> list[Answer]:
    """Every answer that the tables of `results.load` and `results.load_curves` support, in the
    order of the page.

    The trials of a search (role `trial`) are evidence only for answers about the search.
    """
    tables = Tables(rows, curves, searches)
    rows = tables.rows
    tuned = set(rows.loc[rows["role"] == "rerun", "cell"]) if "role" in rows else set()
    answers, replaced = [], set[str]()
    for question in QUESTIONS:
        if rows.empty and not question.about_searches:
            continue
        for one in question.answers(tables):
            replaced |= set(question.replaces)
            luck = not question.about_searches and len(tuned & {*one.rows}) > 1
            sentence = one.sentence + OF_TUNED if luck else one.sentence
            answers.append(dataclasses.replace(one, sentence=sentence))
    return [one for one in answers if one.id not in replaced]


def plots(
    rows: pd.DataFrame, curves: pd.DataFrame | None, searches: Sequence[SearchResults] = ()
) -> list[Plot]:
    """All figures that a table supports, in the order of the page; arguments as in `answer`."""
    tables = Tables(rows, curves, searches)
    return [plot for part in PARTS for plot in _plots(part, tables)]


def drawn(
    part: int, rows: pd.DataFrame, curves: pd.DataFrame | None, searches: Sequence[SearchResults]
) -> list[Drawn]:
    """The figures of one of `PARTS`, drawn: those of all parts in order are those of `plots`."""
    return [draw(plot) for plot in _plots(part, Tables(rows, curves, searches))]


def _plots(part: int, tables: Tables) -> list[Plot]:
    question = QUESTIONS[part]
    if tables.rows.empty and not question.about_searches:
        return []
    with mpl.rc_context(RC):
        return list(question.plots(tables))


def write(answers: Sequence[Answer | Mapping[str, Any]], path: Path) -> None:
    """Write `answers.json`, whole or not at all; a number that is not finite becomes null."""
    text = json.dumps(_plain(list(answers)), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n", fsync=False)


def _plain(value: Any) -> Any:
    """For JSON: dicts for answers, lists for tuples, None for a number that is not finite."""
    if isinstance(value, Answer):
        value = vars(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
