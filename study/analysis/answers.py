"""The answers and figures of a study: every question of the registry, asked of its tables."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd

from study.analysis.answer import Answer, Question, Tables, make
from study.analysis.floors import marked
from study.analysis.questions import registered
from study.analysis.searches import SearchResults, exactly
from study.analysis.style import RC, Drawn, Plot, canvas, draw
from study.config.errors import first_line
from study.core.files import write_text

# the luck of one search may set cells apart as much as their sizes do
OF_TUNED = (
    " Each cell is at its own search's best: the brackets cover seeds, not the search's luck."
)

FAILURES = (ArithmeticError, ValueError, IndexError, np.linalg.LinAlgError)
QUESTIONS = registered()
PARTS = range(len(QUESTIONS))  # the figures of each can be drawn in a process of their own


def answer(
    rows: pd.DataFrame,
    curves: pd.DataFrame | None = None,
    searches: Sequence[SearchResults] = (),
    *,
    strict: bool = True,
) -> list[Answer]:
    """Every answer that the tables of `results.load` and `results.load_curves` support, in the
    order of the page.

    The trials of a search (role `trial`) are evidence only for answers about the search. Unless
    `strict`, a question whose statistics fail on these values is an answer that says so.
    """
    tables = Tables(rows, curves, searches)
    rows = tables.rows
    tuned = set(rows.loc[rows["role"] == "rerun", "cell"]) if "role" in rows else set()
    answers, replaced = [], set[str]()
    for question in QUESTIONS:
        if rows.empty and not question.about_searches:
            continue
        for one in _asked(question, tables, strict):
            replaced |= set(question.replaces)
            luck = not question.about_searches and len(tuned & {*one.rows}) > 1
            sentence = one.sentence + OF_TUNED if luck else one.sentence
            answers.append(dataclasses.replace(one, sentence=sentence))
    return [one for one in answers if one.id not in replaced]


def _asked(question: Question, tables: Tables, strict: bool) -> list[Answer]:
    try:
        return list(question.answers(tables))
    except FAILURES as error:
        if strict:
            raise
        place, every = QUESTIONS.index(question), tables.every
        words = f"The statistics of this question fail on the values of this study ({_why(error)})."
        title = f"Question {place + 1} of the page"
        about = exactly(math.nan), every, tuple(every["cell"].unique()), ""
        return [make(f"failed.{place}", title, "undecided", words, *about, trained=False)]


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


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
    try:
        return [draw(plot) for plot in _plots(part, Tables(rows, curves, searches))]
    except FAILURES as error:  # a page without some figures is better than none
        figure, (axis,) = canvas(height=0.6)
        axis.set_axis_off()
        words = (
            f"The values of this study cannot be drawn here ({_why(error)}); the table has them."
        )
        about = f"failed_{part}", f"Figures of question {part + 1} of the page", words, words
        return [draw(Plot(*about, rows.filter(["cell", "replicate"]), figure))]


def _plots(part: int, tables: Tables) -> list[Plot]:
    question = QUESTIONS[part]
    if tables.rows.empty and not question.about_searches:
        return []
    with mpl.rc_context(RC):
        return [marked(plot, tables.rows) for plot in question.plots(tables)]


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
