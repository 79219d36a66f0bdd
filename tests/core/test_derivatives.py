"""Estimated velocities and accelerations against motions whose derivatives are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import savgol_coeffs

from study.core.data.derivatives import Method, even_step, local_polynomials

RATES = np.array([1.0, 2.0])


def errors(method: Method, step: float) -> np.ndarray:
    """Largest errors of q, qdot and qddot of two sines, where the method may be used."""
    times = np.arange(0, 6, step)
    q, qdot = np.sin(RATES * times[:, None]), RATES * np.cos(RATES * times[:, None])
    exact = (q, qdot, -(RATES**2) * q)
    inner = slice(method.margin, len(times) - method.margin)
    pairs = zip(method(times, q), exact, strict=True)
    return np.array([np.abs(found - true)[inner].max() for found, true in pairs])


@pytest.mark.parametrize("method", [Method("savgol", 9, 0.0), Method("spline", 9, 0.0)])
def test_errors_fall_with_the_fourth_power_of_the_step(method):
    coarse, fine = errors(method, 0.04), errors(method, 0.02)
    assert (fine[1:] < 1e-4).all()
    order = np.log2(coarse[1:] / fine[1:])  # of velocity and acceleration
    assert order[1] == pytest.approx(4, abs=0.3)
    assert order[0] > 3.7


def test_a_longer_window_costs_its_fourth_power():
    short, long = (errors(Method("savgol", window, 0.0), 0.01)[2] for window in (11, 21))
    assert np.log2(long / short) == pytest.approx(4, abs=0.3)


def test_noise_is_amplified_as_the_filters_coefficients_say():
    rng = np.random.default_rng(0)
    times, sigma, window = np.arange(40_000) * 0.01, 1e-4, 21
    noise = sigma * rng.standard_normal((len(times), 1))
    qddot = Method("savgol", window, 0.0)(times, noise)[2][window:-window]
    c = savgol_coeffs(window, 4, deriv=2, delta=0.01)
    assert qddot.std() == pytest.approx(sigma * np.sqrt((c**2).sum()), rel=0.03)


def test_a_spline_need_not_follow_the_noise():
    rng = np.random.default_rng(0)
    times = np.linspace(0, 6, 601)
    q = np.sin(times)[:, None] + 1e-3 * rng.standard_normal((601, 1))
    follows, smooth = (Method("spline", 9, s)(times, q)[2][20:-20, 0] for s in (0.0, 1e-3))
    true = -np.sin(times)[20:-20]
    assert np.sqrt(np.mean((smooth - true) ** 2)) < 0.1
    assert np.sqrt(np.mean((follows - true) ** 2)) > 5


def test_a_spline_takes_uneven_times():
    times = np.sort(np.random.default_rng(0).uniform(0, 6, 600))
    times = times[np.diff(times, prepend=-1) > 1e-3]
    qddot = Method("spline", 9, 0.0)(times, np.sin(times)[:, None])[2][10:-10, 0]
    assert np.abs(qddot + np.sin(times)[10:-10]).max() < 1e-2


def errors_at(times: np.ndarray, taken: np.ndarray, method: Method) -> float:
    """Mean square error of the accelerations of a sine, over their variance."""
    qddot = method(taken, np.sin(2 * times)[:, None])[2][method.margin : -method.margin, 0]
    true = -4 * np.sin(2 * times)[method.margin : -method.margin]
    return float(np.mean((qddot - true) ** 2) / true.var())


POLYNOMIALS = Method("savgol", 11, 0.0)


def test_local_polynomials_at_even_steps_are_savitzky_and_golays():
    times = np.arange(200) * 0.02
    values = np.stack([np.sin(times), np.cos(3 * times)], axis=1)
    for ours, theirs in zip(
        local_polynomials(times, values, 11), POLYNOMIALS(times, values), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)  # one-sided at the ends too


@pytest.mark.parametrize("degree", range(5))
def test_a_polynomial_of_the_fitted_degree_is_exact_at_any_times(degree):
    times = np.cumsum(np.random.default_rng(degree).uniform(0.01, 0.05, 60))
    curve = np.polynomial.Polynomial(np.arange(1.0, degree + 2))
    smoothed = POLYNOMIALS(times, curve(times)[:, None])
    for order, values in enumerate(smoothed):
        true = (curve.deriv(order) if order else curve)(times)
        np.testing.assert_allclose(values[:, 0], true, rtol=1e-6, atol=1e-6)


def test_jittered_times_are_taken_as_they_are():
    rng, n, step = np.random.default_rng(0), 1000, 0.01
    jittered = step * np.arange(n) + rng.uniform(-0.4, 0.4, n) * step
    assert even_step(jittered) is None
    assert errors_at(jittered, jittered, POLYNOMIALS) < 1e-9
    assert errors_at(jittered, step * np.arange(n), POLYNOMIALS) > 1  # as if they were even
    steps = np.full(n - 1, step)
    steps[[200, 500, 800]] *= 1.002
    longer = np.concatenate([[0], np.cumsum(steps)])
    assert even_step(longer) is None
    assert errors_at(longer, longer, POLYNOMIALS) < 1e-9


@pytest.mark.parametrize("method", [POLYNOMIALS, Method("spline", 11, 0.0)])
@pytest.mark.parametrize(("rate", "decimals"), [(30, 3), (120, 3), (30, 6), (7, 2)])
def test_times_rounded_from_an_even_grid_are_put_back_on_it(method, rate, decimals):
    times = np.arange(400) / rate
    rounded = np.round(times, decimals) + 3.0
    step = even_step(rounded)
    assert step == pytest.approx(1 / rate, rel=1e-4)
    assert errors_at(times, rounded, method) <= 1.1 * errors_at(times, times, method) + 1e-9


def test_an_even_grid_is_known_whatever_time_it_begins_at():
    for start in (0.0, 1e3, 1.7e9):  # the last: seconds since 1970
        assert even_step(start + np.arange(100) * 0.01) == pytest.approx(0.01, rel=1e-6)
