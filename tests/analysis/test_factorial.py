"""The effects and interactions of a full factorial are those that were put in."""

import matplotlib as mpl
import numpy as np
import pytest

from study.analysis import answers, style
from study.analysis.answer import Tables
from study.analysis.design import Design
from study.analysis.questions import factorial
from tests.analysis import synthetic
from tests.analysis.synthetic import Law

SETTINGS = {
    "model.encoding": ["raw", "trig"],
    "model.mass_prior": [0.0, 1.0],
    "data.units": ["physical", "scaled"],
    "optimizer.lr": [1e-3, 3e-3],
}
COSTS = {("model.encoding", "raw"): 8.0, ("optimizer.lr", 3e-3): 2.0}


@pytest.fixture(scope="module")
def rows():
    keys = {name.replace(".", "__"): levels for name, levels in SETTINGS.items()}
    table = synthetic.rows(synthetic.product(**keys), Law(slope=0, scatter=0.1, factor=COSTS))
    both = table["model.encoding"].eq("raw") & table["model.mass_prior"].eq(0)
    table.loc[both, "test_nmse_median"] *= 3.0
    return table


def by_id(rows):
    return {a.id: a for a in factorial.QUESTION.answers(Tables(rows))}


def test_what_was_put_in_is_found(rows):
    found = by_id(rows)
    encoding, prior = found["factorial.encoding"], found["factorial.mass_prior"]
    assert encoding.verdict == "yes"
    assert "encoding raw for encoding trig costs" in encoding.sentence
    assert encoding.interval[0] < 8 * 3**0.5 < encoding.interval[1]  # half of the prior's levels
    assert prior.interval[0] < 3**0.5 < prior.interval[1]
    assert found["factorial.lr"].interval[0] < 2 < found["factorial.lr"].interval[1]
    assert found["factorial.units"].verdict == "no"
    together = found["factorial.interactions"]
    assert "encoding raw with mass prior 0" in together.sentence
    assert together.interval[0] < 3 < together.interval[1]


def test_effects_are_those_of_least_squares(rows):
    design = factorial.found(Design(rows))
    values = rows.groupby("cell")["test_nmse_median"].median().loc[list(design.cells)].to_numpy()
    columns = np.column_stack([np.ones(len(values)), design.signs])
    fitted = np.linalg.lstsq(columns, np.log(values), rcond=None)[0]
    ours = sorted(e.factor.value for e in design.effects(values, 5).main)
    assert ours == pytest.approx(sorted(np.exp(2 * np.abs(fitted[1:]))))


def test_a_part_of_a_factorial_is_none(rows):
    assert factorial.found(Design(rows[rows["cell"] != rows["cell"].iloc[0]])) is None
    assert not by_id(rows[rows["model.encoding"] == "raw"].query("`data.units` == 'scaled'"))


def test_it_is_said_once_and_drawn(rows):
    ids = [a.id for a in answers.answer(rows)]
    assert not [id for id in ids if id.startswith("compare.")]
    with mpl.rc_context(style.RC):
        (plot,) = factorial.QUESTION.plots(Tables(rows))
    assert plot.data["median"].max() == pytest.approx(8 * 3**0.5, rel=0.2)
