"""A library's terms against automatic differentiation, scipy, and the Lagrangians they hold."""

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.integrate
import torch

from study.core.data.datasets import DataError, Source
from study.core.measures.rollout import rollout
from study.core.models import make_model
from study.core.systems import SYSTEMS
from study.core.systems.mechanics import unknown
from study.core.systems.units import Units
from study.core.training.least_squares import LeastSquares
from study.core.training.train import TrainingData
from tests.core import euler_lagrange
from tests.core.problems import ANGLES, check_equations, run

everything = pytest.mark.parametrize(
    ("D", "prior"), [(D, prior) for D in (1, 2, 3) for prior in (0.0, 1.0)]
)
UNITS = {
    D: Units(0.7, np.array([1.0, 2.5, 1.0])[:D], np.array([0.0, 1.5, 0.0])[:D]) for D in ANGLES
}


def terms(q, v, c, xp):
    """Terms of every function that xp has; a kinetic energy of each coordinate first."""
    D, last = len(q), q[len(q) - 1]
    yield from (c.m * v[i] ** 2 for i in range(D))
    yield from (v[i] * v[0] * xp.sin(last) for i in range(D))
    yield from (xp.cos(q[i]) * last for i in range(D))
    yield from (xp.exp(q[i] / 3) * v[i] ** 3 for i in range(D))
    yield from (2, 1.5 * v[0])
    root = c.m**0.5 if xp is torch else xp.sqrt(c.m)  # torch knows no root of a plain number
    yield root * xp.cos(last) * v[0] ** 2
    yield xp.sqrt(3 + last**2 + v[0] ** 2)
    yield xp.log(4 + xp.cos(q[0])) * v[0] ** 2


def library_model(D, prior=0.0, library=terms, constants=(("m", 0.8),)):
    system = unknown(tuple((f"x{i}", "m") for i in range(D)), ANGLES[D])
    system = dataclasses.replace(system, library=library, constants=dict(constants))
    settings = {"name": "linear_lagrangian", "features": "library", "mass_prior": prior}
    return make_model(ANGLES[D], settings, system=system, units=UNITS[D])


def some(model, R=1, B=5):
    """Coefficients about a definite M, and states."""
    D, generator = model.system.n_dof, torch.Generator().manual_seed(0)
    theta = 0.05 * torch.randn(R, model.n_params, generator=generator, dtype=torch.float64)
    theta[:, :D] += 1.0
    return theta, *torch.randn(3, R, D, B, generator=generator, dtype=torch.float64)


def scaled_terms(model):
    """Every phi_j(q, qdot) at one state in scaled units, with the functions of torch."""
    units, c = model.units, model.system.parameters
    length, origin = torch.tensor(units.length), torch.tensor(units.origin)

    def values(q, v):
        physical = origin + length * q, length / units.time * v
        return [torch.as_tensor(x).double() for x in model.system.library(*physical, c, torch)]

    return values


def lagrangian(model, c):
    values = scaled_terms(model)
    return lambda q, v: c @ torch.stack(values(q, v)) + model.mass_prior * (v * v).sum() / 2


@everything
def test_its_equations_are_those_of_each_term(D, prior):
    model = library_model(D, prior)
    theta, q, qdot, qddot = some(model)
    equations, values = model.equations(theta, q, qdot, qddot), scaled_terms(model)
    terms = [lambda q, v, j=j: values(q, v)[j] + 0 * v[0] for j in range(model.n_params)]
    check_equations(equations, terms, (q, qdot, qddot), prior, {"rtol": 1e-9, "atol": 1e-11})


@everything
def test_accelerations_and_jacobian_are_those_of_its_lagrangian(D, prior):
    model = library_model(D, prior)
    theta, q, qdot, target = some(model)
    states = q[0].mT, qdot[0].mT
    mass, force = euler_lagrange.terms(lagrangian(model, theta[0]), *states)
    right = torch.linalg.solve(mass, force)
    found = model.mass_matrix(theta, q, qdot)[0].permute(2, 0, 1)
    torch.testing.assert_close(found, mass, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(model.acceleration(theta, q, qdot)[0].mT, right, rtol=1e-9, atol=0)
    J = torch.func.jacfwd(lambda c: euler_lagrange.acceleration(lagrangian(model, c), *states))
    expected = J(theta[0])
    found = model.jacobian(theta, q, qdot)[1][0]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))
    value, gradient, floored = model.loss_and_gradient(theta, q, qdot, target)
    residual = right - target[0].mT
    torch.testing.assert_close(value[0], residual.square().mean())
    torch.testing.assert_close(
        gradient[0], 2 * torch.einsum("bi,bip->p", residual, expected) / residual.numel()
    )
    assert not floored.any()


def test_several_networks_are_each_their_own_and_in_either_precision():
    model = library_model(2)
    theta, q, qdot, _ = some(model, R=3)
    together = model.acceleration(theta, q, qdot)
    for r in range(3):
        alone = model.acceleration(theta[r : r + 1], q[r : r + 1], qdot[r : r + 1])
        torch.testing.assert_close(together[r], alone[0], rtol=1e-12, atol=1e-12)
    single = model.acceleration(*(x.float() for x in (theta, q, qdot)))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), together, rtol=1e-3, atol=1e-4)
    assert model.in_cpp(theta) is None


def test_all_tensors_are_on_the_device_of_the_states():
    """Devices that differ raise; `meta` is one that every machine has."""
    model = library_model(2)
    theta, q, qdot, qddot = (x.to("meta") for x in some(model))
    equations = model.equations(theta, q, qdot, qddot)
    assert equations.rows.shape == (1, 5, 2, model.n_params)
    assert model.acceleration(theta, q, qdot).device.type == "meta"
    assert model.loss_and_gradient(theta, q, qdot, qddot)[1].device.type == "meta"


def test_rollouts_are_those_of_scipys_solver():
    model = library_model(2)
    theta, *_ = some(model)
    start = torch.tensor([[0.3, -0.2, 0.2, 0.1]], dtype=torch.float64)
    times = torch.linspace(0, 2, 5, dtype=torch.float64)
    rolled = rollout(model, theta, start, times, ANGLES[2], rtol=1e-12, max_steps=10_000)
    values = lagrangian(model, theta[0])

    def rhs(_, y):
        q, v = torch.tensor(y)[None].chunk(2, 1)
        return np.concatenate([y[2:], euler_lagrange.acceleration(values, q, v)[0].numpy()])

    right = scipy.integrate.solve_ivp(
        rhs, (0, 2), start[0].numpy(), "DOP853", times.numpy(), rtol=1e-13, atol=1e-13
    )
    np.testing.assert_allclose(rolled.states[0, 0], right.y.T, rtol=1e-9, atol=1e-10)


def unseen(q, v, xp):
    """Terms that no acceleration sees: constants, rates, total time derivatives."""
    both = xp.cos(q[0]) * xp.cos(q[-1]) - xp.sin(q[0]) * xp.sin(q[-1])
    total = 1e9 * (both * v[0] + xp.cos(q[0] + q[-1]) * v[-1])  # d/dt sin(q[0] + q[-1])
    return [1, q[0] * 0 + 2.5, *v, q[0] ** 3 * v[0] * 40, total]


def oscillator(q, v, c, xp):
    true = {v[0] ** 2 / 2: c.m, q[0] ** 2: -c.k / 2, q[0] ** 4: -c.kappa / 4}
    return true, [v[0] ** 4, v[0] ** 2 * q[0] ** 2, q[0] ** 3, xp.cos(5 * q[0]), q[0], v[0] ** 3]


def spring_pendulum(q, v, c, xp):
    r, theta = q
    true = {
        v[0] ** 2 / 2: c.m,
        r**2 * v[1] ** 2 / 2: c.m,
        r * xp.cos(theta): c.m * c.g,
        r**2: -c.k / 2,
        r: c.k * c.l,
    }
    wrong = [v[1] ** 2, r * v[1] ** 2, v[0] * v[1], xp.cos(theta), xp.sin(theta), r**3, 1 / r]
    return true, [*wrong, xp.exp(9 * r), 1e-5 * r * v[0] ** 2, v[0] ** 4, r**2 * v[0] * v[1] ** 2]


def pendulums(q, v, c, xp):
    """Double and triple pendulum with all masses and lengths one."""
    D, true, wrong = len(q), {}, []
    for i, j in itertools.combinations_with_replacement(range(D), 2):
        true[v[i] * v[j] * xp.cos(q[i] - q[j])] = (D - j) / (2 if i == j else 1)
        wrong += [v[i] * v[j] * xp.sin(q[i]), v[i] ** 2 * v[j] ** 2, xp.sin(q[i]) * xp.sin(q[j])]
        wrong += [v[i] * v[j] * xp.cos(q[i] + q[j])]
    true |= {xp.cos(q[i]): (D - i) * c.g for i in range(D)}
    return true, [*wrong, *(f(x) for f in (xp.sin, xp.exp) for x in q)]


def magnetic_trap(q, v, c, xp):
    r2 = q[0] ** 2 + q[1] ** 2
    kinetic = {
        v[0] ** 2: c.m / 2,
        v[1] ** 2: c.m / 2,
        q[0] * v[1] - q[1] * v[0]: c.charge * c.B / 2,
    }
    true = kinetic | {r2: -c.k / 2, r2**2: -c.kappa / 4}
    return true, [r2 * (q[0] * v[1] - q[1] * v[0]), q[0] ** 2, q[0] * q[1], q[0] ** 3, v[0] * v[1]]


TRUE = {
    "oscillator": oscillator,
    "spring_pendulum": spring_pendulum,
    "double_pendulum": pendulums,
    "triple_pendulum": pendulums,
    "magnetic_trap": magnetic_trap,
}


@pytest.mark.parametrize("ridge", [0.0, None], ids=["no ridge", "auto"])
@pytest.mark.parametrize("units", ["scaled", "physical"])
@pytest.mark.parametrize("name", TRUE)
def test_the_true_terms_are_found_among_wrong_ones(name, units, ridge):
    """Their coefficients up to one factor, and zero for all others, to 1e-8 of the largest."""

    def library(q, v, c, xp):
        true, wrong = TRUE[name](q, v, c, xp)
        return [*unseen(q, v, xp), *true, *wrong]

    system = dataclasses.replace(SYSTEMS[name], library=library)
    source = Source(system, "trajectories", 1000, 50)
    units = source.reference().units if units == "scaled" else Units.physical(system.n_dof)
    points = source.training_set(0, 300, 0.0).points
    states = *units.scale(points.q, points.qdot), units.acceleration_to_scaled(points.qddot)
    rows = torch.tensor(np.concatenate(states, axis=1))[None]
    settings = {"name": "linear_lagrangian", "features": "library", "mass_prior": 0.0}
    model = make_model(system.angles, settings, system=system, units=units)
    state = run(
        model, TrainingData(rows, np.arange(300)[None], "shuffled", [0]), LeastSquares(1, ridge)
    )
    assert state.reasons == ["solved"]

    import sympy as sp

    q, v = (sp.symbols(f"{x}:{system.n_dof}") for x in "qv")
    true = list(TRUE[name](q, v, system.parameters, sp)[0].values())
    before = len(unseen(q, v, sp))
    right = np.zeros(model.n_params)
    right[before : before + len(true)] = true
    found = state.theta[0].numpy()
    factor = found @ right / (right @ right)
    assert factor > 0
    np.testing.assert_allclose(found / factor, right, rtol=0, atol=1e-8 * np.abs(right).max())
    rank = state.memory["design"][0, 0]
    assert rank == model.n_params - before - 1, "the factor and what no acceleration sees"


def test_a_library_is_derived_once_for_all_constants_and_units():
    calls = []

    def library(q, v, c, xp):
        calls.append(xp)
        return [c.m * v[0] ** 2, q[0] ** 2]

    system = dataclasses.replace(SYSTEMS["oscillator"], library=library)
    for m in (1.0, 3.0):
        mass = system.with_constants(m=m).terms.formulas(0.0, 1.0, m, 0.0, 0.0)
        assert mass == [2 * m, 0.0]
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("library", "said"),
    [
        (None, "oscillator has no library of terms"),
        (lambda q, v, c, xp: None, "gives None: it should give a list"),
        (lambda q, v, c, xp: v[0] ** 2, "gives a Pow: it should give a list"),
        (lambda q, v, c, xp: {v[0] ** 2, q[0]}, "gives a set: it should give a list"),
        (lambda q, v, c, xp: [v[0] ** 2, "q[0]"], "gives a str as its term 2"),
        (lambda q, v, c, xp: [], "gives 0 terms, and none is a kinetic energy of q[0]"),
        (lambda q, v, c, xp: [q[0], v[0]], "gives 2 terms, and none is a kinetic energy of q[0]"),
    ],
)
def test_what_is_no_library_is_refused(library, said):
    system = dataclasses.replace(SYSTEMS["oscillator"], library=library)
    with pytest.raises(DataError) as error:
        _ = system.terms
    assert said in str(error.value)


@pytest.mark.parametrize("D", [1, 2, 3])
def test_slopes_are_those_of_automatic_differentiation(D):
    model = library_model(D)
    theta, q, qdot, _ = some(model, R=2)
    slopes, values = model.slopes(theta, q, qdot), scaled_terms(model)
    for r, j in itertools.product(range(2), range(model.n_params)):
        states = (q[r].T, qdot[r].T)
        phi = [lambda q, v, j=j: values(q, v)[j] + 0 * v[0]][0]
        torch.testing.assert_close(slopes.value[r, :, j], torch.func.vmap(phi)(*states))
        for argnum, ours in enumerate((slopes.of_q, slopes.of_qdot)):
            expected = torch.func.vmap(torch.func.grad(phi, argnums=argnum))(*states)
            torch.testing.assert_close(ours[r, :, :, j], expected)
