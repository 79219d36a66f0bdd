"""Beta's effect with the initial scale held is found, and chance is not taken for one."""

import matplotlib as mpl
import numpy as np
import pytest

from study.analysis import answers, style
from study.analysis.answer import Tables
from study.analysis.questions import beta
from tests.analysis import synthetic
from tests.analysis.synthetic import Law
from tests.analysis.synthetic_science import betas

EFFECT = {0.5: 6.0, 1.0: 2.0, 2.0: 1.0, 4.0: 3.0}


def table(moving=EFFECT, held=None, seed=0, scatter=0.2):
    rows = synthetic.rows(betas(), Law(scatter=scatter), seed=seed)
    fan_in = rows["model.init"] == "fan_in"
    factor = rows["model.beta"].map(moving).where(fan_in, rows["model.beta"].map(held or {}))
    return rows.assign(test_nmse_median=rows["test_nmse_median"] * factor.fillna(1.0))


def found(rows):
    return {a.id: a for a in beta.answers(Tables(rows))}


def test_an_effect_of_the_scale_alone():
    answer = found(table())["beta_beyond_scale"]
    assert answer.verdict == "no"
    assert answer.value < 1.5
    moving = beta.spreads(table())["fan_in"]
    assert moving.verdict == "yes"
    assert moving.factor.low <= 6 <= moving.factor.high


def test_an_effect_beyond_the_scale():
    answer = found(table(held=EFFECT))["beta_beyond_scale"]
    assert answer.verdict == "yes"
    assert answer.interval[0] <= 6 <= answer.interval[1]


@pytest.mark.slow
def test_chance_is_seldom_taken_for_an_effect():
    said = [found(table(seed=seed, scatter=0.5))["beta_beyond_scale"].verdict for seed in range(40)]
    assert said.count("yes") <= 4


def test_statistic_is_worst_over_best():
    middle = np.array([1.0, 2.0, 4.0, 8.0, 3.0, 1.0, 1.0, 1.0])  # two groups of four
    expected = np.sqrt(8 * 3)
    assert beta._statistic(middle, 4) == pytest.approx(expected)


def test_one_initialisation_is_not_asked():
    rows = table()
    assert found(rows[rows["model.init"] == "fan_in"]) == {}
    assert found(synthetic.rows(synthetic.n_vs_p(), Law())) == {}


def test_comparisons_take_beta_as_it_comes():
    rows = table()
    ids = {a.id: a for a in answers.answer(rows)}
    assert "compare.init" not in ids
    cells = set(rows.loc[rows["model.init"] == "fan_in", "cell"])
    assert set(ids["compare.beta"].rows) == cells


def test_both_panels_are_the_csv():
    rows = table()
    with mpl.rc_context(style.RC):
        (plot,) = beta.plots(Tables(rows))
    medians = rows.groupby("cell")["test_nmse_median"].median()
    assert np.allclose(plot.data["median"], medians.loc[plot.data["cell"]])
    design = rows.drop_duplicates("cell").set_index("cell")
    assert np.allclose(plot.data["beta"], design.loc[plot.data["cell"], "model.beta"])
    assert len(plot.figure.axes) == 2
