"""The C++ library against the tensors' code and torch's own optimiser, where sizes are awkward."""

import math

import pytest
import torch

from study.core import native as cpp
from study.core.models import ACTIVATIONS, LNN, make_model
from study.core.training.adam import BETA1, BETA2, EPSILON, adam

NETWORKS = ("lnn", "structured_lnn", "acceleration_mlp")
# D, width, depth, states: what fills no vector, no tile, no chunk, and what does
SIZES = ((1, 1, 1, 1), (2, 5, 3, 7), (2, 32, 2, 64), (3, 17, 2, 70), (4, 6, 1, 33), (5, 9, 2, 31))


def settings_of(name, width, depth, activation="softplus", encoding="trig"):
    return {
        "name": name, "width": width, "depth": depth, "activation": activation, "beta": 1.7,
        "encoding": encoding, "mass_prior": 3.0, "init": "fan_in",
    }  # fmt: skip


def draw(model, D, B, R=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(B)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    theta = model.initialise(range(R), dtype) + 0.1 * normal(R, model.n_params)
    return theta, *normal(R, 3 * D, B).chunk(3, 1)


def relative(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_all_sizes_give_what_the_tensors_give(name, size):
    D, width, depth, B = size
    for encoding in ("raw", "trig"):
        settings = settings_of(name, width, depth, encoding=encoding)
        angles = tuple(i != 1 for i in range(D))
        eager, native = (make_model(angles, settings, native=n) for n in (False, True))
        theta, q, qdot, target = draw(eager, D, B)
        assert (
            relative(native.acceleration(theta, q, qdot), eager.acceleration(theta, q, qdot))
            < 1e-12
        )
        for found, expected in zip(
            native.jacobian(theta, q, qdot), eager.jacobian(theta, q, qdot), strict=True
        ):
            assert relative(found, expected) < 1e-12
        for loss in ("squared", "absolute"):
            found = native.loss_and_gradient(theta, q, qdot, target, loss)
            expected = eager.loss_and_gradient(theta, q, qdot, target, loss)
            assert relative(found[0], expected[0]) < 1e-12
            assert relative(found[1], expected[1]) < 1e-12
            assert torch.equal(found[2], expected[2])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("activation", cpp.ACTIVATIONS)
def test_all_activations_over_all_of_their_range(name, activation):
    settings = settings_of(name, 6, 2, activation)
    eager, native = (make_model((True, True), settings, native=n) for n in (False, True))
    for scale in (1e-3, 1.0, 30.0):
        theta, q, qdot, target = draw(eager, 2, 40)
        states = (q * scale, qdot * scale, target)
        found, expected = (m.loss_and_gradient(theta, *states) for m in (native, eager))
        assert relative(found[1], expected[1]) < 1e-9


@pytest.mark.parametrize("name", NETWORKS)
def test_bits_of_a_network_do_not_depend_on_its_siblings_or_on_strides(name):
    model = make_model((True, True), settings_of(name, 10, 2), native=True)
    theta, q, qdot, target = draw(model, 2, 45, dtype=torch.float32)
    together = model.loss_and_gradient(theta, q, qdot, target)
    apart = [x.mT.contiguous().mT for x in (q, qdot, target)]
    for a, b in zip(together, model.loss_and_gradient(theta, *apart), strict=True):
        assert torch.equal(a, b)
    for r in range(3):
        one = slice(r, r + 1)
        alone = model.loss_and_gradient(theta[one], q[one], qdot[one], target[one])
        for a, b in zip(together, alone, strict=True):
            assert torch.equal(a[one], b)


@pytest.mark.parametrize("D", [1, 2, 3, 5])
def test_singular_mass_matrices_are_counted_as_the_tensors_count_them(D):
    settings = settings_of("lnn", 6, 2) | {"mass_prior": 0.0}
    eager, native = (make_model((True,) * D, settings, native=n) for n in (False, True))
    theta, q, qdot, target = draw(eager, D, 20)
    theta[1] = 0.0  # no curvature at all
    theta[2] = torch.nan
    for found, expected in zip(
        native.loss_and_gradient(theta, q, qdot, target),
        eager.loss_and_gradient(theta, q, qdot, target),
        strict=True,
    ):
        assert torch.isfinite(found[:2]).all()
        torch.testing.assert_close(found[0], expected[0], rtol=1e-6, atol=1e-9)
    loss, gradient, floored = native.loss_and_gradient(theta, q, qdot, target)
    assert floored.tolist()[1] == 1.0
    assert torch.isnan(loss[2])
    assert torch.isnan(gradient[2]).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adam_is_that_of_torch(dtype):
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(3, 50, generator=generator, dtype=dtype)
    theirs = [row.clone().requires_grad_() for row in theta]
    clip, rate = 2.0, 1e-2
    optimisers = [torch.optim.Adam([row], rate, (BETA1, BETA2), EPSILON) for row in theirs]
    ours = {
        step: (
            theta.clone(),
            torch.zeros_like(theta),
            torch.zeros_like(theta),
            torch.ones(3).bool(),
        )
        for step in (adam, cpp.adam)
    }
    for t in range(1, 30):
        gradient = torch.randn(3, 50, generator=generator, dtype=dtype)
        gradient[1] *= 1e-3  # not clipped
        for row, optimiser, slope in zip(theirs, optimisers, gradient, strict=True):
            row.grad = slope.clone()
            torch.nn.utils.clip_grad_norm_([row], clip)
            optimiser.step()
        for step, memory in ours.items():
            step(
                *memory, torch.ones(3, dtype=dtype), gradient,
                cpp.Step(rate, BETA1, BETA2, 1 - BETA1**t, 1 - BETA2**t, EPSILON, clip),
            )  # fmt: skip
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for memory in ours.values():
        expected = torch.stack([row.detach() for row in theirs])
        torch.testing.assert_close(memory[0], expected, rtol=tolerance, atol=tolerance)


def test_who_has_no_number_stays_as_it_is():
    for step in (adam, cpp.adam):
        theta, mean, square = torch.ones(3, 4), torch.zeros(3, 4), torch.zeros(3, 4)
        alive, loss, gradient = torch.ones(3).bool(), torch.ones(3), torch.ones(3, 4)
        loss[0], gradient[1, 2] = torch.inf, torch.nan
        step(
            theta, mean, square, alive, loss, gradient,
            cpp.Step(0.1, 0.9, 0.999, 0.1, 0.001, 1e-8, math.inf),
        )  # fmt: skip
        assert alive.tolist() == [False, False, True]
        assert torch.equal(theta[:2], torch.ones(2, 4))
        assert not mean[:2].any()
        assert not square[:2].any()
        torch.testing.assert_close(theta[2], torch.full((4,), 0.9))


@pytest.mark.parametrize("step", [adam, cpp.adam])
@pytest.mark.parametrize("clip", [math.inf, 1.0])
def test_a_gradient_whose_square_overflows_leaves_all_as_it_is(step, clip):
    """Or it would be no number at the step after, where nothing is clipped."""
    theta, mean, square = torch.ones(2, 4), torch.zeros(2, 4), torch.zeros(2, 4)
    alive, gradient = torch.ones(2).bool(), torch.ones(2, 4)
    for size in (1.0, 3e19, 1.0):
        gradient[0] = size
        before = theta.clone()
        step(
            theta, mean, square, alive, torch.ones(2), gradient,
            cpp.Step(0.1, 0.9, 0.999, 0.1, 0.001, 1e-8, clip),
        )  # fmt: skip
        assert alive.tolist() == [size == 1.0 and bool((theta[0] != before[0]).all()), True]
        assert torch.isfinite(theta).all()
        assert (theta[1] != before[1]).all()
    assert alive.tolist() == [False, True]


@pytest.mark.parametrize("size", [1.0, 1e-24, 1e24])
def test_mass_matrices_of_any_size_are_inverted(size):
    """Squares of some are too small or too large for single precision."""
    settings = settings_of("lnn", 6, 2) | {"mass_prior": 0.0}
    eager, native = (make_model((True,) * 5, settings, native=n) for n in (False, True))
    theta, q, qdot, _ = draw(eager, 5, 20, dtype=torch.float32)
    last = eager.mlp.layer_sizes[-1][1]  # L, and all that follows from it, times `size`
    theta[:, -(eager.mlp.width + last) :] *= size
    expected = eager.acceleration(theta.double(), q.double(), qdot.double())
    found = native.acceleration(theta, q, qdot).double()
    assert float(((found - expected).norm(dim=1) / expected.norm(dim=1)).median()) < 1e-3


def test_networks_and_states_that_do_not_match_are_refused():
    model = make_model((True, True), settings_of("lnn", 6, 2), native=True)
    theta, q, qdot, _ = draw(model, 2, 9)
    for wrong, message in ((theta[:1], "1 networks"), (theta.float(), "float32")):
        with pytest.raises(ValueError, match=message):
            cpp._call("accelerate", model.in_cpp(theta)[0], wrong, (q, qdot), (q,))


def test_what_cpp_does_not_know_is_left_to_the_tensors(monkeypatch):
    def cubic(z):
        return z**3, 3 * z**2, 6 * z, torch.full_like(z, 6.0)

    monkeypatch.setitem(ACTIVATIONS, "cubic", cubic)

    class Half(LNN):
        @staticmethod
        def forward(mlp, layers, q, qdot):
            qddot, *rest = LNN.forward(mlp, layers, q, qdot)
            return qddot / 2, *rest

    known = make_model((True, True), settings_of("lnn", 6, 2))
    theta, q, qdot, _ = draw(known, 2, 9)
    half = Half(known.mlp, "fan_in", native=True)
    torch.testing.assert_close(
        half.acceleration(theta, q, qdot), known.acceleration(theta, q, qdot) / 2
    )
    eager, native = (
        make_model((True, True), settings_of("lnn", 6, 2, "cubic"), native=n) for n in (False, True)
    )
    assert torch.equal(native.acceleration(theta, q, qdot), eager.acceleration(theta, q, qdot))
