"""The solver in C++ against the one in tensors, scipy's and what can be written down."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from study.core.measures.rollout import LIMIT, rollout
from study.core.models import make_model
from tests.core.native.test_calls import NETWORKS, settings_of

TIMES = torch.linspace(0, 4, 17, dtype=torch.float64)


def models(name, angles=(True, False), width=7, **changed):
    settings = settings_of(name, width, 2) | changed
    return tuple(make_model(angles, settings, native=native) for native in (True, False))


def start(K, D=2):
    generator = torch.Generator().manual_seed(K)
    return torch.randn(K, 2 * D, generator=generator, dtype=torch.float64)


def both(pair, theta, states, angles=(True, False), times=TIMES, **given):
    settings = {"rtol": 1e-6, "max_steps": 500} | given
    return tuple(rollout(model, theta, states, times, angles, **settings) for model in pair)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("K", [1, 5, 37])
def test_it_takes_the_steps_that_the_one_in_tensors_takes(name, K):
    pair = models(name)
    theta = pair[0].initialise(range(3), torch.float64)
    found, expected = both(pair, theta, start(K))
    assert not expected.diverged.any()
    assert torch.equal(found.steps, expected.steps)
    torch.testing.assert_close(found.states, expected.states, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("D", [1, 3])
def test_other_numbers_of_coordinates(D):
    angles = tuple(i % 2 == 0 for i in range(D))
    pair = models("lnn", angles)
    theta = pair[0].initialise(range(2), torch.float64)
    found, expected = both(pair, theta, start(6, D), angles)
    assert torch.equal(found.steps, expected.steps)
    torch.testing.assert_close(found.states, expected.states, rtol=1e-9, atol=1e-9)


def test_it_follows_a_second_solver():
    native, eager = models("lnn", width=16)
    theta = native.initialise([3], torch.float64)
    states = start(4)
    rolled = rollout(native, theta, states, TIMES, (True, False), rtol=1e-10, max_steps=5000)

    def field(_, y):
        q, qdot = torch.tensor(y).reshape(2, 1, 2, 1)
        return np.concatenate([y[2:], eager.acceleration(theta, q, qdot).numpy().ravel()])

    for k in range(4):
        exact = solve_ivp(
            field, (0, 4), states[k].numpy(), "DOP853", TIMES.numpy(), rtol=1e-12, atol=1e-12
        )
        np.testing.assert_allclose(rolled.states[0, k].numpy(), exact.y.T, atol=1e-8)


def constant(acceleration):
    """Networks whose accelerations, known beforehand, are the same everywhere: a row each."""
    pair = models("acceleration_mlp", (False, False))
    theta = torch.zeros(len(acceleration), pair[0].n_params, dtype=torch.float64)
    theta[:, -2:] = torch.tensor(acceleration, dtype=torch.float64)
    return pair, theta


def test_what_passes_the_limit_is_lost_from_there_on_and_its_siblings_arrive():
    pair, theta = constant([[60.0, 0.0], [1.0, -2.0]])
    states = torch.zeros(1, 4, dtype=torch.float64)
    t = TIMES.unsqueeze(1)
    passes = 30 * TIMES**2 >= LIMIT
    passes |= 60 * TIMES >= LIMIT  # its velocity does first
    for rolled in both(pair, theta, states, (False, False)):
        assert rolled.diverged.tolist() == [[True], [False]]
        known = torch.cat([0.5 * t**2 * theta[1, -2:], t * theta[1, -2:]], 1)
        torch.testing.assert_close(rolled.states[1, 0], known)
        lost = rolled.states[0, 0].isnan().all(1)
        assert torch.equal(lost, passes)
        torch.testing.assert_close(rolled.states[0, 0, ~lost, 0], 30 * TIMES[~lost] ** 2)


def test_an_angle_may_wind():
    pair, theta = constant([[0.0, 0.0]])
    states = torch.tensor([[0.0, 0.0, 50.0, 1.0]], dtype=torch.float64)
    for rolled in both(pair, theta, states, (True, False)):
        assert not rolled.diverged.any()
        torch.testing.assert_close(rolled.states[0, 0, :, 0], 50 * TIMES)
    for rolled in both(pair, theta, states, (False, False)):
        assert rolled.diverged.all()


def test_steps_run_out():
    pair = models("lnn")
    theta = pair[0].initialise([0, 1], torch.float64)
    for rolled in both(pair, theta, start(3), max_steps=2):
        assert rolled.diverged.all()
        assert (rolled.steps == 2).all()
        assert not rolled.states[:, :, 0].isnan().any()
        assert rolled.states[:, :, -1].isnan().all()


def test_what_is_no_number_is_a_divergence():
    pair = models("lnn")
    theta = pair[0].initialise([0, 1], torch.float64)
    theta[0] = torch.nan
    alone = both(pair, theta[1:], start(3))[0]
    for rolled in both(pair, theta, start(3)):
        assert rolled.diverged.tolist() == [[True] * 3, [False] * 3]
        torch.testing.assert_close(rolled.states[1:], alone.states, rtol=1e-9, atol=1e-9)
