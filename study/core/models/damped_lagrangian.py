"""A linear Lagrangian with forces: M qddot + c - g = -C qdot + B u, C positive semidefinite.

The entries of C and B are more unknowns of the same linear equations. No ridge acts on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from study.core import native
from study.core.models.damping import FRICTION, Damping, Rates
from study.core.models.linear_lagrangian import LinearLagrangian, Slopes
from study.core.models.mlp import States


@dataclasses.dataclass(frozen=True)
class DampedLagrangian(LinearLagrangian):
    """theta is f, the entries of C at `damping.places` and B, and then that of `free`, the same
    Lagrangian without forces."""

    free: LinearLagrangian
    damping: Damping  # type: ignore[assignment]

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
    def n_driven(self) -> int:
        return self.damping.n_inputs

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

    def mass_and_force(self, theta: Tensor, q: States, qdot: Rates) -> tuple[Tensor, States]:
        v = qdot[:, : self.damping.n_dof]
        mass, force = self.free.mass_and_force(self.parts(theta)[1], q, v)
        return mass, force + self.learned_force(theta, q, qdot)

    def mass_matrix(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Tensor:
        return self.free.mass_matrix(self.parts(theta)[1], q, qdot[:, : self.damping.n_dof])

    def energy(self, theta: Tensor, q: Tensor, qdot: Tensor) -> tuple[Tensor, Tensor]:
        return super().energy(theta, q, qdot[:, : self.damping.n_dof])

    def friction(self, theta: Tensor) -> Float[Tensor, "R D D"]:
        """C."""
        lower = self.damping.lower(self.parts(theta)[0])[..., 0]
        return lower + lower.tril(-1).mT

    def learned_force(self, theta: Tensor, q: States, qdot: Rates) -> States:
        v, u = qdot.split([self.damping.n_dof, self.damping.n_inputs], 1)
        B = self.damping.input_matrix(self.parts(theta)[0])
        return torch.bmm(B, u) - torch.bmm(self.friction(theta), v)

    def rows(self, theta: Tensor, q: States, qdot: Rates, qddot: States) -> tuple[Tensor, Tensor]:
        D, m = self.damping.n_dof, self.damping.n_inputs
        v, u = qdot.split([D, m], 1)
        rows, trace = self.free.rows(self.parts(theta)[1], q, v, qddot)
        own = rows.new_zeros(*rows.shape[:3], self.damping.count)
        for k, (i, j) in enumerate(self.damping.places):
            own[:, :, i, k] = v[:, j]
            own[:, :, j, k] = v[:, i]
        first = len(self.damping.places)
        for i in range(D):
            own[:, :, i, first + i * m : first + (i + 1) * m] = -u.mT
        return torch.cat([own, rows], 3), torch.cat([torch.zeros_like(own[:, :, 0]), trace], 2)

    def slopes(self, theta: Tensor, q: States, qdot: States) -> Slopes:
        free = self.free.slopes(self.parts(theta)[1], q, qdot)
        none = free.of_q.new_zeros(*free.of_q.shape[:3], self.damping.count)
        of_qdot, of_q = (torch.cat([none, x], 3) for x in (free.of_qdot, free.of_q))
        return Slopes(torch.cat([none[:, :, 0], free.value], 2), of_qdot, of_q)

    def in_cpp(self, theta: Tensor) -> tuple[native.Network, Tensor] | None:
        if (known := self.free.in_cpp(self.parts(theta)[1])) is None:
            return None
        network, parameters = known
        network.friction = FRICTION.index(self.damping.kind)
        network.n_inputs = self.damping.n_inputs
        values, vectors = torch.linalg.eigh(self.friction(theta))
        root = vectors * values.clamp(min=0).sqrt().unsqueeze(1)  # C = root root^T
        A = torch.linalg.qr(root.mT)[1].mT
        entries = [A[:, i, j, None] for i, j in self.damping.places]
        B = self.parts(theta)[0][:, len(entries) :]
        return network, torch.cat([parameters, *entries, B], 1)

    def acceleration(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Tensor:
        if known := self.in_cpp(theta):
            return native.acceleration(*known, q, qdot)
        return super().acceleration(theta, q, qdot)
