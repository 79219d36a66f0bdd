"""The measured threshold is where it was put, along N and along P, and says when it is beyond."""

import numpy as np
import pytest

from study.analysis.answer import Tables, curve
from study.analysis.design import Design
from study.analysis.questions import ladder_curves, tolerances
from study.analysis.statistics.thresholds import CLEAN, NOISY, at_tolerance, tolerance
from study.tables.measures import TRAIN
from tests.analysis import control, synthetic_ladders
from tests.analysis.synthetic_ladders import FITTED


@pytest.fixture(scope="module")
def study():
    table = synthetic_ladders.double_descent()
    return table, Design(table)


def ladder_of(design, axis, noise, control=False):
    (found,) = [
        ladder
        for ladder in design.ladders(axis)
        if ladder.noise == noise and ladder.control == control
    ]
    return found


@pytest.mark.parametrize("axis", ["N", "P"])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_the_threshold_put_in_is_found(study, axis, noise):
    table, design = study
    ladder = ladder_of(design, axis, noise)
    found = ladder_curves.threshold(table, ladder)
    low, high = found.between
    assert low < found.at.value < high
    assert found.at.low <= found.at.value <= found.at.high
    ratios = ladder.equations_per_param
    below, above = ratios[ratios < FITTED].max(), ratios[ratios >= FITTED].min()
    assert below < found.ratio.value < above
    assert found.tolerance == (CLEAN if noise == 0 else NOISY * noise**2)
    if axis == "N":
        assert found.stricter <= found.at.value <= found.looser
        assert found.rank == 135
    else:
        assert found.looser <= found.at.value <= found.stricter


def test_the_curve_of_tolerances_goes_through_the_threshold(study):
    table, design = study
    ladder = ladder_of(design, "N", 0.1)
    train, found = curve(table, ladder.cells, TRAIN), ladder_curves.threshold(table, ladder)
    at = at_tolerance(train, ladder, tolerance(0.1))
    assert (at.value, at.low, at.high) == (found.ratio.value, found.ratio.low, found.ratio.high)
    (curve_of,) = [t for t in tolerances.curves_of(Tables(table)).values() if len(t)][:1]
    assert curve_of["median"].is_monotonic_increasing


def test_the_control_is_fitted_up_to_its_features(study):
    table, design = study
    found = ladder_curves.threshold(table, ladder_of(design, "N", 0.1, control=True))
    assert found.between == (control.FEATURES, 105)
    assert found.ratio.value == pytest.approx(1.0, abs=0.05)
    assert found.rank == 2 * control.FEATURES


@pytest.mark.parametrize("axis", ["N", "P"])
def test_beyond_the_ladder(study, axis):
    table, design = study
    ladder = ladder_of(design, axis, 0.1)
    none = ladder_curves.threshold(table.assign(train_nmse=1.0), ladder)
    every = ladder_curves.threshold(table.assign(train_nmse=1e-9), ladder)
    assert (none.at.value, none.ratio.value) == ((0, 0) if axis == "N" else (np.inf, 0))
    assert (every.at.value, every.ratio.value) == ((np.inf, np.inf) if axis == "N" else (0, np.inf))
    ends = ladder.steps[[0, -1]]
    beyond = {"N": ((0, ends[0]), (ends[1], np.inf)), "P": ((ends[1], np.inf), (0, ends[0]))}
    assert (none.between, every.between) == beyond[axis]


def test_diverged_trainings_are_not_fitted(study):
    table, design = study
    ladder = ladder_of(design, "N", 0.1)
    lost = table.copy()
    here = lost["cell"].isin(ladder.cells[2:]) & (lost["replicate"] < 16)
    lost.loc[here, "train_nmse"] = np.nan
    found = ladder_curves.threshold(lost, ladder)
    assert ladder.steps[1] <= found.at.value <= ladder.steps[2]


def test_scatter_between_replicates_widens_the_interval(study):
    table, design = study
    ladder = ladder_of(design, "N", 0.3)
    scattered = table.copy()
    rng = np.random.default_rng(0)
    scattered["train_nmse"] *= np.exp(3 * rng.normal(size=len(table)))
    calm, wide = (
        ladder_curves.threshold(table, ladder).at,
        ladder_curves.threshold(scattered, ladder).at,
    )
    assert np.log(wide.high / wide.low) > 10 * np.log(calm.high / calm.low)


def test_tolerances_as_stated():
    assert tolerance(0.0) == 1e-6
    assert tolerance(0.3) == pytest.approx(9e-4)
