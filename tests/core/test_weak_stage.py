"""The weak form as a stage of training: the fit of the same positions, in the model of the cell."""

import numpy as np
import torch

from study.core.data import datasets
from study.core.data.datasets import Source
from study.core.measures import metrics
from study.core.models import make_model
from study.core.systems import SYSTEMS
from study.core.training.lagrangian_fit import COUNTS, fit_weak
from study.core.training.train import State, TrainingData, train
from study.core.training.weak import Weak
from tests.core.test_models import settings_of

NOISE = 1e-3  # rad


def test_the_stage_finds_true_accelerations_and_is_the_fit():
    system = SYSTEMS["damped_double_pendulum"].with_constants(c1=0.0, c2=0.0)
    source = Source(system, "trajectories", 4 * 201, 4, NOISE)
    tracks, units, test = source.sampled(0), source.reference().units, datasets.test_set(system)
    settings = settings_of("linear_lagrangian", width=max(COUNTS), encoding="trig", mass_prior=0.0)
    model = make_model(
        system.angles, settings | {"features": "structured", "scale": "auto"}, native=True,
        system=system, units=units,
    )  # fmt: skip
    rows = torch.zeros(1, 1, 3 * system.n_dof, dtype=torch.float64)  # it does not look at them
    data = TrainingData(rows, np.zeros((1, 1), int), "shuffled", [0])
    stage = Weak(1, [tracks], [0], "structured", system, units)
    start = State.fresh(model.initialise([0], torch.float64))
    trained = train(model, data, [stage], start, measure=lambda theta: {})
    assert trained.reasons == ["solved"]

    q, qdot = units.scale(test.points.q, test.points.qdot)
    states = (torch.from_numpy(x.T[None].copy()) for x in (q, qdot))
    qddot = model.acceleration(trained.theta, *states)[0].numpy().T
    got = units.acceleration_to_physical(qddot)
    fitted = fit_weak(tracks, system.angles, units, seed=0)
    np.testing.assert_allclose(
        got, fitted.acceleration(test.points.q, test.points.qdot), rtol=1e-8, atol=1e-8
    )
    errors = metrics.point_errors(got, test.points.qddot, test.variance)
    noise = np.concatenate([track.q for track in tracks]) - source_positions(source)
    assert np.isclose(noise.std(), NOISE, rtol=0.1)
    assert np.median(errors) < 1e-3


def source_positions(source):
    """The same positions without noise, by the exact pool."""
    exact = Source(source.system, source.sampler, source.pool_size, source.n_trajectories)
    return np.concatenate([track.q for track in exact.sampled(0)])
