"""The peak test finds a known double descent, and seldom anything else."""

import numpy as np
import pytest
from scipy import optimize

from study.analysis.statistics import peaks
from tests.analysis import control

X = control.POINTS.astype(float)


def logs_of(seeds):
    return np.log(control.errors(seeds)[0])


def monotone(rng, seeds):
    """Replicates of a falling curve with the log scatter of the control, rung by rung."""
    logs = logs_of(40)
    scatter = logs - np.median(logs, axis=0)
    drawn = np.take_along_axis(scatter, rng.integers(0, 40, (seeds, len(X))), axis=0)
    return np.exp(drawn - np.log(X))


def test_the_control_peaks_where_features_equal_points():
    table = control.errors(10)[0]
    middle = np.median(table, axis=0)
    top = middle[X == control.FEATURES][0]
    assert top > 10 * middle[X == control.FEATURES / 2][0]
    assert top > 10 * middle[X == 2 * control.FEATURES][0]
    found = peaks.peak(table, X)
    assert found.verdict == "yes"
    assert found.place.value == control.FEATURES
    assert (found.left, found.right) == (0, len(X) - 1)
    assert found.prominence.value == pytest.approx(top / middle[0])


@pytest.mark.parametrize(("seeds", "least"), [(5, 90), (10, 95)])
def test_the_control_is_found_in_resamples_of_its_replicates(seeds, least):
    table, rng, hits = control.errors(10)[0], np.random.default_rng(0), 0
    for _ in range(100):
        found = peaks.peak(table[rng.integers(0, seeds, seeds)], X)
        near = abs(found.place.value / control.FEATURES - 1) <= 0.05
        hits += found.verdict == "yes" and near
    assert hits >= least


@pytest.mark.parametrize("seeds", [5, 10])
def test_monotone_controls_with_the_same_scatter_have_no_peak(seeds):
    rng = np.random.default_rng(1)
    found = [peaks.peak(monotone(rng, seeds), X).verdict for _ in range(100)]
    assert found.count("yes") <= 5


def replicates(rng, middle, n, scatter=0.3):
    return np.exp(middle + scatter * rng.normal(size=(n, len(middle))))


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("shape", ["flat", "cliff"])
def test_the_null_curves_that_are_hardest_are_rarely_called_peaks(n, shape):
    rng, middle = np.random.default_rng(2), np.zeros(10)
    middle[-1] = -5.0 if shape == "cliff" else 0.0
    found = [peaks.peak(replicates(rng, middle, n), np.arange(1.0, 11)) for _ in range(100)]
    assert sum(each.verdict == "yes" for each in found) <= 5


def test_power_at_five_replicates_and_at_ten():
    """A bump on a falling curve, scatter 0.3 in log: five replicates find a factor of 3.3 surely
    and one of 2.2 more often than not; ten find 2.2 surely."""
    rng, x = np.random.default_rng(3), np.arange(1.0, 9)
    middle = -np.linspace(0, 3, 8)
    power = {}
    for n in (5, 10):
        for bump in (0.8, 1.2):
            curve = middle.copy()
            curve[4] = curve[3] + bump
            found = [peaks.peak(replicates(rng, curve, n), x) for _ in range(60)]
            hits = [each.verdict == "yes" and each.at == 4 for each in found]
            power[n, bump] = np.mean(hits)
            assert np.mean([np.log(f.prominence.high) >= bump for f in found]) >= 0.9
    assert power[5, 1.2] > 0.9
    assert 0.4 < power[5, 0.8] < 0.9
    assert power[10, 0.8] > 0.95


def test_a_steep_fall_without_scatter_to_speak_of_has_no_peak():
    rng = np.random.default_rng(4)
    found = peaks.peak(replicates(rng, -np.arange(8.0), 5, 0.1), np.arange(1.0, 9))
    assert found.verdict == "no"
    assert found.prominence.value < 1


def test_what_replicates_share_makes_no_difference():
    rng = np.random.default_rng(5)
    table = replicates(rng, np.array([0, -1, -0.5, -2, -3.0]), 6, 0.05)
    shared = table * np.exp(3 * rng.normal(size=(6, 1)))
    apart, together = (peaks.peak(t, np.arange(1.0, 6)) for t in (table, shared))
    assert apart.verdict == together.verdict == "yes"
    assert together.prominence.value == pytest.approx(apart.prominence.value, rel=0.2)


def test_diverged_and_missing_replicates():
    rng = np.random.default_rng(6)
    table = replicates(rng, -np.arange(6.0), 6, 0.1)
    table[:2, 3] = np.inf
    table[5, 1:] = np.nan
    found = peaks.peak(table, np.arange(1.0, 7))
    assert found.prominence.value < 1  # the medians still fall
    assert found.verdict != "yes"
    assert found.prominence.n == 5
    table[:4, 3] = np.inf
    assert peaks.peak(table, np.arange(1.0, 7)).at == 3
    assert peaks.peak(np.full((5, 4), np.inf), np.arange(1.0, 5)) is None
    assert peaks.peak(table[:, :2], np.arange(1.0, 3)) is None


@pytest.mark.parametrize("n", [1, 4])
def test_too_few_replicates_decide_nothing(n):
    rng = np.random.default_rng(7)
    table = replicates(rng, np.array([0, 0, 5, 0, 0.0]), n, 0.01)
    assert peaks.peak(table, np.arange(1.0, 6)).verdict == "undecided"


def test_nearest_curve_without_a_peak_is_the_least_squares_one():
    rng = np.random.default_rng(8)
    middle, weights = rng.normal(size=7), rng.uniform(0.5, 2, 7)
    fitted = peaks.nearest_without_peak(middle, weights)
    least = np.inf
    for turn in range(7):  # falls up to `turn`, rises after it: linear constraints
        signs = np.where(np.arange(6) < turn, -1.0, 1.0)
        solved = optimize.minimize(
            lambda f: (weights * (f - middle) ** 2).sum(),
            np.zeros(7),
            constraints={"type": "ineq", "fun": lambda f, s=signs: s * np.diff(f)},
            options={"ftol": 1e-12, "maxiter": 500},
        )
        least = min(least, solved.fun)
    assert (weights * (fitted - middle) ** 2).sum() == pytest.approx(least, abs=1e-6)
