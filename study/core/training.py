"""Minibatch training of an ensemble of replicates, each with its own data, start and schedule.

Knows: batches, Adam, clipping, freezing, checkpoints. Does not know: what the model is, where
data come from, folders. All of a step is one pure function of tensors, eager or compiled; the
batches of a step follow from its number, so a resumed run is bitwise the undisturbed one.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from study.core.datasets import SHUFFLE
from study.core.models import Model

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam: Kingma and Ba (2015), their defaults
RECORDS = 24  # how many points a training curve has
CONVERGED = 0.1  # a replicate has converged if its loss fell by less in the last tenth of steps


@dataclasses.dataclass(frozen=True)
class Adam:
    """Adam with a schedule; `clip` bounds the gradient norm of each replicate apart."""

    steps: int
    batch_size: int
    lr: float
    schedule: str
    clip: float | None

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if self.schedule == "constant":
            return self.lr
        return self.lr * (1 + math.cos(math.pi * step / self.steps)) / 2


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What each replicate is trained on, in scaled units.

    **Arguments:**

    - `rows`: (R, N, 3 D), q, qdot and qddot side by side.
    - `along`: (R, N) place of each point along its curves, for order `sequential`.
    - `order`: `shuffled` or `sequential`.
    - `seeds`: one a replicate, for the shuffling.
    """

    rows: Float[Tensor, "R N three_D"]
    along: Int[np.ndarray, "R N"]
    order: str
    seeds: Sequence[int]


class Batches:
    """Which points each replicate sees at a step: passes over the data, one after the other.

    A batch may reach from the end of one pass into the next, so that every point is seen equally
    often. The pass's permutation follows from (seed, pass) alone.
    """

    def __init__(self, data: TrainingData, batch_size: int) -> None:
        self.data = data
        self.n = data.rows.shape[1]
        self.size = min(batch_size, self.n)
        self._pass = functools.lru_cache(maxsize=3)(self._make_pass)

    def indices(self, step: int) -> Int[Tensor, "R B"]:
        """Rows of the batch of a step."""
        begin = step * self.size
        number, at = divmod(begin, self.n)
        pieces, missing = [], self.size
        while missing:
            piece = self._pass(number)[:, at : at + missing]
            pieces.append(piece)
            missing -= piece.shape[1]
            number, at = number + 1, 0
        return torch.from_numpy(np.concatenate(pieces, axis=1))

    def _make_pass(self, number: int) -> np.ndarray:
        if self.data.order == "sequential":
            return np.argsort(self.data.along, axis=1)
        if self.size == self.n:  # all points at once: no order to speak of
            number = 0
        return np.stack(
            [
                np.random.default_rng((SHUFFLE, seed, number)).permutation(self.n)
                for seed in self.data.seeds
            ]
        )


@dataclasses.dataclass
class State:
    """All that training carries from step to step; saved whole in a checkpoint."""

    step: int
    theta: Float[Tensor, "R P"]
    mean: Float[Tensor, "R P"]
    square: Float[Tensor, "R P"]
    alive: Tensor  # (R) bool: False once a loss or gradient was not finite, then frozen
    floored: Float[Tensor, " R"]  # share of samples with a floored mass matrix, summed over steps
    seconds: float
    records: list[dict[str, Any]]

    @classmethod
    def fresh(cls, theta: Float[Tensor, "R P"]) -> State:
        """Before the first step."""
        zeros = torch.zeros_like
        alive = torch.ones(len(theta), dtype=torch.bool, device=theta.device)
        return cls(0, theta, zeros(theta), zeros(theta), alive, zeros(theta[:, 0]), 0.0, [])


def adam_step(
    model: Model,
    theta: Tensor,
    mean: Tensor,
    square: Tensor,
    alive: Tensor,
    batch: Float[Tensor, "R three_D B"],
    scalars: Float[Tensor, "3"],
    clip: Float[Tensor, ""],
    compiled: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One step of all replicates; those not alive stay as they are.

    `scalars` are the learning rate and the corrections 1 - beta^t of the two moments.
    """
    rate, correction1, correction2 = scalars.unbind()
    q, qdot, target = batch.chunk(3, 1)
    loss, gradient, floored = model.loss_and_gradient(theta, q, qdot, target, compiled)
    norm = torch.linalg.vector_norm(gradient, dim=1)
    alive = alive & torch.isfinite(loss) & torch.isfinite(norm)
    gradient = gradient * torch.clamp(clip / (norm + 1e-6), max=1.0).unsqueeze(1)
    new_mean = mean + (1 - BETA1) * (gradient - mean)
    new_square = square + (1 - BETA2) * (gradient * gradient - square)
    change = (new_mean / correction1) / (torch.sqrt(new_square / correction2) + EPSILON)
    keep = alive.unsqueeze(1)
    return (
        torch.where(keep, theta - rate * change, theta),
        torch.where(keep, new_mean, mean),
        torch.where(keep, new_square, square),
        alive,
        torch.where(alive, floored, torch.zeros_like(floored)),
    )


def record_steps(steps: int) -> set[int]:
    """Where the training curve is measured: spaced evenly in log, and at 0.9 and 1 of the steps."""
    spaced = np.unique(np.geomspace(1, steps, RECORDS).round().astype(int))
    return {0, *spaced.tolist(), math.ceil(0.9 * steps), steps}


def train(
    model: Model,
    data: TrainingData,
    optimizer: Adam,
    state: State,
    *,
    compiled: bool = False,
    measure: Callable[[Tensor], dict[str, list[float]]],
    save: Callable[[State], None] = lambda state: None,
    progress: Callable[[float], None] = lambda fraction: None,
    every_seconds: float = math.inf,
) -> State:
    """Train from `state` to the last step.

    **Arguments:**

    - `measure`: theta -> one list (R) a metric, called at `record_steps`.
    - `save`: called every `every_seconds` with the state.
    - `progress`: fraction of the steps done, called now and then.
    """
    batches = Batches(data, optimizer.batch_size)
    records = record_steps(optimizer.steps)
    R, N, width = data.rows.shape
    flat = data.rows.reshape(R * N, width)
    offset = (torch.arange(R) * N).unsqueeze(1)
    like = {"dtype": state.theta.dtype, "device": state.theta.device}
    clip = torch.tensor(optimizer.clip or math.inf, **like)
    begun = saved = shown = time.perf_counter()
    before = state.seconds
    while True:
        if state.step in records and (not state.records or state.records[-1]["x"] < state.step):
            lr = optimizer.rate(state.step)
            state.records.append({"x": state.step, "lr": [lr] * R, **measure(state.theta)})
        now = time.perf_counter()
        state.seconds = before + now - begun
        if now - shown > 0.5:
            progress(state.step / optimizer.steps)
            shown = now
        if now - saved > every_seconds:
            save(state)
            saved = now
        if state.step >= optimizer.steps:
            return state
        index = (batches.indices(state.step) + offset).reshape(-1)
        batch = flat[index.to(flat.device)].view(R, -1, width).mT.contiguous()
        t = state.step + 1
        scalars = torch.tensor([optimizer.rate(state.step), 1 - BETA1**t, 1 - BETA2**t], **like)
        state.theta, state.mean, state.square, state.alive, floored = adam_step(
            model,
            state.theta,
            state.mean,
            state.square,
            state.alive,
            batch,
            scalars,
            clip,
            compiled,
        )
        state.floored = state.floored + floored
        state.step = t


def verdicts(state: State, steps: int) -> list[tuple[bool, str]]:
    """(converged, why it stopped) of each replicate."""
    curve = {record["x"]: record["train_nmse"] for record in state.records}
    late, last = curve[math.ceil(0.9 * steps)], curve[steps]
    out = []
    for r, alive in enumerate(state.alive.tolist()):
        if not alive:
            out.append((False, "diverged"))
        else:
            fell = late[r] - last[r]  # NaN or infinite if either is, and then not settled
            settled = math.isfinite(fell) and fell <= CONVERGED * late[r]
            out.append((settled, "steps"))
    return out
