"""Estimated velocities and accelerations against motions whose derivatives are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import savgol_coeffs

from study.core.data.derivatives import Method, uneven_step

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


def test_the_first_uneven_step_is_found():
    assert uneven_step(np.arange(10) * 0.1) is None
    assert uneven_step(np.array([0, 0.1, 0.2, 0.31, 0.41])) == 2
