"""Friction that models learn: formulas, automatic differentiation, the power balance."""

import dataclasses
import functools

import numpy as np
import pytest
import torch

from study.core.measures.rollout import rollout
from study.core.models import make_model, segments
from study.core.models.damped_lagrangian import DampedLagrangian
from study.core.models.damping import FRICTION
from study.core.training.elimination import _definite
from study.core.training.least_squares import LeastSquares
from study.core.training.levenberg_marquardt import LevenbergMarquardt
from study.core.training.soap import Soap
from study.core.training.train import State
from tests.core import euler_lagrange
from tests.core.problems import lagrangian, make_data, run, taught
from tests.core.test_models import (
    ANGLES,
    draw,
    encoded,
    outputs,
    relative,
    settings_of,
    sizes_of,
    structured_lagrangian,
)
from tests.core.test_segments import drawn

KINDS = ("diagonal", "matrix")
every_network = pytest.mark.parametrize(
    ("name", "kind", "D"),
    [(n, k, D) for n in ("lnn", "structured_lnn") for k in (*KINDS, "varying") for D in (1, 3)],
)
FORCES = (
    ("diagonal", 0, 1),
    ("matrix", 0, 2),
    ("none", 1, 2),
    ("matrix", 2, 3),
    ("diagonal", 1, 3),
    ("varying", 0, 2),
    ("varying", 1, 3),
)


def make(name, kind, D=2, native=False, m=0, **more):
    more = {"mass_prior": 1.0, "activation": "softplus", "width": 5, "depth": 2} | more
    settings = settings_of(name, friction=kind, **more)
    return settings, make_model(ANGLES[D], settings, native=native, n_driven=m)


def matrix(model, row, q):
    """C of one network at a state q (D), from its last parameters."""
    D, features = model.mlp.n_dof, [torch.ones((), dtype=q.dtype)]
    places = [(i, j) for i in range(D) for j in range(i + 1)]
    if model.damping.kind in ("none", "diagonal"):
        places = [(i, i) for i in range(D) if model.damping.kind == "diagonal"]
    if model.damping.kind == "varying":
        for x, angle in zip(q, model.mlp.angles, strict=True):
            features += [torch.cos(x), torch.sin(x)] if angle else [x]
    A, rest = torch.zeros(D, D, dtype=row.dtype), iter(row[model.mlp.n_params :])
    for i, j in places:
        unit = torch.zeros(D, D, dtype=row.dtype)
        unit[i, j] = 1
        A = A + sum(next(rest) * feature for feature in features) * unit
    return A @ A.T


def own_lagrangian(settings, model, row):
    row = row[: model.mlp.n_params]
    if settings["name"] == "lnn":
        return lambda q, v: lagrangian(model.mlp, row, q, v)
    return functools.partial(structured_lagrangian, settings, model.mlp.angles, row)


def reference(settings, model, row, q, qdot):
    """qddot (B, D) by automatic differentiation of L, with friction and inputs."""
    D, m = model.mlp.n_dof, model.n_driven
    qdot, u = qdot.T.split([D, m], 1)
    mass, force = euler_lagrange.terms(own_lagrangian(settings, model, row), q.T, qdot)
    pushed = u @ row[len(row) - D * m :].view(D, m).T
    lost = torch.stack([matrix(model, row, at) @ v for at, v in zip(q.T, qdot, strict=True)])
    return torch.linalg.solve(mass, force - lost + pushed)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("kind", "m", "D"), FORCES)
@pytest.mark.parametrize("name", ["lnn", "structured_lnn"])
def test_accelerations_and_gradients_are_those_of_automatic_differentiation(
    name, kind, m, D, native
):
    settings, model = make(name, kind, D, native, m)
    theta, q, qdot, target = draw(model, D, B=20)
    qdot = torch.cat([qdot, target[:, :1].repeat(1, m, 1).cos()], 1)
    assert model.n_params == theta.shape[1]
    qddot, jacobian = model.jacobian(theta, q, qdot)
    assert torch.equal(qddot, model.acceleration(theta, q, qdot))
    for loss, error in (("squared", torch.square), ("absolute", torch.abs)):
        value, gradient, _ = model.loss_and_gradient(theta, q, qdot, target, loss)
        for r in range(len(theta)):
            field = functools.partial(reference, settings, model, q=q[r], qdot=qdot[r])

            def mean(row, r=r, field=field, error=error):
                return error(field(row).T - target[r]).mean()

            assert relative(value[r], mean(theta[r])) < 1e-9
            assert relative(gradient[r], torch.func.grad(mean)(theta[r])) < 1e-9
            if loss == "squared":
                assert relative(qddot[r].T, field(theta[r])) < 1e-9
                assert relative(jacobian[r], torch.func.jacrev(field)(theta[r])) < 1e-9


@pytest.mark.parametrize("native", [False, True])
@every_network
def test_the_gradient_through_the_integrator_is_that_of_automatic_differentiation(
    name, kind, D, native
):
    _, model = make(name, kind, D, native)
    theta, rows = drawn(model, D, B=20)
    value, gradient, _ = segments.loss_and_gradient(model, theta, rows)
    leaf, eager = theta.clone().requires_grad_(), dataclasses.replace(model, native=False)
    samples = rows[:, 2 * D :].unflatten(1, (-1, 1 + 2 * D))

    def field(x):
        q, qdot = x.chunk(2, 1)
        return torch.cat([qdot, eager.acceleration(leaf, q, qdot)], 1)

    x, time, squares = rows[:, : 2 * D], torch.zeros_like(rows[:, :1]), []
    for sample in samples.unbind(1):
        h, time = sample[:, :1] - time, sample[:, :1]
        k1 = field(x)
        k2 = field(x + h / 2 * k1)
        k3 = field(x + h / 2 * k2)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + field(x + h * k3))
        squares.append((x - sample[:, 1:]) ** 2)
    expected = (torch.stack(squares, 1) / time.unsqueeze(1) ** 2).mean((1, 2, 3))
    expected.sum().backward()
    assert relative(value, expected.detach()) < 1e-9
    assert relative(gradient, leaf.grad) < 1e-9


@pytest.mark.parametrize("encoding", ["raw", "trig"])
@pytest.mark.parametrize("name", ["lnn", "structured_lnn"])
def test_the_energy_is_that_of_the_lagrangian(name, encoding):
    settings, model = make(name, "matrix", 3, encoding=encoding)
    theta, q, qdot, _ = draw(model, 3)
    energy, action = model.energy(theta, q, qdot)
    for r in range(len(theta)):
        L = own_lagrangian(settings, model, theta[r])
        for b in range(q.shape[2]):
            momentum = torch.func.grad(L, argnums=1)(q[r, :, b], qdot[r, :, b])
            expected = momentum @ qdot[r, :, b]
            assert action[r, b] == pytest.approx(float(expected), rel=1e-10)
            expected = expected - L(q[r, :, b], qdot[r, :, b])
            assert energy[r, b] == pytest.approx(float(expected), rel=1e-10, abs=1e-12)


def linear(features, **more):
    settings = {"name": "linear_lagrangian", "features": features, "width": 30, "scale": 0.5}
    settings |= {"encoding": "trig", "mass_prior": 1.0, "friction": "diagonal"} | more
    return settings


def driven(data, m):
    """With inputs at random beside the velocities."""
    D, generator = data.n_dof, torch.Generator().manual_seed(5)
    u = torch.randn(*data.rows.shape[:2], m, generator=generator, dtype=torch.float64)
    rows = torch.cat([data.rows[..., : 2 * D], u, data.rows[..., 2 * D :]], 2)
    return dataclasses.replace(data, rows=rows, n_driven=m)


def without_cpp(model):
    if isinstance(model, DampedLagrangian):
        return dataclasses.replace(model, free=without_cpp(model.free))
    return dataclasses.replace(model, native=False)


@pytest.mark.parametrize("name", ["lnn", "structured_lnn", "structured", "random"])
def test_power_balance_of_a_rollout_closes(name):
    """E changes by the integral of Q . qdot: by Boole's rule on a fine grid."""
    if name in ("structured", "random"):
        model = make_model((True, True), linear(name), native=True)
        theta = model.initialise([0, 1], torch.float64)
        generator = torch.Generator().manual_seed(1)
        theta[:, 2 : model.n_params] = 0.02 * torch.randn(
            2, model.n_params - 2, generator=generator
        )
        theta[:, :2] = torch.tensor([0.2, 0.05])
    else:
        settings = settings_of(name, mass_prior=1.0, friction="matrix", width=8, depth=2)
        model = make_model((True, True), settings, native=True)
        theta = model.initialise([0, 1], torch.float64)
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    times = torch.linspace(0, 4, 4 * 400 + 1, dtype=torch.float64)
    rolled = rollout(model, theta, start, times, (True, True), rtol=1e-11, max_steps=20000)
    assert not rolled.diverged.any()
    tensors = without_cpp(model)
    few = [
        rollout(m, theta, start, times[::400], (True, True), rtol=1e-6, max_steps=2000)
        for m in (model, tensors)
    ]
    assert torch.equal(few[0].steps, few[1].steps)
    torch.testing.assert_close(few[0].states, few[1].states, rtol=1e-9, atol=1e-9)
    q, qdot = rolled.states.flatten(1, 2).mT.contiguous().chunk(2, 1)
    energy = model.energy(theta, q, qdot)[0].view(2, 3, -1)
    power = (model.learned_force(theta, q, qdot) * qdot).sum(1).view(2, 3, -1)
    assert (power <= 0).all()
    weights = torch.tensor([7.0, 32.0, 12.0, 32.0, 7.0]).double() * (2 / 45) * float(times[1])
    work = (power.unfold(2, 5, 4) * weights).sum(3).cumsum(2)
    change = energy[:, :, 4::4] - energy[:, :, :1]
    assert change.abs().amax() > 0.05  # and it does lose energy
    assert (change - work).abs().amax() < 1e-8 * change.abs().amax()


@pytest.mark.parametrize("m", [0, 2])
@pytest.mark.parametrize("kind", FRICTION)
@pytest.mark.parametrize("features", ["structured", "random"])
def test_the_linear_lagrangian_solves_for_forces(features, kind, m):
    """Of a teacher of the same features, whose mean trace of M is that of the gauge."""
    settings = linear(features, width=10, friction=kind)
    model = make_model((True, False), settings, native=True, n_driven=m)
    theta = model.initialise([0], torch.float64)
    generator = torch.Generator().manual_seed(0)
    entries = {"none": [], "diagonal": [0.3, 0.7], "matrix": [0.3, -0.2, 0.7]}[kind]
    P, f = model.n_params, torch.tensor(entries + [0.4, -0.1, 0.2, 0.9][: 2 * m]).double()
    theta[:, :P] = 0.03 * torch.randn(1, P, generator=generator, dtype=torch.float64)
    data = driven(make_data(R=1, N=200), m)
    gauge = model.equations(theta, *data.states(slice(None), slice(None))).gauge
    theta[:, :P] -= gauge * (gauge * theta[:, :P]).sum() / gauge.square().sum()
    theta[:, : len(f)] = f
    data = taught(model, theta, data)
    found = run(model, data, LeastSquares(1), state=State.fresh(theta.clone())).theta
    q, qdot, target = data.states(slice(None), slice(None))
    torch.testing.assert_close(found[:, : len(f)], theta[:, : len(f)], rtol=1e-6, atol=1e-8)
    native, tensors = (m.acceleration(found, q, qdot) for m in (model, without_cpp(model)))
    assert relative(native, tensors) < 1e-10
    assert relative(model.acceleration(found, q, qdot), target) < 1e-6


@pytest.mark.parametrize("auto", [0.0, None])
@pytest.mark.parametrize("kind", KINDS)
def test_friction_is_never_negative(kind, auto):
    """Of motion that gains energy in one direction and loses it in another."""
    model = make_model((True, False), linear("structured", width=3, friction=kind))
    theta = model.initialise([0], torch.float64)
    pushed = theta.clone()
    f = torch.tensor([-0.3, 0.5] if kind == "diagonal" else [0.1, 0.4, 0.1])
    pushed[:, : len(f)] = f
    data = taught(model, pushed, make_data(R=1, N=1000))
    found = run(model, data, LeastSquares(1, ridge=auto), state=State.fresh(theta)).theta
    values = torch.linalg.eigvalsh(model.friction(found)[0])
    assert values[0].abs() < 1e-9
    assert values[1] > 0.3


@pytest.mark.parametrize("D", [2, 3, 4])
def test_the_nearest_definite_matrix_is_that_without_negative_eigenvalues(D):
    """In the Frobenius norm (Higham 1988, Linear Algebra Appl. 103, 103); and one free unknown."""
    rng = np.random.default_rng(D)
    low, C = np.tril_indices(D), rng.normal(size=(D, D))
    C = C + C.T
    weights = np.where(low[0] == low[1], 1.0, np.sqrt(2.0))
    A, y = np.diag([*weights, 1.0]), np.array([*weights * C[low], 0.7])
    values, vectors = np.linalg.eigh(C)
    nearest = (vectors * np.maximum(values, 0)) @ vectors.T
    for matrix_, expected in ((C, nearest), (nearest + np.eye(D), nearest + np.eye(D))):
        y[:-1] = weights * matrix_[low]
        found = _definite(A, y, D)
        np.testing.assert_allclose(found, [*expected[low], 0.7], atol=1e-6)


@pytest.mark.parametrize(
    ("stage", "kind", "m"),
    [("soap", "diagonal", 1), ("levenberg_marquardt", "diagonal", 0),
     ("levenberg_marquardt", "matrix", 2), ("levenberg_marquardt", "varying", 0)],
)  # fmt: skip
def test_training_finds_the_forces_of_a_teacher(stage, kind, m):
    _, model = make("structured_lnn", kind, 2, True, m)
    teacher = model.initialise([9], torch.float64)
    entries = [0.5, 0.2, 0.8] if kind == "matrix" else [0.5, 0.8]
    f = torch.tensor(entries + [0.6, -0.3, 0.2, 0.7][: 2 * m]).double()
    if kind == "varying":
        generator = torch.Generator().manual_seed(2)
        f = 0.3 * torch.randn(model.damping.count, generator=generator, dtype=torch.float64)
    teacher[:, model.mlp.n_params :] = f
    data = taught(model, teacher, driven(make_data(R=1, N=300), m))
    stages = {
        "soap": Soap(1000, 100, 1e-2, "cosine", 1.0, dtype=torch.float64, compiled=True),
        "levenberg_marquardt": LevenbergMarquardt(200),
    }
    trained = run(model, data, stages[stage]).theta
    q, qdot, _ = data.states(slice(None), slice(None))
    masses = [model.mass_matrix(x, q, qdot) for x in (trained, teacher)]
    scale = float((masses[0] * masses[1]).sum() / (masses[1] ** 2).sum())
    for at in q[0].T[:10]:
        found, expected = matrix(model, trained[0], at) / scale, matrix(model, teacher[0], at)
        np.testing.assert_allclose(found, expected, rtol=0.03, atol=0.01)
    own = model.damping.matrix(model.coefficients(teacher), q)[0]
    np.testing.assert_allclose(own[:, :, min(9, own.shape[2] - 1)], expected, rtol=1e-12)
    found, expected = (
        model.damping.input_matrix(model.coefficients(x))[0] for x in (trained, teacher)
    )
    np.testing.assert_allclose(found / scale, expected, rtol=0.03, atol=0.01)


def test_soap_in_cpp_takes_the_steps_of_the_tensors():
    model = make("lnn", "matrix", 2, True)[1]
    data = make_data(R=2, N=50)
    ends = [
        run(model, data, Soap(40, 20, 1e-2, "constant", 1.0, dtype=torch.float64, compiled=c)).theta
        for c in (False, True)
    ]
    assert relative(*ends) < 1e-8


def test_an_acceleration_mlp_sees_inputs_in_cpp_as_by_tensors():
    """And so does the reference: its inputs are the encoded q, qdot and u."""
    settings = settings_of("acceleration_mlp", width=6, depth=2)
    eager, native = (make_model(ANGLES[3], settings, native=n, n_driven=2) for n in (False, True))
    theta, q, qdot, target = draw(eager, 3, B=20)
    rates = torch.cat([qdot, target[:, :2].cos()], 1)
    expected = eager.jacobian(theta, q, rates)
    for found, right in zip(native.jacobian(theta, q, rates), expected, strict=True):
        assert relative(found, right) < 1e-12
    x = torch.cat([encoded(ANGLES[3], "trig", q[0, :, 0]), rates[0, :, 0]])
    own = outputs(settings, sizes_of(settings, len(x), 3), theta[0], x)
    assert relative(expected[0][0, :, 0], own) < 1e-12
