"""Minibatch training by SOAP (Vyas et al. 2024, arXiv 2409.11321): Adam in turned coordinates.

A layer's parameters are one matrix [W b], its gradient G. Adam's moments are those of Q_l^T G Q_r,
where Q_l and Q_r are eigenvectors of the means of G G^T and G^T G; they follow by one step of
orthogonal iteration every few steps, from the unit matrix. For physics-informed networks: Wang et
al. 2025, arXiv 2502.00604.

The rate rises in the first `WARM` steps, while the bases are not yet known: at the full rate one of
three networks of the triple pendulum was lost. All means have one memory, `BETA`. The paper's
.95 forgets a rare large gradient, of a state with a nearly singular mass matrix, before the next
one comes; without a mass prior many networks then never learn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from study.core import native
from study.core.models.model import Model, NetworkModel
from study.core.native import Losses, Step, Theta
from study.core.training.adam import Adam, admitted, move

BETA = 0.98
WARM = 100  # steps until the rate is that of the schedule, at most a tenth of all
EVERY = 10  # steps between two turns of the bases; in the first ones they turn at each
SHIFT = 1e-7  # of the trace of a mean: directions below it stay, but for float32's rounding

Sizes = Sequence[tuple[int, int]]  # inputs and outputs of each layer
Memory = dict[str, Tensor]
Square = Float[Tensor, "R n n"]


@dataclasses.dataclass(frozen=True)
class Soap(Adam):
    """SOAP with Adam's schedule, clipping and loss, for models that are networks."""

    beta1 = beta2 = BETA

    def rate(self, step: int) -> float:
        return super().rate(step) * min(1.0, (step + 1) / min(WARM, self.steps / 10))

    def memory(self, model: Model, theta: Theta, alive: Bool[Tensor, " R"]) -> Memory:
        """Adam's, and of each layer the means of G G^T and G^T G and the bases, one behind the
        other: moments (R, P), the rest (R, sum of squares).
        """
        memory = super().memory(model, theta, alive)
        for side, place in (("left", 1), ("right", 0)):
            units = [torch.eye(size[place] + 1 - place) for size in _sizes(model)]
            basis = torch.cat([unit.flatten() for unit in units]).to(theta)
            memory[f"{side}_basis"] = basis.repeat(len(theta), 1)
            memory[side] = torch.zeros_like(memory[f"{side}_basis"])
        return memory

    def descend(self, model, theta, memory, loss, gradient, settings, step) -> None:
        turn = step < EVERY or (step + 1) % EVERY == 0
        function = native.soap if self.compiled and theta.device.type == "cpu" else soap
        function(_sizes(model), theta, memory, loss, gradient, settings, turn, SHIFT)


def _sizes(model: Model) -> Sizes:
    assert isinstance(model, NetworkModel)
    return model.sizes


def soap(
    sizes: Sizes,
    theta: Theta,
    memory: Memory,
    loss: Losses,
    gradient: Theta,
    step: Step,
    turn: bool,
    shift: float = SHIFT,
) -> None:
    """One step, in place, after which the bases `turn` or do not; who is not `alive` stays as he is
    (`adam`).
    """
    gradient = admitted(memory["alive"], loss, gradient, step)
    keep = memory["alive"][:, None, None]

    def put(place: Tensor, value: Tensor) -> None:
        place.copy_(torch.where(keep, value, place))

    for parameters, G, part in _layers(sizes, theta, memory, gradient):
        left, right = part["left_basis"].clone(), part["right_basis"].clone()
        change = move(part["mean"], part["square"], left.mT @ G @ right, keep, step)
        change = left @ change @ right.mT
        for place, delta in zip(parameters, change.split([G.shape[2] - 1, 1], 2), strict=True):
            put(place, place - delta)
        for side, product in (("left", G @ G.mT), ("right", G.mT @ G)):
            put(part[side], part[side] + (1 - step.beta2) * (product - part[side]))
            if turn:
                put(part[f"{side}_basis"], _turned(part[side], part[f"{side}_basis"], shift))
        if turn:
            new_left, new_right = part["left_basis"], part["right_basis"]
            put(part["mean"], new_left.mT @ left @ part["mean"] @ right.mT @ new_right)


def _layers(
    sizes: Sizes, theta: Theta, memory: Memory, gradient: Theta
) -> Iterator[tuple[tuple[Tensor, Tensor], Tensor, Memory]]:
    """Of each layer W (R, m, k - 1) and b (R, m, 1), G (R, m, k), and views of the memory."""
    at, places = 0, {"left": 0, "right": 0}
    for fan_in, m in sizes:
        k, end = fan_in + 1, at + m * fan_in + m

        def views(flat: Tensor, at=at, end=end, m=m, fan_in=fan_in) -> tuple[Tensor, Tensor]:
            weight, bias = flat[:, at:end].split([m * fan_in, m], 1)
            return weight.unflatten(1, (m, fan_in)), bias.unsqueeze(2)

        part = {name: memory[name][:, at:end].unflatten(1, (m, k)) for name in ("mean", "square")}
        for side, n in (("left", m), ("right", k)):
            where = slice(places[side], places[side] + n * n)
            for name in (side, f"{side}_basis"):
                part[name] = memory[name][:, where].unflatten(1, (n, n))
            places[side] = where.stop
        yield views(theta), torch.cat(views(gradient), 2), part
        at = end


def _turned(mean: Square, basis: Square, shift: float) -> Square:
    """The basis after a step of orthogonal iteration; as it is if the mean is zero."""
    trace = mean.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    known = trace > 0
    mean = mean / torch.where(known, trace, torch.ones_like(trace))
    Q, R = torch.linalg.qr(mean @ basis + shift * basis)
    flipped = R.diagonal(dim1=1, dim2=2).unsqueeze(1) < 0
    return torch.where(known, torch.where(flipped, -Q, Q), basis)
