"""The questions: one file each, with what it looks for, its statistic, its sentence and its figure.

A file has its `Question` as `QUESTION`, or several as `QUESTIONS`. A new question is one new file.
"""

import functools
import importlib
import pkgutil

from study.analysis.answer import Question


@functools.cache
def registered() -> tuple[Question, ...]:
    """All questions of this folder, by their place on the page."""
    questions: list[Question] = []
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        entries = vars(importlib.import_module(module.name))
        questions += entries.get("QUESTIONS", ())
        questions += [entries["QUESTION"]] if "QUESTION" in entries else []
    return tuple(sorted(questions, key=lambda question: question.place))
