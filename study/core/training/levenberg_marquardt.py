"""Levenberg-Marquardt in float64, each replicate with its own damping and its own end.

Levenberg (1944), Marquardt (1963); the damping follows Nielsen (1999), IMM-REP-1999-05, section 2,
for the loss F = mean of squared residuals.

A step solves (J^T J + mu I) delta = -J^T r in whichever of P and N D is smaller: with more
parameters than residuals, delta = -J^T (J J^T + mu I)^-1 r is the same step. If P is smaller, the
Jacobian is never held whole; one Jacobian serves all dampings that are tried. Replicates are taken
one after the other, so memory holds only one Gram matrix.

The factor of a step serves once more: it is the first guess of the inverse Hessian for steps of
L-BFGS (Nocedal 1980), which need a gradient each and no Gram matrix. They end as soon as they lower
the error less for what they cost than the step with the factor did. Costs are counted, not clocked,
so that a resumed run takes the same steps; only `seconds` goes by the clock.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.model import Model
from study.core.training.train import FITTED, Stage, State, TrainingData, loss_and_gradient

FIRST_DAMPING = 1e-3  # times the largest diagonal entry of J^T J
LEAST_DAMPING, MOST_DAMPING = 1e-16, 1e8  # times the same
GRADIENT = 1e-8  # cosine between r and each column of J at which a minimum is reached
WINDOW, FALL = 25, 1e-3  # stop if the error fell by less than FALL over WINDOW steps
JACOBIAN_BYTES = 2**26  # of one chunk of the Jacobian
BLOCK = 96  # columns of the Gram matrix made at once
# Steps of L-BFGS on a factor: at most so many, pairs kept, over how many the fall is looked at
MOST, PAIRS, LOOK = 50, 30, 3
COST, LEAST_COST = 64, 0.02  # of a gradient: COST / min(P, M) of a step with its factor, at least
DEAR = 0.25  # such steps are not tried if a gradient costs more
TRIALS, ARMIJO = 8, 1e-4  # of its line search
TYPICAL = 500  # steps after which most replicates of small networks have ended by themselves
TOO_SMALL = 1e-9  # damping, over the largest diagonal entry, at which J J^T no longer serves


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

    def factor(self, damping: float) -> Float[Tensor, "K K"] | None:
        """The Cholesky factor of the damped Gram matrix, or None if there is none."""
        matrix = self.gram.clone()
        matrix.diagonal().add_(damping)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        return None if failed else factor

    def step(self, factor: Float[Tensor, "K K"]) -> Float[Tensor, " P"]:
        """The damped step."""
        if self.jacobian is None:
            return -torch.cholesky_solve(self.gradient[:, None], factor)[:, 0]
        return -(self.jacobian @ torch.cholesky_solve(self.residual[:, None], factor)[:, 0])

    def solve(
        self, factor: Float[Tensor, "K K"], damping: float, v: Float[Tensor, " P"]
    ) -> Float[Tensor, " P"]:
        """(J^T J + damping I)^-1 v."""
        if self.jacobian is None:
            return torch.cholesky_solve(v[:, None], factor)[:, 0]
        seen = torch.cholesky_solve((self.jacobian.mT @ v)[:, None], factor)[:, 0]
        return (v - self.jacobian @ seen) / damping

    def promised(self, delta: Float[Tensor, " P"], damping: float) -> float:
        """The fall of the mean square of the linear model r + J delta."""
        return float(delta @ (damping * delta - self.gradient)) / len(self.residual)

    def cosine(self) -> float:
        """The largest cosine between r and a column of J (MINPACK's test on the gradient)."""
        norms = torch.sqrt(self.squares) * torch.linalg.vector_norm(self.residual)
        return float((self.gradient.abs() / norms.clamp_min(torch.finfo(norms.dtype).tiny)).amax())


@dataclasses.dataclass(frozen=True)
class LevenbergMarquardt(Stage):
    """At most `steps` steps on all training points, each of which lowers the error.

    A replicate ends, too, after the step in which it passes `seconds` of processor time, so that a
    busy machine changes no result; None for no such limit.
    """

    steps: int
    seconds: float | None = None

    @property
    def expected(self) -> int:
        return min(self.steps, TYPICAL)

    def begin(self, model: Model, data: TrainingData, state: State) -> dict[str, Tensor]:
        state.theta = state.theta.double().clone()  # changed in place
        R = len(state.theta)
        losses = [mean_square(model, data, state.theta[r : r + 1], r) for r in range(R)]
        return {
            "loss": torch.tensor(losses, dtype=torch.float64),
            "damping": torch.full((R,), math.nan, dtype=torch.float64),  # from the first Jacobian
            "past": torch.full((R, WINDOW + 1), math.inf, dtype=torch.float64),  # latest first
            "seconds": torch.zeros(R, dtype=torch.float64),
        }

    def stepper(self, model: Model, data: TrainingData) -> Callable[[State], None]:
        def step(state: State) -> None:
            for r in state.going():
                begun = time.process_time()
                linear = linearise(model, data, state.theta[r : r + 1], r)
                state.reasons[r] = _at_minimum(state, linear, r)
                if not state.reasons[r]:
                    state.reasons[r] = _lower(model, data, state, linear, r)
                spent = state.memory["seconds"]
                spent[r] += time.process_time() - begun
                if not state.reasons[r] and self.seconds and spent[r] >= self.seconds:
                    state.reasons[r] = "time"

        return step


def linearise(model: Model, data: TrainingData, theta: Float[Tensor, "1 S"], r: int) -> Linearised:
    """Residuals of replicate r and their Jacobian at theta, as the smaller Gram matrix."""
    N, D, P = data.rows.shape[1], data.n_dof, model.n_params
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
    """Raise the damping until the loss falls, do that step and those of its factor; the reason to
    end, or "".
    """
    memory, theta = state.memory, state.theta[r : r + 1]
    largest = float(linear.squares.amax())
    before, damping, growth = float(memory["loss"][r]), float(memory["damping"][r]), 2.0
    if math.isnan(damping):
        damping = FIRST_DAMPING * largest
    while damping <= MOST_DAMPING * largest:
        factor = linear.factor(damping)
        if factor is not None:
            delta = linear.step(factor)
            trial = theta.clone()
            trial[0, : model.n_params] += delta
            after = mean_square(model, data, trial, r)
            if after < before:  # False if `after` is NaN
                break
        damping, growth = damping * growth, 2 * growth
    else:
        return "damping"
    gain = min(1.0, (before - after) / linear.promised(delta, damping))
    cost = max(COST / len(linear.gram), LEAST_COST)
    if cost <= DEAR and (linear.jacobian is None or damping > TOO_SMALL * largest):
        enough = cost * math.log(before / after) if after > 0 else math.inf
        trial, after = _follow(model, data, trial, linear, factor, damping, r, after, enough)
    damping = max(damping * max(1 / 3, 1 - (2 * gain - 1) ** 3), LEAST_DAMPING * largest)
    theta[:] = trial
    memory["loss"][r], memory["damping"][r] = after, damping
    past = memory["past"][r]
    past[:] = past.roll(1)
    past[0] = after
    return "tolerance" if past[0] >= (1 - FALL) * past[-1] else ""


def _follow(
    model: Model,
    data: TrainingData,
    theta: Float[Tensor, "1 S"],
    linear: Linearised,
    factor: Float[Tensor, "K K"],
    damping: float,
    r: int,
    loss: float,
    enough: float,
) -> tuple[Float[Tensor, "1 S"], float]:
    """Steps of L-BFGS while log(loss) falls by `enough` a gradient; their end and its loss."""
    P, pairs, past, gradients = model.n_params, deque(maxlen=PAIRS), [loss], [1]
    asked = 0
    half = len(linear.residual) / 2  # (J^T J)^-1 times it is the inverse Hessian of the mean square

    def at(theta: Tensor) -> tuple[float, Float[Tensor, " P"]]:
        nonlocal asked
        asked += 1
        value, slope = loss_and_gradient(model, data, theta, which=slice(r, r + 1))
        return float(value), slope[0, :P]

    def moved(direction: Tensor, length: float) -> Tensor:
        there = theta.clone()
        there[0, :P] += length * direction
        return there

    _, gradient = at(theta)
    while len(past) <= MOST:
        direction = -_two_loops(gradient, pairs, lambda v: half * linear.solve(factor, damping, v))
        slope, length = float(gradient @ direction), 1.0
        if not slope < 0:
            break
        for _ in range(TRIALS):
            trial = moved(direction, length)
            value, new = at(trial)
            if value <= past[-1] + ARMIJO * length * slope:
                break
            # to the least of the parabola through both values and the slope
            least = -slope * length / (2 * (value - past[-1] - length * slope))
            length *= min(0.5, max(0.1, least)) if math.isfinite(value) else 0.1
        else:
            break
        step, change = length * direction, new - gradient
        if float(step @ change) > 0:
            pairs.append((step, change))
        theta, gradient = trial, new
        past.append(value)
        gradients.append(asked)
        if value <= FITTED:
            break
        if len(past) > LOOK:
            cost = gradients[-1] - gradients[-1 - LOOK]
            if math.log(past[-1 - LOOK] / value) < enough * cost:
                break
    return theta, past[-1]


def _two_loops(
    gradient: Float[Tensor, " P"],
    pairs: deque[tuple[Tensor, Tensor]],
    first: Callable[[Tensor], Tensor],
) -> Float[Tensor, " P"]:
    """The inverse Hessian times the gradient: Nocedal (1980), from the first guess `first`."""
    q, weights = gradient.clone(), []
    for step, change in reversed(pairs):
        weights.append((step @ q) / (step @ change))
        q -= weights[-1] * change
    q = first(q)
    for (step, change), weight in zip(pairs, reversed(weights), strict=True):
        q += (weight - (change @ q) / (step @ change)) * step
    return q


def mean_square(model: Model, data: TrainingData, theta: Float[Tensor, "1 S"], r: int) -> float:
    """Mean squared residual of replicate r over all its points."""
    total = 0.0
    for q, qdot, target in data.chunks(slice(r, r + 1)):
        residual = model.acceleration(theta, q, qdot) - target
        total += float((residual * residual).sum())
    return total / (data.rows.shape[1] * data.n_dof)
