"""Minibatch training by Adam (Kingma and Ba 2015), all replicates in one batched step.

Knows: batches, moments, clipping, schedules, freezing. Does not know: what the model is, files.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from study.core.datasets import SHUFFLE
from study.core.models import Model
from study.core.training import Stage, State, TrainingData

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # the paper's defaults


@dataclasses.dataclass(frozen=True)
class Adam(Stage):
    """Adam with a schedule.

    **Arguments:**

    - `schedule`: `cosine` to zero over the steps, or `constant`.
    - `clip`: bound on the gradient norm of each replicate apart; None for none.
    - `loss`: mean `squared` or `absolute` error.
    - `dtype`: precision of parameters and steps.
    - `compiled`: by torch.compile.
    """

    steps: int
    batch_size: int
    lr: float
    schedule: str
    clip: float | None
    loss: str = "squared"
    dtype: torch.dtype = torch.float32
    compiled: bool = False
    limit = "steps"

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if self.schedule == "constant":
            return self.lr
        return self.lr * (1 + math.cos(math.pi * step / self.steps)) / 2

    def begin(self, model: Model, data: TrainingData, state: State) -> dict[str, Tensor]:
        state.theta = state.theta.to(self.dtype)
        alive = torch.tensor([not reason for reason in state.reasons], device=state.theta.device)
        return self.memory(state.theta, alive)

    def memory(self, theta: Float[Tensor, "R S"], alive: Bool[Tensor, " R"]) -> dict[str, Tensor]:
        """Moments before the first step, and who takes part."""
        zeros = torch.zeros_like
        return {"mean": zeros(theta), "square": zeros(theta), "alive": alive}

    def stepper(self, model: Model, data: TrainingData) -> Callable[[State], None]:
        batches = Batches(data, self.batch_size)
        R, N, width = data.rows.shape
        flat = data.rows.to(self.dtype).reshape(R * N, width)
        offset = (torch.arange(R) * N).unsqueeze(1)
        like = {"dtype": self.dtype, "device": flat.device}
        clip = torch.tensor(self.clip or math.inf, **like)

        def step(state: State) -> None:
            index = (batches.indices(state.step) + offset).reshape(-1)
            batch = flat[index.to(flat.device)].view(R, -1, width).mT.contiguous()
            t = state.step + 1
            scalars = torch.tensor([self.rate(state.step), 1 - BETA1**t, 1 - BETA2**t], **like)
            state.theta, state.memory, floored = self.update(
                model, state.theta, state.memory, batch, scalars, clip
            )
            state.floored = state.floored + floored
            if t == self.steps:  # the only time that the device is waited for
                for r, alive in enumerate(state.memory["alive"].tolist()):
                    state.reasons[r] = "" if alive else "diverged"

        return step

    def update(
        self,
        model: Model,
        theta: Tensor,
        memory: dict[str, Tensor],
        batch: Float[Tensor, "R three_D B"],
        scalars: Float[Tensor, "3"],
        clip: Float[Tensor, ""],
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """One step of all replicates; those not alive stay as they are.

        `scalars` are the learning rate and the corrections 1 - beta^t of the two moments.
        """
        rate, correction1, correction2 = scalars.unbind()
        mean, square = memory["mean"], memory["square"]
        q, qdot, target = batch.chunk(3, 1)
        loss, gradient, floored = model.loss_and_gradient(
            theta, q, qdot, target, self.loss, self.compiled
        )
        norm = torch.linalg.vector_norm(gradient, dim=1)
        alive = memory["alive"] & torch.isfinite(loss) & torch.isfinite(norm)
        gradient = gradient * torch.clamp(clip / (norm + 1e-6), max=1.0).unsqueeze(1)
        new_mean = mean + (1 - BETA1) * (gradient - mean)
        new_square = square + (1 - BETA2) * (gradient * gradient - square)
        change = (new_mean / correction1) / (torch.sqrt(new_square / correction2) + EPSILON)
        keep = alive.unsqueeze(1)
        return (
            torch.where(keep, theta - rate * change, theta),
            {
                "mean": torch.where(keep, new_mean, mean),
                "square": torch.where(keep, new_square, square),
                "alive": alive,
            },
            torch.where(alive, floored, torch.zeros_like(floored)),
        )


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
