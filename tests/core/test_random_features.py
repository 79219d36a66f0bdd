"""The positive control's double descent, by numpy's least squares, as its theory places it.

Belkin et al. (2019), arXiv 1812.11118: with p features for each output, N points and noisy labels,
the test error of the minimum-norm solution peaks at p = N.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from study.core.data import datasets
from study.core.data.datasets import Source
from study.core.measures import metrics
from study.core.models import make_model
from study.core.systems import SYSTEMS

RATIOS = (0.5, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 2.0)
SEEDS = range(10)
DEFAULTS = Path(__file__).parents[2] / "conf" / "model" / "random_features.yaml"


def control(p):
    """The model with the settings that it is shipped with, and its draws."""
    settings = yaml.safe_load(DEFAULTS.read_text()) | {"width": p}
    model = make_model(SYSTEMS["double_pendulum"].angles, settings)
    return model, model.initialise(SEEDS, torch.float64)


def features(model, theta, q, qdot):
    """phi (n, p) of one network, read off the derivative of its first output."""
    J = model.jacobian(theta, *(torch.tensor(x.T.copy())[None] for x in (q, qdot)))[1]
    return J[0, :, 0, : model.mlp.width].numpy()


@pytest.mark.parametrize("p", [pytest.param(100, marks=pytest.mark.slow), 200])
def test_the_test_error_peaks_where_features_equal_points(p):
    system = SYSTEMS["double_pendulum"]
    source, test = Source(system, "trajectories", 2000, 100), datasets.test_set(system)
    units = source.reference().units
    model, theta = control(p)
    assert model.n_params == 2 * p  # so that N D = P is p = N
    error = np.empty((len(SEEDS), len(RATIOS)))
    for seed in SEEDS:
        one = theta[seed : seed + 1]
        points = source.training_set(seed, 2 * p, noise=0.1).points
        phi = features(model, one, *units.scale(points.q, points.qdot))
        phi_test = features(model, one, *units.scale(test.points.q, test.points.qdot))
        for k, ratio in enumerate(RATIOS):
            N = round(ratio * p)
            C, _, rank, _ = np.linalg.lstsq(phi[:N], points.qddot[:N], rcond=1e-13)
            assert rank == min(N, p)
            predicted = phi_test @ C
            error[seed, k] = metrics.point_errors(
                predicted, test.points.qddot, test.variance
            ).mean()
    curve = dict(zip(RATIOS, np.median(error, axis=0), strict=True))
    peak = max(curve, key=lambda ratio: curve[ratio])
    assert 0.95 <= peak <= 1.05
    assert curve[peak] > 10 * max(curve[0.5], curve[2.0])


def test_features_have_full_rank_up_to_four_hundred():
    source = Source(SYSTEMS["double_pendulum"], "trajectories", 2000, 100)
    units = source.reference().units
    model, theta = control(400)
    for seed in (0, 1):
        points = source.training_set(seed, 400, noise=0.0).points
        phi = features(model, theta[seed : seed + 1], *units.scale(points.q, points.qdot))
        values = np.linalg.svd(phi, compute_uv=False)
        assert values[-1] > 1e-10 * values[0]


def test_features_are_those_of_a_gaussian_kernel():
    """2 mean phi(x) phi(y) -> exp(-beta^2 |x - y|^2 / (2 inputs)), Rahimi and Recht (2007)."""
    model, theta = control(200_000)
    generator = torch.Generator().manual_seed(0)
    q, qdot = 0.3 * torch.randn(2, 1, 2, 6, generator=generator, dtype=torch.float64)
    phi = model.features(theta[:1], q, qdot)[0]
    x = torch.cat([torch.cos(q[0, :1]), torch.sin(q[0, :1]), torch.cos(q[0, 1:]),
                   torch.sin(q[0, 1:]), qdot[0]]).T  # fmt: skip
    kernel = torch.exp(-(4.0**2) * torch.cdist(x, x) ** 2 / (2 * 6))
    torch.testing.assert_close(2 * phi.T @ phi / 200_000, kernel, rtol=0, atol=0.02)
