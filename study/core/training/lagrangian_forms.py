"""The two forms in which a Lagrangian is fitted: what is chosen, the equations, and the judge.

The weak form needs positions alone and judges by positions that are predicted. The strong form
needs measured velocities and accelerations, and judges by accelerations. Neither needs the truth.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from study.core.data.smoothing import WINDOWS
from study.core.data.trajectory import Trajectory, split
from study.core.models.forced_lagrangian import ForcedLagrangian
from study.core.systems.units import Units
from study.core.training.elimination import Design
from study.core.training.lagrangian_equations import MOST_ROWS, Motion, strong_form, weak_form
from study.core.training.prediction import Judge

Array = np.ndarray

HALF_WIDTHS = (1.2, 0.6, 1.8, 2.4)  # of test functions, in scaled units of time
SHORTEST = 4  # samples in half a test function, at least
STATES = 500  # held-out, whose accelerations judge the strong form
ENOUGH = 10  # equations an unknown, to choose by the strong form
LEAST_WINDOW = 0.25  # of the window that smooths positions best


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One choice of everything but the ridge; what has no meaning in a form keeps its default."""

    n_features: int
    scale: float
    window: int = 0
    half: float = np.nan


@dataclasses.dataclass(frozen=True)
class Form(abc.ABC):
    """All trajectories, and the units that they are fitted in."""

    trajectories: tuple[Trajectory, ...]
    units: Units
    name: ClassVar[str]

    @property
    def fitted(self) -> list[Trajectory]:
        return split(self.trajectories)[0]

    @property
    def held_out(self) -> list[Trajectory]:
        return split(self.trajectories)[1]

    def axes(self) -> dict[str, Sequence]:
        """Values of a `Candidate`'s fields to choose among, the first of each to begin with."""
        return {}

    @abc.abstractmethod
    def design(
        self,
        forced: ForcedLagrangian,
        theta: Float[Tensor, "1 S"],
        candidate: Candidate,
        everything: bool,
    ) -> Design:
        """The equations of everything, or of what is not held out."""

    @abc.abstractmethod
    def moving(self) -> list[Motion]:
        """All trajectories in scaled units."""

    def indefinite(
        self, forced: ForcedLagrangian, theta: Float[Tensor, "R S"]
    ) -> Float[Array, " R"]:
        """The share of states, of all trajectories, at which M is not positive definite."""
        motions = self.moving()
        every = max(1, sum(len(motion.times) for motion in motions) // STATES)
        parts = [motion.every(every) for motion in motions]
        states = (np.concatenate([getattr(x, name) for x in parts]).T for name in ("q", "qdot"))
        rows = (torch.from_numpy(x.copy()).expand(len(theta), -1, -1) for x in states)
        mass = torch.nan_to_num(forced.model.mass_matrix(theta, *rows).permute(0, 3, 1, 2))
        return (torch.linalg.eigvalsh(mass)[..., 0] <= 0).double().mean(1).numpy()

    @abc.abstractmethod
    def scores(
        self, forced: ForcedLagrangian, theta: Float[Tensor, "R S"], f: Float[Array, "R k"]
    ) -> Float[Array, " R"]:
        """The logarithm of the held-out error of R fits."""


@dataclasses.dataclass(frozen=True)
class WeakForm(Form):
    """- `window`: samples of the polynomials that smooth the positions best."""

    window: int
    name = "weak"

    @functools.cached_property
    def judge(self) -> Judge:
        return Judge.of(self.held_out, self.units, self.window)

    def axes(self) -> dict[str, Sequence]:
        """Half widths that fit into a trajectory; windows that smooth less than the best.

        Test functions average noise themselves, so that a shorter window, which bends the motion
        less, is often better.
        """
        fitted = self.fitted
        step = float(np.median(np.concatenate([np.diff(x.times) for x in fitted])))
        longest = max(float(x.times[-1] - x.times[0]) for x in fitted) - self.window * step
        least, most = SHORTEST * step / self.units.time, longest / self.units.time / 4
        halves = [half for half in HALF_WIDTHS if least <= half <= most]
        windows = [w for w in WINDOWS if LEAST_WINDOW * self.window <= w <= self.window]
        return {"half": halves or [min(max(least, HALF_WIDTHS[0]), most)], "window": windows[::-1]}

    def motions(self, window: int, everything: bool) -> list[Motion]:
        """The smoothed trajectories that are long enough."""
        chosen = self.trajectories if everything else self.fitted
        motions = (Motion.smoothed(x, self.units, window) for x in chosen)
        return [motion for motion in motions if motion is not None]

    def moving(self):
        return self.motions(self.window, everything=True)

    def design(self, forced, theta, candidate, everything):
        return weak_form(forced, theta, self.motions(candidate.window, everything), candidate.half)

    def scores(self, forced, theta, f):
        return self.judge.scores(lambda q, v, u: forced.acceleration(theta, f, q, v, u), len(f))


@dataclasses.dataclass(frozen=True)
class StrongForm(Form):
    """Measured velocities and accelerations."""

    name = "strong"

    def motions(self, chosen: Sequence[Trajectory]) -> list[Motion]:
        return [Motion.measured(x, self.units) for x in chosen]

    def moving(self):
        return self.motions(self.trajectories)

    def design(self, forced, theta, candidate, everything):
        chosen = self.trajectories if everything else self.fitted
        enough = MOST_ROWS if everything else ENOUGH * forced.model.n_params
        return strong_form(forced, theta, self.motions(chosen), enough)

    def scores(self, forced, theta, f):
        total, count = np.zeros(len(f)), 0
        motions = self.motions(self.held_out)
        every = max(1, sum(len(motion.times) for motion in motions) // STATES)
        for whole in motions:
            motion = whole.every(every)
            states = (motion.q, motion.qdot, *(() if motion.u is None else (motion.u,)))
            rows = (torch.from_numpy(x.T.copy()).expand(len(f), -1, -1) for x in states)
            error = forced.acceleration(theta, f, *rows) - torch.from_numpy(motion.qddot.T.copy())
            total, count = total + error.square().sum((1, 2)).numpy(), count + error[0].numel()
        return np.log(np.nan_to_num(total / count, nan=np.inf) + np.finfo(float).tiny)
