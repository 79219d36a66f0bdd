"""Integrate learned dynamics in the units of training and float64, a step size each trajectory.

C++ integrates the networks it computes, by the method of `tsitouras.py`. A trajectory has diverged
if its velocity or length passes `LIMIT` in these units, or if its steps run out before the end. It
is then frozen, so that it cannot stall its batch, and its states are NaN from there on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from study.core import native
from study.core.measures import tsitouras
from study.core.models.model import Model

LIMIT = 100.0  # true motion stays below about 10, in either units
Drive = Callable[[Float[np.ndarray, "K n"]], Float[np.ndarray, "K n m"]]
"""Times, a row a trajectory -> the inputs then."""

STEEPEST = 1e8  # accelerations are clamped here, so that the solver's norms stay finite


@dataclasses.dataclass(frozen=True)
class Rollout:
    """`states` (R, K, T, 2 D), NaN once diverged; `diverged`, solver `steps` (R, K)."""

    states: Float[Tensor, "R K T two_D"]
    diverged: Bool[Tensor, "R K"]
    steps: Int[Tensor, "R K"]


def rollout(
    model: Model,
    theta: Float[Tensor, "R P"],
    start: Float[Tensor, "K two_D"],
    times: Float[Tensor, " T"],
    angles: tuple[bool, ...],
    *,
    rtol: float,
    max_steps: int,
    drive: Drive | None = None,
) -> Rollout:
    """Motion by every network of the ensemble from every initial state; see `rollout_field`.

    **Raises:** `ValueError` if the model has inputs, and no `drive` gives them.
    """
    if model.n_driven and drive is None:
        raise ValueError(f"the model has {model.n_driven} inputs: give them along the way")
    known = None if drive else model.in_cpp(theta)
    if known and theta.dtype == torch.float64:
        bounded = _bounded(angles, len(angles))
        sizes = (len(start), len(times), max_steps, native.bits(bounded))
        course = native.Course(*sizes, rtol, LIMIT, STEEPEST)
        rolled = native.roll_out(*known, start, times, course)
        return _rolled(*rolled, torch.tensor(bounded).to(start))
    return rollout_field(
        lambda q, qdot: model.acceleration(theta, q, qdot),
        len(theta),
        start,
        times,
        angles,
        rtol=rtol,
        max_steps=max_steps,
        drive=drive,
    )


def rollout_field(
    acceleration: Callable[[Tensor, Tensor], Tensor],
    n_networks: int,
    start: Float[Tensor, "K two_D"],
    times: Float[Tensor, " T"],
    angles: tuple[bool, ...],
    *,
    rtol: float,
    max_steps: int,
    drive: Drive | None = None,
) -> Rollout:
    """Motion by R = `n_networks` fields from every initial state.

    `acceleration` maps q and qdot (R, D, K) to qddot (R, D, K); below qdot stand the inputs that
    `drive` gives. The method is Tsitouras 5(4),
    relative and absolute tolerance `rtol`, at most `max_steps` steps a trajectory.
    """
    R, (K, width), D = n_networks, start.shape, start.shape[1] // 2
    bounded = torch.tensor(_bounded(angles, D)).to(start)

    def field(t: Tensor, y: Tensor) -> Tensor:
        state = y.view(R, K, width).mT.contiguous()
        q, qdot = state.chunk(2, 1)
        if drive is None:
            qddot = acceleration(q, qdot)
        else:
            u = torch.from_numpy(drive(t.view(R, K).cpu().numpy().T)).to(y)
            qddot = acceleration(q, torch.cat([qdot, u.permute(1, 2, 0)], 1))
        qddot = torch.nan_to_num(qddot, nan=STEEPEST).clamp_(-STEEPEST, STEEPEST)
        change = torch.cat([qdot, qddot], 1).mT.reshape(R * K, width)
        return torch.where(_inside(y, bounded).unsqueeze(1), change, 0.0)

    states, reached, steps = tsitouras.solve(
        field, start.repeat(R, 1), times, tolerance=rtol, max_steps=max_steps
    )
    states = states.view(R, K, len(times), width)
    return _rolled(states, reached.view(R, K), steps.view(R, K), bounded)


def _bounded(angles: tuple[bool, ...], D: int) -> list[bool]:
    """The components of (q, qdot) that stay small in true motion: an angle may wind."""
    return [not a for a in angles] + [True] * D


def _rolled(states: Tensor, reached: Tensor, steps: Tensor, bounded: Tensor) -> Rollout:
    """The rollout, with NaN after the last time a solver reached, or after the limit."""
    there = torch.arange(states.shape[2], device=states.device) < reached.unsqueeze(2)
    good = (there & _inside(states, bounded)).cumprod(2).bool()
    states = torch.where(good.unsqueeze(3), states, torch.nan)
    return Rollout(states, ~good[:, :, -1], steps)


def _inside(states: Tensor, bounded: Tensor) -> Tensor:
    """Whether each state is within the limit in every component that is `bounded` (1 or 0).

    NaN compares as False, and infinity times zero is NaN, so a state that is not finite is outside.
    """
    return (states.abs() * bounded < LIMIT).all(-1)
