"""Minibatch training by Adam (Kingma and Ba 2015), all replicates in one batched step."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from study.core import native
from study.core.data.datasets import SHUFFLE
from study.core.models import segments
from study.core.models.model import Model, NetworkModel, parts_of
from study.core.native import Alive, Losses, Step, Theta
from study.core.training.train import Stage, State, TrainingData

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # the paper's defaults
LOOKS = 200  # how often held-out points are looked at


@dataclasses.dataclass(frozen=True)
class Adam(Stage):
    """Adam with a schedule.

    **Arguments:**

    - `schedule`: `cosine` or `linear`, to zero over the steps, or `constant`.
    - `clip`: bound on the gradient norm of each replicate; None for none.
    - `loss`: mean `squared` or `absolute` error of accelerations; or `rollout`, through the
      integrator.
    - `dtype`: precision of parameters and steps.
    - `compiled`: the update in C++ on the CPU; on other devices the model by torch.compile.
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
    beta1, beta2 = BETA1, BETA2

    @property
    def looks(self) -> int:
        return max(1, self.steps // LOOKS)

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        done = step / self.steps
        match self.schedule:
            case "cosine":
                return self.lr * (1 + math.cos(math.pi * done)) / 2
            case "linear":
                return self.lr * (1 - done)
        return self.lr

    def begin(self, model: Model, data: TrainingData, state: State) -> dict[str, Tensor]:
        state.theta = state.theta.to(self.dtype, copy=True)  # changed in place
        alive = torch.tensor([not reason for reason in state.reasons], device=state.theta.device)
        return self.memory(model, state.theta, alive)

    def memory(
        self, model: Model, theta: Float[Tensor, "R S"], alive: Bool[Tensor, " R"]
    ) -> dict[str, Tensor]:
        """Zero moments, and which replicates take part."""
        zeros = torch.zeros_like
        return {"mean": zeros(theta), "square": zeros(theta), "alive": alive}

    def stepper(self, model: Model, data: TrainingData) -> Callable[[State], None]:
        batches = Batches(data, self.batch_size)
        rows = data.segments() if self.loss == "rollout" else data.rows
        R, N, width = rows.shape
        flat = rows.to(self.dtype).reshape(R * N, width)
        offset = (torch.arange(R) * N).unsqueeze(1)

        def step(state: State) -> None:
            index = (batches.indices(state.step) + offset).reshape(-1)
            if flat.is_cuda:  # copying other memory would wait for the device
                index = index.pin_memory()
            rows = flat[index.to(flat.device, non_blocking=True)]
            batch = rows.view(R, -1, width).mT.contiguous()
            floored = self.update(model, state.theta, state.memory, batch, state.step)
            state.floored = state.floored + floored
            if state.step + 1 == self.steps:  # the only wait for the device
                for r, alive in enumerate(state.memory["alive"].tolist()):
                    state.reasons[r] = "" if alive else "diverged"

        return step

    def update(
        self,
        model: Model,
        theta: Float[Tensor, "R S"],
        memory: dict[str, Tensor],
        batch: Float[Tensor, "R W B"],
        step: int,
    ) -> Float[Tensor, " R"]:
        """Do step number `step`, from 0, of the replicates that are alive, in place.

        Returns the share of samples with a floored mass matrix, zero for those not alive.
        """
        if self.loss == "rollout":
            assert isinstance(model, NetworkModel)
            loss, gradient, floored = segments.loss_and_gradient(model, theta, batch)
        else:
            q, qdot, target = parts_of(batch, model.n_driven)
            compiled = self.compiled and theta.device.type != "cpu"
            loss, gradient, floored = model.loss_and_gradient(
                theta, q, qdot, target, self.loss, compiled
            )
        beta1, beta2 = self.beta1, self.beta2
        corrections = (1 - beta1 ** (step + 1), 1 - beta2 ** (step + 1))
        clip = math.inf if self.clip is None else self.clip
        settings = Step(self.rate(step), beta1, beta2, *corrections, EPSILON, clip)
        self.descend(model, theta, memory, loss, gradient, settings, step)
        alive = memory["alive"]
        return torch.where(alive, floored, torch.zeros_like(floored))

    def descend(
        self,
        model: Model,
        theta: Theta,
        memory: dict[str, Tensor],
        loss: Losses,
        gradient: Theta,
        settings: Step,
        step: int,
    ) -> None:
        """Change parameters and memory in place by the gradient of step number `step`."""
        function = native.adam if self.compiled and theta.device.type == "cpu" else adam
        mean, square, alive = (memory[name] for name in ("mean", "square", "alive"))
        function(theta, mean, square, alive, loss, gradient, settings)


def adam(
    theta: Theta,
    mean: Theta,
    square: Theta,
    alive: Alive,
    loss: Losses,
    gradient: Theta,
    step: Step,
) -> None:
    """One step, in place: theta, its two moments, and which replicates are alive after it.

    It does not wait for the device. A replicate is no longer alive, and stays as it is, once its
    loss, its gradient or the gradient's square is not finite.
    """
    gradient = admitted(alive, loss, gradient, step)
    theta -= move(mean, square, gradient, alive.unsqueeze(1), step)


def move(mean: Tensor, square: Tensor, gradient: Tensor, keep: Tensor, step: Step) -> Tensor:
    """Let the moments follow the gradient, in place; what is to be subtracted. Where not `keep`,
    all stays as it is.
    """
    mean += torch.where(keep, (1 - step.beta1) * (gradient - mean), torch.zeros_like(mean))
    change = (1 - step.beta2) * (gradient * gradient - square)
    square += torch.where(keep, change, torch.zeros_like(square))
    size = torch.sqrt(square / step.correction2) + step.epsilon
    change = step.rate * (mean / step.correction1) / size
    return torch.where(keep, change, torch.zeros_like(change))


def admitted(alive: Alive, loss: Losses, gradient: Theta, step: Step) -> Theta:
    """The clipped gradient, zero for who is not alive; notes who no longer is."""
    norm = torch.linalg.vector_norm(gradient, dim=1, dtype=torch.float64)
    alive &= torch.isfinite(loss) & torch.isfinite(norm.square().to(gradient.dtype))
    if math.isfinite(step.clip):
        shrink = torch.clamp(step.clip / (norm + 1e-6), max=1.0).to(gradient.dtype)
        gradient = gradient * shrink.unsqueeze(1)
    # NaN times zero is NaN: the gradient of a replicate that is not alive is left out, not weighed
    return torch.where(alive.unsqueeze(1), gradient, torch.zeros_like(gradient))


class Batches:
    """The points of each step: passes over the data, one after the other.

    A batch may reach from the end of one pass into the next, so that every point is used equally
    often. The permutation of a pass follows from (seed, pass) alone.
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
            pieces.append(self._pass(number)[:, at : at + missing])
            missing -= pieces[-1].shape[1]
            number, at = number + 1, 0
        return torch.from_numpy(np.concatenate(pieces, axis=1))

    def _make_pass(self, number: int) -> np.ndarray:
        if self.data.order == "sequential":
            return np.argsort(self.data.along, axis=1)
        if self.size == self.n:  # all points at once: no order to speak of
            number = 0
        generators = [np.random.default_rng((SHUFFLE, seed, number)) for seed in self.data.seeds]
        return np.stack([generator.permutation(self.n) for generator in generators])
