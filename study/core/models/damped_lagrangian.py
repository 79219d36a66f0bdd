"""A linear Lagrangian with friction: M qddot + c - g = -C qdot, C positive semidefinite.

The entries of C are more unknowns of the same linear equations. No ridge acts on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from study.core import native
from study.core.models.damping import Damping
from study.core.models.linear_lagrangian import LinearLagrangian, Slopes
from study.core.models.mlp import States


@dataclasses.dataclass(frozen=True)
class DampedLagrangian(LinearLagrangian):
    """theta is f, the entries of C at `damping.places`, and then that of `free`, the same without."""

    free: LinearLagrangian
    damping: Damping

    @property
    def equilibrated(self) -> bool:  # type: ignore[override]
        return self.free.equilibrated

    @property
    def mass_prior(self) -> float:
        return self.free.mass_prior

    @property
    def n_params(self) -> int:
        return self.damping.count + self.free.n_params

    @property
    def n_features(self) -> int:
        return self.free.n_features

    @property
    def scale(self) -> float:  # type: ignore[override]
        return self.free.scale

    def initialise(self, seeds: Sequence[int], dtype: torch.dtype) -> Tensor:
        drawn = self.free.initialise(seeds, dtype)
        return torch.cat([drawn.new_zeros(len(seeds), self.damping.count), drawn], 1)

    def scaled(self, theta: Tensor, scale: float) -> Tensor:
        f, rest = self.parts(theta)
        return torch.cat([f, self.free.scaled(rest, scale)], 1)

    def parts(self, theta: Tensor) -> tuple[Float[Tensor, "R k"], Float[Tensor, "R S_k"]]:
        """f, and theta without it."""
        return theta[:, : self.damping.count], theta[:, self.damping.count :]

    def mass_and_force(self, theta: Tensor, q: States, qdot: States) -> tuple[Tensor, States]:
        mass, force = self.free.mass_and_force(self.parts(theta)[1], q, qdot)
        return mass, force + self.damping_force(theta, qdot)

    def friction(self, theta: Tensor) -> Float[Tensor, "R D D"]:
        lower = self.damping.factor(self.parts(theta)[0])
        return lower + lower.tril(-1).mT

    def damping_force(self, theta: Tensor, qdot: States) -> States:
        return -torch.bmm(self.friction(theta), qdot)

    def rows(self, theta: Tensor, q: States, qdot: States, qddot: States) -> tuple[Tensor, Tensor]:
        rows, trace = self.free.rows(self.parts(theta)[1], q, qdot, qddot)
        own = torch.zeros_like(rows[..., : self.damping.count])
        for k, (i, j) in enumerate(self.damping.places):
            own[:, :, i, k] = qdot[:, j]
            own[:, :, j, k] = qdot[:, i]
        return torch.cat([own, rows], 3), torch.cat([torch.zeros_like(own[:, :, 0]), trace], 2)

    def slopes(self, theta: Tensor, q: States, qdot: States) -> Slopes:
        free = self.free.slopes(self.parts(theta)[1], q, qdot)
        none = torch.zeros_like(free.of_q[..., : self.damping.count])
        of_qdot, of_q = (torch.cat([none, x], 3) for x in (free.of_qdot, free.of_q))
        return Slopes(torch.cat([none[:, :, 0], free.value], 2), of_qdot, of_q)

    def in_cpp(self, theta: Tensor) -> tuple[native.Network, Tensor] | None:
        if (known := self.free.in_cpp(self.parts(theta)[1])) is None:
            return None
        network, parameters = known
        network.friction = native.FRICTION.index(self.damping.kind)
        values, vectors = torch.linalg.eigh(self.friction(theta))
        root = vectors * values.clamp(min=0).sqrt().unsqueeze(1)  # C = root root^T
        A = torch.linalg.qr(root.mT)[1].mT
        rows, columns = zip(*self.damping.places, strict=True)
        return network, torch.cat([parameters, A[:, rows, columns]], 1)

    def acceleration(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Tensor:
        if known := self.in_cpp(theta):
            return native.acceleration(*known, q, qdot)
        return super().acceleration(theta, q, qdot)
