"""Finite-time exponents against closed forms and against two neighbouring trajectories."""

import numpy as np
import pytest

from study.core.datasets import integrate
from study.core.lyapunov import finite_time_exponent
from study.core.systems import SYSTEMS, System


def test_an_inverted_oscillator_grows_at_its_rate():
    system = System(
        name="saddle",
        lagrangian=lambda q, v, c, xp: v[0] ** 2 / 2 + c.rate**2 * q[0] ** 2 / 2,
        coordinates=(("x", "m"),),
        angles=(False,),
        constants={"rate": 1.5},
        initial_conditions=lambda rng, n, c: np.zeros((n, 2)),
        box=(1.0, 1.0),
        horizon=1.0,
        energy_scale=lambda c: 1.0,
    )
    exponent = finite_time_exponent(system, np.zeros((2, 2)), 60.0)
    np.testing.assert_allclose(exponent, 1.5, atol=0.05)


def test_kepler_falls_as_ln_t_over_t():
    system = SYSTEMS["kepler"]
    start = system.initial_conditions(np.random.default_rng(0), 6, system.parameters)
    horizons = (25.0, 100.0, 400.0)
    values = [np.median(finite_time_exponent(system, start, T)) for T in horizons]
    ratios = [value / (np.log(T) / T) for value, T in zip(values, horizons, strict=True)]
    assert max(ratios) / min(ratios) < 1.35


def test_a_neighbouring_trajectory_departs_at_the_same_rate():
    system = SYSTEMS["double_pendulum"]
    start = np.array([[1.4, 1.4, 0.0, 0.0], [1.5, -1.2, 0.0, 0.0]])
    horizon = 20.0
    direction = np.random.default_rng(0).standard_normal(4)
    direction /= np.linalg.norm(direction)
    step = 1e-7
    pair = [integrate(system, s, np.array([0, horizon])) for s in (start, start + step * direction)]
    growth = np.log(np.linalg.norm(pair[1][:, -1] - pair[0][:, -1], axis=1) / step) / horizon
    assert finite_time_exponent(system, start, horizon) == pytest.approx(growth, abs=0.01)
