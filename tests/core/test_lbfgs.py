"""L-BFGS: minima of known problems, whatever the units, and every way it can end."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from study.core.models.model import Model
from study.core.training.adam import Adam
from study.core.training.lbfgs import FALL, LBFGS
from study.core.training.levenberg_marquardt import LevenbergMarquardt, mean_square
from study.core.training.train import FITTED, State, relative_gradient, verdicts
from tests.core.problems import features, field, lnn, make_data, run, targets, taught


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6])
def test_a_linear_problem_is_solved_in_any_unit(unit):
    """scipy's own tolerance on the loss is absolute below one, and would stop at once at 1e-12."""
    model, data = features(6), make_data(N=40, noise=unit)
    state = run(model, data, LBFGS(3, 500))
    assert set(state.reasons) <= {"tolerance", "damping"}  # at the minimum rounding decides
    for r in range(3):
        q, qdot, target = data.states(slice(r, r + 1), slice(None))
        phi = model.features(state.theta[r : r + 1], q, qdot)[0].numpy()
        best = np.linalg.lstsq(phi.T, target[0].numpy().T)[0]
        least = float(((best.T @ phi - target[0].numpy()) ** 2).mean())
        reached = mean_square(model, data, state.theta[r : r + 1], r)
        assert least * (1 - 1e-9) <= reached <= least * (1 + FALL)


def test_it_lowers_the_reference_loss_of_a_lagrangian_after_adam():
    model = lnn()
    data = taught(model, model.initialise([1], torch.float64), make_data(R=1, N=60), noise=0.01)
    adam = Adam(200, 20, 3e-3, "cosine", 1.0)

    def loss(state):
        return float((field(model, state.theta[0].double(), data) - targets(data)).square().mean())

    begun = run(model, data, adam)
    polished = run(model, data, adam, LBFGS(1, 60))
    assert polished.theta.dtype == torch.float64
    assert loss(polished) < 0.2 * loss(begun)
    assert [record["x"] for record in polished.records][-2:] == [200, 201]


def test_fitted_where_no_error_is_left():
    model = features(30)
    state = run(model, make_data(N=6), LBFGS(3, 2000))
    assert state.reasons == ["fitted"] * 3
    again = run(model, make_data(N=6), LBFGS(3, 2000), state=State.fresh(state.theta))
    assert again.reasons == ["fitted"] * 3
    assert torch.equal(again.theta, state.theta)
    assert all(mean_square(model, make_data(N=6), state.theta[[r]], r) <= FITTED for r in range(3))


def test_iterations_where_they_run_out():
    model, data = lnn(), make_data(R=2, N=30)
    state = run(model, data, LBFGS(2, 4))
    assert state.reasons == ["iterations"] * 2
    assert (
        verdicts(state, relative_gradient(model, data, state.theta)) == [(False, "iterations")] * 2
    )


class Shifted(Model):
    """qddot = f(theta), one number whatever the state, with the slope that f claims to have."""

    n_params = 1

    def __init__(self, f, slope):
        self.f, self.slope = f, slope

    def initialise(self, seeds, dtype):
        return torch.full((len(seeds), 1), 10.0, dtype=dtype)

    def acceleration(self, theta, q, qdot):
        return self.f(theta)[:, :, None] + 0 * q

    def jacobian(self, theta, q, qdot):
        raise AssertionError("L-BFGS asks for no Jacobian")

    def loss_and_gradient(self, theta, q, qdot, target, loss="squared", compiled=False):
        residual = self.acceleration(theta, q, qdot) - target
        gradient = (2 * residual).mean((1, 2))[:, None] * self.slope(theta)
        return residual.square().mean((1, 2)), gradient, torch.zeros(len(theta))


def constant(value):
    data = make_data(R=1, D=1)
    rows = data.rows.clone()
    rows[:, :, 2] = value
    return dataclasses.replace(data, rows=rows)


def test_the_line_search_turns_back_where_the_error_is_no_number():
    asked = []

    def logarithm(theta):
        asked.append(float(theta))
        return torch.log(theta)

    state = run(Shifted(logarithm, lambda x: 1 / x), constant(-4.0), LBFGS(1, 200))
    assert min(asked) < 0  # where the logarithm is no number
    assert state.reasons == ["fitted"]
    assert float(state.theta[0, 0]) == pytest.approx(math.exp(-4), rel=1e-8)


def test_damping_where_no_step_lowers_the_error():
    """An error whose stated slope has the wrong sign only rises along every step."""
    model = Shifted(lambda x: x, lambda x: -torch.ones_like(x))
    state = run(model, constant(0.0), LBFGS(1, 200))
    assert state.reasons == ["damping"]
    assert torch.equal(state.theta, model.initialise([0], torch.float64))


def test_diverged_where_it_begins_with_an_error_that_is_no_number():
    model, data = lnn(), make_data(R=2, N=30)
    start = model.initialise([0, 1], torch.float64)
    start[0, 0] = math.inf
    state = run(model, data, LBFGS(2, 4), state=State.fresh(start))
    assert state.reasons == ["diverged", "iterations"]
    assert torch.equal(state.theta[0], start[0])


def test_tolerance_where_the_error_hardly_falls_any_more_near_levenberg_marquardts():
    model = lnn(width=4, depth=1)
    truth = model.initialise([4], torch.float64)
    data = taught(model, truth, make_data(R=1, N=60), noise=0.02)
    ours, other = (
        run(model, data, stage, state=State.fresh(truth * 1.02))
        for stage in (LBFGS(1, 5000), LevenbergMarquardt(400))
    )
    assert ours.reasons == ["tolerance"]
    reached, least = (mean_square(model, data, state.theta, 0) for state in (ours, other))
    assert reached == pytest.approx(least, rel=0.01)
