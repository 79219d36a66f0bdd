"""SOAP: its bases against eigenvectors, its steps against torch's Adam and against C++."""

import dataclasses

import pytest
import torch

from study.core import native as cpp
from study.core.models.acceleration_mlp import AccelerationMLP
from study.core.models.lnn import LNN
from study.core.models.mlp import MLP
from study.core.models.structured_lnn import StructuredLNN
from study.core.training.adam import EPSILON
from study.core.training.soap import BETA, SHIFT, Soap, soap

SOAP = Soap(steps=60, batch_size=8, lr=1e-2, schedule="cosine", clip=1.0, dtype=torch.float64)
LNNS = {
    "small": LNN(MLP((True, True), 6, 2, "softplus", 2.0, "trig", 1.0), "fan_in"),
    "one": LNN(MLP((True,), 1, 1, "softplus", 1.0, "raw", 1.0), "fan_in"),
    "wide": LNN(MLP((True, False, True), 33, 2, "softplus", 2.0, "trig", 1.0), "fan_in"),
    "structured": StructuredLNN(
        MLP((True, True), 9, 3, "tanh", 1.0, "trig", 1.0, n_outputs=4, velocities=False), "fan_in"
    ),
    "acceleration": AccelerationMLP(
        MLP((True, True), 17, 2, "softplus", 2.0, "trig", n_outputs=2), "fan_in"
    ),
}


def settings(t, rate=1e-2, clip=1.0):
    correction = 1 - BETA**t
    return cpp.Step(rate, BETA, BETA, correction, correction, EPSILON, clip)


def gradients(model, R, steps, dtype=torch.float64):
    """Of full rank, and of unequal size in its directions."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(steps, R, model.n_params, generator=generator, dtype=torch.float64)
    return (drawn * torch.logspace(0, -2, model.n_params)).to(dtype)


def relative(a, b):
    return float((a - b).norm() / b.norm())


def begin(model, R=3, dtype=torch.float64):
    theta = model.initialise(range(R), dtype)
    return theta, SOAP.memory(model, theta, torch.ones(R, dtype=torch.bool))


def test_without_a_turn_it_is_torchs_adam():
    model = LNNS["small"]
    theta, memory = begin(model)
    theirs = [row.clone().requires_grad_() for row in theta]
    optimisers = [torch.optim.Adam([row], 1e-2, (BETA, BETA), EPSILON) for row in theirs]
    for t, gradient in enumerate(gradients(model, 3, 20), 1):
        for row, optimiser, slope in zip(theirs, optimisers, gradient, strict=True):
            row.grad = slope.clone()
            torch.nn.utils.clip_grad_norm_([row], 1.0)
            optimiser.step()
        loss = torch.ones(3, dtype=torch.float64)
        soap(model.mlp.layer_sizes, theta, memory, loss, gradient, settings(t), False)
    torch.testing.assert_close(theta, torch.stack(theirs).detach(), rtol=1e-12, atol=1e-12)


def test_the_bases_become_eigenvectors_of_the_mean_squares():
    """And the mean that is kept in them is that of the gradients."""
    model = LNNS["small"]
    theta, memory = begin(model, 1)
    fan_in, m = model.mlp.layer_sizes[0]
    k = fan_in + 1
    left, right, mean = torch.zeros(m, m), torch.zeros(k, k), torch.zeros(m, k)
    left, right, mean = left.double(), right.double(), mean.double()
    drawn = gradients(model, 1, 60)
    for t, gradient in enumerate(drawn, 1):
        loss = torch.ones(1, dtype=torch.float64)
        soap(model.mlp.layer_sizes, theta, memory, loss, gradient, settings(t, clip=1e9), True)
        weight, bias = gradient[0, : m * fan_in].view(m, fan_in), gradient[0, m * fan_in : m * k]
        G = torch.cat([weight, bias[:, None]], 1)
        left, right = BETA * left + (1 - BETA) * G @ G.T, BETA * right + (1 - BETA) * G.T @ G
        mean = BETA * mean + (1 - BETA) * G
    for _ in range(300):  # the last mean, held
        still = settings(10**6, rate=0.0, clip=1e9)
        still.beta1 = still.beta2 = 1.0
        loss = torch.ones(1, dtype=torch.float64)
        soap(model.mlp.layer_sizes, theta, memory, loss, drawn[0], still, True)
    Q_left, Q_right = (
        memory[f"{s}_basis"][0, : n * n].view(n, n) for s, n in (("left", m), ("right", k))
    )
    for Q, square in ((Q_left, left), (Q_right, right)):
        torch.testing.assert_close(Q.T @ Q, torch.eye(len(Q)).double(), rtol=0, atol=1e-12)
        diagonal = Q.T @ square @ Q
        expected = torch.linalg.eigvalsh(square).flip(0)
        torch.testing.assert_close(diagonal.diagonal(), expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(Q_left @ memory["mean"][0, : m * k].view(m, k) @ Q_right.T, mean)


@pytest.mark.parametrize("name", LNNS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cpp_gives_what_the_tensors_give(name, dtype):
    model = LNNS[name]
    (theta, memory), (fast, kept) = begin(model, dtype=dtype), begin(model, dtype=dtype)
    start = theta.clone()
    for t, gradient in enumerate(gradients(model, 3, 60, dtype), 1):
        loss = torch.ones(3, dtype=dtype)
        if t == 20:
            gradient[1, 0] = torch.nan
        turn = t < 10 or t % 10 == 0
        soap(model.mlp.layer_sizes, theta, memory, loss, gradient, settings(t), turn)
        cpp.soap(model.mlp.layer_sizes, fast, kept, loss, gradient, settings(t), turn, SHIFT)
    assert memory["alive"].tolist() == kept["alive"].tolist() == [True, False, True]
    for side, place in (("left", 1), ("right", 0)):
        assert relative(kept[side], memory[side]) < (1e-5 if dtype == torch.float32 else 1e-12)
        n = model.mlp.layer_sizes[0][place] + 1 - place
        Q = kept[f"{side}_basis"][:, : n * n].unflatten(1, (n, n))
        unit = torch.eye(n, dtype=dtype).expand_as(Q)
        torch.testing.assert_close(Q.mT @ Q, unit, rtol=0, atol=100 * torch.finfo(dtype).eps)
    # in single precision rounding turns the bases where gradients are small, and steps with them
    if dtype == torch.float64:
        assert relative(fast - start, theta - start) < 1e-7
        for name in ("mean", "square", "left_basis", "right_basis"):
            assert relative(kept[name], memory[name]) < 1e-6


def test_in_single_precision_cpp_gives_what_the_tensors_give_while_nothing_turns():
    model = LNNS["wide"]
    (theta, memory), (fast, kept) = (begin(model, dtype=torch.float32) for _ in range(2))
    start = theta.clone()
    for t, gradient in enumerate(gradients(model, 3, 10, torch.float32), 1):
        sizes, rest = model.mlp.layer_sizes, (torch.ones(3), gradient, settings(t), False)
        soap(sizes, theta, memory, *rest)
        cpp.soap(sizes, fast, kept, *rest, SHIFT)
    assert relative(fast - start, theta - start) < 1e-5


@pytest.mark.parametrize("step", ["tensors", "cpp"])
def test_who_has_no_number_stays_as_it_is_and_a_gradient_of_zero_does_no_harm(step):
    model = LNNS["small"]
    theta, memory = begin(model, 4)
    gradient, loss = gradients(model, 4, 1)[0], torch.ones(4, dtype=torch.float64)
    gradient[0, 3], loss[1], gradient[2] = torch.nan, torch.inf, 0.0
    start, before = theta.clone(), {name: x.clone() for name, x in memory.items()}
    arguments = (model.mlp.layer_sizes, theta, memory, loss, gradient, settings(1), True)
    cpp.soap(*arguments, SHIFT) if step == "cpp" else soap(*arguments)
    assert memory["alive"].tolist() == [False, False, True, True]
    assert torch.equal(theta[:3], start[:3])
    assert (theta[3] != start[3]).all()
    for name in before.keys() - {"alive"}:
        assert torch.equal(memory[name][:3], before[name][:3])
        assert torch.isfinite(memory[name]).all()


def test_it_is_in_cpp_where_it_was_asked_to_be(monkeypatch):
    called = []
    monkeypatch.setattr(cpp, "soap", lambda *arguments: called.append(1))
    model = LNNS["small"]
    theta, memory = begin(model)
    batch = torch.randn(3, 6, 8, dtype=torch.float64)
    SOAP.update(model, theta, memory, batch, 0)
    assert not called
    dataclasses.replace(SOAP, compiled=True).update(model, theta, memory, batch, 0)
    assert called
