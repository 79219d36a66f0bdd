"""What one training step costs a sample, beside what a user would write instead.

    python benchmarks/training_step.py            # JSON and figure here, table in README and docs

All in one run, one thread, float32, the question's network (P = 3361, D = 2), the same total
batch of 8 x 128 states a step, Adam included. Rounds are interleaved, so that the machine's noise
meets all alike; the figures are medians over rounds, ratios are taken within a round.

- `question`: the per-sample method of the question: jacobian and hessian of
  torch.autograd.functional, pinverse, a loop over samples; one network.
- `vmap_hessian`: torch.func, vmap over hessian and jacobian, linalg.solve; one network.
- `vmap_jacrev`: torch.func, of the Hessian only the D rows that are needed; one network.
- `batched_grad`: D + 2 calls of torch.autograd.grad on the whole batch; one network.
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

import matplotlib
import torch
from reporting import tell, write
from rich.console import Console
from rich.table import Table
from torch.autograd.functional import hessian, jacobian

from study.core.models import LNN
from study.core.models.mlp import MLP
from study.core.training.adam import Adam

matplotlib.use("Agg")
import matplotlib.pyplot as plt

R, B, D = 8, 128, 2
ROUNDS = 7
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


def user_step(method: Callable, x: torch.Tensor, target: torch.Tensor) -> Callable[[], None]:
    """A training step with torch.optim.Adam."""
    torch.manual_seed(0)
    network = Network()
    adam = torch.optim.Adam(network.parameters(), lr=1e-4)

    def step() -> None:
        adam.zero_grad()
        ((method(network, x.detach()) - target) ** 2).mean().backward()
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
    memory = adam.memory(theta, torch.ones(R, dtype=torch.bool))

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


def main() -> None:
    """Measure, print, and write the JSON."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(R * B, 2 * D, generator=generator)
    target = torch.randn(R * B, D, generator=generator)
    batch = torch.cat([x, target], 1).view(R, B, 3 * D).mT.contiguous()
    steps = {
        "question": user_step(question, x, target),
        "vmap_hessian": user_step(vmap_hessian, x, target),
        "vmap_jacrev": user_step(vmap_jacrev, x, target),
        "batched_grad": user_step(batched_grad, x, target),
        **{f"study_{how}": our_step(how, batch) for how in ("eager", "torch_compile", "cpp")},
        "bmm_bound": bmm_bound(),
    }
    repeats = {"question": 1, "vmap_hessian": 10, "vmap_jacrev": 10, "batched_grad": 10}
    for name, step in steps.items():
        for _ in range(1 if name == "question" else 5):
            step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            n = repeats.get(name, 40)
            begun = time.perf_counter()
            for _ in range(n):
                step()
            seconds[name].append((time.perf_counter() - begun) / n / (R * B))
    report(seconds)


NAMES = {
    "question": "the question's: jacobian, hessian and pinverse, sample by sample",
    "vmap_hessian": "`torch.func`: vmap(hessian) and solve",
    "vmap_jacrev": "`torch.func`: vmap(jacrev of grad), the D rows needed alone",
    "batched_grad": "D + 2 batched calls of `autograd.grad`",
    "study_eager": "`study`, eager",
    "study_torch_compile": "`study`, torch.compile",
    "study_cpp": "`study`, C++",
    "bmm_bound": "its matrix products alone, by torch.bmm",
}


def report(seconds: dict[str, list[float]]) -> None:
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
    write(__file__, {"rounds": ROUNDS, "rows": rows})


def spread(values: list[float]) -> str:
    """Median and range."""
    middle, low, high = (
        f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
        for value in (f(values) for f in (statistics.median, min, max))
    )
    return middle if low == high else f"{middle} [{low}, {high}]"


def draw(rows: dict[str, dict[str, float]]) -> None:
    """One bar a method."""
    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
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
