"""L-BFGS on all training points in float64: a polish after Adam.

Byrd, Lu, Nocedal and Zhu (1995), without bounds. One step of the stage is one replicate's whole
minimisation, so a resumed run does the interrupted replicate again and ends in the same bits. The
loss is minimised as a multiple of its first value and stopped here, because scipy's own tolerances
are absolute once a loss is below one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy  # scipy.optimize is loaded on first use
import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.model import Model
from study.core.training.train import FITTED, Stage, State, TrainingData, loss_and_gradient

HISTORY = 30  # corrections kept
WINDOW, FALL = 50, 1e-3  # stop if the error fell by less than FALL over WINDOW iterations
REFUSED = 1e3  # times the first loss: stands for a loss that is not finite


@dataclasses.dataclass(frozen=True)
class LBFGS(Stage):
    """At most `iterations` of L-BFGS for each of `steps` = R replicates."""

    steps: int
    iterations: int

    def begin(self, model: Model, data: TrainingData, state: State) -> dict[str, Tensor]:
        state.theta = state.theta.double()
        return {}

    def stepper(self, model: Model, data: TrainingData) -> Callable[[State], None]:
        def step(state: State) -> None:
            r = state.step
            if not state.reasons[r]:
                theta, reason = self._minimise(model, data, state.theta[r : r + 1], r)
                state.theta = torch.cat([state.theta[:r], theta, state.theta[r + 1 :]])
                state.reasons[r] = reason

        return step

    def _minimise(
        self, model: Model, data: TrainingData, theta: Float[Tensor, "1 S"], r: int
    ) -> tuple[Float[Tensor, "1 S"], str]:
        """The end of the minimisation of replicate r from theta, and its reason."""

        def at(theta: Tensor) -> tuple[float, Float[np.ndarray, " S"]]:
            value, gradient = loss_and_gradient(model, data, theta, which=slice(r, r + 1))
            return float(value), gradient[0].cpu().numpy()

        first, slope = at(theta)
        if not np.isfinite(first) or not np.isfinite(slope).all():
            return theta, "diverged"
        if first <= FITTED:
            return theta, "fitted"
        past, reason = [1.0], ""

        def relative(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = at(torch.from_numpy(x.copy())[None].to(theta))
            if not np.isfinite(value) or not np.isfinite(slope).all():
                return REFUSED, np.zeros_like(x)  # the line search turns back
            return value / first, slope / first

        def after_iteration(intermediate_result: scipy.optimize.OptimizeResult) -> None:
            nonlocal reason
            past.append(float(intermediate_result.fun))
            if past[-1] * first <= FITTED:
                reason = "fitted"
            elif len(past) > WINDOW and past[-1] >= (1 - FALL) * past[-1 - WINDOW]:
                reason = "tolerance"
            if reason:
                raise StopIteration

        limits = {"maxiter": self.iterations, "maxfun": 2 * self.iterations}
        minimised = scipy.optimize.minimize(
            relative,
            theta[0].cpu().numpy(),
            jac=True,
            method="L-BFGS-B",
            callback=after_iteration,
            options={**limits, "maxcor": HISTORY, "ftol": 0.0, "gtol": 0.0},
        )
        # 2: the line search found no lower point; 0: nor did the last step lower it
        reason = reason or {1: "iterations"}.get(minimised.status, "damping")
        return torch.from_numpy(minimised.x)[None].to(theta), reason
