"""Levenberg-Marquardt against scipy, dense linear algebra and automatic differentiation."""

import copy
import itertools
import math

import numpy as np
import pytest
import scipy.optimize
import torch

from study.core.models.model import Model
from study.core.training import levenberg_marquardt
from study.core.training.levenberg_marquardt import (
    FALL,
    WINDOW,
    LevenbergMarquardt,
    linearise,
    mean_square,
)
from study.core.training.train import (
    CONVERGED,
    FITTED,
    State,
    TrainingData,
    relative_gradient,
    verdicts,
)
from tests.core.problems import features, field, lnn, make_data, run, targets, taught


@pytest.fixture(params=["whole", "in pieces"])
def pieces(request, monkeypatch):
    """The Jacobian and the Gram matrix made in one piece, and in many."""
    if request.param == "in pieces":
        monkeypatch.setattr(levenberg_marquardt, "JACOBIAN_BYTES", 8 * 300)
        monkeypatch.setattr(levenberg_marquardt, "BLOCK", 7)


@pytest.mark.parametrize("N", [4, 40], ids=["P > N D", "P < N D"])
@pytest.mark.parametrize("encoding", ["raw", "trig"])
@pytest.mark.parametrize("D", [1, 2, 3])
def test_linearised_is_what_automatic_differentiation_gives(D, encoding, N, pieces):
    model = lnn(D, width=4, depth=2, encoding=encoding)
    data = make_data(R=2, N=N, D=D)
    theta = model.initialise([7], torch.float64)
    q, qdot, _ = data.states(slice(1, 2), slice(None))
    J = torch.func.jacrev(lambda row: field(model, row, data, 1))(theta[0])
    ours = model.jacobian(theta, q, qdot)[1][0].flatten(0, 1)
    assert (ours - J).norm() < 1e-9 * J.norm()

    linear = linearise(model, data, theta, 1)
    r = field(model, theta[0], data, 1) - targets(data, 1)
    assert (linear.jacobian is None) == (model.n_params <= N * D)
    close = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(linear.gradient, J.T @ r, **close)
    torch.testing.assert_close(linear.squares, (J * J).sum(0), **close)
    torch.testing.assert_close(linear.residual.square().sum(), r.square().sum(), **close)
    damping = 1e-3 * float(linear.squares.amax())
    step = linear.step(linear.factor(damping))
    # the damped step is the least-squares solution of [J; sqrt(mu) I] delta = [-r; 0]
    stacked = torch.cat([J, math.sqrt(damping) * torch.eye(J.shape[1], dtype=J.dtype)])
    right = torch.cat([-r, torch.zeros(J.shape[1], dtype=J.dtype)])
    expected = torch.linalg.lstsq(stacked, right[:, None]).solution[:, 0]
    assert (step - expected).norm() < 1e-8 * expected.norm()
    promised = (r.square().mean() - (r + J @ expected).square().mean()).item()
    assert linear.promised(step, damping) == pytest.approx(promised, rel=1e-8)
    cosines = (J.T @ r).abs() / (J.norm(dim=0).clamp_min(1e-300) * r.norm())
    assert linear.cosine() == pytest.approx(float(cosines.max()), rel=1e-8)


def test_both_sides_of_the_identity_are_the_same_step():
    model, data = lnn(width=5, depth=2), make_data(R=1, N=12)
    theta = model.initialise([3], torch.float64)
    wide = linearise(model, data, theta, 0)
    assert model.n_params > 24
    assert wide.jacobian is not None
    tall = levenberg_marquardt.Linearised(
        wide.jacobian @ wide.jacobian.mT, None, wide.residual, wide.gradient, wide.squares
    )
    for damping in (1e-2, 1.0):
        a, b = (side.step(side.factor(damping)) for side in (wide, tall))
        assert (a - b).norm() < 1e-8 * b.norm()


@pytest.mark.parametrize("N", [12, 60], ids=["P > N D", "P < N D"])
def test_solving_with_a_factor_is_dividing_by_the_damped_matrix(N):
    model, data = lnn(width=5, depth=2), make_data(R=1, N=N)
    linear = linearise(model, data, model.initialise([3], torch.float64), 0)
    assert (linear.jacobian is None) == (N == 60)
    J = linear.jacobian
    square = torch.tril(linear.gram) + torch.tril(linear.gram, -1).mT if J is None else J @ J.mT
    damping = 1e-3 * float(linear.squares.amax())
    matrix = square + damping * torch.eye(model.n_params, dtype=square.dtype)
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(model.n_params, generator=generator, dtype=square.dtype)
    expected = torch.linalg.solve(matrix, v)
    found = linear.solve(linear.factor(damping), damping, v)
    assert (found - expected).norm() < 1e-9 * expected.norm()


def test_steps_on_a_kept_factor_lower_the_error_further_and_end_where_scipy_does(monkeypatch):
    """A P that is large enough for them is slow here, so price and number are lowered."""
    model, made = lnn(width=4, depth=2), make_data(R=1, N=60)
    truth = model.initialise([1], torch.float64)
    data = taught(model, truth, made, noise=0.02)
    start = State.fresh(truth * 1.1)
    plain = run(model, data, LevenbergMarquardt(4), state=copy.deepcopy(start))
    monkeypatch.setattr(levenberg_marquardt, "COST", 1)
    monkeypatch.setattr(levenberg_marquardt, "MOST", 6)
    helped = run(model, data, LevenbergMarquardt(4), state=copy.deepcopy(start))
    assert helped.memory["loss"][0] < plain.memory["loss"][0]
    end = run(model, data, LevenbergMarquardt(300), state=copy.deepcopy(start))
    assert end.reasons[0] in CONVERGED
    jacobian = torch.func.jacrev(lambda row: field(model, row, data))
    found = scipy.optimize.least_squares(
        lambda x: (field(model, torch.from_numpy(x), data) - targets(data)).numpy(),
        end.theta[0].numpy(),
        jac=lambda x: jacobian(torch.from_numpy(x)).numpy(),
        method="lm",
        max_nfev=30,  # it creeps on along the directions that no equation sees
    )
    assert mean_square(model, data, end.theta, 0) <= 1.02 * 2 * found.cost / 120


def test_time_is_a_reason_to_end():
    model, data = lnn(width=4), make_data(R=2, N=30)
    state = run(model, data, LevenbergMarquardt(1000, seconds=1e-9))
    assert state.reasons == ["time"] * 2
    assert state.step == 1
    assert verdicts(state, torch.ones(2)) == [(False, "time")] * 2


def test_a_matrix_that_cannot_be_factorised_is_a_step_refused():
    model, data = lnn(), make_data(R=1, N=60)
    linear = linearise(model, data, model.initialise([0], torch.float64), 0)
    assert linear.factor(0.0) is None  # the output's bias moves nothing
    assert linear.factor(1e-6 * float(linear.squares.amax())) is not None


@pytest.mark.parametrize("seed", [4, 6])
def test_it_ends_in_the_minimum_that_scipy_finds(seed):
    model = lnn(width=2, depth=1)
    generator = torch.Generator().manual_seed(seed + 4)
    truth = model.initialise([seed], torch.float64)
    data = taught(model, truth, make_data(R=1, N=60), noise=0.01)
    start = truth + 0.05 * torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    state = run(model, data, LevenbergMarquardt(200), state=State.fresh(start))
    jacobian = torch.func.jacrev(lambda row: field(model, row, data))
    found = scipy.optimize.least_squares(
        lambda x: (field(model, torch.from_numpy(x), data) - targets(data)).numpy(),
        start[0].numpy(),
        jac=lambda x: jacobian(torch.from_numpy(x)).numpy(),
        method="lm",
        **dict.fromkeys(("xtol", "ftol", "gtol"), 1e-15),
    )
    assert state.reasons[0] in CONVERGED
    least = 2 * found.cost / 120
    assert mean_square(model, data, start, 0) > 3 * least
    assert mean_square(model, data, state.theta, 0) == pytest.approx(least, rel=1e-9)
    predicted = field(model, state.theta[0], data).numpy()
    np.testing.assert_allclose(predicted, field(model, torch.from_numpy(found.x), data), atol=1e-5)


@pytest.mark.parametrize(("p", "N", "reason"), [(6, 40, "gradient"), (40, 10, "fitted")])
def test_a_linear_problem_is_solved_exactly(p, N, reason):
    model, data = features(p), make_data(N=N)
    state = run(model, data, LevenbergMarquardt(60))
    assert state.reasons == [reason] * 3
    for r in range(3):
        q, qdot, target = data.states(slice(r, r + 1), slice(None))
        phi = model.features(state.theta[r : r + 1], q, qdot)[0].numpy()
        best = np.linalg.lstsq(phi.T, target[0].numpy().T)[0]
        least = float(((best.T @ phi - target[0].numpy()) ** 2).mean())
        assert mean_square(model, data, state.theta[r : r + 1], r) == pytest.approx(
            least, rel=1e-12, abs=FITTED
        )
        if reason == "gradient":
            found = state.theta[r, : model.n_params].view(2, p)
            np.testing.assert_allclose(found, best.T, rtol=1e-6, atol=1e-6)
    fixed = slice(model.n_params, None)  # the draws are no unknowns
    start = model.initialise(range(3), torch.float64)
    assert torch.equal(state.theta[:, fixed], start[:, fixed])


def nielsen(residual, jacobian, x, steps):
    """Nielsen (1999), algorithm of section 2, as it stands there: x and mu after each step."""
    F = lambda x: float(residual(x).square().sum()) / 2  # noqa: E731
    A, g = jacobian(x).T @ jacobian(x), jacobian(x).T @ residual(x)
    mu, nu, found = 1e-3 * float(A.diagonal().max()), 2.0, []
    while len(found) < steps:
        h = torch.linalg.solve(A + mu * torch.eye(len(x), dtype=x.dtype), -g)
        rho = (F(x) - F(x + h)) / float(h @ (mu * h - g) / 2)
        if rho > 0:
            x = x + h
            A, g = jacobian(x).T @ jacobian(x), jacobian(x).T @ residual(x)
            mu, nu = mu * max(1 / 3, 1 - (2 * rho - 1) ** 3), 2.0
            found.append((x, mu))
        else:
            mu, nu = mu * nu, 2 * nu
    return found


@pytest.mark.parametrize(("seed", "N"), [(0, 30), (1, 30), (0, 10)])  # P = 31, D = 2
def test_steps_and_dampings_are_those_of_nielsens_algorithm(seed, N):
    model, data, states = lnn(width=3), make_data(R=1, N=N), []
    start = model.initialise([seed], torch.float64)
    run(
        model,
        data,
        LevenbergMarquardt(8),
        state=State.fresh(start),
        every_seconds=0.0,
        save=lambda s: states.append((s.theta[0].clone(), s.memory["damping"].item())),
    )

    def residual(x):
        return field(model, x, data) - targets(data)

    expected = nielsen(residual, torch.func.jacrev(residual), start[0], 8)
    for (theta, damping), (x, mu) in zip(states[1:], expected, strict=True):
        assert damping == pytest.approx(mu, rel=1e-5)
        torch.testing.assert_close(theta, x, rtol=1e-6, atol=1e-7)
    factors = [b[1] / a[1] for a, b in itertools.pairwise(states[1:])]
    assert seed or N < 30 or max(factors) > 2  # some were refused


class Kink(Model):
    """qddot = |theta| + 1 whatever the state, whose slope at theta = 0 promises what is not so."""

    n_params = 1

    def initialise(self, seeds, dtype):
        return torch.ones(len(seeds), 1, dtype=dtype)

    def acceleration(self, theta, q, qdot):
        return theta[:, :, None].abs() + 1 + 0 * q

    def jacobian(self, theta, q, qdot):
        sign = torch.where(theta < 0, -1.0, 1.0).double()
        return self.acceleration(theta, q, qdot), sign[:, None, None] + 0 * q.mT[..., None]

    def loss_and_gradient(self, theta, q, qdot, target, loss="squared", compiled=False):
        raise AssertionError("Levenberg-Marquardt asks for the Jacobian")


def ends(model, data, state, steps=100):
    """Steps taken and the verdicts."""
    state = run(model, data, LevenbergMarquardt(steps), state=state)
    return state.step, [reason for _, reason in verdicts(state, torch.ones(len(state.theta)))]


def test_fitted_where_the_teacher_is_of_the_same_shape():
    model = lnn(width=2, depth=1)
    truth = model.initialise([4], torch.float64)
    data = taught(model, truth, make_data(R=1, N=60))
    steps, reasons = ends(model, data, State.fresh(truth * 1.02))
    assert 1 < steps < 100
    assert reasons == ["fitted"]


def test_gradient_where_no_column_has_a_part_along_the_residual():
    steps, reasons = ends(features(3), make_data(N=40), None)
    assert steps < 100
    assert reasons == ["gradient"] * 3


def test_tolerance_where_a_narrow_valley_is_all_that_is_left():
    model, data = lnn(width=4, depth=1), make_data(R=1, N=60)
    truth = model.initialise([1], torch.float64)
    data = taught(model, truth, data, noise=0.02)
    short, long = (
        run(model, data, LevenbergMarquardt(n), state=State.fresh(truth * 1.02)) for n in (400, 25)
    )
    assert short.reasons == ["tolerance"]
    assert WINDOW < short.step < 400
    past = short.memory["past"][0]
    assert past[-1] > past[0] >= (1 - FALL) * past[-1]
    assert long.reasons == ["iterations"]  # not before the window is full


def test_damping_where_no_step_lowers_the_error():
    data = make_data(R=2, D=1)
    rows = data.rows.clone()
    rows[:, :, 2] = 0
    data = TrainingData(rows, data.along, data.order, data.seeds)
    start = torch.tensor([[0.0], [0.7]], dtype=torch.float64)
    state = run(Kink(), data, LevenbergMarquardt(100), state=State.fresh(start))
    assert state.reasons == ["damping"] * 2
    assert state.theta[0] == 0.0
    assert abs(state.theta[1]) < 1e-6


def test_iterations_where_they_run_out_unless_the_gradient_is_small():
    model, data = lnn(), make_data(R=2, N=30)
    state = run(model, data, LevenbergMarquardt(3))
    assert state.reasons == ["iterations"] * 2
    assert (
        verdicts(state, relative_gradient(model, data, state.theta)) == [(False, "iterations")] * 2
    )


def test_diverged_where_the_error_is_no_number():
    model, data = lnn(), make_data(R=2, N=30)
    start = model.initialise([0, 1], torch.float64)
    start[0, 0] = math.inf
    state = run(model, data, LevenbergMarquardt(3), state=State.fresh(start))
    assert state.reasons == ["diverged", "iterations"]
    assert torch.equal(state.theta[0], start[0])


def test_one_ends_while_another_goes_on():
    model = lnn(width=2, depth=1)
    truth = model.initialise([4, 5], torch.float64)
    data = taught(model, truth, make_data(R=2, N=60))
    state = run(model, data, LevenbergMarquardt(4), state=State.fresh(truth * 1.0))
    assert state.reasons == ["fitted"] * 2
    assert state.step == 1
    start = truth.clone()
    start[1] *= 1.2
    state = run(model, data, LevenbergMarquardt(4), state=State.fresh(start))
    assert state.reasons == ["fitted", "iterations"]
    assert torch.equal(state.theta[0], truth[0])
    assert not torch.equal(state.theta[1], start[1])
