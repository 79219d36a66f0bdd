"""Verdicts and figures of measured data know the noise in their labels."""

import numpy as np
import pytest

from study.analysis import answers, floors
from study.analysis.answer import Tables
from study.analysis.questions import curves, points_and_parameters
from study.analysis.statistics.limits import NEAR_FLOOR
from tests.analysis import synthetic
from tests.analysis.synthetic import Law

FLOOR = "At the noise floor: "


def measured(law=None, floor=1e-9, **columns):
    """A ladder along N of measured data, whose labels have noise of this size."""
    table = synthetic.rows(synthetic.n_vs_p(), law or Law(scatter=0.05))
    of_file = {"system": "unknown", "data.file": "0123456789ab", "constant_nmse_median": 0.5}
    of_file |= {"noise_floor": 2 * floor, "noise_floor_median": floor}
    return table.assign(**of_file | columns)


def by_id(table):
    asked = (points_and_parameters.QUESTION, curves.QUESTION)
    return {one.id: one for question in asked for one in question.answers(Tables(table))}


def flat(floor):
    """What is answered where no N changes the error, 1e-2."""
    return by_id(measured(Law(slope=0.0, scatter=0.02), floor))


def test_no_change_at_the_floor_is_no_answer():
    far, near = flat(1e-2 / NEAR_FLOOR / 3), flat(1e-2 / NEAR_FLOOR * 2)
    for id in ("raise_n.0", "n_at_least_p.0", "overdetermined.0"):
        assert far[id].verdict == "no"
        assert FLOOR not in far[id].sentence
        assert near[id].verdict == "undecided"
        assert FLOOR in near[id].sentence
    # valid times are not measured in accelerations
    assert near["valid_time_by_n.0"].verdict == far["valid_time_by_n.0"].verdict == "no"


def test_a_gain_that_ends_at_the_floor_says_so():
    table = measured(Law(slope=0.8, scatter=0.05))
    lowest = float(table.groupby("cell")["test_nmse_median"].median().min())
    one = by_id(table.assign(noise_floor_median=0.9 * lowest))["raise_n.0"]
    assert one.verdict == "yes"
    assert FLOOR in one.sentence


def test_an_error_that_falls_to_the_floor_does_not_rise():
    table = measured(Law(slope=0.8, scatter=0.05))
    lowest = float(table.groupby("cell")["test_nmse_median"].median().min())
    one = by_id(table.assign(noise_floor_median=0.9 * lowest))["overdetermined.0"]
    assert one.verdict == "no"
    assert FLOOR in one.sentence


def test_overdetermination_is_asked_where_n_exceeds_p_alone():
    table = measured()
    assert "overdetermined.0" in by_id(table)
    assert "overdetermined.0" not in by_id(table.loc[table["n_over_p"] <= 1.01])


def test_the_labels_of_a_known_system_have_no_floor():
    table = measured(Law(slope=0.0, scatter=0.02), 8e-3, system="double_pendulum", label_nmse=0.016)
    one = by_id(table)["raise_n.0"]
    assert one.verdict == "no"
    assert FLOOR not in one.sentence


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"system": "double_pendulum", "label_nmse": 2.3},
            "contradict those of double_pendulum, which models are tested on, by 2.3 of",
        ),
        ({"constant_nmse_median": 1e-4}, "no model predicts held-out accelerations much better"),
    ],
)
def test_no_verdict_on_what_cannot_have_one(columns, words):
    every = by_id(measured(**columns))
    for id in ("raise_n.0", "n_at_least_p.0", "overdetermined.0", "valid_time_by_n.0"):
        assert every[id].verdict == "undecided"
        assert every[id].sentence.startswith("No verdict: ")
        assert words in every[id].sentence
        assert "factor" not in every[id].sentence
    assert every["trust"].verdict == "yes"


def test_noise_of_labels_is_no_contradiction():
    table = measured(system="double_pendulum", label_nmse=0.5, noise_floor=0.4)
    assert by_id(table)["raise_n.0"].verdict == "yes"
    assert by_id(measured())["raise_n.0"].verdict == "yes"


def by_n(table):
    """The figure of the test error along N."""
    plots = points_and_parameters.QUESTION.plots(Tables(table))
    return next(floors.marked(plot, table) for plot in plots if plot.id == "test_error_by_n")


def levels(axis, which):
    """Where straight lines cross an axis from end to end."""
    ends = [getattr(line, f"get_{which}data")() for line in axis.lines]
    return [float(x[0]) for x in ends if len(x) == 2 and x[0] == x[1]]


def test_every_figure_of_errors_has_the_floor():
    floor = 4e-3
    table = measured(floor=floor)
    plots = {plot.id: plot for plot in answers.plots(table, synthetic.curves(table))}
    for id in ("test_error_by_n", "training", "test_error_by_p"):
        (axis,) = plots[id].figure.axes
        assert floor in levels(axis, "y"), id
        assert any(text.get_text() == "noise of the test labels" for text in axis.texts)
        assert "Dashed, grey: noise of the test labels (0.0040)" in plots[id].caption
        assert (plots[id].data["noise_floor_median"] == floor).all()
    assert 2 * floor in levels(plots["train_test_by_n"].figure.axes[0], "y")  # of a mean
    scatter = plots["rollout_by_median_error"].figure.axes[0]
    assert np.sqrt(floor) in levels(scatter, "x")  # of an amplitude
    for id in ("rollout_error_by_n", "valid_time_by_n", "error_growth"):
        assert "noise" not in plots[id].caption


def test_a_floor_below_the_axis_is_said_and_one_beside_it_is_drawn():
    far, near = (by_n(measured(floor=floor)) for floor in (1e-9, 4e-4))
    assert "below what is drawn" in far.caption
    assert 1e-9 not in levels(far.figure.axes[0], "y")
    low, _ = near.figure.axes[0].get_ylim()
    assert low < 4e-4
    assert 4e-4 in levels(near.figure.axes[0], "y")


def test_made_data_are_drawn_as_before():
    table = synthetic.rows(synthetic.n_vs_p(), Law())
    plot = by_n(table)
    assert floors.marked(plot, table) is plot
    assert "Dashed, grey" not in plot.caption
