"""The equations of both forms, which the true Lagrangian and its forces must fulfil."""

import dataclasses

import numpy as np
import pytest
import scipy
import torch

from study.core.data.datasets import integrate_with_work
from study.core.data.trajectory import Trajectory
from study.core.models import make_model
from study.core.models.forced_lagrangian import ForcedLagrangian
from study.core.models.forces import LinearForces
from study.core.systems import SYSTEMS
from study.core.systems.units import Units
from study.core.training import lagrangian_equations
from study.core.training.lagrangian_equations import Motion, strong_form, weak_form

CART = SYSTEMS["driven_cart_pole"]
UNITS = Units(0.4, np.array([0.7, 1.0]), np.array([0.3, 0.0]))
PUSH = np.array([[1.0], [0.0]])


def terms(q, v, c, xp):
    """Those of the cart-pole, at coefficients 1 its Lagrangian, and one that it has not."""
    yield (c.M + c.m) * v[0] ** 2 / 2
    yield c.m * c.l * v[0] * v[1] * xp.cos(q[1])
    yield c.m * c.l**2 * v[1] ** 2 / 2
    yield c.m * c.g * c.l * xp.cos(q[1])
    yield q[0] * v[1] ** 2


TRUE = np.array([1.0, 1, 1, 1, 0])


def drive(t):
    return (3 * np.sin(2 * t) + np.cos(4.3 * t))[..., None]


def motion(step=0.01, uneven=False, seconds=4.0):
    times = np.arange(0, seconds, step)
    if uneven:
        times[1:] += np.random.default_rng(0).uniform(-0.3, 0.3, len(times) - 1) * step
    start = CART.initial_conditions(np.random.default_rng(4), 1, CART.parameters)
    q, qdot = np.split(integrate_with_work(CART, start, times, signals=drive)[0][0], 2, axis=1)
    u = drive(times)
    return Trajectory(times, q, qdot, CART.acceleration(q, qdot, u), u)


def forced(matrix=None):
    settings = {"name": "linear_lagrangian", "features": "library", "mass_prior": 0.0}
    system = dataclasses.replace(CART, library=terms)
    model = make_model(CART.angles, settings, system=system, units=UNITS)
    return ForcedLagrangian(model, LinearForces.of(2, "diagonal", 1, matrix), UNITS)


def residual(design, f):
    return design.features @ TRUE + design.forces @ f - design.right


FRICTION = np.array([CART.constants["b_cart"], CART.constants["b_joint"]])
FITTED = np.concatenate([FRICTION, PUSH.ravel()])


@pytest.mark.parametrize(("matrix", "f"), [(PUSH, FRICTION), (None, FITTED)], ids=["B", "fitted"])
def test_the_true_lagrangian_and_forces_fulfil_the_strong_form(matrix, f):
    lagrangian = forced(matrix)
    theta = lagrangian.model.initialise([0], torch.float64)
    design = strong_form(lagrangian, theta, [Motion.measured(motion(), UNITS)])
    assert np.abs(residual(design, f)).max() < 1e-10
    assert np.abs(design.features).max() > 1
    assert (design.gauge is None) == (matrix is not None)


@pytest.mark.parametrize(("matrix", "f"), [(PUSH, FRICTION), (None, FITTED)], ids=["B", "fitted"])
@pytest.mark.parametrize("uneven", [False, True])
def test_and_the_weak_form(matrix, f, uneven, monkeypatch):
    monkeypatch.setattr(lagrangian_equations, "BLOCK", 150)  # so that there are several
    lagrangian = forced(matrix)
    theta = lagrangian.model.initialise([0], torch.float64)
    worst = []
    for step in (0.01, 0.005):
        track = Motion.measured(motion(step, uneven), UNITS)
        design = weak_form(lagrangian, theta, [track], 1.0)
        worst.append(np.abs(residual(design, f)).max())
    # the trapezoidal rule: of fourth order at even steps
    assert worst[0] < (2e-3 if uneven else 2e-6)
    assert worst[1] < worst[0] / (2 if uneven else 12)
    assert np.abs(residual(design, 0 * f)).max() > 0.1
    assert len(design.groups) == len(design.right) == len(design.features)


def test_a_row_is_the_integral_of_its_test_function():
    """Of the first term by scipy's quadrature over the motion as an interpolated function."""
    lagrangian, track = forced(PUSH), motion()
    theta = lagrangian.model.initialise([0], torch.float64)
    half = 1.0
    design = weak_form(lagrangian, theta, [Motion.measured(track, UNITS)], half)
    t = track.times / UNITS.time
    rate = scipy.interpolate.make_interp_spline(t, track.qdot[:, 0], k=7)
    centre = t[0] + half + 3 * half / lagrangian_equations.OVERLAP
    c = CART.parameters

    def integrand(s):
        tau = (s - centre) / half
        momentum = (c.M + c.m) * rate(s) * UNITS.length[0] / UNITS.time
        return 8 * tau * (1 - tau**2) ** 3 / half * momentum  # -psi' dL/dqdot

    expected = scipy.integrate.quad(integrand, centre - half, centre + half, epsabs=1e-12)[0]
    assert design.features[2 * 3, 0] == pytest.approx(expected, rel=1e-6)
    assert design.features[2 * 3 + 1, 0] == 0


def test_equations_far_apart_are_of_different_groups():
    lagrangian = forced(PUSH)
    theta = lagrangian.model.initialise([0], torch.float64)
    tracks = [Motion.measured(motion(), UNITS)] * 2
    design = weak_form(lagrangian, theta, tracks, 0.5)
    counts = np.bincount(design.groups)
    assert len(counts) >= 4
    half = len(design.groups) // 2
    assert not set(design.groups[:half]) & set(design.groups[half:])


def test_no_trajectory_as_long_as_a_test_function():
    lagrangian = forced(PUSH)
    theta = lagrangian.model.initialise([0], torch.float64)
    with pytest.raises(ValueError, match="as long as a test function"):
        weak_form(lagrangian, theta, [Motion.measured(motion(), UNITS)], 100.0)
