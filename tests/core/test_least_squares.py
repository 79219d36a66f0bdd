"""The minimum-norm solution against the pseudoinverse of the features."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from study.core.training import train
from study.core.training.least_squares import LeastSquares
from study.core.training.train import State
from tests.core.problems import features, lnn, make_data, run


@pytest.mark.parametrize("D", [1, 2])
@pytest.mark.parametrize(("p", "N"), [(8, 30), (12, 12), (30, 8)], ids=["N > p", "N = p", "N < p"])
def test_the_solution_is_that_of_the_pseudoinverse(p, N, D, monkeypatch):
    monkeypatch.setattr(train, "CHUNK", 7)
    model, data = features(p, D), make_data(N=N, D=D)
    start = model.initialise([5, 6, 7], torch.float64)
    moved = start.clone()
    moved[:, : model.n_params] = 3.0  # where it begins does not matter
    state = run(model, data, LeastSquares(3), state=State.fresh(moved))
    assert state.reasons == ["solved"] * 3
    for r in range(3):
        q, qdot, target = data.states(slice(r, r + 1), slice(None))
        phi = model.features(start[r : r + 1], q, qdot)[0].numpy()
        C = target[0].numpy() @ np.linalg.pinv(phi)
        found = state.theta[r, : model.n_params].view(D, p).numpy()
        np.testing.assert_allclose(found, C, rtol=1e-7, atol=1e-7 * np.abs(C).max())
    assert torch.equal(state.theta[:, model.n_params :], start[:, model.n_params :])


def test_features_that_are_the_same_share_what_one_would_have():
    """Minimum norm: of equal columns each takes an equal part."""
    model, data = features(5), make_data(R=1, N=20)
    theta = model.initialise([0], torch.float64)
    single = run(model, data, LeastSquares(1), state=State.fresh(theta)).theta
    P, p, width = model.n_params, 5, 4
    double = features(10)
    twice = torch.zeros(1, 2 * P + 10 * (width + 1), dtype=torch.float64)
    twice[0, 2 * P : 2 * P + 10 * width] = theta[0, P : P + p * width].repeat(2)
    twice[0, 2 * P + 10 * width :] = theta[0, P + p * width :].repeat(2)
    solved = run(double, data, LeastSquares(1), state=State.fresh(twice)).theta
    each = solved[0, : 2 * P].view(2, 2, p)
    half = single[0, :P].view(2, 1, p) / 2
    torch.testing.assert_close(each, half.expand(2, 2, p), rtol=1e-8, atol=1e-10)


def test_one_that_cannot_be_solved_does_not_take_the_others_along():
    model, data = features(8), make_data(N=30)
    rows = data.rows.clone()
    rows[1, 0, -1] = math.nan
    state = run(model, dataclasses.replace(data, rows=rows), LeastSquares(3))
    assert state.reasons == ["solved", "diverged", "solved"]
    whole = run(model, data, LeastSquares(3)).theta
    assert torch.equal(state.theta[[0, 2]], whole[[0, 2]])


def test_a_model_that_is_not_linear_is_refused():
    with pytest.raises(ValueError, match="linear in their parameters"):
        run(lnn(), make_data(), LeastSquares(3))
