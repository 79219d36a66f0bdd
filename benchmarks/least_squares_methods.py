"""The methods that `least_squares.py` compares, and the problem as each of them wants it.

Knows: residuals and Jacobian of one seed in all their forms, how each package is called, what a
course is. Does not know: seeds, medians, tables.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch_levenberg_marquardt as tlm  # type: ignore
from levenberg_marquardt import SEEDS, begin
from plain_lagrangian import Accelerations, PlainLagrangian
from scipy.optimize import least_squares
from torch import Tensor
from torch.func import functional_call, jacrev, vmap

from study.block.setup import Setup
from study.core.training.levenberg_marquardt import LevenbergMarquardt

SAME = 1e-10  # to which residuals and Jacobian agree at the start


@dataclasses.dataclass
class Course:
    """How one method fared: the best error against seconds, and how often it linearised."""

    seconds: float
    begun: float = dataclasses.field(default_factory=time.process_time)
    curve: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    best: Tensor | None = None
    iterations: int = 0

    def note(self, theta: Tensor, error: float) -> None:
        if error < (self.curve[-1][1] if self.curve else math.inf):
            self.curve.append((self.spent(), error))
            self.best = theta.clone()

    def spent(self) -> float:
        return time.process_time() - self.begun

    def over(self) -> bool:
        return self.spent() >= self.seconds


class TimeIsUp(Exception):  # noqa: N818  it is no error
    """Thrown through scipy, which knows no clock."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """One seed's residuals, in all their forms: theta (P) -> (M), and their Jacobian (M, P)."""

    setup: Setup
    seed: int

    def start(self) -> Tensor:
        return self.setup.initial_parameters()[self.seed].clone()

    def points(self) -> tuple[Tensor, Tensor]:
        """States (N, 2 D) and targets (N, D)."""
        rows = self.setup.data.rows[self.seed]
        D = self.setup.system.n_dof
        return rows[:, : 2 * D].contiguous(), rows[:, 2 * D :].contiguous()

    def module(self) -> Accelerations:
        return Accelerations(PlainLagrangian(self.setup.model.mlp, self.start()))  # type: ignore

    def plain(self) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        """Residuals and Jacobian by torch.func."""
        module, (states, targets) = self.module(), self.points()
        names, parameters = zip(*module.named_parameters(), strict=True)
        sizes = [parameter.numel() for parameter in parameters]

        def predict(theta: Tensor, states: Tensor) -> Tensor:
            parts = zip(names, theta.split(sizes), parameters, strict=True)
            return functional_call(module, {n: part.view_as(p) for n, part, p in parts}, states)

        def at_one(theta: Tensor, state: Tensor) -> Tensor:
            return predict(theta, state[None])[0]

        slopes = vmap(jacrev(at_one), (None, 0))
        return (
            lambda theta: (predict(theta, states) - targets).flatten(),
            lambda theta: slopes(theta, states).flatten(0, 1),
        )

    def ours(self) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        """Residuals and Jacobian of the project's model."""
        q, qdot, target = self.setup.data.states(
            slice(self.seed, self.seed + 1), slice(0, self.setup.data.rows.shape[1])
        )
        model = self.setup.model
        return (
            lambda theta: (model.acceleration(theta[None], q, qdot) - target)[0].T.flatten(),
            lambda theta: model.jacobian(theta[None], q, qdot)[1][0].flatten(0, 1),
        )


def with_study(fit: Fit, course: Course) -> None:
    """This project's."""
    stage, setup = LevenbergMarquardt(10**6), fit.setup
    state = begin(stage, setup, setup.initial_parameters())
    state.reasons = ["" if r == fit.seed else "aside" for r in range(SEEDS)]
    step = stage.stepper(setup.model, setup.data)
    while not course.over() and state.going():
        step(state)
        course.iterations += 1
        course.note(state.theta[fit.seed], float(state.memory["loss"][fit.seed]))


def with_tlm(fit: Fit, course: Course, tuned: bool) -> None:
    """The package's, without its progress bar."""
    module, (states, targets) = fit.module(), fit.points()
    damping = tlm.damping.StandardDampingStrategy()
    if tuned:
        damping = tlm.damping.StandardDampingStrategy(0.1, 1 / 3, 2.0, min_value=1e-16)
    trainer = tlm.training.LevenbergMarquardtModule(
        module,
        tlm.loss.MSELoss(),
        damping_strategy=damping,
        learning_rate=1.0,
        attempts_per_step=40 if tuned else 10,
        solve_method="cholesky" if tuned else "qr",
    )
    stop = False
    while not course.over() and not stop:
        _, loss, stop, _ = trainer.training_step(states, targets)
        course.iterations += 1
        course.note(trainer.flat_params, float(loss))


def with_scipy(fit: Fit, course: Course, method: Any, own: bool) -> None:
    """scipy's, until the time is up."""
    residuals, jacobian = fit.ours() if own else fit.plain()

    def evaluate(theta: np.ndarray) -> np.ndarray:
        if course.over():
            raise TimeIsUp
        parameters = torch.tensor(theta)
        with torch.no_grad():
            found = residuals(parameters)
        course.note(parameters, float((found * found).mean()))
        return found.numpy()

    def slopes(theta: np.ndarray) -> np.ndarray:
        course.iterations += 1
        return jacobian(torch.tensor(theta)).detach().numpy()

    tight: dict[str, Any] = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15, "method": method}
    start: Any = fit.start().numpy()
    with contextlib.suppress(TimeIsUp):
        least_squares(evaluate, start, slopes, **tight)  # type: ignore  (its stub wants a string)


def check(fit: Fit) -> None:
    """That all methods have the same problem before them."""
    theta, (states, targets) = fit.start(), fit.points()
    trainer = tlm.training.LevenbergMarquardtModule(fit.module(), tlm.loss.MSELoss())
    theirs = trainer._compute_jacobian(states, targets, None)[:2]
    for residuals, jacobian in (fit.plain(), fit.ours()):
        apart = (residuals(theta) - theirs[1].flatten(), jacobian(theta) - theirs[0])
        largest = max(float(x.detach().abs().amax()) for x in apart)
        assert largest < SAME, f"residuals or Jacobian differ by {largest}"
