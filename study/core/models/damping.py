"""Forces that a network learns beside its Lagrangian: Q = -C qdot + B u, in scaled units.

C = A A^T, A lower triangular or diagonal, so that friction takes energy away whatever A is: C is
the matrix of Rayleigh's dissipation function (Goldstein, Classical Mechanics, eq. 1-67). u are
recorded inputs, motors for instance; they stand below qdot in one tensor of `rates` (R, D + m, B).

M qddot = g - c + Q, so with w = M^-T z the gradient of <z, qddot> gains that of <w, Q>, w held
fixed; a mass matrix does not depend on forces, and nothing else changes.
"""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.mlp import States

START = 0.3  # of each diagonal entry of A; at zero A would have no gradient
FRICTION = ("none", "diagonal", "matrix")

Rates = Float[Tensor, "R V B"]  # qdot, and the inputs below it: V = D + m


@dataclasses.dataclass(frozen=True)
class Damping:
    """Which entries of A are trained (`kind` of `FRICTION`), and the number of inputs.

    The parameters f (k) are those entries of A, and then all of B, row by row.
    """

    n_dof: int
    kind: str
    n_inputs: int = 0

    @property
    def places(self) -> list[tuple[int, int]]:
        """Row and column of each parameter of A."""
        pairs = [(i, j) for i in range(self.n_dof) for j in range(i + 1)]
        return [
            (i, j) for i, j in pairs if self.kind == "matrix" or (i == j and self.kind != "none")
        ]

    @property
    def count(self) -> int:
        """k."""
        return len(self.places) + self.n_dof * self.n_inputs

    def start(self) -> Float[Tensor, " k"]:
        """C = START^2 I, B = 0."""
        entries = [START if i == j else 0.0 for i, j in self.places]
        return torch.tensor(entries + [0.0] * self.n_dof * self.n_inputs, dtype=torch.float64)

    def lower(self, f: Float[Tensor, "R k"]) -> Float[Tensor, "R D D"]:
        """A: the first parameters in their places."""
        A = f.new_zeros(len(f), self.n_dof, self.n_dof)
        for k, (i, j) in enumerate(self.places):
            A[:, i, j] = f[:, k]
        return A

    def input_matrix(self, f: Float[Tensor, "R k"]) -> Float[Tensor, "R D m"]:
        """B."""
        return f[:, len(self.places) :].unflatten(1, (self.n_dof, self.n_inputs))

    def force(self, f: Float[Tensor, "R k"], rates: Rates) -> States:
        """Q."""
        force = self.friction(f, rates[:, : self.n_dof])
        if self.n_inputs:
            force = force + torch.bmm(self.input_matrix(f), rates[:, self.n_dof :])
        return force

    def friction(self, f: Float[Tensor, "R k"], qdot: States) -> States:
        """-C qdot; as C is symmetric, at w this is the gradient of <w, Q> in qdot."""
        A = self.lower(f)
        return -torch.bmm(A, torch.bmm(A.mT, qdot))

    def gradient(self, f: Float[Tensor, "R k"], w: States, rates: Rates) -> Float[Tensor, "R k B"]:
        """d<w, Q>/df of each state."""
        A, (qdot, u) = self.lower(f), rates.split([self.n_dof, self.n_inputs], 1)
        of_w, of_qdot = torch.bmm(A.mT, w), torch.bmm(A.mT, qdot)
        of_A = [-(w[:, i] * of_qdot[:, j] + qdot[:, i] * of_w[:, j]) for i, j in self.places]
        of_B = (w.unsqueeze(2) * u.unsqueeze(1)).flatten(1, 2)
        return torch.cat([*(row.unsqueeze(1) for row in of_A), of_B], 1)
