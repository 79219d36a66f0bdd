"""The lever that was made the largest is the one that is named."""

import matplotlib as mpl
import pandas as pd
import pytest

from study.analysis import answers, style
from study.analysis.answer import Tables
from study.analysis.design import Design
from study.analysis.questions import levers
from tests.analysis import synthetic
from tests.analysis import synthetic_science as science
from tests.analysis.synthetic import Law
from tests.analysis.synthetic_science import ADAM, ADAM_LM, LM


def table(law):
    rows = synthetic.rows(science.levers(), law)
    return rows, Design(rows)


def by_id(rows, design):
    return {a.id: a for a in levers.QUESTION.answers(Tables(rows))}


STRUCTURE = {("model", "structured_lnn"): 1 / 30}
OPTIMISER = {("optimizer", "adam_lm"): 1 / 30, ("optimizer", "levenberg_marquardt"): 1 / 30}


def test_structure_is_pulled():
    rows, design = table(Law(slope=0.3, scatter=0.1, factor=STRUCTURE))
    found = by_id(rows, design)
    assert found["lever.0"].verdict == "yes"
    assert "structured LNN for plain LNN" in found["lever.0"].sentence
    assert found["bounds.model.0"].interval[0] <= 30 <= found["bounds.model.0"].interval[1]
    assert found["bounds.optimiser.0"].verdict == "no"
    assert found["bounds.size.0"].verdict == "no"


def test_the_optimiser_is_pulled():
    rows, design = table(Law(slope=0.3, scatter=0.1, factor=OPTIMISER))
    found = by_id(rows, design)
    assert found["lever.0"].verdict == "yes"
    assert "for Adam" in found["lever.0"].sentence.split(".")[0]
    assert found["bounds.optimiser.0"].verdict == "yes"
    assert found["bounds.model.0"].verdict == "no"


def test_more_points_are_pulled():
    rows, design = table(Law(slope=2.0, scatter=0.1))
    found = by_id(rows, design)
    assert found["lever.0"].verdict == "yes"
    assert "N = 4096 for N = 1024" in found["lever.0"].sentence
    assert found["bounds.points.0"].interval[0] <= 16 <= found["bounds.points.0"].interval[1]


def test_equal_levers_are_undecided():
    rows, design = table(Law(slope=0.0, scatter=0.3, factor=STRUCTURE | OPTIMISER))
    assert by_id(rows, design)["lever.0"].verdict == "undecided"


def test_nothing_helps():
    worse = {("model", "structured_lnn"): 5.0, ("model", "acceleration_mlp"): 5.0}
    worse |= {("optimizer", "adam_lm"): 5.0, ("optimizer", "levenberg_marquardt"): 5.0}
    worse |= {("model.width", 8): 5.0, ("model.width", 32): 5.0, ("data.n_train", 4096): 5.0}
    rows, design = table(Law(slope=0.0, scatter=0.1, factor=worse))
    assert by_id(rows, design)["lever.0"].verdict == "no"


def test_all_else_is_equal_but_what_the_lever_fixes():
    _, design = table(Law())
    (start,) = levers.standing_points(design)
    here = design.cells.loc[start]
    assert (here["model"], here["optimizer"], here["data.n_train"]) == ("lnn", "adam", 1024)
    assert here["model.width"] == 16
    around = levers.neighbours(design, start)
    assert {name: len(cells) for name, cells in around.items()} == {
        "optimiser": 2,  # Adam then Levenberg-Marquardt, and the latter alone
        "points": 1,  # more, never fewer
        "size": 2,
        "model": 2,
    }
    for cell in around["size"]:
        differing = [f for f in design.factors if design.cells.loc[cell, f] != here[f]]
        assert differing == ["model.width"]


def test_each_system_has_its_own_largest_lever():
    first, _ = table(Law(slope=0.3, scatter=0.1, factor=STRUCTURE))
    second, _ = table(Law(slope=0.3, scatter=0.1, factor=OPTIMISER))
    other = second.assign(system="kepler", cell="k" + second["cell"].str[1:])
    found = by_id(pd.concat([first, other], ignore_index=True), None)
    assert "On double pendulum: Pull this one: structured LNN" in found["lever.0"].sentence
    assert found["lever.1"].sentence.startswith("On kepler: Pull this one: ")
    assert (found["bounds.model.0"].verdict, found["bounds.model.1"].verdict) == ("yes", "no")


def test_no_lever_without_optimisers():
    rows = synthetic.rows(synthetic.n_vs_p(), Law())
    assert levers.standing_points(Design(rows)) == []
    rows = synthetic.rows([ADAM, ADAM_LM, LM], Law())  # an optimiser alone is compared, not pulled
    assert levers.standing_points(Design(rows)) == []


def test_what_levers_say_is_not_said_again():
    rows, _ = table(Law(factor=STRUCTURE))
    ids = [a.id for a in answers.answer(rows)]
    assert ids[0] == "lever.0"
    assert "compare.model" not in ids
    assert "compare.optimizer" not in ids
    assert len(ids) == len(set(ids))


def test_points_are_the_csv():
    rows, design = table(Law(factor=STRUCTURE))
    with mpl.rc_context(style.RC):
        (plot,) = levers.QUESTION.plots(Tables(rows))
    medians = rows.groupby("cell")["test_nmse_median"].median()
    (start,) = levers.standing_points(design)
    part = plot.data[plot.data["measure"] == "test_nmse_median"].set_index("cell")
    for cell in part.index:
        assert part.loc[cell, "factor"] == pytest.approx(medians[start] / medians[cell])
