"""The weak form as a stage of training: a linear Lagrangian from positions alone, one step each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from study.core.data.trajectory import Trajectory
from study.core.models.linear_lagrangian import DrawnLagrangian
from study.core.models.model import Model
from study.core.systems.mechanics import System
from study.core.systems.units import Units
from study.core.training.lagrangian_fit import fit_weak
from study.core.training.train import Stage, State, TrainingData


@dataclasses.dataclass(frozen=True)
class Weak(Stage):
    """One step for each of `steps` = R replicates.

    - `tracks`: each replicate's positions as they were sampled; the training points are not used.
    - `seeds`: of its features; `features`: as `lagrangian_fit.Task` takes them.
    """

    steps: int
    tracks: Sequence[Sequence[Trajectory]]
    seeds: Sequence[int]
    features: str
    system: System
    units: Units

    def begin(self, model: Model, data: TrainingData, state: State) -> dict[str, Tensor]:
        state.theta = state.theta.double()
        return {}

    def stepper(self, model: Model, data: TrainingData) -> Callable[[State], None]:
        def step(state: State) -> None:
            r, system = state.step, self.system
            options = {"features": self.features, "seed": self.seeds[r], "system": system}
            fitted = fit_weak(self.tracks[r], system.angles, self.units, **options)
            theta = state.theta.clone()
            theta[r] = _widened(fitted.forced.model, fitted.theta, model)[0]
            state.theta, state.reasons[r] = theta, "solved"

        return step


def _widened(chosen: Model, theta: Tensor, model: Model) -> Tensor:
    """The parameters in a model with more features, whose coefficients are zero."""
    if not isinstance(chosen, DrawnLagrangian) or not isinstance(model, DrawnLagrangian):
        return theta
    few, many = chosen.mlp.width, model.mlp.width
    parts = theta.split([chosen.n_params, few * chosen.n_inputs, few], 1)
    sizes = (model.n_params, many * model.n_inputs, many)
    pads = (
        part.new_zeros(1, size - part.shape[1]) for part, size in zip(parts, sizes, strict=True)
    )
    both = zip(parts, pads, strict=True)
    return torch.cat([x for pair in both for x in pair], 1)
