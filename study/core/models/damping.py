"""Forces that a network learns beside its Lagrangian: Q = -C qdot + B u, in scaled units.

C = A A^T, A lower triangular or diagonal, so that friction takes energy away whatever A is: C is
the matrix of Rayleigh's dissipation function F = qdot^T C qdot / 2 (Goldstein, Classical Mechanics,
eq. 1-67). It is a constant, or A = sum_f A_f phi_f(q) with the features 1, cos and sin of an angle,
and a length. u are inputs, motors for instance; they stand below qdot in one tensor of
`rates` (R, D + m, B).

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
FRICTION = ("none", "diagonal", "matrix")  # as C++ numbers them
VARYING = "varying"  # with q

Rates = Float[Tensor, "R V B"]  # qdot, and the inputs below it: V = D + m
Factor = Float[Tensor, "R D D B_or_1"]


@dataclasses.dataclass(frozen=True)
class Damping:
    """Which entries of A are trained (`kind` of `FRICTION`, or `VARYING`), and how many inputs act.

    The parameters f (k) are those entries of A, each with its F features, and then all of B, row by
    row. `angles`: which coordinates are angles.
    """

    n_dof: int
    kind: str
    n_inputs: int = 0
    angles: tuple[bool, ...] = ()

    @property
    def places(self) -> list[tuple[int, int]]:
        """Row and column of each entry of A that is trained."""
        pairs = [(i, j) for i in range(self.n_dof) for j in range(i + 1)]
        if self.kind in ("none", "diagonal"):
            pairs = [(i, j) for i, j in pairs if i == j and self.kind == "diagonal"]
        return pairs

    @property
    def varies(self) -> bool:
        """Whether C depends on q."""
        return self.kind == VARYING

    @property
    def n_features(self) -> int:
        """F."""
        return 1 + sum(2 if angle else 1 for angle in self.angles) if self.varies else 1

    @property
    def n_friction(self) -> int:
        """Parameters of A."""
        return len(self.places) * self.n_features

    @property
    def count(self) -> int:
        """k."""
        return self.n_friction + self.n_dof * self.n_inputs

    def start(self) -> Float[Tensor, " k"]:
        """C = START^2 I, B = 0."""
        entries = torch.zeros(len(self.places), self.n_features, dtype=torch.float64)
        entries[:, 0] = torch.tensor([START if i == j else 0.0 for i, j in self.places])
        rest = torch.zeros(self.n_dof * self.n_inputs, dtype=torch.float64)
        return torch.cat([entries.flatten(), rest])

    def lower(self, f: Float[Tensor, "R k"], q: States | None = None) -> Factor:
        """A at states; one for all of them if it is a constant, which needs no q."""
        return self._factor(f, None if q is None or not self.varies else self._features(q))

    def input_matrix(self, f: Float[Tensor, "R k"]) -> Float[Tensor, "R D m"]:
        """B."""
        return f[:, self.n_friction :].unflatten(1, (self.n_dof, self.n_inputs))

    def matrix(self, f: Float[Tensor, "R k"], q: States) -> Factor:
        """C at states; one for all of them if it is a constant."""
        A = self.lower(f, q)
        return (A.unsqueeze(2) * A.unsqueeze(1)).sum(3)

    def force(self, f: Float[Tensor, "R k"], q: States, rates: Rates) -> States:
        """Q."""
        force = self.friction(f, q, rates[:, : self.n_dof])
        if self.n_inputs:
            force = force + torch.bmm(self.input_matrix(f), rates[:, self.n_dof :])
        return force

    def friction(self, f: Float[Tensor, "R k"], q: States, qdot: States) -> States:
        """-C qdot; as C is symmetric, at w this is the gradient of <w, Q> in qdot."""
        A = self.lower(f, q)
        return -(A * _transposed(A, qdot).unsqueeze(1)).sum(2)

    def gradient(
        self, f: Float[Tensor, "R k"], q: States, w: States, rates: Rates
    ) -> Float[Tensor, "R k B"]:
        """d<w, Q>/df of each state."""
        A, (qdot, u) = self.lower(f, q), rates.split([self.n_dof, self.n_inputs], 1)
        of_w, of_qdot = _transposed(A, w), _transposed(A, qdot)
        of_A = [-(w[:, i] * of_qdot[:, j] + qdot[:, i] * of_w[:, j]) for i, j in self.places]
        entries = torch.stack(of_A, 1) if of_A else w[:, :0]
        if self.varies:
            entries = (entries.unsqueeze(2) * self._features(q).unsqueeze(1)).flatten(1, 2)
        return torch.cat([entries, (w.unsqueeze(2) * u.unsqueeze(1)).flatten(1, 2)], 1)

    def pull(self, f: Float[Tensor, "R k"], q: States, w: States, qdot: States) -> States:
        """d<w, Q>/dq; zero if C is a constant."""
        if not self.varies:
            return torch.zeros_like(q)
        A, slopes = self.lower(f, q), []
        of_w, of_qdot = _transposed(A, w), _transposed(A, qdot)
        for i in range(self.n_dof):
            A_i = self._factor(f, self._slopes(q, i))
            change = _transposed(A_i, w) * of_qdot + of_w * _transposed(A_i, qdot)
            slopes.append(-change.sum(1))
        return torch.stack(slopes, 1)

    def _factor(self, f: Float[Tensor, "R k"], features: Float[Tensor, "R F B"] | None) -> Factor:
        """The sum over features of their matrices."""
        entries = f[:, : self.n_friction].unflatten(1, (len(self.places), self.n_features))
        values = entries if features is None else torch.bmm(entries, features)
        A = f.new_zeros(len(f), self.n_dof, self.n_dof, values.shape[2])
        for k, (i, j) in enumerate(self.places):
            A[:, i, j] = values[:, k]
        return A

    def _features(self, q: States) -> Float[Tensor, "R F B"]:
        rows = [torch.ones_like(q[:, 0])]
        for i, angle in enumerate(self.angles):
            rows += [q[:, i].cos(), q[:, i].sin()] if angle else [q[:, i]]
        return torch.stack(rows, 1)

    def _slopes(self, q: States, along: int) -> Float[Tensor, "R F B"]:
        """The features' derivatives in one coordinate."""
        none = torch.zeros_like(q[:, 0])
        rows = [none]
        for i, angle in enumerate(self.angles):
            own = [-q[:, i].sin(), q[:, i].cos()] if angle else [none + 1]
            rows += own if i == along else [none] * len(own)
        return torch.stack(rows, 1)


def _transposed(A: Factor, vector: States) -> States:
    """A^T times a vector."""
    return (A * vector.unsqueeze(2)).sum(1)
