"""Known laws are recovered at the stated rate; what is no law is called none."""

import numpy as np
import pytest
from scipy import optimize

from study.analysis.statistics import medians, power_law

X = np.geomspace(64, 64 * 2**7, 8)


def curve(rng, alpha, floor, n=5, scatter=0.15, x=X):
    error = (x / 64) ** -alpha + floor
    return medians.medians(error * np.exp(scatter * rng.normal(size=(n, len(x)))))


@pytest.mark.parametrize(
    ("alpha", "floor", "n"),
    [
        (1.0, 0.02, 5),
        *(pytest.param(*law, marks=pytest.mark.slow) for law in [(0.5, 0.0, 10), (2.0, 1e-3, 5)]),
    ],
)
def test_intervals_cover_the_exponent_and_the_floor(alpha, floor, n):
    rng, covered, floors = np.random.default_rng(1), [], []
    for _ in range(25):
        law = power_law.fit(curve(rng, alpha, floor, n), X, range(8))
        assert law.supported, law.reasons
        covered.append(law.alpha.low <= alpha <= law.alpha.high)
        floors.append(law.floor.low <= floor <= law.floor.high)
    assert np.mean(covered) >= 0.84  # 25 experiments at 95 %: fewer than 21 one time in a thousand
    assert np.mean(floors) >= 0.84


def test_a_law_without_scatter_is_found_exactly():
    table = np.tile(3.0 * X**-0.7 + 0.01, (5, 1))
    law = power_law.fit(medians.medians(table), X, range(8))
    assert law.alpha.value == pytest.approx(0.7, abs=1e-3)
    assert law.amplitude == pytest.approx(3.0, rel=1e-2)
    assert law.floor.value == pytest.approx(0.01, rel=1e-2)
    assert law.r2 > 0.9999
    assert law(X) == pytest.approx(table[0], rel=1e-2)


def test_the_minimum_is_the_one_a_global_search_finds():
    rng = np.random.default_rng(2)
    made = curve(rng, 0.8, 0.03)
    scale, logs = np.log(X) - np.log(X).mean(), np.log(made.middle)
    found = power_law._best(scale, logs, 0.1, power_law._starts(scale, logs))

    def loss(theta):
        rest = np.logaddexp(theta[0] - theta[1] * scale, theta[2]) - logs
        size = np.abs(rest) / 0.1
        return np.where(size < 1, size**2 / 2, size - 0.5).sum()

    bounds = [(-10, 5), (0, 8), (-15, 1)]
    searched = optimize.differential_evolution(loss, bounds, rng=3, tol=1e-10, maxiter=2000)
    assert loss(found) <= searched.fun * (1 + 1e-4)


def test_refits_of_the_draws_reach_the_minimum_too():
    rng = np.random.default_rng(9)
    made = curve(rng, 1.0, 0.02)
    scale, draws = np.log(X) - np.log(X).mean(), np.log(made.draws[:30])
    best = power_law._best(scale, np.log(made.middle), 0.1, [np.array([0.0, 1.0, -3.0])])
    for theta, logs in zip(power_law._refits(scale, draws, 0.1, best), draws, strict=True):
        least = power_law._best(scale, logs, 0.1, power_law._starts(scale, logs))
        reached, least = power_law._losses(np.array([theta, least]), scale, logs, 0.1)
        assert reached <= least + 1e-3


def test_the_slopes_are_those_of_differences():
    scale, theta = np.log(X) - np.log(X).mean(), np.array([0.3, 0.7, -1.0])
    theirs = optimize.approx_fprime(theta, lambda t: power_law._log_law(t, scale), 1e-7)
    assert power_law._slopes(theta, scale) == pytest.approx(theirs, abs=1e-5)


def test_one_outlier_hardly_moves_the_exponent():
    rng = np.random.default_rng(4)
    table = curve(rng, 1.0, 0.0, scatter=0.1).table.copy()
    table[:, 3] *= 3
    law = power_law.fit(medians.medians(table), X, range(8))
    line = -np.polyfit(np.log(X), np.log(np.median(table, axis=0)), 1)[0]
    assert abs(law.alpha.value - 1) < max(0.1, abs(line - 1))
    assert "residuals beyond the replicates' scatter" in law.reasons


def test_scatter_alone_and_a_flat_curve_are_no_law():
    rng = np.random.default_rng(5)
    for _ in range(10):
        law = power_law.fit(curve(rng, 0.0, 1.0, scatter=0.3), X, range(8))
        assert not law.supported


def test_a_peak_within_a_side_is_no_law():
    rng = np.random.default_rng(6)
    table = curve(rng, 1.0, 0.0, scatter=0.1).table.copy()
    table[:, 4] *= 10
    law = power_law.fit(medians.medians(table), X, range(8))
    assert "the curve rises" in law.reasons


def test_too_little_is_no_law():
    rng = np.random.default_rng(7)
    assert power_law.fit(curve(rng, 1.0, 0.0), X, range(3)) is None
    few = power_law.fit(curve(rng, 1.0, 0.0, n=3), X, range(8))
    assert "too few replicates" in few.reasons
    table = curve(rng, 1.0, 0.0).table.copy()
    table[:3, 2] = np.inf
    assert power_law.fit(medians.medians(table), X, range(8)) is None
    table = curve(rng, 1.0, 0.0).table.copy()
    table[:2, 2] = np.inf  # the median is finite, many draws of it are not
    assert "diverged replicates" in power_law.fit(medians.medians(table), X, range(8)).reasons


def test_too_short_a_range_leaves_the_exponent_open():
    rng = np.random.default_rng(8)
    x = np.array([100.0, 107, 115, 122, 130])
    table = (x / 100) ** -1.0 * np.exp(0.1 * rng.normal(size=(5, 5)))
    law = power_law.fit(medians.medians(table), x, range(5))
    assert law is not None
    assert not law.supported
