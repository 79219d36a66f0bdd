"""A new question is one new file in `study/analysis/questions/`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

FILE = '''
"""Is the smallest test error below one?"""

from study.analysis.answer import Question, curve, make
from study.analysis.style import Plot, canvas, errorbars, finish
from study.analysis.answer import medians_of
from study.tables.measures import TEST


def answers(tables):
    cells = tuple(tables.design.cells.index[:1])
    median = curve(tables.rows, cells, TEST).estimate(0)
    yield make("mine", "Is it small?", median.verdict(below=True), "It is.", median,
               tables.rows, cells, "mine")


def plots(tables):
    figure, (axis,) = canvas()
    table = medians_of(tables.rows, tuple(tables.design.cells.index), TEST)
    errorbars(axis, range(len(table)), table)
    finish(figure)
    yield Plot("mine", "Mine", "All cells.", "All cells.", table, figure)


QUESTION = Question(answers=answers, plots=plots, place=0.5)
'''

SCRIPT = """
import sys
from study.analysis import questions

questions.__path__.append(sys.argv[1])  # as if the file lay in the folder
from study import results
from study.analysis import answers

rows, curves = results.load(sys.argv[2]), results.load_curves(sys.argv[2])
print([a.id for a in answers.answer(rows, curves)].count("mine"))
part = next(k for k, question in enumerate(answers.QUESTIONS) if question.place == 0.5)
print([figure.id for figure in answers.drawn(part, rows, curves, ())].count("mine"))
"""


def test_a_new_question_is_one_new_file(smoke_study: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FILE)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path), str(smoke_study)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "1"]
