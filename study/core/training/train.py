"""Training of an ensemble of replicates, each with its own data, start and fate.

Knows: stages that follow each other, records on the way, checkpoints, when a replicate counts as
converged. Does not know: what the model is, where data come from, folders, what a stage does in a
step (`adam.py`, `levenberg_marquardt.py`, `lbfgs.py`, `least_squares.py`). What a step does follows
from the state alone, so a resumed run is bitwise the undisturbed one.
"""

from __future__ import annotations

import abc
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from study.core.models import Model

RECORDS = 24  # how many points a stage's part of the training curve has
STATIONARY = 1e-2  # |gradient| |theta| / loss below which a replicate's training has converged
FITTED = 1e-20  # mean squared error, scaled units, that is zero for double precision
CHUNK = 1024  # states whose error is measured at once

# why training of a replicate ended; all but the last three count as converged
REASONS = (
    "solved",  # a linear problem, to the last digit
    "fitted",  # no train error left
    "gradient",  # the gradient is small beside the error
    "tolerance",  # the error no longer falls
    "damping",  # no step lowers the error, however short
    "iterations",  # all that a second-order method was given
    "steps",  # all that Adam was given
    "diverged",  # the error or its gradient was no number
)
CONVERGED = REASONS[:5]


class Stopped(Exception):  # noqa: N818  it is no error
    """Training was asked to stop, and has saved its state."""


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What each replicate is trained on, in scaled units.

    **Arguments:**

    - `rows`: (R, N, 3 D), q, qdot and qddot side by side, float64.
    - `along`: (R, N) place of each point along its curves, for order `sequential`.
    - `order`: `shuffled` or `sequential`.
    - `seeds`: one a replicate, for the shuffling.
    """

    rows: Float[Tensor, "R N three_D"]
    along: Int[np.ndarray, "R N"]
    order: str
    seeds: Sequence[int]

    def states(self, which: Tensor | slice, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        """q, qdot, target (R', D, B) of some replicates and points, feature-major."""
        q, qdot, target = self.rows[which, part].mT.contiguous().chunk(3, 1)
        return q, qdot, target


@dataclasses.dataclass
class State:
    """All that training carries from step to step; saved whole in a checkpoint.

    **Arguments:**

    - `stage`, `step`: which stage (-1 before the first), and its steps done; `x`: of all stages.
    - `reasons`: why each replicate ended, one of `REASONS`; empty for one that goes on.
    - `memory`: what the stage itself carries.
    - `floored`: share of samples with a floored mass matrix, summed over Adam's steps.
    """

    theta: Float[Tensor, "R S"]
    reasons: list[str]
    floored: Float[Tensor, " R"]
    stage: int = -1
    step: int = 0
    x: int = 0
    seconds: float = 0.0
    memory: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    records: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @classmethod
    def fresh(cls, theta: Float[Tensor, "R S"]) -> State:
        """Before the first step."""
        return cls(theta, [""] * len(theta), theta.new_zeros(len(theta), dtype=torch.float64))

    def going(self) -> list[int]:
        """The replicates that have not ended."""
        return [r for r, reason in enumerate(self.reasons) if not reason]


class Stage(abc.ABC):
    """One optimiser and how long it may take; `limit` is the reason of who gets to its end."""

    steps: int
    limit = "iterations"

    @abc.abstractmethod
    def begin(self, model: Model, data: TrainingData, state: State) -> dict[str, Tensor]:
        """What `state.memory` holds before the stage's first step; may replace `state.theta`."""

    @abc.abstractmethod
    def stepper(self, model: Model, data: TrainingData) -> Callable[[State], None]:
        """A function that takes a state one step on, and notes who ends and why."""

    def rate(self, step: int) -> float:
        """The learning rate of a step, where there is one."""
        return math.nan


def record_steps(steps: int) -> set[int]:
    """Where a stage's training curve is measured: evenly in log, first and last step."""
    return {0, *np.unique(np.geomspace(1, steps, RECORDS).round().astype(int)).tolist()}


def train(
    model: Model,
    data: TrainingData,
    stages: Sequence[Stage],
    state: State,
    *,
    measure: Callable[[Tensor], dict[str, list[float]]],
    save: Callable[[State], None] = lambda state: None,
    progress: Callable[[float], None] = lambda fraction: None,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[State], None] = lambda state: None,
    every_seconds: float = math.inf,
) -> State:
    """Take `state` through what is left of the stages, each from where the one before ended.

    **Arguments:**

    - `measure`: theta -> one list (R) a metric, called at `record_steps` of each stage.
    - `save`: called every `every_seconds` with the state.
    - `progress`: fraction done, called now and then; each stage counts the same.
    - `stop`: asked after every step.
    - `watch`: shown the state after each new record.

    **Raises:** `Stopped`, with the state saved, once `stop` says so; what `watch` raises.
    """
    clock = _Clock(state, stages, save, progress, stop, every_seconds)
    for number in range(max(state.stage, 0), len(stages)):
        stage = stages[number]
        if number > state.stage:
            state.stage, state.step = number, 0
            state.reasons = ["diverged" if r == "diverged" else "" for r in state.reasons]
            state.memory = stage.begin(model, data, state)
        step, due = stage.stepper(model, data), record_steps(stage.steps)
        while True:
            over = state.step >= stage.steps or not state.going()
            if (over or state.step in due) and _new(state):
                lr = [stage.rate(state.step)] * len(state.theta)
                state.records.append({"x": state.x, "lr": lr, **measure(state.theta)})
                watch(state)
            clock.tick(state)
            if over:
                break
            step(state)
            state.step += 1
            state.x += 1
    state.reasons = [reason or stages[-1].limit for reason in state.reasons]
    return state


def _new(state: State) -> bool:
    return not state.records or state.records[-1]["x"] < state.x


class _Clock:
    """Seconds spent, checkpoints and progress between steps."""

    def __init__(
        self,
        state: State,
        stages: Sequence[Stage],
        save: Callable[[State], None],
        progress: Callable[[float], None],
        stop: Callable[[], bool],
        every_seconds: float,
    ) -> None:
        self.stages, self.save, self.progress, self.stop = stages, save, progress, stop
        self.every = every_seconds
        self.begun = self.saved = self.shown = time.perf_counter()
        self.before = state.seconds

    def tick(self, state: State) -> None:
        now = time.perf_counter()
        state.seconds = self.before + now - self.begun
        if now - self.shown > 0.5:
            of_stage = state.step / max(1, self.stages[state.stage].steps)
            self.progress((state.stage + of_stage) / len(self.stages))
            self.shown = now
        stopped = self.stop()
        if stopped or now - self.saved > self.every:
            self.save(state)
            self.saved = now
        if stopped:
            raise Stopped


def loss_and_gradient(
    model: Model,
    data: TrainingData,
    theta: Float[Tensor, "R S"],
    loss: str = "squared",
    which: slice = slice(None),
) -> tuple[Float[Tensor, " R"], Float[Tensor, "R S"]]:
    """Mean error over all training points of each replicate and its gradient, in float64.

    `which` replicates of the data `theta` belongs to.
    """
    theta, N = theta.double(), data.rows.shape[1]
    value, gradient = torch.zeros_like(theta[:, 0]), torch.zeros_like(theta)
    for begin in range(0, N, CHUNK):
        part = slice(begin, min(begin + CHUNK, N))
        share = (part.stop - part.start) / N
        batch = data.states(which, part)
        v, g, _ = model.loss_and_gradient(theta, *batch, loss=loss)
        value, gradient = value + share * v, gradient + share * g
    return value, gradient


def relative_gradient(
    model: Model, data: TrainingData, theta: Float[Tensor, "R S"], loss: str = "squared"
) -> Float[Tensor, " R"]:
    """|gradient| |theta| / loss on all training points: zero at a minimum, free of units.

    The largest relative change of the loss for a relative change of the parameters: at 1e-2,
    changing them by 1 % lowers the loss by at most 0.01 % of itself, to first order. It says
    nothing where no loss is left but rounding.
    """
    value, gradient = loss_and_gradient(model, data, theta, loss)
    P = model.n_params
    size = torch.linalg.vector_norm(theta[:, :P].double(), dim=1)
    return torch.linalg.vector_norm(gradient[:, :P], dim=1) * size / value


def verdicts(state: State, relative: Float[Tensor, " R"]) -> list[tuple[bool, str]]:
    """(converged, why it stopped) of each replicate at its end.

    One that was given no more steps has converged if its `relative_gradient` is small.
    """
    out = []
    for reason, slope in zip(state.reasons, relative.tolist(), strict=True):
        if reason in ("steps", "iterations") and slope <= STATIONARY:
            reason = "gradient"
        out.append((reason in CONVERGED, reason))
    return out
