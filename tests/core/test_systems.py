"""Derived accelerations against formulas worked out by hand, and the laws they must obey."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.core import euler_lagrange
from study.core.datasets import checked, integrate
from study.core.systems import SYSTEMS

RNG = np.random.default_rng(7)


def double_pendulum(q, v, c):
    """From Newton's equations for two point masses on rods, solved for the angles by hand."""
    m1, m2, l1, l2, g = c.m1, c.m2, c.l1, c.l2, c.g
    a1, a2 = q.T
    w1, w2 = v.T
    d = a1 - a2
    common = 2 * m1 + m2 - m2 * np.cos(2 * d)
    first = (
        -g * (2 * m1 + m2) * np.sin(a1)
        - m2 * g * np.sin(a1 - 2 * a2)
        - 2 * np.sin(d) * m2 * (w2**2 * l2 + w1**2 * l1 * np.cos(d))
    ) / (l1 * common)
    second = (
        2
        * np.sin(d)
        * (w1**2 * l1 * (m1 + m2) + g * (m1 + m2) * np.cos(a1) + w2**2 * l2 * m2 * np.cos(d))
    ) / (l2 * common)
    return np.stack([first, second], 1)


def spring_pendulum(q, v, c):
    r, a = q.T
    radial = r * v[:, 1] ** 2 + c.g * np.cos(a) - c.k / c.m * (r - c.l)
    angular = -(c.g * np.sin(a) + 2 * v[:, 0] * v[:, 1]) / r
    return np.stack([radial, angular], 1)


def kepler(q, v, c):
    return -c.mu * q / np.linalg.norm(q, axis=1, keepdims=True) ** 3


def magnetic_trap(q, v, c):
    """Lorentz force of B along z, and the trap's."""
    r2 = (q**2).sum(1, keepdims=True)
    lorentz = c.charge * c.B * np.stack([v[:, 1], -v[:, 0]], 1)
    return (lorentz - c.k * q - c.kappa * r2 * q) / c.m


HAND = {f.__name__: f for f in (double_pendulum, spring_pendulum, kepler, magnetic_trap)}


def odd_constants(system):
    """Constants none of which is 1, so that a forgotten factor shows."""
    return system.with_constants(
        **{key: value * (1.1 + 0.17 * i) for i, (key, value) in enumerate(system.constants.items())}
    )


@pytest.mark.parametrize("name", sorted(HAND))
def test_accelerations_by_hand(name):
    system = odd_constants(SYSTEMS[name])
    q, v = np.split(system.uniform_states(RNG, 200), 2, axis=1)
    expected = HAND[name](q, v, system.parameters)
    np.testing.assert_allclose(system.acceleration(q, v), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_accelerations_by_automatic_differentiation(name):
    system = odd_constants(SYSTEMS[name])
    q, v = np.split(system.uniform_states(RNG, 50), 2, axis=1)
    mass, force = euler_lagrange.terms(
        euler_lagrange.lagrangian_of(system), torch.from_numpy(q), torch.from_numpy(v)
    )
    np.testing.assert_allclose(system.mass_matrix(q, v), mass.numpy(), rtol=1e-10, atol=1e-10)
    expected = torch.linalg.solve(mass, force).numpy()
    np.testing.assert_allclose(system.acceleration(q, v), expected, rtol=1e-9, atol=1e-10)


def test_triple_pendulum_with_two_massless_bobs_is_a_simple_one():
    system = SYSTEMS["triple_pendulum"].with_constants(m2=1e-12, m3=1e-12)
    q, v = np.array([[0.4, 0.1, -0.2]]), np.array([[0.3, -0.5, 0.7]])
    assert system.acceleration(q, v)[0, 0] == pytest.approx(-9.8 * np.sin(0.4), rel=1e-9)


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_reference_trajectories_conserve_energy(name):
    system = SYSTEMS[name]
    start = system.initial_conditions(np.random.default_rng(0), 20, system.parameters)
    states = integrate(system, start, np.linspace(0, system.horizon, 50))
    energy = system.energy(*np.split(states, 2, axis=-1))
    scale = system.energy_scale(system.parameters)
    assert np.abs(energy - energy[:, :1]).max() < 1e-8 * scale
    assert checked(system, states) is states


def test_kepler_conserves_angular_momentum_and_closes_its_ellipse():
    system = SYSTEMS["kepler"]
    e, a = 0.3, 1.0
    start = np.array([[a * (1 - e), 0.0, 0.0, np.sqrt((1 + e) / (1 - e))]])
    states = integrate(system, start, np.linspace(0, 2 * np.pi, 30))
    x, y, vx, vy = states[0].T
    np.testing.assert_allclose(x * vy - y * vx, np.sqrt(1 - e**2), rtol=1e-10)
    np.testing.assert_allclose(states[0, -1], start[0], atol=1e-8)


@given(st.sampled_from(sorted(SYSTEMS)), st.integers(0, 2**31), st.integers(0, 2))
@settings(max_examples=30, deadline=None)
def test_full_turns_of_an_angle_change_nothing(name, seed, coordinate):
    system = SYSTEMS[name]
    q, v = np.split(system.uniform_states(np.random.default_rng(seed), 3), 2, axis=1)
    turned = q.copy()
    for i, angle in enumerate(system.angles):
        turned[:, i] += 2 * np.pi * angle * (i == coordinate)
    np.testing.assert_allclose(
        system.acceleration(q, v), system.acceleration(turned, v), rtol=1e-8, atol=1e-8
    )


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_energy_scale_is_of_the_order_of_the_motion(name):
    system = SYSTEMS[name]
    start = system.initial_conditions(np.random.default_rng(0), 50, system.parameters)
    states = integrate(system, start, np.linspace(0, system.horizon, 50))
    velocity = states[..., system.n_dof :]
    mass = system.mass_matrix(states[..., : system.n_dof], velocity)
    kinetic = np.einsum("kti,ktij,ktj->kt", velocity, mass, velocity) / 2
    ratio = kinetic.max(1).mean() / system.energy_scale(system.parameters)
    assert 0.1 < ratio < 10


def test_an_unknown_constant_is_refused():
    with pytest.raises(KeyError, match="no constant mass"):
        SYSTEMS["kepler"].with_constants(mass=2.0)
