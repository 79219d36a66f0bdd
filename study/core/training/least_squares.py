"""The minimum-norm least-squares solution of a model that is linear in what is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from study.core.models.model import Model
from study.core.training.train import Stage, State, TrainingData

CUTOFF = 1e-13  # singular values below this part of the largest count as zero


@dataclasses.dataclass(frozen=True)
class LeastSquares(Stage):
    """One step for each of `steps` = R replicates: theta = J^+ (target - qddot at theta = 0).

    **Raises:** `ValueError` for a model that is not linear.
    """

    steps: int

    def begin(self, model: Model, data: TrainingData, state: State) -> dict[str, Tensor]:
        if not model.linear:
            raise ValueError("least squares solves models that are linear in their parameters")
        state.theta = state.theta.double()
        return {}

    def stepper(self, model: Model, data: TrainingData) -> Callable[[State], None]:
        P = model.n_params

        def step(state: State) -> None:
            r = state.step
            theta = state.theta.clone()
            one = theta[r : r + 1]
            one[:, :P] = 0
            rows, targets = [], []
            for q, qdot, target in data.chunks(slice(r, r + 1)):
                qddot, J = model.jacobian(one, q, qdot)
                rows.append(J[0].flatten(0, 1))
                targets.append((target - qddot)[0].mT.flatten())
            left, right = torch.cat(rows).cpu(), torch.cat(targets)[:, None].cpu()
            if not left.isfinite().all() or not right.isfinite().all():
                state.reasons[r] = "diverged"  # LAPACK raises, which would end the others
                return
            solved = torch.linalg.lstsq(left, right, CUTOFF, driver="gelsd").solution
            one[:, :P] = solved[:, 0].to(theta)
            state.theta, state.reasons[r] = theta, "solved"

        return step
