"""The last word: who speaks for several settings, what is counted beside it, what is best."""

import dataclasses
import json

import pandas as pd
import pytest

from study.analysis import summary
from study.analysis.answer import make
from study.analysis.statistics.medians import Estimate
from study.page import write
from tests.analysis import synthetic
from tests.analysis.synthetic import Law

EVERY = [
    {"optimizer": optimiser, "data.n_train": n} for optimiser in ("adam", "soap") for n in (64, 512)
]


@pytest.fixture(scope="module")
def rows():
    """SOAP is ten times as accurate as Adam, and 512 points eight times as accurate as 64."""
    law = Law(slope=1.0, scatter=0.01, factor={("optimizer", "soap"): 0.1})
    return synthetic.rows(EVERY, law, replicates=5)


def said(rows, id, verdict, value, **chosen):
    """An answer about the cells with these values."""
    cells = rows
    for column, wanted in chosen.items():
        cells = cells.loc[cells[column.replace("__", ".")] == wanted]
    deciding = Estimate(value, value / 2, value * 2, n=5)
    names = tuple(cells["cell"].unique())
    sentence = f"At {verdict} it is so, is it not? And then. More."
    one = make(id, f"Is it {id}?", verdict, sentence, deciding, rows, names, "figure")
    return dataclasses.replace(one, remedy="About 9 would." if verdict == "undecided" else "")


def test_the_setting_of_the_least_error_speaks_and_the_others_are_counted(rows):
    answers = [
        said(rows, "n_at_least_p.0", "no", 1.0, optimizer="adam"),
        said(rows, "n_at_least_p.1", "yes", 7.0, optimizer="soap"),
    ]
    (line,) = summary.summary(rows, answers).lines
    assert (line.verdict, line.figure) == ("yes", "figure")
    assert "7.0 [3.5, 14] times" in line.effect
    assert line.effect.endswith("(SOAP; elsewhere no at 1)")


def test_no_system_speaks_for_the_others(rows):
    other = rows.assign(system="kepler", cell=rows["cell"] + "k", test_nmse_median=1e-12)
    both = pd.concat([rows, other], ignore_index=True)
    answers = [
        said(both, f"budget.explained.{k}", verdict, 1.0, system=system)
        for k, (system, verdict) in enumerate(
            [("double_pendulum", "yes"), ("kepler", "no"), ("kepler", "undecided")]
        )
    ]
    (line,) = summary.summary(both, answers).lines
    assert line.verdict == "depends"
    assert line.effect == "yes at 1, no at 1, undecided at 1 of 3"


def test_what_is_best_and_what_is_enough(rows):
    best = summary.summary(rows, []).best
    assert best.startswith("Most accurate of 4 cells (N = 512, SOAP): accelerations wrong by ")
    assert "enough" not in best
    assert "within a factor" not in best  # 64 points are eight times worse
    law = Law(slope=0.1, scatter=0.01)
    flat = summary.summary(synthetic.rows(EVERY, law, replicates=5), []).best
    assert flat.endswith("with 64 of its 512 points it is within a factor of 2.")


def test_the_first_questions_come_first_and_the_rest_is_counted(rows):
    ids = ["raise_n.0", "trust", "published.lnn", *(f"compare.{k}" for k in range(9))]
    told = summary.summary(rows, [said(rows, id, "undecided", 1.5) for id in ids])
    assert [line.question for line in told.lines][:2] == [
        "Is it published.lnn?",
        "Is it compare.0?",
    ]
    assert len(told.lines) == summary.MOST
    assert told.more == len(ids) - summary.MOST
    assert told.undecided.startswith("12 answers of 12 undecided, the first of them: ")
    assert told.undecided.endswith("About 9 would.")


def test_it_says_how_many_answers_rest_on_training_that_was_stopped(rows):
    one = said(rows, "raise_n.0", "yes", 1.5)
    assert summary.summary(rows, [one]).undecided == ""
    stopped = dataclasses.replace(one, converged=0.3)
    told = summary.summary(rows, [one, stopped]).undecided
    assert told == "Of 2 answers 1 rests on training that was stopped before it converged."


def test_the_terminal_gets_it_on_one_screen(rows, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    answers = [said(rows, f"{id}.0", "undecided", 2.0) for id in ("lever", "epochs", "raise_n")]
    told = dataclasses.asdict(summary.summary(rows, answers))
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "summary.json").write_text(json.dumps(told))
    write.print_summary(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith(
        "undecided Is it epochs.0? At undecided it is so, is it not? And then"
    )
