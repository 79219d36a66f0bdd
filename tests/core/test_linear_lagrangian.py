"""The linear Lagrangian against automatic differentiation, numpy's least squares and scipy."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.integrate
import torch

from study.core import native
from study.core.data.datasets import Source
from study.core.measures.rollout import rollout
from study.core.models.linear_lagrangian import RandomLagrangian, StructuredLagrangian
from study.core.models.mlp import MLP
from study.core.systems import SYSTEMS
from study.core.training import least_squares, train
from study.core.training.least_squares import RIDGES, SCALES, SHARES, LeastSquares
from study.core.training.train import TrainingData
from tests.core import euler_lagrange
from tests.core.problems import ANGLES, check_equations, make_data, run, taught

KINDS = ["random", "structured"]
everything = pytest.mark.parametrize(
    ("kind", "D", "prior"),
    [(k, D, prior) for k in KINDS for D in (1, 2, 3) for prior in (0.0, 1.0)],
)


def make(kind, D, width=7, prior=1.0, scale=0.7, **more):
    settings = (ANGLES[D], width, 1, "sin", 1.0, "trig", prior)
    if kind == "random":
        return RandomLagrangian(MLP(*settings), scale, **more)
    entries = D * (D + 1) // 2 + 1
    return StructuredLagrangian(MLP(*settings, n_outputs=entries, velocities=False), scale, **more)


def some(model, R=1, B=5, seed=0):
    """Parameters, with c at random about a definite M, and states."""
    D = model.mlp.n_dof
    generator = torch.Generator().manual_seed(seed)
    theta = model.initialise(range(R), torch.float64)
    theta[:, : model.n_params] = 0.3 * torch.randn(
        R, model.n_params, generator=generator, dtype=torch.float64
    )
    q, qdot, qddot = torch.randn(3, R, D, B, generator=generator, dtype=torch.float64)
    return theta, q, qdot, qddot


def term(model, theta, j):
    """phi_j(q, qdot) at one state, written out from the formulas."""
    P, p, D = model.n_params, model.mlp.width, model.mlp.n_dof
    k, entry = divmod(j, model.mlp.n_outputs)
    w, b = theta[P : P + p * model.n_inputs].view(p, -1)[k], theta[P + p * model.n_inputs + k]

    def phi(q, v):
        encoded = []
        for i, angle in enumerate(model.mlp.angles):
            encoded += [q[i].cos(), q[i].sin()] if angle else [q[i]]
        x = torch.stack(encoded)
        if isinstance(model, RandomLagrangian):
            return torch.sin(w @ torch.cat([x, v]) + b)
        psi = torch.sin(w @ x + b)
        pairs = [(i, j) for i in range(D) for j in range(i + 1)]
        if entry == len(pairs):
            return -psi
        i, j = pairs[entry]
        return psi * v[i] * v[j] / (2 if i == j else 1)

    return phi


def lagrangian(model, theta):
    def value(q, v):
        terms = [theta[j] * term(model, theta, j)(q, v) for j in range(model.n_params)]
        return sum(terms) + model.mlp.mass_prior * (v * v).sum() / 2

    return value


@everything
def test_its_equations_are_those_of_each_term(kind, D, prior):
    model = make(kind, D, prior=prior)
    theta, q, qdot, qddot = some(model)
    equations = model.equations(theta, q, qdot, qddot)
    terms = [term(model, theta[0], j) for j in range(model.n_params)]
    check_equations(equations, terms, (q, qdot, qddot), prior, {"rtol": 1e-10, "atol": 1e-12})


@everything
def test_accelerations_and_jacobian_are_those_of_its_lagrangian(kind, D, prior):
    model = make(kind, D, prior=prior)
    theta, q, qdot, _ = some(model)
    states = q[0].mT, qdot[0].mT
    mass, force = euler_lagrange.terms(lagrangian(model, theta[0]), *states)
    right = torch.linalg.solve(mass, force)
    found = model.mass_matrix(theta, q, qdot)[0].permute(2, 0, 1)
    torch.testing.assert_close(found, mass, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(model.acceleration(theta, q, qdot)[0].mT, right, rtol=1e-9, atol=0)

    def moved(c):
        whole = torch.cat([c, theta[0, model.n_params :]])
        return euler_lagrange.acceleration(lagrangian(model, whole), *states)

    J = torch.func.jacfwd(moved)(theta[0, : model.n_params])
    qddot, found = model.jacobian(theta, q, qdot)
    torch.testing.assert_close(qddot[0].mT, right, rtol=1e-9, atol=0)
    torch.testing.assert_close(found[0], J, rtol=1e-9, atol=1e-9 * float(J.abs().max()))


@pytest.mark.parametrize("loss", ["squared", "absolute"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_its_loss_is_that_of_its_jacobian(kind, loss):
    model = make(kind, 2)
    theta, q, qdot, target = some(model, R=3)
    value, gradient, floored = model.loss_and_gradient(theta, q, qdot, target, loss)
    qddot, J = model.jacobian(theta, q, qdot)
    residual = (qddot - target).mT
    power = residual.square() if loss == "squared" else residual.abs()
    slope = 2 * residual if loss == "squared" else residual.sign()
    torch.testing.assert_close(value, power.mean((1, 2)))
    expected = torch.einsum("rbi,rbip->rp", slope, J) / power[0].numel()
    torch.testing.assert_close(gradient[:, : model.n_params], expected)
    assert not gradient[:, model.n_params :].any()
    assert not floored.any()


@pytest.mark.parametrize("D", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_cpp_gives_the_same(kind, D):
    tensors, cpp = make(kind, D), make(kind, D, native=True)
    theta, q, qdot, _ = some(tensors, R=3, B=70)
    assert native.trouble() is None
    assert cpp.in_cpp(theta)
    torch.testing.assert_close(
        cpp.acceleration(theta, q, qdot), tensors.acceleration(theta, q, qdot), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("in_cpp", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_rollouts_are_those_of_scipys_solver(kind, in_cpp):
    model = make(kind, 2, native=in_cpp)
    theta, *_ = some(model)
    theta[:, : model.n_params] *= 0.2  # gentle motion
    start = torch.tensor([[0.3, -0.2, 0.4, 0.1]], dtype=torch.float64)
    times = torch.linspace(0, 2, 5, dtype=torch.float64)
    rolled = rollout(model, theta, start, times, ANGLES[2], rtol=1e-12, max_steps=10_000)

    def rhs(_, y):
        q, qdot = torch.tensor(y).view(1, 2, 2, 1).unbind(1)
        return np.concatenate([y[2:], make(kind, 2).acceleration(theta, q, qdot)[0, :, 0].numpy()])

    right = scipy.integrate.solve_ivp(
        rhs, (0, 2), start[0].numpy(), "DOP853", times.numpy(), rtol=1e-13, atol=1e-13
    )
    np.testing.assert_allclose(rolled.states[0, 0], right.y.T, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("N", [4, 60], ids=["underdetermined", "overdetermined"])
@pytest.mark.parametrize("prior", [0.0, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_the_solution_is_numpys_under_the_constraint(kind, prior, N, monkeypatch):
    monkeypatch.setattr(train, "CHUNK", 7)
    monkeypatch.setattr(least_squares, "EACH", 0.5)
    model, data = make(kind, 2, width=8, prior=prior), make_data(R=2, N=N)
    state = run(model, data, LeastSquares(2))
    assert state.reasons == ["solved"] * 2
    for r in range(2):
        one = state.theta[r : r + 1].clone()
        one[:, : model.n_params] = 0
        e = model.equations(one, *data.states(slice(r, r + 1), slice(None)))
        A, y = e.rows[0].flatten(0, 1).numpy(), e.right[0].flatten().numpy()
        gauge = e.gauge[0].numpy()[None] / N
        free = np.linalg.svd(gauge)[2][1:].T
        offset = np.linalg.pinv(gauge)[:, 0] * e.level
        z, _, rank, values = np.linalg.lstsq(A @ free, y - A @ offset, rcond=1e-13)
        expected = offset + free @ z
        found = state.theta[r, : model.n_params].numpy()
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7 * scale)
        assert (gauge @ found)[0] == pytest.approx(e.level, abs=1e-9 * scale)
        design = state.memory["design"][r]
        assert design[0] == rank
        assert design[1] == pytest.approx(values[0] / values[rank - 1], rel=1e-4)
        U = np.linalg.svd(A @ free, full_matrices=False)[0][:, :rank]
        leverage = (U * U).sum(1).reshape(N, 2).sum(1)
        assert design[2] == pytest.approx(leverage.max(), rel=1e-6)


def test_a_ridge_is_the_weight_of_the_squared_parameters():
    model, data = make("structured", 2, width=8), make_data(R=1, N=40)
    theta = run(model, data, LeastSquares(1, 1e-3)).theta
    zero = model.initialise(data.seeds, torch.float64)
    e = model.equations(zero, *data.states(slice(0, 1), slice(None)))
    A, y = e.rows[0].flatten(0, 1).numpy(), e.right[0].flatten().numpy()
    free = np.linalg.svd(e.gauge.numpy())[2][1:].T
    largest = np.linalg.norm(A @ free, 2)
    wide = np.concatenate([A @ free, math.sqrt(1e-3) * largest * np.eye(free.shape[1])])
    z = np.linalg.lstsq(wide, np.concatenate([y, np.zeros(free.shape[1])]), rcond=None)[0]
    np.testing.assert_allclose(theta[0, : model.n_params], free @ z, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lagrangian_of_its_own_terms_is_found_again(kind):
    """At the true draws, from exact accelerations, up to the scale that the constraint fixes."""
    model = make(kind, 2, width=6, prior=0.0)
    theta, *_ = some(model)
    data = taught(model, theta, make_data(R=1, N=200))
    found = run(model, data, LeastSquares(1)).theta
    q, qdot, _ = make_data(R=1, N=50).states(slice(0, 1), slice(None))
    expected = model.acceleration(theta, q, qdot)
    size = float(expected.abs().max())
    torch.testing.assert_close(
        model.acceleration(found, q, qdot), expected, rtol=0, atol=1e-8 * size
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_chosen_by_itself_is_as_good_as_the_best_that_is_named(kind):
    """Among all scales and ridges, on points that no choice has seen; and M is definite there."""
    system = SYSTEMS["double_pendulum"]
    source = Source(system, "trajectories", 1000, 50)
    units, points = source.reference().units, source.training_set(0, 700, 0.0).points
    states = (*units.scale(points.q, points.qdot), units.acceleration_to_scaled(points.qddot))
    rows = torch.tensor(np.concatenate(states, axis=1))[None]
    data = TrainingData(rows[:, :200], np.arange(200)[None], "shuffled", [0])
    q, qdot, target = rows[:, 200:].mT.chunk(3, 1)
    mlp = dataclasses.replace(make(kind, 2, 40).mlp, angles=(True, True))
    model = type(make(kind, 2))(mlp, 1.0)

    def error(*choice):
        theta = run(model, data, LeastSquares(1, *choice)).theta
        mass = model.mass_matrix(theta, q, qdot)[0].permute(2, 0, 1)
        definite = bool((torch.linalg.eigvalsh(mass) > 0).all())
        return float((model.acceleration(theta, q, qdot) - target).square().mean()), definite

    chosen, definite = error(None, SCALES, SHARES)
    named = [error(ridge, (scale,))[0] for ridge in RIDGES[::2] for scale in SCALES]
    assert definite
    assert chosen < 10 * min(named)
    assert chosen < 1e-2 * max(named)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("D", [1, 2, 3])
def test_slopes_are_those_of_automatic_differentiation(kind, D):
    model = make(kind, D, width=3)
    theta, q, qdot, _ = some(model, R=2)
    slopes = model.slopes(theta, q, qdot)
    for r in range(2):
        for j in range(model.n_params):
            phi = term(model, theta[r], j)
            states = (q[r].T, qdot[r].T)
            value = torch.func.vmap(phi)(*states)
            torch.testing.assert_close(slopes.value[r, :, j], value)
            for argnum, ours in enumerate((slopes.of_q, slopes.of_qdot)):
                expected = torch.func.vmap(torch.func.grad(phi, argnums=argnum))(*states)
                torch.testing.assert_close(ours[r, :, :, j], expected)
