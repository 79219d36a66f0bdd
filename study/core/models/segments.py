"""The loss through the integrator: learned motion against the samples that follow a state.

A segment is a measured state and k samples after it, each with its time. From the state the learned
motion goes from sample to sample by one Runge-Kutta step of fourth order each, and the loss is the
mean square of its deviation from the samples in q and qdot, over the squared duration of the
segment: a deviation in qdot is then an error of the mean acceleration, however long the segment is.

The gradient is that of the discrete motion (adjoint of Runge-Kutta: Hairer, Lubich, Wanner,
Geometric Numerical Integration, VI.9.2, or automatic differentiation by hand): stages are kept,
what the network computed at them is computed again on the way back.

What was not measured, velocities beside an encoder's positions, is NaN in the samples and is not
compared. A segment whose motion leaves its samples by more than `LIMIT` is left out of the step: it
would drown all others, or be no number.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from study.core import native
from study.core.models.mlp import gradient_of, pull_input
from study.core.models.model import LossAndGradient, NetworkModel, Theta, solved

LIMIT = 100.0  # in the units of training, in which motion is of order one
WEIGHTS = (1 / 6, 1 / 3, 1 / 3, 1 / 6)  # of the four stages
REACH = (0.5, 0.5, 1.0)  # share of a step from its begin to the next stage

Segments = Float[Tensor, "R W B"]


def loss_and_gradient(model: NetworkModel, theta: Theta, segments: Segments) -> LossAndGradient:
    """Each network's error, its gradient, and the share of stages with a floored mass matrix.

    `segments`: q and qdot, then for each sample that follows the time since, q and qdot: W is
    2 D + k (1 + 2 D). The error is NaN if no segment stays within the limit.
    """
    D = model.mlp.n_dof
    start, samples = segments[:, : 2 * D], segments[:, 2 * D :].unflatten(1, (-1, 1 + 2 * D))
    times, measured = samples[:, :, 0], samples[:, :, 1:]
    straightened = bool(measured[:, :, D:].isnan().all())
    if known := model.in_cpp(theta):
        return native.segments_loss_and_gradient(*known, segments, LIMIT, straightened)
    steps = torch.diff(times, dim=1, prepend=torch.zeros_like(times[:, :1]))
    field = _Field(model, theta)
    stages, rolled, state = [], [], start
    for h in steps.unsqueeze(2).unbind(1):
        here, begun = state, state
        for weight, reach in zip(WEIGHTS, (*REACH, 0.0), strict=True):
            stages.append(here)
            change = field.value(here)
            state = state + weight * h * change
            here = begun + reach * h * change
        rolled.append(state)
    deviation = torch.stack(rolled, 1) - measured
    deviation = torch.where(measured.isnan(), torch.zeros_like(deviation), deviation)
    inside = (deviation.abs() < LIMIT).all(2).all(1)  # False if NaN
    scale = (times[:, -1] ** 2 * (deviation.numel() / len(theta))).reciprocal()
    keep = inside[:, None, None]
    deviation = torch.where(keep, deviation, torch.zeros_like(deviation))
    if straightened:
        deviation = _without_line(deviation, times)
    loss = (deviation.square().sum((1, 2)) * scale).sum(1)
    loss = torch.where(inside.any(1), loss, torch.nan)

    cotangents = 2 * scale[:, None, None] * deviation
    adjoint, gradient = torch.zeros_like(start), torch.zeros_like(theta)
    for j in reversed(range(times.shape[1])):
        h, adjoint = steps[:, None, j], adjoint + cotangents[:, j]
        total, pulled = adjoint, torch.zeros_like(start)
        for i in reversed(range(4)):
            cotangent = h * (WEIGHTS[i] * adjoint + (*REACH, 0.0)[i] * pulled)
            here = torch.where(inside[:, None], stages[4 * j + i], start)
            pulled, part = field.pull(here, cotangent)
            total, gradient = total + pulled, gradient + part
        adjoint = total
    return loss, gradient, field.floored / len(stages)


def _without_line(deviation: Tensor, times: Tensor) -> Tensor:
    """Deviations (R, k, 2 D, B) less the straight line through time that fits them best."""
    since = (times - times.mean(1, keepdim=True)).unsqueeze(2)
    slope = (deviation * since).sum(1, keepdim=True) / since.square().sum(1, keepdim=True)
    return deviation - deviation.mean(1, keepdim=True) - slope * since


class _Field:
    """(qdot, qddot) of an ensemble, and its transposed Jacobian."""

    def __init__(self, model: NetworkModel, theta: Theta) -> None:
        self.model, self.theta, self.layers = model, theta, model.mlp.layers(theta)
        self.floored = torch.zeros_like(theta[:, 0])

    def value(self, state: Tensor) -> Tensor:
        """The field at states (R, 2 D, B); counts the floored ones."""
        q, qdot = state.chunk(2, 1)
        qddot, floored, _ = self.model.evaluate(self.theta, q, qdot)
        self.floored += floored.to(state).mean(1)
        return torch.cat([qdot, qddot], 1)

    def pull(self, state: Tensor, cotangent: Tensor) -> tuple[Tensor, Theta]:
        """The gradient of <cotangent, field> in the states and in theta."""
        model, (q, qdot) = self.model, state.chunk(2, 1)
        of_qdot, of_qddot = cotangent.chunk(2, 1)
        qddot, _, sweep = model.evaluate(self.theta, q, qdot)
        pairs = model.backward(model.mlp, self.layers, qdot, qddot, of_qddot, sweep)
        below = pull_input(self.layers, pairs)
        to_q, to_qdot = model.pull(model.mlp, qdot, qddot, of_qddot, sweep, below)
        gradient = gradient_of(pairs)
        if model.damping:
            f, u = model.coefficients(self.theta), solved(sweep.inverse, of_qddot)
            to_q = to_q + model.damping.pull(f, q, u, qdot)
            to_qdot = to_qdot + model.damping.friction(f, q, u)
            gradient = torch.cat([gradient, model.damping.gradient(f, q, u, qdot).sum(2)], 1)
        return torch.cat([to_q, to_qdot + of_qdot], 1), gradient
