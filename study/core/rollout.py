"""Integrate learned dynamics: all trajectories of all replicates at once, a step size each.

Knows: the adaptive solver, freezing, the step cap. Does not know: the truth, or how the model
was made. Everything is in the units the model was trained in, and float64.

A trajectory whose velocity or length passes `LIMIT` in them, or that has not arrived when its
steps run out, has diverged: it is frozen, so that it cannot stall its batch, and its states are
NaN from there on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
import torchode
from jaxtyping import Bool, Float, Int
from torch import Tensor

from study.core.models import Model

LIMIT = 100.0  # true motion stays below about 10, in either units
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
) -> Rollout:
    """Every network of the ensemble from every initial state; see `rollout_field`."""
    return rollout_field(
        lambda q, qdot: model.acceleration(theta, q, qdot),
        len(theta),
        start,
        times,
        angles,
        rtol=rtol,
        max_steps=max_steps,
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
) -> Rollout:
    """R = `n_networks` fields, q and qdot (R, D, K) -> qddot (R, D, K), from every initial state.

    Tsitouras 5(4), relative and absolute tolerance `rtol`, at most `max_steps` steps a trajectory.
    """
    R, (K, width), D = n_networks, start.shape, start.shape[1] // 2
    bounded = torch.tensor([not a for a in angles] + [True] * D).to(start)

    def field(_: Tensor, y: Tensor) -> Tensor:
        state = y.view(R, K, width).mT.contiguous()
        q, qdot = state.chunk(2, 1)
        qddot = acceleration(q, qdot)
        qddot = torch.nan_to_num(qddot, nan=STEEPEST).clamp_(-STEEPEST, STEEPEST)
        change = torch.cat([qdot, qddot], 1).mT.reshape(R * K, width)
        return torch.where(_inside(y, bounded).unsqueeze(1), change, 0.0)

    term = torchode.ODETerm(field)  # type: ignore[arg-type]
    method = torchode.Tsit5(term=term)
    controller = torchode.IntegralController(atol=rtol, rtol=rtol, term=term)
    # torchode's own tensor types are not known to the type checker
    solver = torchode.AutoDiffAdjoint(method, controller, max_steps=max_steps)  # type: ignore
    y0, t_eval = start.repeat(R, 1), times.unsqueeze(0).expand(R * K, -1)
    problem = torchode.InitialValueProblem(y0=y0, t_eval=t_eval)  # type: ignore
    with torch.no_grad():
        solution = solver.solve(problem)
    arrived = solution.stats["n_initialized"]  # evaluation times reached; the rest is not set
    states = solution.ys.clone()
    reached = torch.arange(len(times), device=start.device) < arrived.unsqueeze(1)
    good = reached & _inside(states, bounded)
    good = torch.cumprod(good.int(), 1).bool()
    states = torch.where(good.unsqueeze(2), states, torch.full_like(states, torch.nan))
    return Rollout(
        states.view(R, K, len(times), width),
        ~good[:, -1].view(R, K),
        solution.stats["n_steps"].view(R, K),
    )


def _inside(states: Tensor, bounded: Tensor) -> Tensor:
    """Which states are finite and within the limit in every component that is bounded, by 1 or 0.

    What is not finite is no number after the product, and no number is small.
    """
    return (states.abs() * bounded < LIMIT).all(-1)
