"""The noise of columns and what it leaves in accelerations: known noise, true motion."""

import numpy as np
import pytest

from study.core.data.datasets import integrate
from study.core.data.derivatives import Method
from study.core.data.label_noise import Noise
from study.core.data.trajectory import Trajectory
from study.core.systems import SYSTEMS

PENDULUM = SYSTEMS["double_pendulum"]
WITHIN = 1.3  # of the true error: the factor that is promised
SAVGOL = Method("savgol", 11, 0.0)


def motion(step=0.01, n=400, runs=6, uneven=False):
    """Times, and true states and accelerations of each run."""
    rng = np.random.default_rng(0)
    times = step * np.arange(n)
    times[1:-1] += uneven * step * rng.uniform(-0.3, 0.3, n - 2)
    states = integrate(PENDULUM, PENDULUM.initial_conditions(rng, runs, {}), times)
    return times, states, PENDULUM.acceleration(states[..., :2], states[..., 2:])


def recorded(times, states, accelerations, *, q=0.0, qdot=None, qddot=None):
    """The runs with noise of these sizes; a rate without one is not measured."""
    rng = np.random.default_rng(1)

    def noisy(values, sigma):
        return None if sigma is None else values + sigma * rng.standard_normal(values.shape)

    return [
        Trajectory(times, noisy(y[:, :2], q), noisy(y[:, 2:], qdot), noisy(a, qddot))
        for y, a in zip(states, accelerations, strict=True)
    ]


def within(value, true):
    return true / WITHIN < value < true * WITHIN


@pytest.mark.parametrize(
    ("noise", "method", "uneven"),
    [
        ({"q": 1e-3}, SAVGOL, False),
        ({"q": 3e-4}, Method("savgol", 7, 0.0), True),
        ({"q": 1e-4}, Method("spline", 7, 0.0), False),
        ({"q": 1e-3, "qdot": 1e-2}, SAVGOL, False),
        ({"q": 1e-3, "qdot": 1e-2, "qddot": 0.3}, SAVGOL, False),
    ],
)
def test_the_floor_is_the_error_of_the_labels(noise, method, uneven):
    times, states, true = motion(uneven=uneven)
    runs = recorded(times, states, true, **noise)
    found = Noise.of(runs[:4], runs[4:], method)
    assert found is not None
    for name, sigma in noise.items():
        np.testing.assert_allclose(found.columns[name], sigma, rtol=0.1)
        assert found.told[name].all()
    inner = slice(None)
    labels = np.stack([run.qddot for run in runs[4:]]) if "qddot" in noise else None
    if labels is None:
        inner = slice(method.margin, len(times) - method.margin)
        estimates = [
            method(times, run.q)[2] if run.qdot is None else method(times, run.qdot)[1]
            for run in runs[4:]
        ]
        labels = np.stack(estimates)
    labels, true = labels[:, inner].reshape(-1, 2), true[4:, inner].reshape(-1, 2)
    errors = (np.square(labels - true) / labels.var(0)).mean(1)
    mean, median = found.floors(labels.var(0))
    assert within(mean, errors.mean())
    assert within(median, np.median(errors))
    assert within(found.deviations[0], (labels - true)[:, 0].std())


@pytest.mark.parametrize("step", [0.02, 0.1])
def test_motion_without_noise_is_taken_for_none(step):
    runs = recorded(*motion(step, n=100))
    found = Noise.of(runs[:4], runs[4:], SAVGOL)
    assert found is not None
    assert not found.told["q"].all()
    assert np.isnan(found.floors(np.ones(2))).all()
    assert "at most" in found.remark(PENDULUM.coordinates, np.ones(2))


def test_the_sentence_has_units():
    runs = recorded(*motion(), q=1e-3)
    found = Noise.of(runs[:4], runs[4:], SAVGOL)
    assert found is not None
    said = found.remark((("theta1", "rad"), ("x", "m")), np.ones(2))
    assert said.startswith("the noise is theta1 0.00")
    assert " rad, x 0.00" in said
    assert " m/s² of x in the accelerations: " in said


def test_trajectories_of_a_few_rows_have_no_estimate():
    times = np.array([0.0, 0.1])
    runs = [Trajectory(times, np.zeros((2, 1)), np.zeros((2, 1)), np.zeros((2, 1)))] * 2
    assert Noise.of(runs[:1], runs[1:], SAVGOL) is None
