"""Subsets nest, noise is what it says, the test set is fixed, the cache survives a crowd."""

import dataclasses
import multiprocessing
import os

import numpy as np
import pytest

from study.core.data import datasets
from study.core.data.cache import cached
from study.core.data.datasets import DataError, Source, held_out, integrate
from study.core.data.datasets import test_set as make_test_set
from study.core.data.derivatives import Method
from study.core.files import cache_folder
from study.core.systems import SYSTEMS

SYSTEM = SYSTEMS["magnetic_trap"]
SOURCE = Source(SYSTEM, "trajectories", 2000, 10)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))


def test_subsets_are_nested_and_labels_stay():
    small, large = SOURCE.training_set(3, 50, 0.1), SOURCE.training_set(3, 700, 0.1)
    for field in ("q", "qdot", "qddot"):
        np.testing.assert_array_equal(
            getattr(small.points, field), getattr(large.points, field)[:50]
        )
    np.testing.assert_array_equal(small.along, large.along[:50])


@pytest.mark.parametrize("sampler", ["trajectories", "uniform"])
def test_labels_are_exact_without_noise(sampler):
    points = Source(SYSTEM, sampler, 500, 10).training_set(0, 500, 0.0).points
    np.testing.assert_allclose(
        points.qddot, SYSTEM.acceleration(points.q, points.qdot), rtol=1e-12, atol=1e-12
    )


def test_noise_has_the_stated_standard_deviation():
    clean, noisy = (SOURCE.training_set(1, 2000, noise).points for noise in (0.0, 0.3))
    added = noisy.qddot - clean.qddot
    np.testing.assert_array_equal(noisy.q, clean.q)
    np.testing.assert_allclose(added.std(0), 0.3 * SOURCE.reference().label_std, rtol=0.1)


def test_data_seeds_differ_and_none_is_the_test_set():
    sets = [SOURCE.training_set(seed, 2000, 0.0).points.q for seed in (0, 1)]
    sets.append(make_test_set(SYSTEM).points.q)
    for i, one in enumerate(sets):
        for other in sets[i + 1 :]:
            assert not np.isin(one[:, 0], other[:, 0]).any()


def test_sorting_by_along_gives_back_the_curves():
    training = SOURCE.training_set(0, 2000, 0.0)
    order = np.argsort(training.along)
    q = training.points.q[order].reshape(10, 200, 2)
    v = training.points.qdot[order].reshape(10, 200, 2)
    dt = SYSTEM.horizon / 199
    slope = (q[:, 2:] - q[:, :-2]) / (2 * dt)
    assert np.abs(slope - v[:, 1:-1]).max() < 0.05


def test_units_do_not_vary_with_the_subset():
    many = Source(SYSTEM, "trajectories", 20000, 100)
    assert many.reference().units.time == SOURCE.reference().units.time
    assert make_test_set(SYSTEM).in_range.mean() == pytest.approx(0.97, abs=0.03)


def test_more_points_than_the_pool_are_refused():
    with pytest.raises(DataError, match="n_train=2001 is larger than the pool of 2000"):
        SOURCE.training_set(0, 2001, 0.0)


def test_trajectories_agree_with_another_solver():
    start = SYSTEM.initial_conditions(np.random.default_rng(0), 5, SYSTEM.parameters)
    times = np.linspace(0, 5, 20)
    other = integrate(SYSTEM, start, times, tolerance=1e-10, method="Radau")
    np.testing.assert_allclose(integrate(SYSTEM, start, times), other, atol=1e-6)


def test_a_trajectory_that_does_not_conserve_energy_is_refused():
    states = np.zeros((1, 3, 4))
    states[0, :, 0] = [1.0, 1.1, 1.2]
    with pytest.raises(DataError, match="drifts in energy"):
        datasets.checked(SYSTEM, states)


def test_held_out_motion_is_trusted_as_far_as_two_solvers_agree():
    motion = held_out(SYSTEM, 3, 10.0, 20)
    assert motion.trusted.tolist() == [10.0] * 3
    np.testing.assert_allclose(
        motion.states, integrate(SYSTEM, motion.states[:, 0], motion.times), atol=1e-9
    )


def test_chaotic_motion_is_trusted_only_as_far_as_two_solvers_agree(monkeypatch):
    wild = dataclasses.replace(
        SYSTEMS["double_pendulum"],
        initial_conditions=lambda rng, n, c: np.tile([3.0, 3.1, 0.0, 0.0], (n, 1)),
    )
    monkeypatch.setattr(datasets, "ENERGY_TOLERANCE", 1e-3)
    motion = held_out(wild, 1, 60.0, 300)
    growth = motion.lyapunov[0]
    assert growth > 0.5
    # an error of the solvers' tolerance has grown to the threshold about there
    assert 0.3 < motion.trusted[0] / (np.log(datasets.AGREEMENT / 1e-11) / growth) < 1.5
    assert motion.trusted[0] < 60.0


def test_full_turns_do_not_loosen_what_counts_as_agreement():
    system = SYSTEMS["double_pendulum_wide"]
    states = np.random.default_rng(0).uniform(-1, 1, (20, 50, 4))
    turned = states.copy()
    turned[..., :2] += 2 * np.pi * np.random.default_rng(1).integers(-50, 50, (20, 50, 2))
    spread = datasets.spread(system, turned)
    np.testing.assert_allclose(spread, states.std((0, 1)), rtol=1e-10)


def test_data_are_taken_from_the_span_of_a_system():
    short = dataclasses.replace(SYSTEM, span=0.5)
    training = Source(short, "trajectories", 200, 10).training_set(0, 200, 0.0)
    order = np.argsort(training.along)
    ends = np.concatenate([training.points.q, training.points.qdot], axis=1)[order][19::20]
    starts = np.concatenate([training.points.q, training.points.qdot], axis=1)[order][::20]
    expected = integrate(SYSTEM, starts, np.array([0.0, 0.5]))[:, -1]
    np.testing.assert_allclose(ends, expected, atol=1e-9)


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_the_first_held_out_starts_are_those_of_a_smaller_number(name):
    system = SYSTEMS[name]
    few, many = (
        system.initial_conditions(np.random.default_rng(0), n, system.parameters) for n in (3, 9)
    )
    np.testing.assert_array_equal(few, many[:3])


def test_a_torn_file_is_made_anew():
    first = make_test_set(SYSTEM).points.q
    for path in cache_folder().iterdir():
        path.write_bytes(path.read_bytes()[:100])
    np.testing.assert_array_equal(make_test_set(SYSTEM).points.q, first)


def test_a_changed_constant_is_another_dataset():
    changed = make_test_set(SYSTEM.with_constants(B=2.5))
    assert not np.array_equal(changed.points.qddot, make_test_set(SYSTEM).points.qddot)


def test_another_safe_domain_is_another_dataset():
    kepler = SYSTEMS["kepler"]
    wider = dataclasses.replace(kepler, safe=lambda x, c: np.hypot(x[:, 0], x[:, 1]) > 0.01)
    pools = [Source(s, "uniform", 500, 1).training_set(0, 500, 0.0) for s in (kepler, wider)]
    assert not np.array_equal(pools[0].points.q, pools[1].points.q)


def test_a_box_without_a_safe_state_is_refused():
    nowhere = dataclasses.replace(SYSTEMS["kepler"], safe=lambda x, c: np.zeros(len(x), bool))
    with pytest.raises(DataError, match="kepler with m=1, mu=1: hardly any state"):
        Source(nowhere, "uniform", 5, 1).training_set(0, 5, 0.0)


@pytest.mark.slow
def test_motion_that_can_be_trusted_nowhere_is_refused(monkeypatch):
    monkeypatch.setattr(datasets, "AGREEMENT", 1e-15)
    with pytest.raises(DataError, match=r"rollout\.n_times=2 times over 100 s"):
        held_out(SYSTEMS["double_pendulum_wide"], 2, 100.0, 2)


def test_made_data_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="not finite"):
        cached(SYSTEM, ["nan"], lambda: {"q": np.array([np.nan])})


def test_a_folder_that_cannot_be_written_costs_only_time(monkeypatch):
    monkeypatch.setenv("STUDY_CACHE", "/proc/nowhere")
    assert len(make_test_set(SYSTEM).points) == datasets.N_TEST


def _ask(_: int) -> float:
    return float(SOURCE.training_set(5, 100, 0.1).points.qddot.sum())


def test_many_workers_may_ask_at_once():
    with multiprocessing.get_context("fork").Pool(4) as pool:
        answers = pool.map(_ask, range(8))
    assert len(set(answers)) == 1
    assert not [name for name in os.listdir(cache_folder()) if name.startswith(".")]


def test_the_samples_after_a_point_are_its_own_motion():
    source = Source(SYSTEM, "trajectories", 400, 4)
    chosen = source.training_set(2, 300, 0.0, k=5)
    step = SYSTEM.data_span / 99
    np.testing.assert_allclose(
        chosen.following[:, :, 0], np.tile(step * np.arange(1, 6), (300, 1)), rtol=1e-12
    )
    moved = integrate(SYSTEM, chosen.points.states[:20], step * np.arange(6))[:, 1:]
    np.testing.assert_allclose(chosen.following[:20, :, 1:], moved, rtol=1e-7, atol=1e-7)
    every = source.training_set(2, 4 * 95, 0.0, k=5)  # those that five samples follow
    np.testing.assert_array_equal(every.along[:300], chosen.along)
    with pytest.raises(DataError, match="380"):
        source.training_set(2, 381, 0.0, k=5)


def test_noisy_positions_are_what_is_measured_and_the_rest_is_estimated_from_them():
    clean = Source(SYSTEM, "trajectories", 4 * 500, 4)
    noisy = dataclasses.replace(clean, position_noise=1e-3, method=Method("savgol", 21, 0.0))
    curves, order = noisy.curves(0)
    exact, _ = clean.curves(0)
    kept = np.concatenate([500 * i + np.arange(10, 490) for i in range(4)])  # half a window apart
    np.testing.assert_array_equal(curves.times, exact.times[kept])
    np.testing.assert_array_equal(curves.trajectory, exact.trajectory[kept])
    added = curves.samples[:, :2] - exact.points.q[kept]
    assert added.std() == pytest.approx(1e-3, rel=0.05)
    assert np.isnan(curves.samples[:, 2:]).all()
    smoothed = curves.points.q - exact.points.q[kept]
    assert smoothed.std() < 0.5 * added.std()
    for name, part in (("qdot", 0.05), ("qddot", 0.3)):
        true, estimate = getattr(exact.points, name)[kept], getattr(curves.points, name)
        assert 0 < (estimate - true).std() < part * true.std()
    chosen = noisy.training_set(0, len(order), 0.0)
    np.testing.assert_array_equal(chosen.points.q, curves.points.q[order])
    assert sorted(order) == list(range(len(kept)))
    # what needs no noise has none: units, and states for the rank
    assert noisy.reference().units.time == clean.reference().units.time
    np.testing.assert_array_equal(noisy.ample(0, 50).q, clean.ample(0, 50).q)
