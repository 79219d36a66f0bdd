"""Training of an ensemble of replicates, each with its own data, start and end.

Stages follow each other, one optimiser each. What a step does follows from the state alone, so a
resumed run is bitwise the undisturbed one, unless a limit in seconds ends it.
"""

from __future__ import annotations

import abc
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from study.core.models import segments
from study.core.models.model import Model, NetworkModel, parts_of

RECORDS = 24  # how many points a stage's part of the training curve has
STATIONARY = 1e-2  # |gradient| |theta| / loss below which a replicate's training has converged
FITTED = 1e-20  # mean squared error, scaled units, that is zero for double precision
CHUNK = 1024  # states whose error is measured at once

# Why training of a replicate ended; all but the last four count as converged.
REASONS = (
    "solved",  # a linear problem, to the last digit
    "fitted",  # no train error left
    "gradient",  # the gradient is small beside the error
    "tolerance",  # the error no longer falls
    "damping",  # no step lowers the error, however short
    "iterations",  # the second-order method did all of its own
    "time",  # it had its seconds
    "steps",  # Adam or SOAP did all of its own
    "diverged",  # the error or its gradient was not finite
)
CONVERGED = REASONS[:5]


class Stopped(Exception):  # noqa: N818  it is no error
    """Training stopped because `stop` said so; its state is saved."""


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """The training points of each replicate, in scaled units.

    **Arguments:**

    - `rows`: (R, N, 3 D + m), q, qdot, m inputs and qddot side by side, float64.
    - `along`: (R, N) place of each point along its curves, for order `sequential`.
    - `order`: `shuffled` or `sequential`.
    - `seeds`: one a replicate, for the shuffling.
    - `following`: of the k samples after each point, the time since it, q and qdot; None if the
      loss does not need them.
    - `n_driven`: m.
    """

    rows: Float[Tensor, "R N W"]
    along: Int[np.ndarray, "R N"]
    order: str
    seeds: Sequence[int]
    following: Float[Tensor, "R N k one_plus_two_D"] | None = None
    n_driven: int = 0

    @property
    def n_dof(self) -> int:
        """D."""
        return (self.rows.shape[2] - self.n_driven) // 3

    def part(self, points: slice) -> TrainingData:
        """Some of the points of each replicate."""
        rows, along = self.rows[:, points], self.along[:, points]
        following = None if self.following is None else self.following[:, points]
        return dataclasses.replace(self, rows=rows, along=along, following=following)

    def segments(self) -> Float[Tensor, "R N W"]:
        """Each point's q and qdot, and what follows it: see `models.segments`."""
        assert self.following is not None
        start = self.rows[:, :, : 2 * self.n_dof]
        return torch.cat([start, self.following.flatten(2)], 2)

    def states(self, which: Tensor | slice, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        """q, qdot, target (R', D, B) of some replicates and points, feature-major; inputs stand
        below qdot."""
        return parts_of(self.rows[which, part].mT.contiguous(), self.n_driven)

    def chunks(
        self, which: slice, size: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """`states` of all points in their order, at most `size` (or `CHUNK`) at once."""
        N, size = self.rows.shape[1], size or CHUNK
        for begin in range(0, N, size):
            yield self.states(which, slice(begin, min(begin + size, N)))


@dataclasses.dataclass
class State:
    """Everything that one step leaves to the next; a checkpoint holds all of it.

    **Arguments:**

    - `stage`, `step`: which stage (-1 before the first), and its steps done; `x`: of all stages.
    - `reasons`: why each replicate ended, one of `REASONS`; empty for one that goes on.
    - `memory`: what the stage needs from its earlier steps.
    - `floored`: share of samples with a floored mass matrix, summed over the steps on minibatches.
    - `best`, `best_error`: the parameters with the least error on held-out points so far, and that
      error; None without such points.
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
    best: Float[Tensor, "R S"] | None = None
    best_error: Float[Tensor, " R"] | None = None

    @classmethod
    def fresh(cls, theta: Float[Tensor, "R S"]) -> State:
        """Before the first step."""
        return cls(theta, [""] * len(theta), theta.new_zeros(len(theta), dtype=torch.float64))

    def going(self) -> list[int]:
        """The replicates that have not ended."""
        return [r for r, reason in enumerate(self.reasons) if not reason]


class Stage(abc.ABC):
    """One optimiser and its number of steps; `limit` is the reason if a replicate uses them up."""

    steps: int
    limit = "iterations"

    @property
    def looks(self) -> int:
        """Steps between two looks at held-out points."""
        return 1

    @property
    def expected(self) -> int:
        """Steps that it will take, as far as can be said before: what shares of it are of."""
        return self.steps

    @abc.abstractmethod
    def begin(self, model: Model, data: TrainingData, state: State) -> dict[str, Tensor]:
        """What `state.memory` holds before the stage's first step; may replace `state.theta`."""

    @abc.abstractmethod
    def stepper(self, model: Model, data: TrainingData) -> Callable[[State], None]:
        """A function that does one step in place, and notes which replicates end and why."""

    def rate(self, step: int) -> float:
        """The learning rate of a step; NaN without one."""
        return math.nan


def record_steps(steps: int) -> set[int]:
    """The steps at which a stage's training curve is measured: evenly in log, first and last."""
    return {0, *np.unique(np.geomspace(1, steps, RECORDS).round().astype(int)).tolist()}


def train(
    model: Model,
    data: TrainingData,
    stages: Sequence[Stage],
    state: State,
    *,
    validation: TrainingData | None = None,
    measure: Callable[[Tensor], dict[str, list[float]]],
    save: Callable[[State], None] = lambda state: None,
    progress: Callable[[float], None] = lambda fraction: None,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[State], None] = lambda state: None,
    every_seconds: float = math.inf,
) -> State:
    """Take `state` through what is left of the stages, each from where the one before ended.

    **Arguments:**

    - `validation`: points that no step sees; the parameters with the least error on them are what
      is left at the end, wherever on the way they were.
    - `measure`: theta -> one list (R) a metric, called at `record_steps` of each stage.
    - `save`: called every `every_seconds` with the state.
    - `progress`: called now and then with the fraction done; each stage counts the same.
    - `stop`: called after every step.
    - `watch`: called with the state after each new record.

    **Raises:** `Stopped`, with the state saved, once `stop` says so; what `watch` raises.
    """
    begun = saved = shown = time.perf_counter()
    seconds = state.seconds
    if validation is not None and state.best is None:
        _keep_best(model, validation, state)

    def tick() -> None:
        """Count the time, save and show what is due, and stop if training has to."""
        nonlocal saved, shown
        now = time.perf_counter()
        state.seconds = seconds + now - begun
        if now - shown > 0.5:
            of_stage = state.step / max(1, stages[state.stage].expected)
            progress((state.stage + min(1.0, of_stage)) / len(stages))
            shown = now
        stopped = stop()
        if stopped or now - saved > every_seconds:
            save(state)
            saved = now
        if stopped:
            raise Stopped

    for number in range(max(state.stage, 0), len(stages)):
        stage = stages[number]
        if number > state.stage:
            state.stage, state.step = number, 0
            state.reasons = ["diverged" if r == "diverged" else "" for r in state.reasons]
            state.memory = stage.begin(model, data, state)
        step, due = stage.stepper(model, data), record_steps(stage.steps)
        while True:
            over = state.step >= stage.steps or not state.going()
            new = not state.records or state.records[-1]["x"] < state.x
            if new and (over or state.step in due):
                lr = [stage.rate(state.step)] * len(state.theta)
                state.records.append({"x": state.x, "lr": lr, **measure(state.theta)})
                watch(state)
            tick()
            if over:
                break
            step(state)
            state.step += 1
            state.x += 1
            if validation is not None and (
                state.step % stage.looks == 0 or state.step == stage.steps
            ):
                _keep_best(model, validation, state)
    if state.best is not None:
        state.theta = state.best.to(state.theta.dtype)
    state.reasons = [reason or stages[-1].limit for reason in state.reasons]
    return state


def _keep_best(model: Model, validation: TrainingData, state: State) -> None:
    """Note the parameters of each replicate whose error on held-out points is the least so far."""
    theta = state.theta.double()
    error = torch.zeros_like(theta[:, 0])
    if validation.following is not None:
        error = loss_and_gradient(model, validation, theta, "rollout")[0]
    else:
        for q, qdot, target in validation.chunks(slice(None)):
            residual = model.acceleration(theta, q, qdot) - target
            error += (residual * residual).sum((1, 2))
    if state.best is None or state.best_error is None:
        state.best, state.best_error = theta.clone(), torch.full_like(error, math.inf)
    better = error < state.best_error  # False if the error is NaN
    state.best = torch.where(better[:, None], theta, state.best)
    state.best_error = torch.where(better, error, state.best_error)


def loss_and_gradient(
    model: Model,
    data: TrainingData,
    theta: Float[Tensor, "R S"],
    loss: str = "squared",
    which: slice = slice(None),
) -> tuple[Float[Tensor, " R"], Float[Tensor, "R S"]]:
    """Mean error over all training points of each replicate and its gradient, in float64.

    `which`: the replicates of the data that `theta` belongs to.
    """
    theta = theta.double()
    value, gradient = torch.zeros_like(theta[:, 0]), torch.zeros_like(theta)
    if loss == "rollout":
        assert isinstance(model, NetworkModel)
        batches = (rows.mT.contiguous() for rows in data.segments()[which].split(CHUNK, 1))
        parts = ((rows, segments.loss_and_gradient(model, theta, rows)) for rows in batches)
    else:
        parts = (
            (q, model.loss_and_gradient(theta, q, qdot, target, loss=loss))
            for q, qdot, target in data.chunks(which)
        )
    for states, (v, g, _) in parts:
        share = states.shape[-1] / data.rows.shape[1]
        value, gradient = value + share * v, gradient + share * g
    return value, gradient


def relative_gradient(
    model: Model, data: TrainingData, theta: Float[Tensor, "R S"], loss: str = "squared"
) -> Float[Tensor, " R"]:
    """|gradient| |theta| / loss on all training points: zero at a minimum, free of units.

    The largest relative change of the loss for a relative change of the parameters: at 1e-2,
    changing them by 1 % lowers the loss by at most 0.01 % of itself, to first order. It has no
    meaning once the loss is only rounding.
    """
    value, gradient = loss_and_gradient(model, data, theta, loss)
    P = model.n_params
    size = torch.linalg.vector_norm(theta[:, :P].double(), dim=1)
    return torch.linalg.vector_norm(gradient[:, :P], dim=1) * size / value


def verdicts(state: State, relative: Float[Tensor, " R"]) -> list[tuple[bool, str]]:
    """(converged, why it stopped) of each replicate at its end.

    One that used up its steps or its time has converged if its `relative_gradient` is small.
    """
    out = []
    for reason, slope in zip(state.reasons, relative.tolist(), strict=True):
        if reason in ("steps", "iterations", "time") and slope <= STATIONARY:
            reason = "gradient"
        out.append((reason in CONVERGED, reason))
    return out
