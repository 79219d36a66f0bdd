"""Levenberg-Marquardt in float64, each replicate with its own damping and its own end.

Levenberg (1944), Marquardt (1963); the damping follows Nielsen (1999), IMM-REP-1999-05, section 2,
for the loss F = mean of squared residuals.

A step solves (J^T J + mu I) delta = -J^T r in whichever of P and N D is smaller: with more
parameters than residuals, delta = -J^T (J J^T + mu I)^-1 r is the same step. If P is smaller, the
Jacobian is never held whole; one Jacobian serves all dampings that are tried. Replicates are taken
one after the other, so memory holds only one Gram matrix.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.model import Model
from study.core.training.train import FITTED, Stage, State, TrainingData

FIRST_DAMPING = 1e-3  # times the largest diagonal entry of J^T J
LEAST_DAMPING, MOST_DAMPING = 1e-16, 1e8  # times the same
GRADIENT = 1e-8  # cosine between r and each column of J at which a minimum is reached
WINDOW, FALL = 25, 1e-3  # stop if the error fell by less than FALL over WINDOW steps
JACOBIAN_BYTES = 2**26  # of one chunk of the Jacobian
BLOCK = 96  # columns of the Gram matrix made at once


@dataclasses.dataclass
class Linearised:
    """One replicate's problem at theta, M = N D residuals; of the Gram matrix the lower triangle.

    **Arguments:**

    - `gram`: J^T J, K = P; or J J^T, K = M, if M is smaller.
    - `jacobian`: J^T if the Gram matrix is J J^T, else None.
    - `residual`, `gradient`: r, and J^T r.
    - `squares`: the squared norm of each column of J, the diagonal of J^T J.
    """

    gram: Float[Tensor, "K K"]
    jacobian: Float[Tensor, "P M"] | None
    residual: Float[Tensor, " M"]
    gradient: Float[Tensor, " P"]
    squares: Float[Tensor, " P"]

    def step(self, damping: float) -> Float[Tensor, " P"] | None:
        """The damped step, or None if the damped Gram matrix cannot be factorised."""
        matrix = self.gram.clone()
        matrix.diagonal().add_(damping)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if failed:
            return None
        if self.jacobian is None:
            return -torch.cholesky_solve(self.gradient[:, None], factor)[:, 0]
        return -(self.jacobian @ torch.cholesky_solve(self.residual[:, None], factor)[:, 0])

    def promised(self, delta: Float[Tensor, " P"], damping: float) -> float:
        """The fall of the mean square of the linear model r + J delta."""
        return float(delta @ (damping * delta - self.gradient)) / len(self.residual)

    def cosine(self) -> float:
        """The largest cosine between r and a column of J (MINPACK's test on the gradient)."""
        norms = torch.sqrt(self.squares) * torch.linalg.vector_norm(self.residual)
        return float((self.gradient.abs() / norms.clamp_min(torch.finfo(norms.dtype).tiny)).amax())


@dataclasses.dataclass(frozen=True)
class LevenbergMarquardt(Stage):
    """At most `steps` steps on all training points, each of which lowers the error."""

    steps: int

    def begin(self, model: Model, data: TrainingData, state: State) -> dict[str, Tensor]:
        state.theta = state.theta.double().clone()  # changed in place
        R = len(state.theta)
        losses = [mean_square(model, data, state.theta[r : r + 1], r) for r in range(R)]
        return {
            "loss": torch.tensor(losses, dtype=torch.float64),
            "damping": torch.full((R,), math.nan, dtype=torch.float64),  # from the first Jacobian
            "past": torch.full((R, WINDOW + 1), math.inf, dtype=torch.float64),  # latest first
        }

    def stepper(self, model: Model, data: TrainingData) -> Callable[[State], None]:
        def step(state: State) -> None:
            for r in state.going():
                linear = linearise(model, data, state.theta[r : r + 1], r)
                state.reasons[r] = _at_minimum(state, linear, r)
                if not state.reasons[r]:
                    state.reasons[r] = _lower(model, data, state, linear, r)

        return step


def linearise(model: Model, data: TrainingData, theta: Float[Tensor, "1 S"], r: int) -> Linearised:
    """Residuals of replicate r and their Jacobian at theta, as the smaller Gram matrix."""
    N, D, P = data.rows.shape[1], data.rows.shape[2] // 3, model.n_params
    M, at = N * D, 0
    wide = P > M
    gram = theta.new_zeros((M, M) if wide else (P, P))
    whole = theta.new_empty(P, M) if wide else None
    residual, gradient, squares = theta.new_empty(M), theta.new_zeros(P), theta.new_zeros(P)
    for q, qdot, target in data.chunks(slice(r, r + 1), max(1, JACOBIAN_BYTES // (8 * D * P))):
        qddot, J = model.jacobian(theta, q, qdot)
        columns = J[0].permute(2, 1, 0).flatten(1)  # J^T (P, D B)
        difference = (qddot - target).flatten()
        rows = slice(at, at + len(difference))
        at = rows.stop
        residual[rows] = difference
        gradient += columns @ difference
        squares += (columns * columns).sum(1)
        if whole is None:
            _add_gram(gram, columns)
        else:
            whole[:, rows] = columns
    if whole is not None:
        _add_gram(gram, whole.mT)
    return Linearised(gram, whole, residual, gradient, squares)


def _add_gram(gram: Float[Tensor, "K K"], columns: Float[Tensor, "K L"]) -> None:
    """Add columns columns^T to the lower triangle, all that Cholesky reads: half the work."""
    for begin in range(0, len(gram), BLOCK):
        end = min(begin + BLOCK, len(gram))
        gram[begin:end, :end].addmm_(columns[begin:end], columns[:end].mT)


def _at_minimum(state: State, linear: Linearised, r: int) -> str:
    """The reason to end before a step, or ""."""
    loss = float(state.memory["loss"][r])
    slopes = (linear.gradient, linear.squares)
    if not math.isfinite(loss) or not all(bool(x.isfinite().all()) for x in slopes):
        return "diverged"
    if loss <= FITTED:
        return "fitted"
    return "gradient" if linear.cosine() <= GRADIENT else ""


def _lower(model: Model, data: TrainingData, state: State, linear: Linearised, r: int) -> str:
    """Raise the damping until the loss falls, and do that step; the reason to end, or ""."""
    memory, theta = state.memory, state.theta[r : r + 1]
    largest = float(linear.squares.amax())
    before, damping, growth = float(memory["loss"][r]), float(memory["damping"][r]), 2.0
    if math.isnan(damping):
        damping = FIRST_DAMPING * largest
    while damping <= MOST_DAMPING * largest:
        delta = linear.step(damping)
        if delta is not None:
            trial = theta.clone()
            trial[0, : model.n_params] += delta
            after = mean_square(model, data, trial, r)
            if after < before:  # False if `after` is NaN
                break
        damping, growth = damping * growth, 2 * growth
    else:
        return "damping"
    gain = min(1.0, (before - after) / linear.promised(delta, damping))
    damping = max(damping * max(1 / 3, 1 - (2 * gain - 1) ** 3), LEAST_DAMPING * largest)
    theta[:] = trial
    memory["loss"][r], memory["damping"][r] = after, damping
    past = memory["past"][r]
    past[:] = past.roll(1)
    past[0] = after
    return "tolerance" if past[0] >= (1 - FALL) * past[-1] else ""


def mean_square(model: Model, data: TrainingData, theta: Float[Tensor, "1 S"], r: int) -> float:
    """Mean squared residual of replicate r over all its points."""
    total = 0.0
    for q, qdot, target in data.chunks(slice(r, r + 1)):
        residual = model.acceleration(theta, q, qdot) - target
        total += float((residual * residual).sum())
    return total / (data.rows.shape[1] * (data.rows.shape[2] // 3))
