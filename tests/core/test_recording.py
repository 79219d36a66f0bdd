"""Measured motion as a source of training points, test points and rollouts."""

from __future__ import annotations

import numpy as np
import pytest

from study.core.data.datasets import DataError, integrate
from study.core.data.recording import Motion, Recording
from study.core.systems import SYSTEMS
from study.core.systems.mechanics import unknown

PENDULUM = SYSTEMS["double_pendulum"]
UNKNOWN = unknown(PENDULUM.coordinates, PENDULUM.angles)


def motion(seed: int, n: int, step: float = 0.02, offset: float = 0.0) -> Motion:
    """True motion; `offset` is added to the accelerations, so that labels can be told apart."""
    start = PENDULUM.initial_conditions(np.random.default_rng(seed), 1, PENDULUM.parameters)
    times = np.arange(n) * step
    q, qdot = np.split(integrate(PENDULUM, start, times)[0], 2, axis=1)
    return Motion(times + seed, q, qdot, PENDULUM.acceleration(q, qdot) + offset)


@pytest.fixture(scope="module")
def recording() -> Recording:
    held_out = (motion(3, 101, offset=1.0), motion(4, 201, offset=1.0))
    return Recording((motion(0, 100), motion(1, 50), motion(2, 50)), held_out, (True, True))


def test_subsets_are_nested_and_keep_their_labels(recording):
    few, many = (recording.training_set(5, n, 0.3) for n in (20, 150))
    np.testing.assert_array_equal(few.points.qddot, many.points.qddot[:20])
    np.testing.assert_array_equal(few.along, many.along[:20])
    clean = recording.training_set(5, 200, 0.0)
    assert sorted(clean.along) == list(range(200))
    np.testing.assert_array_equal(clean.points.q[np.argsort(clean.along)], recording.points.q)
    other = recording.training_set(6, 20, 0.3)
    assert not np.array_equal(other.along, few.along)
    with pytest.raises(DataError, match="n_train=201 is larger than the pool of 200"):
        recording.training_set(5, 201, 0.0)


def test_samples_after_a_point_stay_on_its_trajectory(recording):
    chosen = recording.training_set(5, 90 + 40 + 40, 0.0, k=10)
    assert sorted(chosen.along) == [*range(90), *range(100, 140), *range(150, 190)]
    step = 0.02 * np.arange(1, 11)
    np.testing.assert_allclose(chosen.following[:, :, 0], np.tile(step, (170, 1)), rtol=1e-9)
    np.testing.assert_array_equal(
        chosen.following[:, 3, 1:], recording.points.states[chosen.along + 4]
    )
    with pytest.raises(DataError, match="n_train=171"):
        recording.training_set(5, 171, 0.0, k=10)


def test_what_is_held_out_is_not_trained_on(recording):
    test = recording.test_set(UNKNOWN)
    assert len(test.points) == 302
    trained = {tuple(q) for q in recording.points.q}
    assert not trained & {tuple(q) for q in test.points.q}


def test_labels_are_the_true_systems_where_it_is_known(recording):
    measured, true = (recording.test_set(s).points for s in (UNKNOWN, PENDULUM))
    np.testing.assert_allclose(measured.qddot - true.qddot, 1.0, atol=1e-12)
    assert np.array_equal(measured.q, true.q)


def test_measured_rollouts_are_the_motion_itself(recording):
    exact = Recording(recording.training, (motion(3, 101), motion(4, 201)), (True, True))
    truth = exact.truth(UNKNOWN, 5, 1.5, 40)
    assert truth.states.shape == (5, 40, 4)
    assert (truth.trusted == truth.times[-1]).all()
    # off the recorded times too, they are the motion that was sampled every 20 ms
    for states, (recorded, begin) in zip(truth.states, exact.starts(5, 1.5), strict=True):
        first = np.concatenate([recorded.q[:1], recorded.qdot[:1]], axis=1)
        times = np.union1d([0.0], begin - recorded.times[0] + truth.times)
        true = integrate(PENDULUM, first, times)[0, -len(truth.times) :]
        np.testing.assert_allclose(states, true, atol=2e-3)


def test_starts_take_turns_and_are_not_repeated(recording):
    starts = recording.starts(6, 2.0)
    assert len({(id(m), t) for m, t in starts}) == len(starts) == 6
    assert [m is starts[0][0] for m, _ in starts].count(True) == 1  # it fits only once
    assert [t for _, t in starts[:2]] == [3.0, 4.0]
    assert all(t + 2.0 <= m.times[-1] + 1e-9 for m, t in starts)
    with pytest.raises(DataError, match=r"rollout\.horizon=5 .* at most 4 s"):
        recording.starts(1, 5.0)


def test_true_motion_goes_on_where_the_system_is_known(recording):
    truth = recording.truth(PENDULUM, 3, 6.0, 30)
    assert truth.times[-1] == 6.0
    np.testing.assert_allclose(truth.states[0, 0, :2], recording.held_out[0].q[0])
    assert np.isfinite(truth.lyapunov).all()
