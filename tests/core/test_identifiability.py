"""The spectrum against automatic differentiation and scipy, and ranks that are known beforehand."""

import dataclasses

import numpy as np
import pytest
import scipy.linalg
import torch

from study.core.data.datasets import Source
from study.core.measures import identifiability
from study.core.measures.identifiability import (
    THRESHOLDS,
    condition,
    effective_dimension,
    gauge,
    rank,
    spectrum,
)
from study.core.models import LNN
from study.core.models.mlp import MLP
from study.core.systems import SYSTEMS
from tests.core import euler_lagrange
from tests.core.problems import lagrangian

TINY = LNN(MLP((True, False), 3, 2, "softplus", 1.0, "trig", 1.0), "fan_in")


def normal(R, D, N, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(R, D, N, generator=generator, dtype=torch.float64) for _ in range(2))


def by_automatic_differentiation(model, theta, q, qdot):
    """d qddot / d theta of one network, (N, D, P)."""

    def qddot(t):
        def value(x, v):
            return lagrangian(model.mlp, t, x, v)

        return euler_lagrange.acceleration(value, q.T, qdot.T)

    return torch.func.jacrev(qddot)(theta)


@pytest.mark.parametrize("N", [7, 60])
@pytest.mark.parametrize("equal_states", [True, False])
def test_the_spectrum_is_that_of_automatic_differentiation(N, equal_states, monkeypatch):
    monkeypatch.setattr(identifiability, "FEWEST", 1)  # several pieces even here
    theta = TINY.initialise([0, 1], torch.float64)
    q, qdot = normal(2, 2, N)
    ours = spectrum(TINY, theta, q, qdot, equal_states)
    assert ours.shape == (2, min(2 * N, TINY.n_params))
    for r in range(2):
        J = by_automatic_differentiation(TINY, theta[r], q[r], qdot[r]).numpy()
        if equal_states:
            J = J / np.sqrt((J**2).sum((1, 2), keepdims=True))
        expected = scipy.linalg.svdvals(J.reshape(-1, TINY.n_params))
        np.testing.assert_allclose(ours[r].numpy(), expected, rtol=1e-9, atol=1e-13 * expected[0])


def scaled_states(name, n, R):
    """n uniform states of a system in its units, the same for R networks."""
    source = Source(SYSTEMS[name], "uniform", 4000, 1)
    points = source.training_set(0, n, 0.0).points
    scaled = source.reference().units.scale(points.q, points.qdot)
    return (torch.from_numpy(np.ascontiguousarray(x.T)).expand(R, -1, -1) for x in scaled)


@pytest.mark.parametrize("prior", [0.0, 1.0])
@pytest.mark.parametrize(
    ("name", "encoding", "width"),
    [
        ("double_pendulum", "raw", 8),
        ("double_pendulum", "raw", 16),
        ("double_pendulum", "trig", 12),
        ("triple_pendulum", "raw", 12),
        ("henon_heiles", "raw", 8),
    ],
)
def test_only_the_gauge_is_invisible(name, encoding, width, prior):
    """Four seeds, 4 P equations: P - 2, or P - 1 with a mass prior, at 1e-8, 1e-10 and 1e-12."""
    mlp = MLP(SYSTEMS[name].angles, width, 2, "softplus", 1.0, encoding, prior)
    model = LNN(mlp, "fan_in")
    P, D = model.n_params, mlp.n_dof
    assert P < 400
    theta = model.initialise(range(4), torch.float64)
    values = spectrum(model, theta, *scaled_states(name, 4 * P // D, 4))
    visible = P - 1 if prior else P - 2
    for threshold in THRESHOLDS:
        assert rank(values, threshold).tolist() == [visible] * 4
    relative = values / values[:, :1]
    assert relative[:, visible - 1].min() > 1e-8
    assert relative[:, visible].max() < 1e-14  # a gap of six decades, with nothing in it


@pytest.mark.parametrize("prior", [0.0, 1.0])
def test_the_gauge_directions_are_in_the_null_space(prior):
    model = LNN(dataclasses.replace(TINY.mlp, mass_prior=prior), "fan_in")
    theta = model.initialise([0, 1, 2], torch.float64)
    q, qdot = normal(3, 2, 50)
    J = model.jacobian(theta, q, qdot)[1]
    J = J / torch.linalg.vector_norm(J, dim=(2, 3), keepdim=True)
    directions = gauge(model, theta)
    assert directions.shape[1] == (1 if prior else 2)
    size = torch.linalg.vector_norm(directions, dim=2)
    assert (size > 0).all()
    moved = torch.einsum("rndp,rgp->rgnd", J, directions).abs().amax((2, 3)) / size
    assert moved.max() < 1e-12
    values = spectrum(model, theta, q, qdot)
    assert (model.n_params - rank(values, 1e-12) == directions.shape[1]).all()


def test_the_gauge_directions_are_those_of_the_lagrangian():
    """L -> L + b, and L -> a L: what the directions do to L itself."""
    model = LNN(dataclasses.replace(TINY.mlp, mass_prior=0.0), "fan_in")
    theta = model.initialise([0], torch.float64)
    theta[:, -1] = 0.3
    q, qdot = (x[0, :, 0] for x in normal(1, 2, 1))
    bias, scale = gauge(model, theta)[0]
    before = lagrangian(model.mlp, theta[0], q, qdot)
    shifted = lagrangian(model.mlp, theta[0] + 0.7 * bias, q, qdot)
    torch.testing.assert_close(shifted, before + 0.7)
    torch.testing.assert_close(lagrangian(model.mlp, theta[0] + 0.7 * scale, q, qdot), 1.7 * before)


def test_a_twin_unit_hides_all_its_parameters():
    """Two hidden units with the same weights: what one does the other could, weight by weight."""
    model = LNN(MLP((False, False), 6, 1, "softplus", 1.0, "raw", 0.0), "fan_in")
    theta = model.initialise([3], torch.float64)
    (W, b), _ = model.mlp.layers(theta)
    W[:, 1], b[:, 1] = W[:, 0], b[:, 0]
    q, qdot = normal(1, 2, 200)
    hidden = model.n_params - rank(spectrum(model, theta, q, qdot), 1e-10)
    assert hidden == 2 + (4 + 1 + 1)  # gauge; the twin's inputs, bias and output


def test_near_singular_mass_matrices_own_the_spectrum_of_unequal_states():
    """A few rows are far larger than the rest: the reason for equal states."""
    model = LNN(MLP((True, True), 12, 2, "softplus", 1.0, "raw", 0.0), "fan_in")
    theta = model.initialise(range(4), torch.float64)
    states = list(scaled_states("double_pendulum", 4 * model.n_params // 2, 4))
    equal = spectrum(model, theta, *states)
    plain = spectrum(model, theta, *states, equal_states=False)
    assert (rank(plain, 1e-8) < rank(equal, 1e-8)).any()
    assert (effective_dimension(plain) < effective_dimension(equal)).all()


def test_measures_of_a_known_spectrum():
    values = torch.tensor(
        [[2.0, 2.0, 2e-4, 2e-9, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0]], dtype=torch.float64
    )
    assert [rank(values, t).tolist() for t in (1e-3, *THRESHOLDS)] == [
        [2.0, 5.0],
        [3.0, 5.0],
        [4.0, 5.0],
        [4.0, 5.0],
    ]
    np.testing.assert_allclose(effective_dimension(values, 1e-8), [2.5, 5.0], rtol=1e-6)
    np.testing.assert_allclose(condition(values), [1e9, 1.0])
    np.testing.assert_allclose(condition(values, 1e-8), [1e4, 1.0])


def test_a_network_that_diverged_has_no_spectrum():
    theta = TINY.initialise([0, 1], torch.float64)
    theta[0, 0] = torch.nan
    values = spectrum(TINY, theta, *normal(2, 2, 30))
    for measure in (rank(values, 1e-8), effective_dimension(values), condition(values)):
        assert np.isnan(measure[0])
        assert np.isfinite(measure[1])
