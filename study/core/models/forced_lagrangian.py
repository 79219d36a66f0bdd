"""A linear Lagrangian with linear forces: M qddot = g - c + Q, in scaled units.

If l_i are the units of length and s that of L, the i-th equation is l_i / s times that of physical
units, and the coefficients of the forces are those of physical units over s.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.forces import LinearForces
from study.core.models.linear_lagrangian import LinearLagrangian
from study.core.models.mass_matrix import invert
from study.core.models.mlp import States
from study.core.systems.units import Units

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class ForcedLagrangian:
    """A Lagrangian without a mass prior, the forces beside it, and the units of both."""

    model: LinearLagrangian
    forces: LinearForces
    units: Units

    def acceleration(
        self,
        theta: Float[Tensor, "R S"],
        f: Float[Array, "R k"],
        q: States,
        qdot: States,
        u: Float[Tensor, "R m B"] | None = None,
    ) -> States:
        """qddot by R sets of coefficients; inputs that are not given are zero."""
        mass, force = self.model.mass_and_force(theta, q, qdot)
        force = force + self.generalised_force(f, qdot, u)
        return (invert(mass)[0] * force.unsqueeze(1)).sum(2)

    def generalised_force(
        self, f: Float[Array, "R k"], qdot: States, u: Float[Tensor, "R m B"] | None = None
    ) -> States:
        """Q in the units of the scaled equations, l_i Q_i / s."""
        length, (friction, matrix) = self.units.length, self.forces.matrices(f)
        damping = length[:, None] * friction * (length / self.units.time)
        force = -torch.bmm(torch.from_numpy(damping), qdot)
        if u is not None and self.forces.n_inputs:
            force = force + torch.bmm(torch.from_numpy(length[:, None] * matrix), u)
        return force

    def equations(
        self, velocity: Float[Array, "n D"], u: Float[Array, "n m"] | None
    ) -> tuple[Float[Array, "nD k"], Float[Array, " nD"]]:
        """Columns of f and the right-hand side of M qddot + c - g - Q_unknown = Q_known.

        - `velocity`: scaled; or an integral of it over a test function, and `u` likewise.
        """
        length = self.units.length
        columns = self.forces.columns(velocity * (length / self.units.time), u)
        known = np.broadcast_to(length * self.forces.known(u), velocity.shape)
        columns = -(length[:, None] * columns)
        return columns.reshape(known.size, self.forces.count), known.reshape(-1)
