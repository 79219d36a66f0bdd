"""Energy errors are set beside the published ones, at the published protocol alone."""

import matplotlib as mpl
import numpy as np
import pytest

from study.analysis import style
from study.analysis.answer import Tables
from study.analysis.questions.published import QUESTION
from tests.analysis.synthetic_science import published

GOOD = {"lnn": 8e-4, "structured_lnn": 7e-5, "acceleration_mlp": 0.02}


def by_model(rows):
    return {a.id.split(".")[1]: a for a in QUESTION.answers(Tables(rows))}


def plots_of(rows):
    with mpl.rc_context(style.RC):
        return list(QUESTION.plots(Tables(rows)))


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "yes"), (10.0, "no")], ids=["met", "missed"])
def test_targets(factor, verdict):
    rows = published(**{model: factor * drift for model, drift in GOOD.items()})
    found = by_model(rows)
    assert {a.verdict for a in found.values()} == {verdict}
    assert found["lnn"].value == pytest.approx(factor * 0.08, rel=0.1)  # percent
    assert "the published LNN's 0.43 %" in found["lnn"].sentence
    assert "the published baseline's 7.4 %" in found["acceleration_mlp"].sentence


def test_value_is_the_median_over_replicates_in_percent():
    rows = published(**GOOD)
    chosen = rows[rows["model"] == "lnn"]["energy_drift_final_mean"]
    assert by_model(rows)["lnn"].value == pytest.approx(100 * chosen.median())


def test_near_the_target_is_undecided():
    assert by_model(published(**GOOD | {"lnn": 1e-3}))["lnn"].verdict == "undecided"


def test_another_horizon_or_system_is_not_compared():
    rows = published(**GOOD)
    assert by_model(rows.assign(**{"rollout.horizon": 50.0})) == {}
    assert by_model(rows.assign(system="double_pendulum")) == {}
    assert by_model(rows.assign(**{"system.constants": "g=1"})) == {}


def test_a_diverged_trajectory_makes_it_infinite():
    rows = published(**GOOD)
    lost = (rows["model"] == "lnn") & (rows["replicate"] < 3)
    rows.loc[lost, "energy_drift_final_mean"] = np.inf
    found = by_model(rows)["lnn"]
    assert found.value == np.inf
    assert "3 diverged replicates" in found.sentence
    (plot,) = plots_of(rows)
    assert len(plot.data) == 3


def test_figure_holds_the_published_values():
    (plot,) = plots_of(published(**GOOD))
    lines = {line.get_label(): line for line in plot.figure.axes[0].lines}
    assert lines["published"].get_xdata().tolist() == [0.43, 0.43, 7.4]
    assert plot.data["target"].tolist() == [0.1, 0.01, 7.4]
    assert plots_of(published(**GOOD).assign(system="kepler")) == []
