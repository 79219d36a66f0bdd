"""Epoch-wise: a test error that rises and falls while the train error falls is found, no other."""

import numpy as np
import pandas as pd
import pytest

from study.analysis.answer import Tables
from study.analysis.questions import epochs
from tests.analysis import synthetic, synthetic_ladders
from tests.analysis.synthetic import Law

STEP = np.unique(np.geomspace(1, 4000, 24).round())


@pytest.fixture(scope="module")
def table():
    settings = synthetic.product(
        data__noise=[0.0, 0.3], data__n_train=[64, 256, 1024], optimizer__schedule=["constant"]
    )
    return synthetic.rows(settings, Law(), replicates=6)


def by_noise(table, curves):
    found = epochs.answers(Tables(table, curves))
    return {float(each.sentence.split(",")[0].split()[-1]): each for each in found}


def test_a_peak_along_the_steps_is_found_in_its_arm_alone(table):
    found = by_noise(table, synthetic_ladders.training(table, bump=1.5))
    assert found[0.0].verdict == "no"
    assert found[0.3].verdict == "yes"
    assert "in 3 of 3 cells" in found[0.3].sentence
    assert set(found[0.3].rows) == set(table.loc[table["data.noise"] == 0.3, "cell"])


def test_the_place_is_that_of_the_peak(table):
    curves = synthetic_ladders.training(table, bump=2.0)
    noisy = [course for course in epochs.courses(table, curves) if course.noise == 0.3]
    for course in noisy:
        assert 300 <= course.steps[course.top] <= 800
        assert course.peak.place.value == course.steps[course.top]


def test_falling_curves_have_none(table):
    found = by_noise(table, synthetic_ladders.training(table))
    assert {each.verdict for each in found.values()} == {"no"}


def test_a_training_thrown_back_is_no_double_descent(table):
    """Both errors jump in the middle and recover: the train error is no new low there."""
    curves = synthetic_ladders.training(table)
    thrown = (curves["x"] > 200) & (curves["x"] < 700)
    curves.loc[thrown, "value"] *= 30
    for course in epochs.courses(table, curves):
        steps = course.steps[course.kept]
        assert not ((steps > 200) & (steps < 700)).any()
        assert course.peak.verdict != "yes"


def test_replicates_that_ended_early_keep_their_last_value(table):
    curves = synthetic_ladders.training(table)
    early = curves[(curves["replicate"] > 0) | (curves["x"] < 100)]
    cell = table["cell"].iloc[0]
    course = next(c for c in epochs.courses(table, early) if c.cell == cell)
    chosen = early[(early["cell"] == cell) & (early["metric"] == "test_nmse_median")]
    last = chosen[chosen["replicate"] == 0].sort_values(by="x")["value"].iloc[-1]
    assert course.test.table[0, -1] == last
    assert len(course.steps) == len(STEP)


def test_diverged_values_count_as_worst(table):
    curves = synthetic_ladders.training(table)
    late = (curves["x"] > 1000) & (curves["replicate"] < 4)
    curves.loc[late, "value"] = np.nan
    course = epochs.courses(table, curves)[0]
    assert np.isinf(course.test.middle[-1])
    assert course.kept.max() < len(course.steps) - 1


def test_only_a_constant_rate_shows_epochs(table):
    curves = synthetic_ladders.training(table, bump=1.5)
    falling = table.assign(**{"optimizer.schedule": "cosine"})
    assert epochs.courses(falling, curves) == []


def test_cells_without_curves_and_controls_are_left_out(table):
    curves = synthetic_ladders.training(table)
    none = curves[curves["x"] < 3]
    assert epochs.courses(table, none) == []
    assert list(epochs.answers(Tables(table, none))) == []
    assert epochs.courses(table.assign(model="random_features"), curves) == []
    other = pd.concat([curves, curves.assign(cell="0" * 12)])
    assert len(epochs.courses(table, other)) == 6
