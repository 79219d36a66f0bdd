"""What one training step costs a sample, beside what a user would write instead.

    python benchmarks/training_step.py            # JSON and figure here, table in README and docs

All in one run, one thread, float32, the question's network (P = 3361, D = 2), the same total
batch of 8 x 128 states a step, Adam included. Rounds are interleaved, so that the machine's noise
meets all alike; the figures are medians over rounds, ratios are taken within a round. Every form's
gradient is first checked against this project's, and every form must keep to one core. JAX:
`pip install -e '.[rivals]'`. Two minutes.

- `question`: the per-sample method of the question: jacobian and hessian of
  torch.autograd.functional, pinverse, a loop over samples; one network.
- `vmap_hessian`: torch.func, vmap over hessian and jacobian, linalg.solve; one network.
- `vmap_jacrev`: torch.func, of the Hessian only the D rows that are needed; one network.
- `batched_grad`: D + 2 calls of torch.autograd.grad on the whole batch; one network.
- `torch_compile_autograd`: torch.compile of loss and gradient by torch.func: the vjp of the batch's
  gradient, the D rows needed; a closed inverse; one network. torch.compile has no double backward,
  so the gradient is inside what is compiled. Slower when it was chosen, this one at 3.3 us: without
  `cpp_wrapper` (3.8), vmap(jacrev of grad) (4.0), feature-major (4.1), 8 networks x 128 by vmap
  (3.9), `batched_grad` traced by make_fx (3.9), 256 states a call (5.7).
- `jax_plain`, `jax`: by automatic differentiation in JAX, see `by_jax.py`; one network, 20 steps a
  call.
- `study_eager`, `study_torch_compile`, `study_cpp`: this project's ensemble of 8 networks x 128; by
  torch.compile on devices other than the CPU.
- `bmm_bound`: the 13 columns of matrix products of those shapes and nothing else, by torch.bmm.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import by_jax
import matplotlib
import torch
from reporting import tell, write
from rich.console import Console
from rich.table import Table
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call, grad, grad_and_value, vjp
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from study.core.models import LNN
from study.core.models.mlp import MLP
from study.core.training.adam import Adam

matplotlib.use("Agg")
import matplotlib.pyplot as plt

R, B, D = 8, 128, 2
ROUNDS = 7
SAME = 1e-5  # to which gradients agree, of the largest entry
ONE_CORE = 1.2  # processor time over time, at most
SHAPE = MLP((True, True), width=32, depth=4, activation="softplus", beta=0.5)


class Network(torch.nn.Module):
    """The question's scalar network, as a user of torch.nn writes it."""

    def __init__(self) -> None:
        super().__init__()
        sizes = SHAPE.layer_sizes
        self.linear = torch.nn.ModuleList(torch.nn.Linear(i, o) for i, o in sizes)
        self.activation = torch.nn.Softplus(beta=0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.linear[:-1]:
            x = self.activation(layer(x))
        return self.linear[-1](x).squeeze(-1)


def question(network: Network, x: torch.Tensor) -> torch.Tensor:
    """One sample at a time."""
    out = []
    for state in x:
        A = hessian(network, state, create_graph=True)
        J = jacobian(network, state, create_graph=True)
        assert isinstance(A, torch.Tensor)
        assert isinstance(J, torch.Tensor)
        out.append(torch.pinverse(A[D:, D:]) @ (J[:D] - A[D:, :D] @ state[D:]))
    return torch.stack(out)


def vmap_hessian(network: Network, x: torch.Tensor) -> torch.Tensor:
    """torch.func over the whole batch."""
    A = torch.func.vmap(torch.func.hessian(network))(x)
    J = torch.func.vmap(torch.func.grad(network))(x)
    force = J[:, :D] - (A[:, D:, :D] @ x[:, D:, None])[..., 0]
    return torch.linalg.solve(A[:, D:, D:], force)


def vmap_jacrev(network: Network, x: torch.Tensor) -> torch.Tensor:
    """torch.func over the whole batch, without the rows of the Hessian that are not needed."""

    def slopes(state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        J = torch.func.grad(network)(state)
        return J[D:], J

    A, J = torch.func.vmap(torch.func.jacrev(slopes, has_aux=True))(x)
    force = J[:, :D] - (A[:, :, :D] @ x[:, D:, None])[..., 0]
    return torch.linalg.solve(A[:, :, D:], force)


def batched_grad(network: Network, x: torch.Tensor) -> torch.Tensor:
    """One gradient, then one more for each row of the Hessian that is needed."""
    x = x.requires_grad_()
    (J,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    rows = [torch.autograd.grad(J[:, D + i].sum(), x, create_graph=True)[0] for i in range(D)]
    A = torch.stack(rows, 1)
    force = J[:, :D] - (A[:, :, :D] @ x[:, D:, None])[..., 0]
    return torch.linalg.solve(A[:, :, D:], force)


def by_backward(method: Callable) -> Callable[..., None]:
    """Leaves the loss's gradient in the network, for accelerations from (network, states)."""

    def gradient(network: Network, x: torch.Tensor, target: torch.Tensor) -> None:
        network.zero_grad()
        ((method(network, x.detach()) - target) ** 2).mean().backward()

    return gradient


def by_torch_compile() -> Callable[..., None]:
    """Leaves the loss's gradient in the network, compiled with all that it takes."""
    shape, units = Network(), torch.eye(2 * D)[D:]

    def loss(weights: dict, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        J, pull = vjp(grad(lambda x: functional_call(shape, weights, (x,)).sum()), x)[:2]
        rows = [pull(unit.expand_as(x))[0] for unit in units]
        first, second = (J[:, i] - (rows[i][:, :D] * x[:, D:]).sum(1) for i in range(D))
        (a, b), (c, d) = (row[:, D:].unbind(1) for row in rows)
        solved = torch.stack([d * first - b * second, a * second - c * first], 1)
        return ((solved / (a * d - b * c).unsqueeze(1) - target) ** 2).mean()

    options: dict = {"cpp_wrapper": True}
    compiled = torch.compile(grad_and_value(loss), fullgraph=True, options=options)

    def gradient(network: Network, x: torch.Tensor, target: torch.Tensor) -> None:
        weights = {name: weight.detach() for name, weight in network.named_parameters()}
        slopes, _ = compiled(weights, x, target)
        for name, weight in network.named_parameters():
            weight.grad = slopes[name]

    return gradient


def user_step(
    gradient: Callable[..., None], network: Network, x: torch.Tensor, target: torch.Tensor
) -> Callable[[], None]:
    """A training step with torch.optim.Adam."""
    adam = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        gradient(network, x, target)
        adam.step()

    return step


class Compiled(LNN):
    """The network by torch.compile, which training asks for elsewhere than on the CPU."""

    def loss_and_gradient(self, *arguments, **_) -> tuple:
        return super().loss_and_gradient(*arguments[:4], compiled=True)


def our_step(how: str, batch: torch.Tensor) -> Callable[[], None]:
    """A training step of the ensemble, clipping and freezing included."""
    model = (Compiled if how == "torch_compile" else LNN)(SHAPE, "fan_in", native=how == "cpp")
    adam = Adam(1, B, 1e-4, "constant", 1.0, compiled=how == "cpp")
    theta = model.initialise(range(R), torch.float32)
    memory = adam.memory(model, theta, torch.ones(R, dtype=torch.bool))

    def step() -> None:
        adam.update(model, theta, memory, batch, 0)

    return step


def bmm_bound() -> Callable[[], None]:
    """The matrix products of a step: D + 7 columns of W or W^T, 4 of outer products a layer."""
    weights = [torch.randn(R, o, i) for i, o in SHAPE.layer_sizes[1:-1]]
    right, left = torch.randn(R, 32, (D + 7) * B), torch.randn(R, 4 * B, 32)
    outer = torch.randn(R, 32, 4 * B)

    def step() -> None:
        for weight in weights:
            torch.bmm(weight, right)
            torch.bmm(outer, left)

    return step


USER_FORMS = {
    "question": by_backward(question),
    "vmap_hessian": by_backward(vmap_hessian),
    "vmap_jacrev": by_backward(vmap_jacrev),
    "batched_grad": by_backward(batched_grad),
    "torch_compile_autograd": by_torch_compile(),
}
JAX_FORMS = {"jax_plain": by_jax.plain, "jax": by_jax.tuned}
JAX_STEPS = 20  # a call


def make_network(theta: torch.Tensor) -> Network:
    """The network with parameters (P)."""
    network = Network()
    vector_to_parameters(theta.clone(), network.parameters())
    return network


def make_states(theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """States whose mass matrices at theta (1, P) are far from singular, and targets."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4 * R * B, 2 * D, generator=generator)
    target = torch.randn(R * B, D, generator=generator)
    mass = LNN(SHAPE, "fan_in").mass_matrix(theta, *x.T[None].chunk(2, 1))[0].permute(2, 0, 1)
    return x[torch.linalg.det(mass).abs().argsort()[-R * B :]], target


def check(theta: torch.Tensor, x: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    """How far each form's gradient is from this project's in float64. **Raises:** `ValueError`."""
    q, qdot, qddot = torch.cat([x, target], 1).T[None].double().contiguous().chunk(3, 1)
    model = LNN(SHAPE, "fan_in", native=True)
    expected = model.loss_and_gradient(theta.double(), q, qdot, qddot)[1][0]
    slopes = {}
    for name, gradient in USER_FORMS.items():
        network = make_network(theta[0])
        gradient(network, x, target)
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in network.parameters()]
        slopes[name] = parameters_to_vector(grads)
    layers = by_jax.layers_of(theta[0].numpy(), SHAPE.layer_sizes)
    for name, gradient in JAX_FORMS.items():
        flat = by_jax.flat_gradient(gradient, layers, x.numpy(), target.numpy())
        slopes[name] = torch.from_numpy(flat)
    errors = {
        name: float((slope - expected).abs().max() / expected.abs().max())
        for name, slope in slopes.items()
    }
    if wrong := {name: error for name, error in errors.items() if not error < SAME}:
        raise ValueError(f"gradients that differ from study's: {wrong}")
    return errors


def main() -> None:
    """Check, measure, print, and write the JSON."""
    torch.set_num_threads(1)
    theta = LNN(SHAPE, "fan_in").initialise([0], torch.float32)
    x, target = make_states(theta)
    errors = check(theta, x, target)
    batch = torch.cat([x, target], 1).view(R, B, 3 * D).mT.contiguous()
    layers = by_jax.layers_of(theta[0].numpy(), SHAPE.layer_sizes)
    steps = {
        **{
            name: user_step(gradient, make_network(theta[0]), x, target)
            for name, gradient in USER_FORMS.items()
        },
        **{
            name: by_jax.training_step(gradient, layers, x.numpy(), target.numpy(), JAX_STEPS)
            for name, gradient in JAX_FORMS.items()
        },
        **{f"study_{how}": our_step(how, batch) for how in ("eager", "torch_compile", "cpp")},
        "bmm_bound": bmm_bound(),
    }
    repeats = {"question": 1, "vmap_hessian": 10, "vmap_jacrev": 10, "batched_grad": 10}
    repeats |= dict.fromkeys(JAX_FORMS, 1)
    for name, step in steps.items():
        for _ in range(1 if name == "question" else 5):
            step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    cores: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            n = repeats.get(name, 40)
            begun, spent = time.perf_counter(), time.process_time()
            for _ in range(n):
                step()
            wall, spent = time.perf_counter() - begun, time.process_time() - spent
            taken = n * (JAX_STEPS if name in JAX_FORMS else 1)
            seconds[name].append(wall / taken / (R * B))
            cores[name].append(spent / wall)
    if many := {name for name in steps if statistics.median(cores[name]) > ONE_CORE}:
        raise ValueError(f"these used more than one core: {sorted(many)}")
    report(seconds, errors)


NAMES = {
    "question": "the question's: jacobian, hessian and pinverse, sample by sample",
    "vmap_hessian": "`torch.func`: vmap(hessian) and solve",
    "vmap_jacrev": "`torch.func`: vmap(jacrev of grad), the D rows needed alone",
    "batched_grad": "D + 2 batched calls of `autograd.grad`",
    "torch_compile_autograd": "torch.compile of the D rows by `torch.func.vjp`, gradient included",
    "jax_plain": "JAX: vmap(linearize of grad) and a closed inverse, jit",
    "jax": "JAX: the fastest form found, jit",
    "study_eager": "`study`, eager",
    "study_torch_compile": "`study`, torch.compile",
    "study_cpp": "`study`, C++",
    "bmm_bound": "its matrix products alone, by torch.bmm",
}


def report(seconds: dict[str, list[float]], errors: dict[str, float]) -> None:
    """Medians with their range, and ratios taken round by round."""
    table = Table(title=f"one step, us a sample, P = {SHAPE.n_params}, {R} x {B}, one thread")
    for heading in ("method", "median", "min", "max", "over C++", "over the products"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    rows, lines = {}, ["| method | µs a sample and step | times C++ | times its products |"]
    lines.append("|---|---|---|---|")
    for name, values in seconds.items():
        over_cpp, over_bound = (
            [a / b for a, b in zip(values, seconds[other], strict=True)]
            for other in ("study_cpp", "bmm_bound")
        )
        us = [1e6 * f(values) for f in (statistics.median, min, max)]
        rows[name] = {
            "median_us": us[0], "min_us": us[1], "max_us": us[2],
            "over_cpp": statistics.median(over_cpp), "over_bound": statistics.median(over_bound),
            "rounds_us": [1e6 * value for value in values],
        }  # fmt: skip
        shown = [spread([1e6 * value for value in values]), spread(over_cpp), spread(over_bound)]
        table.add_row(name, *(f"{v:.2f}" for v in us), *(each.split()[0] for each in shown[1:]))
        lines.append(f"| {NAMES[name]} | {' | '.join(shown)} |")
    Console().print(table)
    for page in ("README.md", "docs/speed.md"):
        tell(page, "step", lines)
    draw(rows)
    write(__file__, {"rounds": ROUNDS, "gradient_errors": errors, "rows": rows})


def spread(values: list[float]) -> str:
    """Median and range."""
    middle, low, high = (
        f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
        for value in (f(values) for f in (statistics.median, min, max))
    )
    return middle if low == high else f"{middle} [{low}, {high}]"


def draw(rows: dict[str, dict[str, float]]) -> None:
    """One bar a method."""
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    names, middle = list(rows), [row["median_us"] for row in rows.values()]
    low = [row["median_us"] - row["min_us"] for row in rows.values()]
    high = [row["max_us"] - row["median_us"] for row in rows.values()]
    axes.barh(names, middle, xerr=[low, high], color="#0077bb", ecolor="black")
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="time a sample and step / µs")
    axes.set_title(
        f"P = {SHAPE.n_params}, {R} x {B} states, one thread; medians of {ROUNDS}, bars: range",
        fontsize=10,
    )
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=150)


if __name__ == "__main__":
    main()
