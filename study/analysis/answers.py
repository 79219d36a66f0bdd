"""The verdicts: one sentence each, with its figure, its interval and the rows it rests on.

Knows: which questions the swept factors can answer. Does not know: figures, files other than
`answers.json`. The questions themselves are in the modules named `..._answers` and in `epochs`;
this module gathers them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from study.analysis.answer import Answer
from study.analysis.design import Design
from study.analysis.questions import (
    beta_answers,
    budget_answers,
    comparison_answers,
    efficiency_answers,
    epochs,
    identifiability_answers,
    interpolation_answers,
    ladder_answers,
    levers,
    pareto,
    published_answers,
    rollout_answers,
    scaling_answers,
    search_answers,
    seed_answers,
)
from study.analysis.questions.searches import Search
from study.analysis.roles import counted, curves_of

# what one search finds and another does not may set cells apart as much as their sizes do
OF_TUNED = (
    " Each cell is at its own search's best: the brackets cover seeds, not the search's luck."
)


def answer(
    rows: pd.DataFrame, curves: pd.DataFrame | None = None, searches: Sequence[Search] = ()
) -> list[Answer]:
    """Every answer that a table supports, the main question first.

    What a search was steered by (role `trial`) is evidence for answers about the search alone.

    **Arguments:**

    - `rows`: `results.load(...)`, one row a replicate.
    - `curves`: `results.load_curves(...)`, for what is asked of the course of training.
    - `searches`: what the study searched.
    """
    count = counted(rows)
    if count is not rows and curves is not None:
        curves = curves_of(count, curves)
    found = [] if count.empty else list(_answers(count, curves, Design(count)))
    tuned = set(count.loc[count["role"] == "rerun", "cell"]) if "role" in count else set()
    found = [
        dataclasses.replace(a, sentence=a.sentence + OF_TUNED) if len(tuned & {*a.rows}) > 1 else a
        for a in found
    ]
    about = [*pareto.answers(rows, searches), *search_answers.answers(rows, searches)]
    return [*found, *about]


def _answers(rows: pd.DataFrame, curves: pd.DataFrame | None, design: Design) -> Iterator[Answer]:
    ladders = [ladder for axis in ("N", "P") for ladder in design.ladders(axis)]
    about_size = any(len(ladder.cells) > 2 for ladder in ladders)
    special = list(_special(rows, design))
    yield from special
    if not about_size:  # the study is about what it compares: that comes first
        yield from _compared(rows, design, special)
    yield from ladder_answers.along_n(rows, design)
    yield from ladder_answers.along_p(rows, design)
    for axis in ("N", "P"):
        yield from interpolation_answers.along(rows, design, axis)
        yield from scaling_answers.along(rows, design, axis)
    if curves is not None:
        yield from epochs.answers(rows, curves, design)
    yield from seed_answers.variances(rows)
    yield from rollout_answers.propagation(rows, design)
    yield from budget_answers.answers(rows)
    if about_size:
        yield from _compared(rows, design, special)
    yield from rollout_answers.shares(rows)


def _special(rows: pd.DataFrame, design: Design) -> Iterator[Answer]:
    """What a study made for one question was made for."""
    yield from published_answers.answers(rows)
    yield from identifiability_answers.answers(rows)
    yield from levers.answers(rows, design)
    yield from efficiency_answers.answers(rows, design)
    yield from beta_answers.answers(rows)


def _compared(rows: pd.DataFrame, design: Design, said: Sequence[Answer]) -> Iterator[Answer]:
    """Comparisons, but for models and optimisers where those have answers of their own."""
    own = {"compare.model", "compare.optimizer"} if said else set()
    if len(chosen := beta_answers.as_it_comes(rows)) < len(rows):
        rows, design = chosen, Design(chosen)
    yield from (a for a in comparison_answers.compared(rows, design) if a.id not in own)


def write(answers: Sequence[Answer], path: Path) -> None:
    """Write `answers.json`, whole or not at all; a number that is not finite becomes null."""
    text = json.dumps(
        [plain(dataclasses.asdict(a)) for a in answers],
        indent=1,
        ensure_ascii=False,
        allow_nan=False,
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text + "\n", encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """For JSON: lists for tuples, None for a number that is not finite."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
