"""The verdicts: one sentence each, with its figure, its interval and the rows it rests on.

Knows: which questions the swept factors can answer. Does not know: figures, files other than
`answers.json`. The questions themselves are in `ladder_answers`, `rollout_answers` and
`comparison_answers`; this module gathers them.
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

from study.analysis import comparison_answers, ladder_answers, rollout_answers
from study.analysis.answer import Answer
from study.analysis.design import Design


def answer(rows: pd.DataFrame) -> list[Answer]:
    """Every answer that a table supports, the main question first.

    **Arguments:**

    - `rows`: `results.load(...)`, one row a replicate.
    """
    return list(_answers(rows, Design(rows)))


def _answers(rows: pd.DataFrame, design: Design) -> Iterator[Answer]:
    ladders = [ladder for axis in ("N", "P") for ladder in design.ladders(axis)]
    about_size = any(len(ladder.cells) > 2 for ladder in ladders)
    if not about_size:  # the study is about what it compares: that comes first
        yield from comparison_answers.compared(rows, design)
    yield from ladder_answers.along_n(rows, design)
    yield from ladder_answers.along_p(rows, design)
    yield from rollout_answers.propagation(rows, design)
    if about_size:
        yield from comparison_answers.compared(rows, design)
    yield from rollout_answers.shares(rows)


def write(answers: Sequence[Answer], path: Path) -> None:
    """Write `answers.json`, whole or not at all; a number that is not finite becomes null."""
    text = json.dumps(
        [_plain(dataclasses.asdict(a)) for a in answers],
        indent=1,
        ensure_ascii=False,
        allow_nan=False,
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
