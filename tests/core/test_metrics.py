"""The measures on cases whose value is known beforehand."""

import numpy as np
import pytest

from study.core.data.datasets import Points, TestSet, Trajectories
from study.core.measures import metrics
from study.core.systems import SYSTEMS
from study.core.systems.units import Units

KEPLER = SYSTEMS["kepler"]
PENDULUM = SYSTEMS["double_pendulum"]
TestSet.__test__ = False  # a class of the core, not a test


def make_test_set(n=1000):
    rng = np.random.default_rng(0)
    q, qdot, qddot = (rng.standard_normal((n, 2)) for _ in range(3))
    qddot *= [1.0, 10.0]
    return TestSet(Points(q, qdot, qddot), np.arange(n) < n // 2, qddot.var(0), Units.physical(2))


def test_predicting_the_mean_has_nmse_one():
    test = make_test_set()
    predicted = np.broadcast_to(test.points.qddot.mean(0), test.points.qddot.shape)
    assert metrics.acceleration_measures(predicted, test)["test_nmse"] == pytest.approx(1.0)


def test_coordinates_count_alike_whatever_their_scale():
    test = make_test_set()
    for coordinate in (0, 1):
        predicted = test.points.qddot.copy()
        predicted[:, coordinate] += 0.3 * np.sqrt(test.variance[coordinate])
        measured = metrics.acceleration_measures(predicted, test)
        assert measured["test_nmse"] == pytest.approx(0.3**2 / 2)
        assert measured["test_nmse_median"] == pytest.approx(0.3**2 / 2)


def test_rare_points_own_the_mean_and_not_the_median():
    test = make_test_set()
    predicted = test.points.qddot + 0.01
    predicted[-1] = 1e4
    measured = metrics.acceleration_measures(predicted, test)
    assert measured["test_nmse"] > 1e4 * measured["test_nmse_median"]
    assert measured["test_nmse_out_of_range"] > 1e4 * measured["test_nmse_in_range"]
    predicted[-1] = np.nan
    assert metrics.acceleration_measures(predicted, test)["test_nmse"] == np.inf


def test_singular_fraction_counts_indefinite_and_ill_conditioned():
    true = np.broadcast_to(np.eye(2), (6, 2, 2))
    learned = np.stack(
        [
            np.eye(2),
            np.diag([1.0, -1.0]),  # indefinite
            np.diag([1.0, 1e-7]),  # ill conditioned
            -np.eye(2),  # definite: the sign of a Lagrangian is free
            np.full((2, 2), np.nan),
            np.zeros((2, 2)),
        ]
    )
    assert metrics.singular_fraction(learned, true) == pytest.approx(4 / 6)
    assert np.isnan(metrics.singular_fraction(None, true))


def circle(times, radius=1.0, phase=0.0):
    """A circular Kepler orbit with mu = 1."""
    rate = radius**-1.5
    a = rate * times + phase
    position = radius * np.stack([np.cos(a), np.sin(a)], axis=-1)
    velocity = radius * rate * np.stack([-np.sin(a), np.cos(a)], axis=-1)
    return np.concatenate([position, velocity], axis=-1)


def measure(learned, true, times, trusted=None, system=KEPLER, lyapunov=0.5):
    K = len(true)
    motion = Trajectories(
        times,
        true,
        np.full(K, times[-1] if trusted is None else trusted),
        np.full(K, lyapunov),
    )
    never = np.zeros(K, bool)
    return metrics.rollout_measures(learned, never, motion, system, Units.physical(2))[0]


def test_the_truth_itself_is_valid_to_the_end():
    times = np.linspace(0, 10, 101)
    true = circle(times)[None]
    measured = measure(true, true, times)
    assert measured["rollout_error"] == pytest.approx(1e-12)
    assert measured["valid_time"] == 10.0
    assert measured["valid_time_lyapunov"] == 5.0
    assert measured["energy_drift"] < 1e-12


def test_a_phase_error_has_the_chord_as_relative_error():
    times = np.linspace(0, 10, 101)
    true, learned = circle(times)[None], circle(times, phase=0.2)[None]
    measured = measure(learned, true, times)
    assert measured["rollout_error"] == pytest.approx(np.sin(0.1))


def test_valid_time_is_when_the_threshold_passes_and_never_past_trust():
    times = np.linspace(0, 10, 1001)
    true = circle(times)[None]
    spread = true.std((0, 1))
    learned = true + (times / 10 * spread.reshape(4, 1)).T[None]  # error grows to 1 std at t = 10
    assert measure(learned, true, times)["valid_time"] == pytest.approx(5.0, abs=0.02)
    assert measure(learned, true, times, trusted=3.0)["valid_time"] == 3.0


def test_energy_drift_is_over_the_energy_scale():
    times = np.linspace(0, 1, 11)
    learned = np.zeros((1, 11, 4))
    true = np.random.default_rng(0).standard_normal((1, 11, 4))
    learned[0, :, 0] = times * np.pi  # the upper rod turned up, at rest: both bobs lifted by 2 l
    final = measure(learned, true, times, system=PENDULUM)["energy_drift_final"]
    assert final == pytest.approx(4 * 9.8 / 29.4)


def test_full_turns_are_no_error():
    times = np.linspace(0, 1, 11)
    true = np.random.default_rng(0).standard_normal((2, 11, 4))
    learned = true + np.array([2 * np.pi, -4 * np.pi, 0, 0])
    assert measure(learned, true, times, system=PENDULUM)["rollout_error"] < 1e-10


def test_a_diverged_trajectory_counts_as_wrong_from_there_on():
    times = np.linspace(0, 10, 101)
    true = circle(times)[None]
    learned = true.copy()
    learned[:, 50:] = np.nan
    measured = measure(learned, true, times)
    assert measured["valid_time"] == pytest.approx(5.0)
    assert measured["energy_drift"] == np.inf
    assert measured["rollout_error"] == pytest.approx(1e-12 ** (49 / 100), rel=1e-6)
