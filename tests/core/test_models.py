"""Every model against a reference written apart from it, differentiated by torch.func."""

import functools
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from study.core.measures.rollout import rollout
from study.core.models import MODELS, TrainedModel, make_model
from study.core.systems.units import Units
from tests.core import euler_lagrange

SETTINGS = {
    "width": 7,
    "depth": 3,
    "activation": "tanh",
    "beta": 1.3,
    "encoding": "trig",
    "mass_prior": 0.0,
    "init": "torch_default",
    "features": "structured",
    "scale": 0.5,
}
ANGLES = {1: (True,), 2: (True, False), 3: (True, False, True)}
SIGMA = {"tanh": torch.tanh, "softplus": torch.nn.functional.softplus, "sin": torch.sin}
CONTROLS = ("structured_lnn", "acceleration_mlp", "random_features")


def settings_of(name, **changed):
    return {"name": name, **SETTINGS, **changed}


def draw(model, D, R=2, B=3, seed=0):
    """Networks and states at random; everything in theta is moved off its starting value."""
    generator = torch.Generator().manual_seed(seed)
    theta = model.initialise(range(R), torch.float64)
    theta = theta + 0.3 * torch.randn(theta.shape, generator=generator, dtype=torch.float64)
    states = torch.randn(3, R, D, B, generator=generator, dtype=torch.float64)
    return theta, *states


def encoded(angles, encoding, q):
    """The inputs that depend on one q."""
    rows = []
    for value, angle in zip(q, angles, strict=True):
        rows += [torch.cos(value), torch.sin(value)] if angle and encoding == "trig" else [value]
    return torch.stack(rows)


def outputs(settings, sizes, theta, x):
    """A network as its definition says, one state: weights and biases in turn."""
    at = 0
    for layer, (fan_in, fan_out) in enumerate(sizes):
        weight = theta[at : at + fan_in * fan_out].view(fan_out, fan_in)
        at += fan_in * fan_out
        x = weight @ x + theta[at : at + fan_out]
        at += fan_out
        if layer + 1 < len(sizes):
            x = SIGMA[settings["activation"]](settings["beta"] * x) / settings["beta"]
    assert at == len(theta)
    return x


def sizes_of(settings, inputs, outputs):
    hidden = [settings["width"]] * settings["depth"]
    return list(zip([inputs, *hidden], [*hidden, outputs], strict=True))


def structured_lagrangian(settings, angles, theta, q, qdot):
    """qdot^T (A A^T + prior) qdot / 2 - V, A lower triangular by rows, its diagonal positive."""
    D, x = len(angles), encoded(angles, settings["encoding"], q)
    K = D * (D + 1) // 2 + 1
    out = outputs(settings, sizes_of(settings, len(x), K), theta, x)
    A = torch.zeros(D, D, dtype=q.dtype)
    k = 0
    for i in range(D):
        for j in range(i + 1):
            unit = torch.zeros(D, D, dtype=q.dtype)
            unit[i, j] = 1
            entry = torch.log(1 + (math.e - 1) * torch.exp(out[k])) if i == j else out[k]
            A, k = A + entry * unit, k + 1
    mass = A @ A.T + settings["mass_prior"] * torch.eye(D, dtype=q.dtype)
    return qdot @ mass @ qdot / 2 - out[k]


def reference(settings, angles, theta, q, qdot):
    """qddot (B, D) of one network, from the formula that its name stands for."""
    if settings["name"] == "structured_lnn":
        L = functools.partial(structured_lagrangian, settings, angles, theta)
        return euler_lagrange.acceleration(L, q.T, qdot.T)
    D, answers = len(angles), []
    for b in range(q.shape[1]):
        x = torch.cat([encoded(angles, settings["encoding"], q[:, b]), qdot[:, b]])
        if settings["name"] == "acceleration_mlp":
            answers.append(outputs(settings, sizes_of(settings, len(x), D), theta, x))
            continue
        p = settings["width"]
        C, w, shift = theta.split([D * p, p * len(x), p])
        a = settings["beta"] * w.view(p, -1) @ x + shift
        answers.append(C.view(D, p) @ SIGMA[settings["activation"]](a))
    return torch.stack(answers)


def cases():
    for D in ANGLES:
        for encoding in ("raw", "trig"):
            for name in CONTROLS:
                for prior in (0.0, 1.0) if name == "structured_lnn" else (0.0,):
                    activation = ("tanh", "softplus", "sin")[D - 1]
                    yield (
                        D,
                        settings_of(
                            name, encoding=encoding, mass_prior=prior, activation=activation
                        ),
                    )


def relative(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize(
    ("D", "settings"),
    cases(),
    ids=lambda x: f"{x['name']}-{x['encoding']}-{x['mass_prior']:g}" if isinstance(x, dict) else x,
)
@pytest.mark.parametrize("native", [False, True])
def test_gradient_and_jacobian_are_those_of_automatic_differentiation(D, settings, native):
    angles = ANGLES[D]
    model = make_model(angles, settings, native=native)
    theta, q, qdot, target = draw(model, D)
    qddot, jacobian = model.jacobian(theta, q, qdot)
    assert torch.equal(qddot, model.acceleration(theta, q, qdot))
    for r in range(len(theta)):
        field = functools.partial(reference, settings, angles, q=q[r], qdot=qdot[r])
        assert relative(qddot[r].T, field(theta[r])) < 1e-9
        expected = torch.func.jacrev(field)(theta[r])
        assert relative(jacobian[r], expected[..., : model.n_params]) < 1e-9
    for loss, error in (("squared", torch.square), ("absolute", torch.abs)):
        value, gradient, floored = model.loss_and_gradient(theta, q, qdot, target, loss=loss)
        for r in range(len(theta)):

            def mean_error(row, r=r, error=error):
                return error(reference(settings, angles, row, q[r], qdot[r]).T - target[r]).mean()

            assert relative(value[r], mean_error(theta[r])) < 1e-9
            expected = torch.func.grad(mean_error)(theta[r])
            expected[model.n_params :] = 0  # what is not trained has no gradient
            assert relative(gradient[r], expected) < 1e-9
        assert not floored.any()


def test_the_structured_mass_matrix_is_that_of_its_lagrangian():
    settings = settings_of("structured_lnn", mass_prior=0.5)
    model = make_model(ANGLES[3], settings)
    theta, q, qdot, _ = draw(model, 3)
    mass = model.mass_matrix(theta, q, qdot)
    for r in range(len(theta)):
        L = functools.partial(structured_lagrangian, settings, ANGLES[3], theta[r])
        expected = euler_lagrange.terms(L, q[r].T, qdot[r].T)[0]
        torch.testing.assert_close(mass[r].permute(2, 0, 1), expected, rtol=1e-12, atol=1e-12)
        assert torch.linalg.eigvalsh(expected).min() >= 0.5


def test_models_without_a_mass_matrix_say_so():
    for name in ("acceleration_mlp", "random_features"):
        model = make_model(ANGLES[2], settings_of(name))
        theta, q, qdot, _ = draw(model, 2)
        assert model.mass_matrix(theta, q, qdot) is None


def test_a_structured_rollout_keeps_its_own_energy():
    settings = settings_of("structured_lnn", mass_prior=1.0, width=10, depth=2)
    angles = (True, True)
    model = make_model(angles, settings)
    theta, *_ = draw(model, 2, R=2)
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    times = torch.linspace(0, 8, 20, dtype=torch.float64)
    rolled = rollout(model, theta, start, times, angles, rtol=1e-10, max_steps=5000)
    assert not rolled.diverged.any()

    def energy(row, state):
        q, qdot = state[:2], state[2:]
        L = functools.partial(structured_lagrangian, settings, angles, row)
        return torch.func.grad(L, argnums=1)(q, qdot) @ qdot - L(q, qdot)

    for r in range(2):
        E = torch.func.vmap(functools.partial(energy, theta[r]))(rolled.states[r].flatten(0, 1))
        E = E.view(3, 20)
        kinetic = E - torch.func.vmap(
            lambda state, r=r: energy(theta[r], torch.cat([state[:2], torch.zeros(2)]))
        )(rolled.states[r].flatten(0, 1)).view(3, 20)
        assert (kinetic.amax(1) - kinetic.amin(1)).min() > 1e-2  # it does go to and fro
        assert (E - E[:, :1]).abs().max() < 1e-7


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_networks_of_an_ensemble_do_not_see_each_other(name, native):
    model = make_model(ANGLES[2], settings_of(name, mass_prior=1.0), native=native)
    theta, q, qdot, target = draw(model, 2, R=3)
    together = model.loss_and_gradient(theta, q, qdot, target)
    jacobian = model.jacobian(theta, q, qdot)[1]
    for r in range(3):
        one = slice(r, r + 1)
        alone = model.loss_and_gradient(theta[one], q[one], qdot[one], target[one])
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[one], b)
        torch.testing.assert_close(jacobian[one], model.jacobian(theta[one], q[one], qdot[one])[1])
    worse = theta.clone()
    worse[0] = torch.nan
    spoiled = model.loss_and_gradient(worse, q, qdot, target)
    for a, b in zip(spoiled, together, strict=True):
        torch.testing.assert_close(a[1:], b[1:])


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_network_depends_on_its_own_seed_alone(name):
    model = make_model(ANGLES[2], settings_of(name))
    several = model.initialise([5, 6, 7], torch.float64)
    assert torch.equal(several[1:2], model.initialise([6], torch.float64))
    assert not torch.equal(several[0], several[1])


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_single_precision_follows_double(name, native):
    model = make_model(ANGLES[2], settings_of(name, mass_prior=1.0), native=native)
    theta, q, qdot, target = draw(model, 2)
    double = model.loss_and_gradient(theta, q, qdot, target)
    single = model.loss_and_gradient(*(x.float() for x in (theta, q, qdot, target)))
    for a, b in zip(single, double, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-5)


def test_parameters_are_counted_by_hand():
    angles, settings = (True, True), {**SETTINGS, "width": 32, "depth": 3}
    # encoded q: 4 inputs; q and qdot: 6; A has 3 entries beside V
    hidden = 2 * (32 * 32 + 32)
    expected = {
        "lnn": 6 * 32 + 32 + hidden + 32 + 1,
        "structured_lnn": 4 * 32 + 32 + hidden + 4 * 32 + 4,
        "acceleration_mlp": 6 * 32 + 32 + hidden + 2 * 32 + 2,
        "random_features": 2 * 32,
        "linear_lagrangian": 4 * 32,
    }
    for name, P in expected.items():
        assert make_model(angles, {"name": name, **settings}).n_params == P
        model = make_model(angles, {"name": name, **settings})
        fixed = {"random_features": 32 * (6 + 1), "linear_lagrangian": 32 * (4 + 1)}.get(name, 0)
        assert model.initialise([0, 1], torch.float64).shape == (2, P + fixed)


@pytest.mark.parametrize(
    "shapes", [((4, 3), (4, 3)), ((4, 1), (4, 1)), ((2,), (2,)), ((4, 2), (3, 2))]
)
def test_states_of_the_wrong_shape_are_refused(shapes):
    """numpy would broadcast a width of 1, and give accelerations of other states without a word."""
    model = make_model((True, True), settings_of("lnn"))
    trained = TrainedModel(model, model.initialise([0], torch.float64), Units.physical(2))
    q, qdot = (np.ones(shape) for shape in shapes)
    with pytest.raises(
        ValueError, match=re.escape(f"{shapes[0]} and qdot {shapes[1]}: both must be (n, 2)")
    ):
        trained.acceleration(q, qdot)
    assert trained.acceleration(np.ones((4, 2)), np.ones((4, 2))).shape == (4, 2)


def test_an_untrained_structured_network_has_a_mass_matrix_near_one():
    settings = settings_of("structured_lnn", width=32, depth=4, init="fan_in", beta=2.0)
    model = make_model((True, True), settings | {"activation": "softplus"})
    theta = model.initialise(range(20), torch.float64)
    states = torch.randn(
        2, 20, 2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    mass = model.mass_matrix(theta, *states).permute(0, 3, 1, 2)
    values = torch.linalg.eigvalsh(mass)
    assert (values[..., -1] / values[..., 0]).median() < 10


COMPILED = """
import sys, torch
from study.core.models import make_model
torch.set_num_threads(1)
name = sys.argv[1]
for width, B in ((7, 33), (40, 500), (16, 128)):
    settings = dict(name=name, width=width, depth=2, activation="tanh", beta=2.0,
                    encoding="trig", mass_prior=0.5, init="fan_in")
    model = make_model((True, False), settings)
    theta = model.initialise(range(3), torch.float64)
    batch = torch.randn(3, 6, B, generator=torch.Generator().manual_seed(1)).double()
    q, v, a = batch.chunk(3, 1)
    eager, fast = (model.loss_and_gradient(theta, q, v, a, compiled=c)[1] for c in (False, True))
    assert float((eager - fast).norm() / eager.norm()) < 1e-9
assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1  # never anew
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["structured_lnn", "acceleration_mlp"])
def test_compiled_gradients_are_the_same_for_all_sizes(name):
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, name],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
