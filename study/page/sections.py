"""What the page shows together: a figure, and for each of its questions the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from study.analysis.answer import Answer
from study.analysis.design import Design
from study.analysis.words import estimate


@dataclass(frozen=True)
class Group:
    """The answers to one question.

    - `settings`: what sets each of several apart; empty if they have no names of their own.
    """

    answers: list[Answer]
    settings: list[str]

    @property
    def verdict(self) -> str:
        """The verdict of all; `depends` if there are both yes and no, else undecided."""
        verdicts = {answer.verdict for answer in self.answers}
        if len(verdicts) == 1:
            return verdicts.pop()
        return "depends" if {"yes", "no"} <= verdicts else "undecided"

    @property
    def lines(self) -> list[tuple[str, Answer, str]]:
        """Setting, answer, effect with its interval."""
        return [
            (setting, answer, _effect(answer))
            for setting, answer in zip(self.settings, self.answers, strict=True)
        ]


@dataclass(frozen=True)
class Section:
    """A figure, if there is one, and the questions that it answers."""

    figure: dict[str, Any] | None
    groups: list[Group]


def sections(
    answers: Sequence[Answer], figures: Sequence[dict[str, Any]], rows: pd.DataFrame
) -> list[Section]:
    """In the order of the answers; figures that no answer names, and answers without one, last.

    - `rows`: the table that the answers rest on.
    """
    by_id = {figure["id"]: figure for figure in figures}
    homes: dict[str, dict[str, list[Answer]]] = {}
    for answer in answers:
        home = answer.figure if answer.figure in by_id else ""
        homes.setdefault(home, {}).setdefault(answer.question, []).append(answer)
    design = Design(rows) if len(rows) else None
    groups = {
        home: [Group(group, _settings(group, design)) for group in questions.values()]
        for home, questions in homes.items()
    }
    alone = groups.pop("", [])
    named = [Section(by_id[id], of) for id, of in groups.items()]
    named += [Section(None, alone)] if alone else []
    return named + [Section(one, []) for id, one in by_id.items() if id not in groups]


def _settings(answers: Sequence[Answer], design: Design | None) -> list[str]:
    if design is None or len(answers) < 2:
        return []
    known = all(set(answer.rows) <= set(design.cells.index) for answer in answers)
    if not known or not all(answer.rows for answer in answers):
        return []
    settings = design.told_apart([answer.rows for answer in answers])
    return settings if all(settings) and len({*settings}) == len(settings) else []


def _effect(answer: Answer) -> str:
    return estimate(answer.deciding) if np.isfinite(answer.value) else ""
