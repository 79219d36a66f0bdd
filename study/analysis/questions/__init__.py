"""The questions: one file each, with what it looks for, its statistic, its sentence and its figure.

A new question is one new file, with its `Question` as `QUESTION`.
"""

import functools
import importlib
import pkgutil

from study.analysis.answer import Question


@functools.cache
def registered() -> tuple[Question, ...]:
    """All questions of this folder, by their place on the page."""
    modules = pkgutil.iter_modules(__path__, f"{__name__}.")
    files = (importlib.import_module(module.name) for module in modules)
    questions = [file.QUESTION for file in files if hasattr(file, "QUESTION")]
    return tuple(sorted(questions, key=lambda question: question.place))
