"""A change of units must keep the target a Lagrangian's: checked by scaling a Lagrangian itself."""

import numpy as np
import pytest
import torch

from study.core.data.datasets import Source
from study.core.data.datasets import test_set as make_test_set
from study.core.systems import SYSTEMS
from study.core.systems.units import Units
from tests.core import euler_lagrange


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_scaled_accelerations_belong_to_the_lagrangian_in_scaled_units(name):
    system = SYSTEMS[name]
    source = Source(system, "trajectories", 400, 10)
    units, points = source.reference().units, source.training_set(0, 20, 0.0).points
    length, time = torch.from_numpy(units.length), units.time
    origin = torch.from_numpy(units.origin)
    physical = euler_lagrange.lagrangian_of(system)

    def scaled(q, v):
        return physical(origin + q * length, v * length / time)

    q, v = (torch.from_numpy(x) for x in units.scale(points.q, points.qdot))
    mass = system.mass_matrix(points.q, points.qdot)
    forces = system.generalised_force(points.q, points.qdot, points.u)
    pushed = np.linalg.solve(mass, forces[..., None])[..., 0]
    expected = euler_lagrange.acceleration(scaled, q, v).numpy()
    expected = expected + units.acceleration_to_scaled(pushed)
    ours = units.acceleration_to_scaled(points.qddot)
    np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(units.acceleration_to_physical(ours), points.qddot)


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_scaled_quantities_are_of_order_one(name):
    system = SYSTEMS[name]
    source = Source(system, "trajectories", 400, 10)
    units, test = source.reference().units, make_test_set(system)
    scaled = units.acceleration_to_scaled(test.points.qddot)
    assert np.mean(scaled.std(0) ** 2) == pytest.approx(1.0, rel=0.2)
    angles = np.array(system.angles)
    assert (units.length[angles] == 1).all()
    q, v = units.scale(test.points.q, test.points.qdot)
    np.testing.assert_allclose(q.std(0)[~angles], 1.0, rtol=0.2)
    assert (np.abs(q.mean(0)[~angles]) < 1.2).all()
    assert (v.std(0) < 5).all()
    states = np.concatenate([q, v], axis=1)
    both = np.concatenate([test.points.q, test.points.qdot], axis=1)
    np.testing.assert_allclose(units.to_physical(states), both, rtol=1e-12, atol=1e-12)


def test_only_what_stays_away_from_zero_has_another_origin():
    rng = np.random.default_rng(0)
    q = rng.normal([5.0, 0.5, 5.0], 1.0, (1000, 3))
    units = Units.of(q, q, (False, False, True))
    np.testing.assert_allclose(units.origin, [q[:, 0].mean(), 0.0, 0.0])
