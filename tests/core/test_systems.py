"""Derived accelerations against formulas worked out by hand, and the laws they must obey."""

import functools

import numpy as np
import pytest
import scipy.linalg
import scipy.special
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.core.data.datasets import checked, integrate
from study.core.systems import SYSTEMS
from study.core.systems.lyapunov import finite_time_exponent
from tests.core import euler_lagrange

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


def cart_pole(q, v, c):
    """Forces on cart and bob, the rod's tension eliminated."""
    sin, cos = np.sin(q[:, 1]), np.cos(q[:, 1])
    cart = c.m * sin * (c.l * v[:, 1] ** 2 + c.g * cos) / (c.M + c.m * sin**2)
    return np.stack([cart, -(c.g * sin + cart * cos) / c.l], 1)


def oscillator(q, v, c):
    return -(c.k * q + c.kappa * q**3) / c.m


def coupled_oscillators(q, v, c):
    between = c.coupling * (q[:, 0] - q[:, 1])
    return np.stack([(-c.k1 * q[:, 0] - between) / c.m1, (-c.k2 * q[:, 1] + between) / c.m2], 1)


def henon_heiles(q, v, c):
    x, y = q.T
    along_x, along_y = -2 * x * y, y**2 - x**2
    return np.stack([c.coupling * along_x - c.k * x, c.coupling * along_y - c.k * y], 1) / c.m


def relativistic_particle(q, v, c):
    """From dp/dt = F with p = gamma m v: only the force across the motion sees no energy."""
    gamma = 1 / np.sqrt(1 - (v**2).sum(1, keepdims=True) / c.c**2)
    force = -c.k * q
    power = (force * v).sum(1, keepdims=True)
    return (force - power * v / c.c**2) / (gamma * c.m)


HAND = {
    f.__name__: f
    for f in (
        double_pendulum,
        spring_pendulum,
        kepler,
        magnetic_trap,
        cart_pole,
        oscillator,
        coupled_oscillators,
        henon_heiles,
        relativistic_particle,
    )
}


@functools.cache
def motion(name):
    """20 trajectories at 50 times over the seconds that data are taken from, (20, 50, 2 D)."""
    system = SYSTEMS[name]
    start = system.initial_conditions(np.random.default_rng(0), 20, system.parameters)
    return integrate(system, start, np.linspace(0, system.data_span, 50))


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
    force = force + torch.from_numpy(system.generalised_force(q, v))
    expected = torch.linalg.solve(mass, force).numpy()
    np.testing.assert_allclose(system.acceleration(q, v), expected, rtol=1e-9, atol=1e-10)


def test_triple_pendulum_with_two_massless_bobs_is_a_simple_one():
    system = SYSTEMS["triple_pendulum"].with_constants(m2=1e-12, m3=1e-12)
    q, v = np.array([[0.4, 0.1, -0.2]]), np.array([[0.3, -0.5, 0.7]])
    assert system.acceleration(q, v)[0, 0] == pytest.approx(-9.8 * np.sin(0.4), rel=1e-9)


CONSERVATIVE = sorted(name for name, system in SYSTEMS.items() if system.forces is None)


@pytest.mark.parametrize("name", CONSERVATIVE)
def test_reference_trajectories_conserve_energy(name):
    system, states = SYSTEMS[name], motion(name)
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
    system, states = SYSTEMS[name], motion(name)
    velocity = states[..., system.n_dof :]
    mass = system.mass_matrix(states[..., : system.n_dof], velocity)
    kinetic = np.einsum("kti,ktij,ktj->kt", velocity, mass, velocity) / 2
    ratio = kinetic.max(1).mean() / system.energy_scale(system.parameters)
    assert 0.1 < ratio < 10


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_motion_stays_safe_and_near_the_box(name):
    system, states = SYSTEMS[name], motion(name)
    assert system.is_safe(states).all()
    centre = np.zeros(2 * system.n_dof) if system.centre is None else np.asarray(system.centre)
    reach = np.abs(states - centre).max((0, 1)) / np.asarray(system.box)
    assert reach[~np.array([*system.angles, *[False] * system.n_dof])].max() < 1.6


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_initial_conditions_follow_the_constants(name):
    system = odd_constants(SYSTEMS[name])
    drawn = system.initial_conditions(np.random.default_rng(1), 500, system.parameters)
    assert system.is_safe(drawn).all()
    assert system.is_safe(system.uniform_states(RNG, 500)).all()


def test_the_wide_double_pendulum_is_that_of_cranmer():
    """arXiv 2003.04630: m = l = 1, g = 9.8; energies over 29.4 J; the domain of their states."""
    system = SYSTEMS["double_pendulum_wide"]
    c = system.parameters
    assert (c.m1, c.m2, c.l1, c.l2, c.g) == (1.0, 1.0, 1.0, 1.0, 9.8)
    assert system.energy_scale(c) == pytest.approx(29.4)
    start = system.initial_conditions(np.random.default_rng(0), 4000, c)
    uniform = system.uniform_states(np.random.default_rng(0), 4000)
    for q in (start[:, :2], uniform[:, :2]):
        assert q.min() > 0
        assert q.max() < 2 * np.pi
        np.testing.assert_allclose(q.mean(0), np.pi, atol=0.1)
        np.testing.assert_allclose(q.std(0), 2 * np.pi / np.sqrt(12), rtol=0.05)
    assert not start[:, 2:].any()
    np.testing.assert_allclose(np.abs(uniform[:, 2:]).max(0), 10, atol=0.02)
    assert np.abs(uniform[:, 2:]).max() < 10


@pytest.mark.slow
def test_chaotic_motion_keeps_its_energy_over_a_horizon_of_100_s():
    system = SYSTEMS["double_pendulum_wide"]
    start = system.initial_conditions(np.random.default_rng(0), 3, system.parameters)
    assert system.horizon == 100.0
    states = integrate(system, start, np.linspace(0, 100.0, 50))
    assert checked(system, states) is states
    assert finite_time_exponent(system, start, 20.0).max() > 0.3


def test_the_cart_pole_keeps_its_momentum_and_its_centre_of_mass():
    c, states = SYSTEMS["cart_pole"].parameters, motion("cart_pole")
    x, theta, v, rate = np.moveaxis(states, -1, 0)
    momentum = (c.M + c.m) * v + c.m * c.l * rate * np.cos(theta)
    assert np.abs(momentum).max() < 1e-9
    centre = x + c.m / (c.M + c.m) * c.l * np.sin(theta)
    np.testing.assert_allclose(centre, centre[:, :1].repeat(centre.shape[1], 1), atol=1e-9)


def test_a_pole_on_a_heavy_cart_is_a_pendulum():
    system = SYSTEMS["cart_pole"].with_constants(M=1e12, l=0.7)
    q, v = np.array([[0.2, 0.9]]), np.array([[0.1, -1.3]])
    expected = [[0.0, -9.8 * np.sin(0.9) / 0.7]]
    np.testing.assert_allclose(system.acceleration(q, v), expected, atol=1e-10)


def test_coupled_oscillators_move_as_the_matrix_exponential_says():
    system = odd_constants(SYSTEMS["coupled_oscillators"])
    c = system.parameters
    stiffness = np.array([[c.k1 + c.coupling, -c.coupling], [-c.coupling, c.k2 + c.coupling]])
    generator = np.zeros((4, 4))
    generator[:2, 2:] = np.eye(2)
    generator[2:, :2] = -stiffness / [[c.m1], [c.m2]]
    start = system.initial_conditions(np.random.default_rng(0), 5, c)
    times = np.linspace(0, 20, 9)
    expected = np.stack([start @ scipy.linalg.expm(generator * t).T for t in times], axis=1)
    np.testing.assert_allclose(integrate(system, start, times), expected, atol=1e-9)


@pytest.mark.parametrize("kappa", [0.0, 0.5, 3.0])
def test_the_oscillator_moves_as_jacobis_cn(kappa):
    """From rest at A: x = A cn(w t | m), w^2 = k + kappa A^2, m = kappa A^2 / (2 w^2), mass one."""
    system = SYSTEMS["oscillator"].with_constants(kappa=kappa, k=1.3)
    amplitude = 1.4
    times = np.linspace(0, 20, 50)
    square = 1.3 + kappa * amplitude**2
    cn = scipy.special.ellipj(np.sqrt(square) * times, kappa * amplitude**2 / (2 * square))[1]
    states = integrate(system, np.array([[amplitude, 0.0]]), times)
    np.testing.assert_allclose(states[0, :, 0], amplitude * cn, atol=1e-9)


def test_henon_heiles_starts_between_its_energies_in_the_well():
    system = SYSTEMS["henon_heiles"]
    drawn = system.initial_conditions(np.random.default_rng(0), 4000, system.parameters)
    energy = system.energy(*np.split(drawn, 2, axis=1))
    low, high = 1 / 24, 1 / 8
    assert energy.min() == pytest.approx(low, abs=1e-4)
    assert energy.max() == pytest.approx(high, abs=1e-4)
    assert energy.mean() == pytest.approx((low + high) / 2, rel=0.02)


def test_henon_heiles_escapes_only_outside_its_safe_domain():
    """Above 1/6, or beyond a saddle, motion runs away; just inside both it does not."""
    system = SYSTEMS["henon_heiles"]
    through_the_saddle = np.sqrt(2 * np.array([1 / 6 + 0.01, 1 / 6 - 0.01]))
    start = np.zeros((3, 4))
    start[:2, 3] = through_the_saddle  # up along y, to the saddle at y = 1
    start[2] = [0.0, 1.05, 0.0, 0.0]
    assert system.is_safe(start).tolist() == [False, True, False]
    for state, gone in zip(start, (True, False, True), strict=True):
        path = integrate(system, state[None], np.linspace(0, 5.0, 50))
        assert (path[..., 1].max() > 1.1) == gone


def test_henon_heiles_looks_the_same_after_a_third_of_a_turn():
    system = odd_constants(SYSTEMS["henon_heiles"])
    q, v = np.split(system.uniform_states(RNG, 20), 2, axis=1)
    cos, sin = np.cos(2 * np.pi / 3), np.sin(2 * np.pi / 3)
    turn = np.array([[cos, sin], [-sin, cos]])
    np.testing.assert_allclose(
        system.acceleration(q @ turn, v @ turn), system.acceleration(q, v) @ turn, atol=1e-12
    )


def test_the_relativistic_particle_keeps_its_angular_momentum_and_its_speed_limit():
    states = motion("relativistic_particle")
    x, y, vx, vy = np.moveaxis(states, -1, 0)
    gamma = 1 / np.sqrt(1 - vx**2 - vy**2)
    momentum = gamma * (x * vy - y * vx)
    np.testing.assert_allclose(momentum, momentum[:, :1].repeat(50, 1), atol=1e-10)
    assert np.hypot(vx, vy).max() < 0.8


def test_a_relativistic_circle_closes():
    """gamma m v^2 / r = k r at v = 0.6 c."""
    system = SYSTEMS["relativistic_particle"].with_constants(m=1.2, c=2.0, k=0.8)
    v = 0.6 * 2.0
    r = np.sqrt(1.25 * 1.2 * v**2 / 0.8)
    states = integrate(system, np.array([[r, 0.0, 0.0, v]]), np.linspace(0, 2 * np.pi * r / v, 9))
    np.testing.assert_allclose(np.hypot(*states[0, :, :2].T), r, atol=1e-9)
    np.testing.assert_allclose(states[0, -1], states[0, 0], atol=1e-9)


def test_an_unknown_constant_is_refused():
    with pytest.raises(KeyError, match="no constant mass"):
        SYSTEMS["kepler"].with_constants(mass=2.0)
