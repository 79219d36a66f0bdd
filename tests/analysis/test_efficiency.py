"""How many fewer points a model needs is read from curves whose shift is known."""

import matplotlib as mpl
import numpy as np
import pytest

from study.analysis import style
from study.analysis.answer import Tables, curve
from study.analysis.design import Design
from study.analysis.questions import efficiency
from study.tables.measures import TEST
from tests.analysis import synthetic, synthetic_science
from tests.analysis.synthetic import Law


def table(slope=1.0, factor=0.05, scatter=0.1):
    rows = synthetic.rows(
        synthetic_science.efficiency(),
        Law(slope=slope, scatter=scatter, factor={("model", "structured_lnn"): factor}),
    )
    return Tables(rows)


def by_model(tables):
    return {a.id.split(".")[1]: a for a in efficiency.answers(tables)}


def test_known_factor_and_shift():
    tables = table(slope=0.8, factor=1 / 12)
    found = by_model(tables)["structured_lnn"]
    assert found.verdict == "yes"
    assert found.interval[0] <= 12 <= found.interval[1]
    (race,) = efficiency.races(tables.design)
    fewer = efficiency.ratio_of_points(
        race, "structured_lnn", curve(tables.rows, race.all_cells, TEST)
    )
    assert fewer.low <= 12 ** (1 / 0.8) <= fewer.high  # error ~ N^-0.8
    assert fewer.value == pytest.approx(12 ** (1 / 0.8), rel=0.4)


def test_a_model_that_is_no_better_is_not_said_to_be():
    tables = table()
    assert by_model(tables)["acceleration_mlp"].verdict == "no"


def test_a_worse_model_never_gets_there():
    tables = table(factor=50.0)
    found = by_model(tables)["structured_lnn"]
    assert found.verdict == "no"
    assert "does not reach" in found.sentence


def test_better_from_the_start_is_a_bound():
    tables = table(factor=1e-5)
    assert "at least 1000 times fewer" in by_model(tables)["structured_lnn"].sentence


def test_only_models_over_the_same_points_race():
    (race,) = efficiency.races(table().design)
    assert next(iter(race.cells)) == "lnn"
    assert race.points.tolist() == [10, 40, 100, 250, 800, 2500, 10_000]
    few = Design(synthetic.rows(synthetic_science.levers(), Law()))
    assert efficiency.races(few) == []  # three points are no curve
    alone = Design(synthetic.rows(synthetic.n_vs_p(), Law()))
    assert efficiency.races(alone) == []


def test_curves_are_the_csv():
    tables = table()
    with mpl.rc_context(style.RC):
        (plot,) = efficiency.plots(tables)
    medians = tables.rows.groupby("cell")["test_nmse_median"].median()
    part = plot.data[plot.data["measure"] == "test_nmse_median"]
    assert np.allclose(part["median"], medians.loc[part["cell"]])
    line = plot.figure.axes[0].lines[0]
    assert np.allclose(line.get_ydata(), part[part["model"] == "lnn"]["median"])
    assert "not to be compared directly" in plot.caption
