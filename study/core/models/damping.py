"""Friction that a network learns beside its Lagrangian: Q = -C qdot with C = A A^T, in scaled units.

A is lower triangular, or diagonal, so that friction takes energy away whatever A is: C is the matrix
of Rayleigh's dissipation function (Goldstein, Classical Mechanics, eq. 1-67).

M qddot = g - c + Q, so with u = M^-T z the gradient of <z, qddot> gains that of <u, Q>, u held
fixed; a mass matrix does not depend on friction, and nothing else changes.
"""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.mlp import States

START = 0.3  # of each diagonal entry of A; at zero A would have no gradient


@dataclasses.dataclass(frozen=True)
class Damping:
    """Which entries of A are trained: the diagonal ones, or those below too (`matrix`).

    They are parameters f (k) of their own, the last of a network's, row by row.
    """

    n_dof: int
    kind: str

    @property
    def places(self) -> list[tuple[int, int]]:
        """Row and column of each parameter."""
        pairs = [(i, j) for i in range(self.n_dof) for j in range(i + 1)]
        return pairs if self.kind == "matrix" else [(i, j) for i, j in pairs if i == j]

    @property
    def count(self) -> int:
        """k."""
        return len(self.places)

    def start(self) -> Float[Tensor, " k"]:
        """C = START^2 I."""
        return torch.tensor([START if i == j else 0.0 for i, j in self.places]).double()

    def factor(self, f: Float[Tensor, "R k"]) -> Float[Tensor, "R D D"]:
        """A."""
        A = f.new_zeros(len(f), self.n_dof, self.n_dof)
        rows, columns = zip(*self.places, strict=True)
        A[:, rows, columns] = f
        return A

    def force(self, f: Float[Tensor, "R k"], qdot: States) -> States:
        """Q; <u, Q> is symmetric in u and qdot, so Q at u is also its gradient in qdot."""
        A = self.factor(f)
        return -torch.bmm(A, torch.bmm(A.mT, qdot))

    def gradient(
        self, f: Float[Tensor, "R k"], u: States, qdot: States
    ) -> Float[Tensor, "R k B"]:
        """d<u, Q>/df of each state."""
        A = self.factor(f)
        of_u, of_qdot = torch.bmm(A.mT, u), torch.bmm(A.mT, qdot)
        return -torch.stack(
            [u[:, i] * of_qdot[:, j] + qdot[:, i] * of_u[:, j] for i, j in self.places], 1
        )
