"""Noise and local polynomials against known noise, polynomials and scipy."""

import numpy as np
import pytest
from numpy.polynomial import Polynomial

from study.core.data.smoothing import chosen_window, local_polynomial, noise


def times(n, uneven):
    even = 0.01 * np.arange(n)
    return even + (np.random.default_rng(5).uniform(-0.004, 0.004, n) if uneven else 0)


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("sigma", [1e-4, 1e-2])
def test_the_noise_is_found_at_even_and_uneven_times(uneven, sigma):
    t, rng = times(2000, uneven), np.random.default_rng(0)
    q = np.stack([np.sin(3 * t), np.cos(5 * t)], 1)
    noisy = q + sigma * np.array([1.0, 3.0]) * rng.standard_normal(q.shape)
    found = noise([(t[:900], noisy[:900]), (t[900:], noisy[900:])])
    np.testing.assert_allclose(found, [sigma, 3 * sigma], rtol=0.1)
    assert (noise([(t, q)]) < 1e-8).all()


@pytest.mark.parametrize("uneven", [False, True])
def test_a_polynomial_of_degree_four_is_kept_with_its_derivatives(uneven):
    t, p = times(300, uneven), Polynomial([1.0, -2.0, 0.5, 3.0, -0.7])
    values = np.stack([p(t), -2 * p(t)], 1)
    found = local_polynomial(t, values, 15)
    for order, smooth in enumerate(found):
        expected = p.deriv(order)(t) if order else p(t)
        np.testing.assert_allclose(smooth[:, 0], expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(smooth[:, 1], -2 * smooth[:, 0], rtol=1e-6, atol=1e-6)


def test_more_noise_is_smoothed_by_longer_windows_and_none_by_the_shortest():
    t, rng = times(1000, False), np.random.default_rng(1)
    q, drawn = np.sin(4 * t)[:, None], rng.standard_normal((1000, 1))
    windows = []
    for sigma in (1e-9, 1e-4, 1e-2):
        tracks = [(t, q + sigma * drawn)]
        windows.append(chosen_window(tracks, noise(tracks)))
    assert windows[0] == 7
    assert windows == sorted(set(windows))
    errors = {
        w: np.square(local_polynomial(t, q + 1e-2 * drawn, w)[0] - q).mean() for w in (7, 161)
    }
    chosen = np.square(local_polynomial(t, q + 1e-2 * drawn, windows[-1])[0] - q).mean()
    assert chosen < min(errors.values())
