"""`structured_lnn`: L = qdot^T M(q) qdot / 2 - V(q), with M positive definite by construction.

Deep Lagrangian networks, Lutter et al. (2019), arXiv 1907.04490. One network of the encoded q gives
the entries of a lower triangular A and V; M = A A^T + mass_prior I. The diagonal of A goes through
softplus(o + log(e - 1)): positive, so that M stays away from singular, and 1 where o = 0, so that A
begins near the identity.

Values and derivatives A_i = dA/dq_i, V_i = dV/dq_i are columns of one sweep. With p = A^T qdot and
A' = sum_i qdot_i A_i,

- c = (dM/dt) qdot = A' p + A (A'^T qdot),
- g_i = p . (A_i^T qdot) - V_i.

For u = M^-T z held fixed, d<z, qddot> = d[u . g - u . c - u^T M qddot] (from M qddot = g - c): its
derivatives in A, A_i and V_i are products of u, qdot and qddot, and `MLP.backward` does the rest.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.mass_matrix import invert, with_prior
from study.core.models.mlp import MLP, Bend, Layers, Pair, States, Trace, activate
from study.core.models.model import Forward, NetworkModel

ONE = math.log(math.e - 1)  # softplus of it is 1
Matrix = Float[Tensor, "R D D B"]


@dataclasses.dataclass
class Sweep:
    """What `forward` leaves behind for `backward`.

    `factor` A (R, D, D, B), `slopes` A_i (R, D, D, i, B), `reduced` p (R, D, B), `inverse` of M.
    """

    trace: Trace
    diagonal: Bend
    factor: Tensor
    slopes: Tensor
    reduced: Tensor
    inverse: Tensor


@dataclasses.dataclass(frozen=True)
class StructuredLNN(NetworkModel):
    """Kinetic energy of a positive definite mass matrix, potential apart; no magnetic forces."""

    kind = "structured_lnn"

    @staticmethod
    def forward(
        mlp: MLP, layers: Layers, q: Tensor, qdot: Tensor, force: Tensor | float = 0.0
    ) -> Forward:
        A, A_i, V_i, trace, diagonal = _columns(mlp, layers, q)
        inverse, floored = invert(_mass(mlp, A))
        p = _transposed(A, qdot)
        along = _along(A_i, qdot)
        c = _times(along, p) + _times(A, _transposed(along, qdot))
        g = _transposed((A_i * qdot[:, :, None, None]).sum(1), p) - V_i
        return _times(inverse, g - c + force), floored, Sweep(trace, diagonal, A, A_i, p, inverse)

    @staticmethod
    def backward(
        mlp: MLP, layers: Layers, qdot: Tensor, qddot: Tensor, cotangent: Tensor, sweep: Sweep
    ) -> list[Pair]:
        A, A_i, p = sweep.factor, sweep.slopes, sweep.reduced
        u = _transposed(sweep.inverse, cotangent)
        w, along, along_u = _transposed(A, u), _along(A_i, qdot), _along(A_i, u)
        to_A = (
            _outer(qdot, _transposed(along_u, qdot) - _transposed(along, u))
            - _outer(u, _transposed(along, qdot) + _transposed(A, qddot))
            - _outer(qddot, w)
        )
        forth, back = _outer(qdot, p), _outer(u, p) + _outer(qdot, w)
        # (R, D, D, i, B): derivatives in A_i
        to_A_i = forth.unsqueeze(3) * u[:, None, None] - back.unsqueeze(3) * qdot[:, None, None]
        to_A = torch.cat([to_A.unsqueeze(3), to_A_i], 3)
        to_V = torch.cat([torch.zeros_like(u[:, :1]), -u], 1)  # V itself is not seen
        to_diagonal = sweep.diagonal.pull(torch.stack([to_A[:, i, i] for i in range(mlp.n_dof)], 1))
        lower = [to_diagonal[:, i] if i == j else to_A[:, i, j] for i, j in _lower(mlp.n_dof)]
        return mlp.backward(layers, torch.stack([*lower, to_V], 1), sweep.trace)

    @staticmethod
    def pull(
        mlp: MLP, qdot: Tensor, qddot: Tensor, cotangent: Tensor, sweep: Sweep, adjoint: Tensor
    ) -> tuple[Tensor, Tensor]:
        A, A_i, p, x = sweep.factor, sweep.slopes, sweep.reduced, sweep.trace.below[0][:, :, 0]
        u = _transposed(sweep.inverse, cotangent)
        w, along, along_u = _transposed(A, u), _along(A_i, qdot), _along(A_i, u)
        turn = _transposed(along_u, qdot) - _transposed(along, u)
        slopes = (A_i * (_outer(u, p) + _outer(qdot, w)).unsqueeze(3)).sum((1, 2))
        to_qdot = _times(A, turn) + _times(along_u, p) - _times(along, w) - slopes
        one = torch.ones_like(qdot)
        bent = [mlp.bend(x, adjoint[:, :, i + 1], one)[:, i] for i in range(mlp.n_dof)]
        return mlp.pull(x, adjoint[:, :, 0]) + torch.stack(bent, 1), to_qdot

    def energy(self, theta: Tensor, q: Tensor, qdot: Tensor) -> tuple[Tensor, Tensor]:
        qdot = qdot[:, : self.mlp.n_dof]
        action = (_times(self.mass_matrix(theta, q, qdot), qdot) * qdot).sum(1)
        inputs = self.mlp.encode(q).unsqueeze(2)
        potential = self.mlp.forward(self.mlp.layers(theta), inputs)[0][:, -1, 0]
        return action / 2 + potential, action

    def mass_matrix(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Tensor:
        return _mass(self.mlp, _columns(self.mlp, self.mlp.layers(theta), q)[0])


def _columns(
    mlp: MLP, layers: Layers, q: States
) -> tuple[Matrix, Float[Tensor, "R D D D B"], States, Trace, Bend]:
    """A, its derivatives A_i (the last D of its axes is i), those of V, and two traces."""
    D, x = mlp.n_dof, mlp.encode(q)
    one, none = torch.ones_like(q[:, :1]), torch.zeros_like(q[:, :1])
    tangents = [
        mlp.push(x, torch.cat([one if k == i else none for k in range(D)], 1)) for i in range(D)
    ]
    out, trace = mlp.forward(layers, torch.stack([x, *tangents], 2))
    place = {entry: k for k, entry in enumerate(_lower(D))}
    raw = torch.stack([out[:, place[i, i]] for i in range(D)], 1)
    shifted = torch.cat([raw[:, :, :1] + ONE, raw[:, :, 1:]], 2)
    diagonal, bend = activate("softplus", 1.0, shifted)
    none = torch.zeros_like(out[:, 0])
    entries = [
        diagonal[:, i] if i == j else out[:, place[i, j]] if j < i else none
        for i in range(D)
        for j in range(D)
    ]
    A = torch.stack(entries, 1).unflatten(1, (D, D))
    return A[:, :, :, 0], A[:, :, :, 1:], out[:, -1, 1:], trace, bend


def _lower(n_dof: int) -> list[tuple[int, int]]:
    """Where the entries of A stand, in the order of the outputs."""
    return [(i, j) for i in range(n_dof) for j in range(i + 1)]


def _mass(mlp: MLP, A: Matrix) -> Matrix:
    return with_prior((A.unsqueeze(2) * A.unsqueeze(1)).sum(3), mlp.mass_prior)


def _along(A_i: Float[Tensor, "R D D D B"], direction: States) -> Matrix:
    """sum_i direction_i A_i."""
    return (A_i * direction[:, None, None]).sum(3)


def _times(matrix: Matrix, vector: States) -> States:
    return (matrix * vector.unsqueeze(1)).sum(2)


def _transposed(matrix: Matrix, vector: States) -> States:
    """The transposed matrix times a vector."""
    return (matrix * vector.unsqueeze(2)).sum(1)


def _outer(a: States, b: States) -> Matrix:
    return a.unsqueeze(2) * b.unsqueeze(1)
