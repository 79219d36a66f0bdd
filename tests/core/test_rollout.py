"""Rollouts of a known field against scipy; divergence and the step cap hold up nobody."""

import dataclasses

import numpy as np
import torch

from study.core.measures.rollout import rollout
from study.core.models import Model
from study.core.systems import SYSTEMS


@dataclasses.dataclass(frozen=True)
class KnownField(Model):
    """A model that answers with a given acceleration of (r, q, qdot) instead of a network's."""

    function: object

    @property
    def n_params(self):
        return 1

    def initialise(self, seeds, dtype):
        return torch.arange(len(seeds), dtype=dtype)[:, None]

    def acceleration(self, theta, q, qdot):
        return self.function(theta, q, qdot)

    def loss_and_gradient(self, theta, q, qdot, target, loss="squared", compiled=False):
        raise AssertionError("not trained here")

    def jacobian(self, theta, q, qdot):
        raise AssertionError("not trained here")


def run(function, start, times, R=1, angles=(False,), **options):
    model = KnownField(function)
    theta = model.initialise(range(R), torch.float64)
    settings = {"rtol": 1e-8, "max_steps": 2000} | options
    return rollout(model, theta, torch.tensor(start), torch.tensor(times), angles, **settings)


def test_the_true_field_gives_the_true_trajectories():
    from study.core.data.datasets import integrate

    system = SYSTEMS["double_pendulum"]
    start = system.initial_conditions(np.random.default_rng(0), 4, system.parameters)
    times = np.linspace(0, 5, 30)

    def field(theta, q, qdot):
        qddot = [
            system.acceleration(a.T.numpy(), b.T.numpy()) for a, b in zip(q, qdot, strict=True)
        ]
        return torch.from_numpy(np.stack(qddot)).mT

    rolled = run(field, start, times, R=2, angles=system.angles)
    expected = integrate(system, start, times)
    for r in range(2):
        np.testing.assert_allclose(rolled.states[r].numpy(), expected, atol=1e-5)
    assert not rolled.diverged.any()


def test_a_diverging_trajectory_is_frozen_and_its_siblings_arrive():
    # network 0: an oscillator; network 1: x'' = x^3, infinite in finite time from x = 1
    def field(theta, q, qdot):
        return torch.where(theta[:, :, None] == 0, -q, 40 * q**3)

    times = np.linspace(0, 20, 50)
    rolled = run(field, [[0.01, 0.0], [1.0, 0.0]], times, R=2)
    assert rolled.diverged.tolist() == [[False, False], [False, True]]
    np.testing.assert_allclose(rolled.states[0, 1, :, 0].numpy(), np.cos(times), atol=1e-5)
    lost = rolled.states[1, 1, :, 0]
    assert torch.isfinite(lost[0])
    assert torch.isnan(lost[-1])


def test_nan_accelerations_are_a_divergence_not_an_error():
    rolled = run(lambda theta, q, v: torch.where(q < 0.5, torch.nan, -q), [[1.0, 0.0]], [0.0, 5.0])
    assert rolled.diverged.all()


def test_the_step_cap_ends_a_trajectory_that_crawls():
    times = np.linspace(0, 10, 5)

    def field(theta, q, qdot):
        return torch.where(q > 10, -1e4 * (q - 20), -q)  # the second one is stiff

    rolled = run(field, [[1.0, 0.0], [21.0, 0.0]], times, max_steps=300)
    assert rolled.diverged.tolist() == [[False, True]]
    assert rolled.steps.max() <= 301
    np.testing.assert_allclose(rolled.states[0, 0, :, 0].numpy(), np.cos(times), atol=1e-5)


def test_angles_may_wind_without_diverging():
    rolled = run(
        lambda theta, q, v: torch.zeros_like(q),
        [[0.0, 50.0]],
        np.linspace(0, 10, 5),
        angles=(True,),
    )
    assert not rolled.diverged.any()
    np.testing.assert_allclose(float(rolled.states[0, 0, -1, 0]), 500.0, rtol=1e-5)
