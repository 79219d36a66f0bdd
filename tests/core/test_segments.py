"""The loss through the integrator against automatic differentiation through Runge-Kutta."""

import dataclasses

import numpy as np
import pytest
import torch

from study.core.data.datasets import Source
from study.core.models import make_model, segments
from study.core.systems import SYSTEMS
from study.core.training.adam import Adam
from study.core.training.soap import Soap
from study.core.training.train import State, TrainingData, _keep_best, loss_and_gradient, train
from tests.core.test_models import ANGLES, draw, relative, settings_of

MODELS = ("lnn", "structured_lnn", "acceleration_mlp")


def drawn(model, D, k=3, R=2, B=5, dtype=torch.float64):
    """Networks, and segments of uneven steps near a motion of small velocity."""
    theta, *_ = draw(model, D, R, B)
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(R, k + 1, 2 * D, B, generator=generator, dtype=torch.float64)
    times = (0.1 + 0.1 * torch.rand(R, k, 1, B, generator=generator).double()).cumsum(1)
    samples = torch.cat([times, states[:, 1:]], 2).flatten(1, 2)
    return theta.to(dtype), torch.cat([states[:, 0], samples], 1).to(dtype)


def integrated(model, theta, rows):
    """The loss by its definition, with no thought of how it is differentiated."""
    D, layers = model.mlp.n_dof, model.mlp.layers(theta)
    samples = rows[:, 2 * D :].unflatten(1, (-1, 1 + 2 * D))

    def field(x):
        q, qdot = x.chunk(2, 1)
        return torch.cat([qdot, model.forward(model.mlp, layers, q, qdot)[0]], 1)

    x, time, apart, times = rows[:, : 2 * D], torch.zeros_like(rows[:, :1]), [], []
    for sample in samples.unbind(1):
        h = sample[:, :1] - time
        k1 = field(x)
        k2 = field(x + h / 2 * k1)
        k3 = field(x + h / 2 * k2)
        k4 = field(x + h * k3)
        x, time = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), sample[:, :1]
        apart.append(torch.where(sample[:, 1:].isnan(), 0.0, x - sample[:, 1:]))
        times.append(time)
    apart, times = torch.stack(apart, 1), torch.stack(times, 1)  # (R, k, 2 D, B), (R, k, 1, B)
    if samples[:, :, 1 + D :].isnan().all():  # positions alone: lines by numpy do not count
        for r, b in np.ndindex(len(rows), rows.shape[2]):
            line = torch.stack([torch.ones_like(times[r, :, 0, b]), times[r, :, 0, b]], 1)
            project = torch.eye(len(line)).double() - line @ torch.linalg.pinv(line)
            apart[r, :, :, b] = project @ apart[r, :, :, b].clone()
    return (apart / time.unsqueeze(1)).square().mean((1, 2, 3))


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("encoding", ["raw", "trig"])
@pytest.mark.parametrize("D", ANGLES)
@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_is_that_of_automatic_differentiation(name, D, encoding, native, alone):
    settings = settings_of(name, encoding=encoding, mass_prior=1.0, activation="softplus")
    model = make_model(ANGLES[D], settings, native=native)
    B = 5 if D > 1 else 150  # more than one chunk of C++
    theta, rows = drawn(model, D, k=4 if alone else 3, B=B)
    if alone:  # no velocity was measured
        rows[:, 2 * D :].unflatten(1, (-1, 1 + 2 * D))[:, :, 1 + D :] = torch.nan
    else:  # of the first sample positions alone
        rows[:, 3 * D + 1 : 4 * D + 1, B // 2 :] = torch.nan
    value, gradient, floored = segments.loss_and_gradient(model, theta, rows)
    leaf = theta.clone().requires_grad_()
    expected = integrated(dataclasses.replace(model, native=False), leaf, rows)
    expected.sum().backward()
    assert relative(value, expected.detach()) < 1e-12
    assert relative(gradient, leaf.grad) < 1e-9
    assert not floored.any()


@pytest.mark.parametrize("encoding", ["raw", "trig"])
@pytest.mark.parametrize("D", ANGLES)
@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_in_the_states_is_that_of_automatic_differentiation(name, D, encoding):
    model = make_model(ANGLES[D], settings_of(name, encoding=encoding, mass_prior=1.0))
    theta, q, qdot, cotangent = draw(model, D)
    state = torch.cat([q, qdot], 1).requires_grad_()
    layers = model.mlp.layers(theta)
    qddot = model.forward(model.mlp, layers, *state.chunk(2, 1))[0]
    (expected,) = torch.autograd.grad((cotangent * qddot).sum(), state)
    field = segments._Field(model, theta)
    none = torch.zeros_like(cotangent)
    got, _ = field.pull(state.detach(), torch.cat([none, cotangent], 1))
    assert relative(got, expected) < 1e-12


@pytest.mark.parametrize("native", [False, True])
def test_an_error_of_a_free_start_does_not_count(native):
    """Without forces a start that is off in position and velocity moves samples along a line."""
    model = make_model(ANGLES[1], settings_of("acceleration_mlp", encoding="raw"), native=native)
    theta, rows = drawn(model, 1, k=5)
    theta = torch.zeros_like(theta)  # no acceleration
    samples = rows[:, 2:].unflatten(1, (-1, 3))
    samples[:, :, 2] = torch.nan
    bent = samples[:, :, 0].square()
    samples[:, :, 1] = 0.7 - 0.3 * samples[:, :, 0]
    assert (segments.loss_and_gradient(model, theta, rows)[0] < 1e-28).all()
    samples[:, :, 1] += bent
    assert (segments.loss_and_gradient(model, theta, rows)[0] > 1e-6).all()


@pytest.mark.parametrize("native", [False, True])
def test_a_segment_that_leaves_the_limit_is_left_out(native):
    model = make_model(ANGLES[2], settings_of("lnn", mass_prior=1.0), native=native)
    theta, rows = drawn(model, 2, B=6)
    kept = torch.tensor([0, 1, 3, 4])
    for row, bad in ((4 + 3, 1e6), (2, 1e200)):  # of the first sample; a velocity of the start
        worse = rows.clone()
        worse[:, row, 2] = worse[:, row, 5] = bad
        value, gradient, _ = segments.loss_and_gradient(model, theta, worse)
        alone, its_gradient, _ = segments.loss_and_gradient(model, theta, rows[:, :, kept])
        assert relative(value, alone * 4 / 6) < 1e-12
        assert relative(gradient, its_gradient * 4 / 6) < 1e-12
    value, _, _ = segments.loss_and_gradient(model, theta, torch.full_like(rows, 1e6))
    assert value.isnan().all()


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_networks_of_an_ensemble_do_not_see_each_other(name, native):
    model = make_model(ANGLES[2], settings_of(name, mass_prior=1.0), native=native)
    theta, rows = drawn(model, 2, R=3)
    together = segments.loss_and_gradient(model, theta, rows)
    for r in range(3):
        alone = segments.loss_and_gradient(model, theta[r : r + 1], rows[r : r + 1])
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[r : r + 1], b)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_single_precision_follows_double(name, native):
    model = make_model(ANGLES[2], settings_of(name, mass_prior=1.0), native=native)
    theta, rows = drawn(model, 2)
    double = segments.loss_and_gradient(model, theta, rows)
    single = segments.loss_and_gradient(model, theta.float(), rows.float())
    for a, b in zip(single, double, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize(("kind", "lr"), [(Adam, 5e-3), (Soap, 1e-2)])
def test_training_through_the_integrator_finds_the_motion(kind, lr, precision):
    """Of a charge in a magnetic trap, from exact samples of its positions and velocities."""
    system = SYSTEMS["magnetic_trap"]
    source = Source(system, "trajectories", 4000, 10)
    units, chosen = source.reference().units, source.training_set(0, 200, 0.0, k=5)
    scaled = units.scale(chosen.points.q, chosen.points.qdot)
    since, states = chosen.following[..., :1], chosen.following[..., 1:]
    following = np.concatenate([since / units.time, units.to_scaled(states)], axis=2)
    rows = torch.from_numpy(np.concatenate([*scaled, np.zeros((200, 2))], axis=1))[None]
    data = TrainingData(
        rows, chosen.along[None], "shuffled", [0], torch.from_numpy(following)[None]
    )
    shape = {"width": 16, "depth": 2, "activation": "softplus", "beta": 2.0, "init": "fan_in"}
    settings = settings_of("lnn", encoding="raw", mass_prior=1.0, **shape)
    model = make_model((False, False), settings, native=True)
    start = model.initialise([0], torch.float64)
    stage = kind(600, 64, lr, "cosine", 1.0, "rollout", precision, True)
    trained = train(model, data, [stage], State.fresh(start), measure=lambda theta: {})

    def error(theta):
        q, qdot = (torch.from_numpy(x.T[None].copy()) for x in scaled)
        true = units.acceleration_to_scaled(chosen.points.qddot)
        return float(
            (model.acceleration(theta, q, qdot)[0].mT - torch.from_numpy(true)).square().mean()
        )

    assert error(trained.theta.double()) < 0.05 * error(start)
    before, after = (
        loss_and_gradient(model, data, x, "rollout")[0] for x in (start, trained.theta)
    )
    assert after < 0.05 * before
    # early stopping goes by the same loss
    state = State.fresh(start)
    _keep_best(model, data, state)
    torch.testing.assert_close(state.best_error, before)
