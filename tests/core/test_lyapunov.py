"""Finite-time exponents against closed forms and against two neighbouring trajectories."""

import numpy as np
import pytest

from study.core.data.datasets import integrate
from study.core.systems import SYSTEMS, System
from study.core.systems.lyapunov import finite_time_exponent


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


@pytest.mark.slow
def test_kepler_falls_as_ln_t_over_t():
    """Integrable: neighbours on other periods part linearly, so lambda(T) T grows as ln T only."""
    system = SYSTEMS["kepler"]
    start = system.initial_conditions(np.random.default_rng(0), 8, system.parameters)
    horizons = np.array([10.0, 25.0, 50.0, 100.0, 200.0, 400.0])
    values = np.array([np.median(finite_time_exponent(system, start, T)) for T in horizons])
    assert (np.diff(values) < 0).all()
    ratios = values * horizons / np.log(horizons)
    assert ratios.max() / ratios.min() < 1.35
    assert ratios.min() > 0.8
    assert ratios.max() < 1.6


def around(y: float, n: int):
    """n states of energy 1/8 on x = 0 with qdot along x, y within 0.01."""
    y = y + 0.01 * np.linspace(-1, 1, n)
    speed = np.sqrt(2 * (1 / 8 - (y**2 / 2 - y**3 / 3)))
    return np.stack([0 * y, y, speed, 0 * y], axis=1)


def test_henon_heiles_at_one_eighth_has_the_published_exponent():
    """0.05 in the chaotic sea, and regular motion at the same energy has none.

    Published, both to one digit: "about 0.05" at E = 1/8 for the orbit from x = 0, y = -0.1,
    py = 0 over t = 1e4, by a symplectic integrator (documentation of pynamicalsys, Hamiltonian
    systems, Lyapunov exponents); 0.05 at E = 1/8 for the orbit from (x, y, px, py) =
    (0, -0.016, 0.49974, 0), orbit F of Skokos et al. (2002), arXiv nlin/0210053, over t = 3e4
    (documentation of galpy, phase-space volumes and chaos, which finds it consistent with
    Benettin, Galgani and Strelcyn (1976), Physical Review A 14, 2338).

    Single orbits stick to islands, so that over such times their exponents scatter from 0.03 to
    0.06. Here it is the mean over 100 orbits and t = 1000 from around the chaotic orbit
    (0, -0.25, 0.42081, 0) of ChaosTools.jl's documentation. The regular orbit is that of
    pynamicalsys, y = 0.1.
    """
    system = SYSTEMS["henon_heiles"]
    chaotic = finite_time_exponent(system, around(-0.25, 100), 1000.0)
    assert chaotic.mean() == pytest.approx(0.05, rel=0.15)
    regular = finite_time_exponent(system, around(0.1, 3), 1000.0)
    assert regular.max() < 0.01


@pytest.mark.slow
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
