"""Systems with forces: formulas by hand, automatic differentiation and the power balance."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from study.core.data.datasets import DataError, Trajectories, checked, integrate_with_work
from study.core.measures import metrics
from study.core.systems import SYSTEMS
from study.core.systems.units import Units
from tests.core import euler_lagrange

DAMPED, CART = SYSTEMS["damped_double_pendulum"], SYSTEMS["driven_cart_pole"]
RNG = np.random.default_rng(3)


def odd_constants(system):
    return system.with_constants(
        **{key: value * (1.1 + 0.17 * i) for i, (key, value) in enumerate(system.constants.items())}
    )


def states(system, n=40):
    return np.split(system.uniform_states(RNG, n), 2, axis=1)


def push(t):
    return (3.0 * np.sin(2.0 * t) + np.cos(5.1 * t))[..., None]


def motion(system, signals=None, seconds=10.0):
    start = system.initial_conditions(np.random.default_rng(0), 5, system.parameters)
    times = np.linspace(0, seconds, 60)
    return times, *integrate_with_work(system, start, times, signals=signals)


def test_the_damped_double_pendulum_by_a_rayleigh_function():
    """-dF/dqdot of F = (c1 qdot1^2 + c2 (qdot2 - qdot1)^2) / 2 by torch."""
    system = odd_constants(DAMPED)
    (q, v), c = states(system), system.parameters
    rates = torch.from_numpy(v).requires_grad_()
    rayleigh = (c.c1 * rates[:, 0] ** 2 + c.c2 * (rates[:, 1] - rates[:, 0]) ** 2).sum() / 2
    (slope,) = torch.autograd.grad(rayleigh, rates)
    mass, force = euler_lagrange.terms(
        euler_lagrange.lagrangian_of(system), torch.from_numpy(q), torch.from_numpy(v)
    )
    expected = torch.linalg.solve(mass, force - slope).numpy()
    np.testing.assert_allclose(system.acceleration(q, v), expected, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(system.power(q, v), -2 * rayleigh_of(v, c), rtol=1e-12)


def rayleigh_of(v, c):
    return (c.c1 * v[:, 0] ** 2 + c.c2 * (v[:, 1] - v[:, 0]) ** 2) / 2


def test_the_driven_cart_pole_by_newton():
    """Momentum of the whole along x, and moments about the pivot in the cart's frame."""
    system = odd_constants(CART)
    (q, v), c = states(system), system.parameters
    u = RNG.normal(size=(len(q), 1))
    sin, cos, rate = np.sin(q[:, 1]), np.cos(q[:, 1]), v[:, 1]
    along = u[:, 0] - c.b_cart * v[:, 0] + c.m * c.l * rate**2 * sin
    torque = -c.b_joint * rate - c.m * c.g * c.l * sin
    cart = (along - cos * torque / c.l) / (c.M + c.m - c.m * cos**2)
    swing = (torque / (c.m * c.l) - cart * cos) / c.l
    np.testing.assert_allclose(system.acceleration(q, v, u), np.stack([cart, swing], 1), rtol=1e-10)
    both = system.rhs(np.concatenate([q, v], 1), u)
    np.testing.assert_allclose(both, np.concatenate([v, system.acceleration(q, v, u)], 1))


def test_no_input_is_an_input_of_zero_and_no_force_is_none():
    (q, v), none = states(CART), np.zeros((40, 1))
    assert np.array_equal(CART.acceleration(q, v), CART.acceleration(q, v, none))
    free = SYSTEMS["cart_pole"]
    assert not free.generalised_force(q, v).any()
    assert not free.power(q, v).any()
    unforced = dataclasses.replace(CART, forces=None)
    assert np.array_equal(unforced.acceleration(q, v), free.acceleration(q, v))


@pytest.mark.parametrize(
    ("system", "signals"),
    [(DAMPED, None), (CART, None), (CART, push)],
    ids=["damped", "cart", "push"],
)
def test_energy_changes_by_the_work_of_the_forces(system, signals):
    _, curves, work = motion(system, signals)
    energy = system.energy(*np.split(curves, 2, axis=-1))
    scale = system.energy_scale(system.parameters)
    assert np.abs(energy - energy[:, :1] - work).max() < 1e-8 * scale
    assert np.abs(energy - energy[:, :1]).max() > 0.1 * scale  # and it does change
    assert checked(system, curves, work) is curves
    with pytest.raises(DataError, match="drifts in energy"):
        checked(system, curves)


def test_power_along_a_trajectory_is_the_rate_of_energy():
    """dE/dt = Q . qdot by differences of the energy at steps of a ten-thousandth of a second."""
    h = 1e-4
    start = CART.initial_conditions(np.random.default_rng(1), 3, CART.parameters)
    times = 0.7 + h * np.arange(-2, 3)
    whole = np.concatenate([[0.0], times])
    curves = integrate_with_work(CART, start, whole, signals=push)[0][:, 1:]
    energy = CART.energy(*np.split(curves, 2, axis=-1))
    rate = (energy @ np.array([1.0, -8.0, 0.0, 8.0, -1.0])) / (12 * h)
    q, v = np.split(curves[:, 2], 2, axis=-1)
    u = np.broadcast_to(push(0.7), (3, 1))
    np.testing.assert_allclose(CART.power(q, v, u), rate, rtol=1e-7)


def test_energy_drift_of_a_damped_motion_is_that_from_the_true_energy():
    times, curves, _ = motion(DAMPED)
    unknown = np.full(5, np.nan)
    truth = Trajectories(times, curves, np.full(5, times[-1]), unknown)
    never = np.zeros(5, bool)
    right, _ = metrics.rollout_measures(curves, never, truth, DAMPED, Units.physical(2))
    assert right["energy_drift"] == 0
    free = motion(SYSTEMS["double_pendulum"])[1]
    wrong, _ = metrics.rollout_measures(free, never, truth, DAMPED, Units.physical(2))
    lost = DAMPED.energy(*np.split(curves[:, [0, -1]], 2, axis=-1))
    expected = np.median(lost[:, 0] - lost[:, 1]) / DAMPED.energy_scale(DAMPED.parameters)
    assert wrong["energy_drift_final"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("forces", "sentence"),
    [
        (lambda q, v, u, c, xp: [-v[0]], "gives 1 formulas: it should give 2"),
        (lambda q, v, u, c, xp: -v[0], "should give a list of 2 formulas"),
        (lambda q, v, u, c, xp: [-v[0], "no"], r"gives a str for q\[1\]"),
    ],
)
def test_forces_that_are_none_are_refused(forces, sentence):
    q, v = states(DAMPED)
    with pytest.raises(DataError, match=sentence):
        dataclasses.replace(DAMPED, forces=forces).acceleration(q, v)
