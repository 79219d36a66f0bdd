"""The perturbations: how large, how correlated, of a potential where they say so."""

import dataclasses

import numpy as np
import pytest

from study.core.data.datasets import TestSet, test_set
from study.core.measures import metrics
from study.core.measures.perturbations import (
    HOLD,
    LENGTH,
    RandomField,
    conservative,
    smooth,
    white,
)
from study.core.systems import SYSTEMS

TestSet.__test__ = False  # a class of the core, not a test
test_set.__test__ = False


def states_of(test):
    return np.concatenate([test.points.q, test.points.qdot], axis=1)


def predictions(test, size):
    """Of one model, wrong by a typical `size` standard deviations."""
    error = np.random.default_rng(5).standard_normal((1, *test.points.qddot.shape))
    return test.points.qddot + size * np.sqrt(test.variance) * error


def one_by_one(system, perturbation, states):
    """A perturbation of one replicate and one trajectory at many states."""
    masses = system.mass_matrix(*np.split(states, 2, axis=1))
    pairs = zip(states, masses, strict=True)
    return np.concatenate([perturbation(x[None, None], 0.0, M[None, None])[0] for x, M in pairs])


@pytest.mark.parametrize("name", ["double_pendulum", "spring_pendulum"])
def test_perturbations_are_typically_as_large_as_the_error(name):
    system = SYSTEMS[name]
    full = test_set(system)
    points = type(full.points)(
        *(x[:300] for x in (full.points.q, full.points.qdot, full.points.qddot))
    )
    test = dataclasses.replace(full, points=points, in_range=full.in_range[:300])
    predicted = predictions(test, 0.01)
    predicted[0, :50] += 1e6  # rare points with a huge error do not count
    predicted[0, 50] = np.nan
    size = np.nanmedian(np.abs(predicted[0] - points.qddot), axis=0)
    drawn = one_by_one(system, smooth(system, test, predicted, [(1,)], 1), states_of(test))
    np.testing.assert_allclose(np.median(np.abs(drawn), axis=0), size, rtol=0.02)
    shaken, hold = white(test, predicted, [(1,)], 50, 10.0), HOLD * test.units.time
    middles = np.arange(hold / 2, 10.0, hold)
    drawn = np.stack([shaken(None, time, None) for time in middles], axis=2)
    np.testing.assert_allclose(np.median(np.abs(drawn), axis=(0, 1, 2)), size, rtol=0.05)
    assert abs(np.corrcoef(drawn[0, :, 1:, 0].ravel(), drawn[0, :, :-1, 0].ravel())[0, 1]) < 0.05
    drawn = one_by_one(system, conservative(system, test, predicted, [(1,)], 1), states_of(test))
    own = metrics.acceleration_measures(predicted[0], test)["test_nmse_median"]
    found = metrics.acceleration_measures(points.qddot + drawn, test)["test_nmse_median"]
    assert found == pytest.approx(own, rel=0.01)


@pytest.mark.parametrize("name", ["double_pendulum", "spring_pendulum", "magnetic_trap"])
def test_a_conservative_perturbation_is_the_force_of_a_potential(name):
    system = SYSTEMS[name]
    test = test_set(system)
    perturbation = conservative(system, test, predictions(test, 1e-3), [(2,)], 1)

    def force(q, qdot):
        states = np.concatenate([q, qdot])
        return system.mass_matrix(q, qdot) @ one_by_one(system, perturbation, states[None])[0]

    q, qdot = test.points.q[0], test.points.qdot[0]
    step = 1e-2 * test.units.length
    slopes = np.stack(
        [(force(q + e, qdot) - force(q - e, qdot)) / (2 * e.sum()) for e in np.diag(step)]
    )
    assert slopes[0, 1] == pytest.approx(slopes[1, 0], abs=2e-3 * np.abs(slopes).max())
    np.testing.assert_allclose(force(q, 2 * qdot + 1), force(q, qdot), rtol=1e-5)


def test_a_random_field_is_of_unit_variance_and_correlated_over_its_length():
    x = np.array([[0.3, -0.2, 0.5], [0.3, -0.2 + LENGTH, 0.5], [0.3, -0.2, 0.5 + 4 * LENGTH]])
    rng = np.random.default_rng(0)
    values = RandomField.draw([rng] * 3000, 3, 1).values(x)
    found = np.cov(values[..., 0].T)
    expected = np.eye(3)
    expected[0, 1] = expected[1, 0] = np.exp(-0.5)
    expected[0, 2] = expected[2, 0] = np.exp(-8)
    expected[1, 2] = expected[2, 1] = np.exp(-8.5)
    np.testing.assert_allclose(found, expected, atol=0.08)
