"""A linear Lagrangian with friction in each coordinate: M qddot + c - g = -f qdot, f >= 0.

The coefficients f are more unknowns of the same linear equations. They are part of no ridge.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from study.core import native
from study.core.models.linear_lagrangian import LinearLagrangian, Slopes
from study.core.models.mlp import States


@dataclasses.dataclass(frozen=True)
class DampedLagrangian(LinearLagrangian):
    """theta is f (D) and then that of `free`, the same without friction."""

    free: LinearLagrangian
    n_dof: int

    @property
    def bounded(self) -> int:  # type: ignore[override]
        return self.n_dof

    @property
    def equilibrated(self) -> bool:  # type: ignore[override]
        return self.free.equilibrated

    @property
    def mass_prior(self) -> float:
        return self.free.mass_prior

    @property
    def n_params(self) -> int:
        return self.n_dof + self.free.n_params

    @property
    def n_features(self) -> int:
        return self.free.n_features

    @property
    def scale(self) -> float:  # type: ignore[override]
        return self.free.scale

    def initialise(self, seeds: Sequence[int], dtype: torch.dtype) -> Tensor:
        drawn = self.free.initialise(seeds, dtype)
        return torch.cat([drawn.new_zeros(len(seeds), self.n_dof), drawn], 1)

    def scaled(self, theta: Tensor, scale: float) -> Tensor:
        f, rest = self.parts(theta)
        return torch.cat([f, self.free.scaled(rest, scale)], 1)

    def parts(self, theta: Tensor) -> tuple[Float[Tensor, "R D"], Float[Tensor, "R S_D"]]:
        """f, and theta without it."""
        return theta[:, : self.n_dof], theta[:, self.n_dof :]

    def mass_and_force(self, theta: Tensor, q: States, qdot: States) -> tuple[Tensor, States]:
        f, rest = self.parts(theta)
        mass, force = self.free.mass_and_force(rest, q, qdot)
        return mass, force - f.unsqueeze(2) * qdot

    def damping_force(self, theta: Tensor, qdot: States) -> States:
        return -self.parts(theta)[0].unsqueeze(2) * qdot

    def rows(self, theta: Tensor, q: States, qdot: States, qddot: States) -> tuple[Tensor, Tensor]:
        rows, trace = self.free.rows(self.parts(theta)[1], q, qdot, qddot)
        own = torch.diag_embed(qdot.mT)
        return torch.cat([own, rows], 3), torch.cat([own.new_zeros(own.shape[:3]), trace], 2)

    def slopes(self, theta: Tensor, q: States, qdot: States) -> Slopes:
        free = self.free.slopes(self.parts(theta)[1], q, qdot)
        none = torch.zeros_like(torch.diag_embed(qdot.mT))
        of_qdot, of_q = (torch.cat([none, x], 3) for x in (free.of_qdot, free.of_q))
        return Slopes(torch.cat([none[:, :, 0], free.value], 2), of_qdot, of_q)

    def in_cpp(self, theta: Tensor) -> tuple[native.Network, Tensor] | None:
        f, rest = self.parts(theta)
        if (known := self.free.in_cpp(rest)) is None:
            return None
        network, parameters = known
        network.friction = native.FRICTION.index("diagonal")
        return network, torch.cat([parameters, f.sqrt()], 1)

    def acceleration(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Tensor:
        if known := self.in_cpp(theta):
            return native.acceleration(*known, q, qdot)
        return super().acceleration(theta, q, qdot)
