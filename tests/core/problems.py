"""Small training problems that the tests of the optimisers share."""

import dataclasses

import numpy as np
import torch

from study.core.models import LNN, RandomFeatures
from study.core.models.activations import derivatives
from study.core.models.mlp import MLP
from study.core.training.train import State, TrainingData, train
from tests.core import euler_lagrange

ANGLES = {1: (True,), 2: (True, False), 3: (True, False, True)}


def lnn(D=2, width=4, depth=2, encoding="raw"):
    return LNN(MLP(ANGLES[D], width, depth, "softplus", 1.0, encoding, 1.0), "fan_in")


def features(p, D=2):
    """Linear in what is trained, so that the solution is known."""
    return RandomFeatures(MLP(ANGLES[D], p, 1, "sin", 1.0))


def lagrangian(mlp, theta, q, qdot):
    """L(q, qdot) of one network (P) at one state (D)."""
    *hidden, (top, bias) = mlp.layers(theta[None])
    h = torch.cat([mlp.encode(q[None, :, None]), qdot[None, :, None]], 1)
    for W, b in hidden:
        h = derivatives(mlp.activation, mlp.beta, W @ h + b)[0]
    return (top @ h + bias).reshape(()) + mlp.mass_prior * (qdot * qdot).sum() / 2


def make_data(R=3, N=20, D=2, order="shuffled", noise=1.0):
    """States and targets at random; `noise` is the targets' standard deviation."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(R, N, 3 * D, generator=generator, dtype=torch.float64)
    rows[:, :, 2 * D :] *= noise
    along = np.stack([np.random.default_rng(r).permutation(N) for r in range(R)])
    return TrainingData(rows, along, order, list(range(R)))


def taught(model, theta, data, noise=0.0):
    """The same states, with the model's own accelerations at theta and noise for targets."""
    q, qdot, target = data.states(slice(None), slice(None))
    rows = data.rows.clone()
    rows[:, :, -data.n_dof :] = (model.acceleration(theta, q, qdot) + noise * target).mT
    return dataclasses.replace(data, rows=rows)


def field(model, theta, data, r=0):
    """qddot (N D), state by state, by automatic differentiation of one network's Lagrangian."""
    q, qdot, _ = data.rows[r].chunk(3, 1)
    return euler_lagrange.acceleration(
        lambda x, v: lagrangian(model.mlp, theta, x, v), q, qdot
    ).flatten()


def targets(data, r=0):
    """Those of `field` (N D)."""
    return data.rows[r].chunk(3, 1)[2].flatten()


def losses(theta):
    return {"train_nmse": [1.0] * len(theta)}


def run(model, data, *stages, state=None, **options):
    """Train from the model's own start, in float64 but for what a stage says."""
    if state is None:
        state = State.fresh(model.initialise(data.seeds, torch.float64))
    return train(model, data, stages, state, measure=losses, **options)


def check_equations(equations, terms, states, prior, close):
    """The linear equations of one network against automatic differentiation of each term of L."""
    q, qdot, qddot = (x[0].mT for x in states)
    for j, term in enumerate(terms):
        mass, force = euler_lagrange.terms(term, q, qdot)
        residual = torch.einsum("nij,nj->ni", mass, qddot) - force
        torch.testing.assert_close(equations.rows[0, :, :, j], residual, **close)
        trace = mass.diagonal(dim1=1, dim2=2).sum()
        torch.testing.assert_close(equations.gauge[0, j], trace, **close)
    torch.testing.assert_close(equations.right[0], -prior * qddot)
    assert equations.level == qddot.shape[1] * (1 - prior)
