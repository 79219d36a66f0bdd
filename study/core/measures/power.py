"""Forces that were learned: their power balance along rollouts, and their accelerations."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import BPoly
from torch import Tensor

from study.core.measures.rollout import Drive
from study.core.models.mass_matrix import invert
from study.core.models.model import Model

Array = np.ndarray
NODES = 5  # of Gauss and Legendre in each interval: exact for powers of the interpolant


@dataclasses.dataclass(frozen=True)
class PowerBalance:
    """Where the energy of learned motion goes, over the mean kinetic energy; NaN once diverged.

    - `gained`: the model's own energy less that at the start.
    - `friction`, `inputs`: the work of its forces since the start, of -C qdot and of B u.
    """

    gained: Float[Array, "R K T"]
    friction: Float[Array, "R K T"]
    inputs: Float[Array, "R K T"]

    @property
    def rest(self) -> Float[Array, "R K T"]:
        """What is left, zero but for the errors of the rollout's solver and of the quintic
        interpolation between times."""
        return self.gained - self.friction - self.inputs


def power_balance(
    model: Model,
    theta: Float[Tensor, "R S"],
    states: Float[Tensor, "R K T two_D"],
    times: Float[Tensor, " T"],
    drive: Drive | None = None,
) -> PowerBalance | None:
    """That of rollouts in scaled units; None without a Lagrangian."""
    R, K, T, W = states.shape
    lost = states.isnan().any(3)
    q, qdot = torch.nan_to_num(states).flatten(1, 2).mT.contiguous().chunk(2, 1)
    known = model.energy(theta, q, qdot)
    if known is None:
        return None
    energy, action = (x.view(R, K, T) for x in known)

    def driven(qdot: Tensor, at: Float[np.ndarray, " n"]) -> Tensor:
        """With the inputs at these times below qdot (R, D, K n)."""
        if drive is None:
            return qdot
        u = torch.from_numpy(drive(np.tile(at, (K, 1)))).to(qdot)
        return torch.cat([qdot, u.permute(2, 0, 1).flatten(1).expand(R, -1, -1)], 1)

    qddot = model.acceleration(theta, q, driven(qdot, times.cpu().numpy()))
    rows = [x.view(R, W // 2, K, T).cpu().numpy() for x in (q, qdot, qddot)]
    t = times.cpu().numpy()
    motion = BPoly.from_derivatives(t, np.moveaxis(np.stack(rows), (4, 0), (0, 1)))
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    half = np.diff(t)[:, None] / 2
    at = t[:-1, None] + half * (1 + nodes)
    here, rates = (
        torch.from_numpy(np.moveaxis(motion(at.ravel(), order), 0, 3)).to(theta) for order in (0, 1)
    )
    places = here.flatten(2)
    steps = torch.from_numpy(half * weights).to(theta)

    def work(qdot: Tensor) -> Tensor:
        """Of the forces at these rates, since the start."""
        power = (model.learned_force(theta, places, qdot).view_as(rates) * rates).sum(1)
        each = (power.view(R, K, T - 1, NODES) * steps).sum(3)
        return torch.cat([torch.zeros_like(each[..., :1]), each.cumsum(2)], 2)

    moving = torch.where(lost, torch.nan, action).nanmean((1, 2), keepdim=True) / 2
    with_inputs = driven(rates.flatten(2), at.ravel())
    without = with_inputs.clone()
    without[:, W // 2 :] = 0
    friction = work(without)
    parts = energy - energy[..., :1], friction, work(with_inputs) - friction
    return PowerBalance(
        *(torch.where(lost, torch.nan, part / moving).cpu().numpy() for part in parts)
    )


def force_acceleration(
    model: Model, theta: Float[Tensor, "R S"], q: Tensor, qdot: Tensor
) -> Float[Tensor, "R D B"] | None:
    """M^-1 Q of the forces that were learned; None without a mass matrix."""
    mass = model.mass_matrix(theta, q, qdot)
    if mass is None:
        return None
    return (invert(mass)[0] * model.learned_force(theta, q, qdot).unsqueeze(1)).sum(2)
