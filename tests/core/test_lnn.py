"""The closed form against the question's per-sample method and automatic differentiation."""

import dataclasses
import functools
import math

import pytest
import torch

from study.core.models import LNN, make_model
from study.core.models.activations import ACTIVATIONS
from study.core.models.mass_matrix import invert
from study.core.models.mlp import MLP
from tests.core import euler_lagrange, question_method
from tests.core.problems import lagrangian

TORCH_ACTIVATIONS = {
    "softplus": torch.nn.functional.softplus,
    "tanh": torch.tanh,
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
    "sin": torch.sin,
}
EXTENT = {1: 3.0, 2: 3.0, 3: 4.0, 6: 8.0}  # mass prior that outweighs random curvature


def draw(mlp: MLP, R: int, B: int, seed: int = 0):
    """Random networks and states; the prior keeps the mass matrix well conditioned."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    scale = [1 / math.sqrt(i) for i, o in mlp.layer_sizes for _ in range(i * o + o)]
    theta = normal(R, mlp.n_params) * torch.tensor(scale, dtype=torch.float64)
    return theta, normal(R, mlp.n_dof, B), normal(R, mlp.n_dof, B), normal(R, mlp.n_dof, B)


def encoder(mlp: MLP):
    """The inputs of one state, written apart from the code under test."""

    def encode(x):
        q, qdot = x[: mlp.n_dof], x[mlp.n_dof :]
        if mlp.encoding == "raw":
            return x
        rows = []
        for qi, angle in zip(q, mlp.angles, strict=True):
            rows += [torch.cos(qi), torch.sin(qi)] if angle else [qi]
        return torch.cat([torch.stack(rows), qdot])

    return encode


def by_the_question(mlp: MLP, theta, q, qdot, create_graph=False):
    activation = TORCH_ACTIVATIONS[mlp.activation]
    out = []
    for r in range(len(theta)):
        value = question_method.network(
            theta[r],
            mlp.layer_sizes,
            lambda a: activation(mlp.beta * a) / mlp.beta,
            encoder(mlp),
        )

        def with_prior(x, value=value):
            return value(x) + mlp.mass_prior * (x[mlp.n_dof :] ** 2).sum() / 2

        states = torch.cat([q[r], qdot[r]]).T
        out.append(
            torch.stack([question_method.acceleration(with_prior, x, create_graph) for x in states])
        )
    return torch.stack(out).mT


def relative(a, b):
    return float(((a - b).norm() / b.norm()).detach())


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("D", [1, 2, 3, 6])
def test_accelerations_are_the_questions(activation, D):
    for depth, encoding in ((1, "raw"), (2, "trig"), (4, "trig")):
        angles = tuple(i % 2 == 0 for i in range(D))
        mlp = MLP(angles, 6, depth, activation, 1.3, encoding, mass_prior=EXTENT[D])
        theta, q, qdot, _ = draw(mlp, R=2, B=3)
        eager, native = LNN(mlp, "fan_in"), LNN(mlp, "fan_in", native=True)
        mass = eager.mass_matrix(theta, q, qdot).permute(0, 3, 1, 2)
        assert torch.linalg.cond(mass).max() < 100
        expected = by_the_question(mlp, theta, q, qdot)
        assert relative(eager.acceleration(theta, q, qdot), expected) < 1e-9
        assert relative(native.acceleration(theta, q, qdot), expected) < 1e-9


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("D", [1, 2, 3, 6])
def test_parameter_gradients_are_those_of_automatic_differentiation(activation, D):
    for depth, encoding in ((1, "trig"), (3, "raw"), (4, "trig")):
        angles = tuple(i % 2 == 0 for i in range(D))
        mlp = MLP(angles, 5, depth, activation, 0.7, encoding, mass_prior=EXTENT[D])
        theta, q, qdot, target = draw(mlp, R=2, B=4, seed=1)
        theta.requires_grad_()
        reference = torch.stack(
            [
                euler_lagrange.acceleration(
                    functools.partial(lagrangian, mlp, theta[r]), q[r].T, qdot[r].T
                ).T
                for r in range(2)
            ]
        )
        loss = ((reference - target) ** 2).mean((1, 2))
        (expected,) = torch.autograd.grad(loss.sum(), theta)
        for native in (False, True):
            model = LNN(mlp, "fan_in", native)
            value, gradient, _ = model.loss_and_gradient(theta.detach(), q, qdot, target)
            assert relative(gradient, expected) < 1e-9
            assert relative(value, loss) < 1e-9


def test_gradient_against_the_question_itself():
    mlp = MLP((True, True), 4, 2, "softplus", 0.5, "raw", mass_prior=2.0)
    theta, q, qdot, target = draw(mlp, R=1, B=3)
    theta.requires_grad_()
    expected_loss = ((by_the_question(mlp, theta, q, qdot, True) - target) ** 2).mean()
    (expected,) = torch.autograd.grad(expected_loss, theta)
    _, gradient, _ = LNN(mlp, "fan_in").loss_and_gradient(theta.detach(), q, qdot, target)
    assert relative(gradient, expected) < 1e-9


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize("beta", [0.25, 1.0, 4.0])
def test_activation_derivatives(name, beta):
    from study.core.models.activations import derivatives

    x = torch.linspace(-4, 4, 41, dtype=torch.float64, requires_grad=True)
    values = derivatives(name, beta, x)
    expected = TORCH_ACTIVATIONS[name](beta * x) / beta
    torch.testing.assert_close(values[0], expected, rtol=1e-12, atol=1e-12)
    for value in values[1:]:
        (expected,) = torch.autograd.grad(expected.sum(), x, create_graph=True)
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-10)


def test_the_questions_network_has_3361_parameters():
    mlp = MLP((True, True), 32, 4, "softplus", 0.5)
    assert mlp.n_params == 3361
    assert dataclasses.replace(mlp, encoding="trig").n_params == 3425


def test_networks_of_an_ensemble_do_not_see_each_other():
    mlp = MLP((True, True), 8, 3, "softplus", 2.0, "trig", 1.0)
    theta, q, qdot, _ = draw(mlp, R=3, B=7)
    model = LNN(mlp, "fan_in")
    together = model.acceleration(theta, q, qdot)
    for r in range(3):
        alone = model.acceleration(theta[r : r + 1], q[r : r + 1], qdot[r : r + 1])
        torch.testing.assert_close(together[r : r + 1], alone)


@pytest.mark.parametrize("D", [1, 2, 3, 5])
def test_singular_mass_matrices_are_counted_and_finite(D):
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(1, D, D, 6, generator=generator, dtype=torch.float64)
    mass = torch.einsum("rikb,rjkb->rijb", half, half)
    mass[..., 0] = 0.0
    mass[:, 0, :, 1] = mass[:, :, 0, 1] = 0.0
    inverse, floored = invert(mass)
    assert torch.isfinite(inverse).all()
    assert floored[0].tolist() == [True, True, False, False, False, False]
    regular = mass[0, ..., 2:].permute(2, 0, 1)
    product = regular @ inverse[0, ..., 2:].permute(2, 0, 1)
    torch.testing.assert_close(product, torch.eye(D).double().expand_as(product))


def test_a_broken_network_leaves_its_siblings_alone():
    for D in (2, 5):
        mass = torch.eye(D).double()[None, :, :, None].repeat(2, 1, 1, 3)
        mass[0] = torch.nan
        inverse, _ = invert(mass)
        assert torch.isnan(inverse[0]).all()
        assert torch.equal(inverse[1], mass[1])


@pytest.mark.parametrize("native", [False, True])
def test_a_network_without_curvature_does_not_give_nan(native):
    mlp = MLP((True, True), 4, 2, "softplus", 1.0)
    theta, q, qdot, target = draw(mlp, R=2, B=5)
    model = LNN(mlp, "fan_in", native)
    loss, gradient, floored = model.loss_and_gradient(torch.zeros_like(theta), q, qdot, target)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(gradient).all()
    assert floored.tolist() == [1.0, 1.0]


def test_initialisations_have_their_stated_scale():
    settings = {
        "name": "lnn", "width": 200, "depth": 3, "activation": "softplus", "beta": 1.0,
        "encoding": "raw", "mass_prior": 0.0,
    }  # fmt: skip
    expected = {
        "fan_in": [1 / 2, 1 / math.sqrt(200), 1 / math.sqrt(200), 1 / math.sqrt(200)],
        "cranmer": [2.2 / math.sqrt(200), 0.58 / math.sqrt(200), 1.16 / math.sqrt(200), 200**0.5],
    }
    for init, scales in expected.items():
        model = make_model((True, True), {**settings, "init": init})
        theta = model.initialise([3], torch.float64)
        for (weight, bias), scale in zip(model.mlp.layers(theta), scales, strict=True):
            assert float(weight.std()) == pytest.approx(scale, rel=0.2)
            assert not bias.any()


def test_torch_default_is_that_of_torch():
    settings = {
        "name": "lnn", "width": 64, "depth": 2, "activation": "softplus", "beta": 0.5,
        "encoding": "raw", "mass_prior": 0.0, "init": "torch_default",
    }  # fmt: skip
    model = make_model((True, True), settings)
    ours = model.mlp.layers(model.initialise(range(200), torch.float64))
    theirs = [torch.nn.Linear(i, o) for i, o in model.mlp.layer_sizes for _ in range(1)]
    for (weight, bias), linear in zip(ours, theirs, strict=True):
        bound = 1 / math.sqrt(linear.in_features)
        for part in (weight, bias):
            assert float(part.abs().max()) == pytest.approx(bound, rel=0.05)
            assert float(part.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert float(linear.weight.detach().abs().max()) <= bound
