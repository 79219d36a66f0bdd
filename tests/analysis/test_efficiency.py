"""How many fewer points a model needs is read from curves whose shift is known."""

import matplotlib as mpl
import numpy as np
import pytest

from study.analysis import style
from study.analysis.answer import curve
from study.analysis.design import Design
from study.analysis.questions import efficiency_answers, efficiency_figures
from study.tables.measures import TEST
from tests.analysis import synthetic
from tests.analysis.synthetic import Law
from tests.analysis.synthetic_science import bottleneck, efficiency


def table(slope=1.0, factor=0.05, scatter=0.1):
    rows = synthetic.rows(
        efficiency(),
        Law(slope=slope, scatter=scatter, factor={("model", "structured_lnn"): factor}),
    )
    return rows, Design(rows)


def by_model(rows, design):
    return {a.id.split(".")[1]: a for a in efficiency_answers.answers(rows, design)}


def test_known_factor_and_shift():
    rows, design = table(slope=0.8, factor=1 / 12)
    found = by_model(rows, design)["structured_lnn"]
    assert found.verdict == "yes"
    assert found.interval[0] <= 12 <= found.interval[1]
    (race,) = efficiency_answers.races(design)
    fewer = efficiency_answers.ratio_of_points(
        race, "structured_lnn", curve(rows, race.everything, TEST)
    )
    assert fewer.low <= 12 ** (1 / 0.8) <= fewer.high  # error ~ N^-0.8
    assert fewer.value == pytest.approx(12 ** (1 / 0.8), rel=0.4)


def test_a_model_that_is_no_better_is_not_said_to_be():
    rows, design = table()
    assert by_model(rows, design)["acceleration_mlp"].verdict == "undecided"


def test_a_worse_model_never_gets_there():
    rows, design = table(factor=50.0)
    found = by_model(rows, design)["structured_lnn"]
    assert found.verdict == "no"
    assert "does not reach" in found.sentence


def test_better_from_the_start_is_a_bound():
    rows, design = table(factor=1e-5)
    assert "at least 1000 times fewer" in by_model(rows, design)["structured_lnn"].sentence


def test_only_models_over_the_same_points_race():
    (race,) = efficiency_answers.races(table()[1])
    assert next(iter(race.cells)) == "lnn"
    assert race.points.tolist() == [10, 40, 100, 250, 800, 2500, 10_000]
    few = Design(synthetic.rows(bottleneck(), Law()))
    assert efficiency_answers.races(few) == []  # three points are no curve
    alone = Design(synthetic.rows(synthetic.n_vs_p(), Law()))
    assert efficiency_answers.races(alone) == []


def test_curves_are_the_csv():
    rows, design = table()
    with mpl.rc_context(style.RC):
        (plot,) = efficiency_figures.plots(rows, design)
    medians = rows.groupby("cell")["test_nmse_median"].median()
    part = plot.data[plot.data["measure"] == "test_nmse_median"]
    assert np.allclose(part["median"], medians.loc[part["cell"]])
    line = plot.figure.axes[0].lines[0]
    assert np.allclose(line.get_ydata(), part[part["model"] == "lnn"]["median"])
    assert "not to be compared directly" in plot.caption
