"""Forces that are linear in their coefficients, beside a Lagrangian that is so too.

Q = -C qdot + B u, in physical units. C is the matrix of Rayleigh's dissipation function
F = qdot^T C qdot / 2 (Goldstein, Classical Mechanics, eq. 1-67), Q = -dF/dqdot. Their
coefficients f are more unknowns of the same linear equations, M qddot + c - g = Q.

Accelerations do not see the scale of L: with it C and a fitted B are known up to one common factor.
A known B fixes it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class LinearForces:
    """Which forces there are, and how their coefficients f (k) enter.

    **Arguments:**

    - `n_dof`: D.
    - `shapes`: (k_C, D, D), C = sum_j f_j shapes_j.
    - `n_inputs`: m.
    - `matrix`: B (D, m) if it is known. If not, its D m entries are the last of f, row by row.
    """

    n_dof: int
    shapes: Float[Array, "k D D"]
    n_inputs: int = 0
    matrix: Float[Array, "D m"] | None = None

    @classmethod
    def of(
        cls,
        n_dof: int,
        friction: str | Float[Array, "k D"] | None = None,
        n_inputs: int = 0,
        matrix: Float[Array, "D m"] | None = None,
        non_negative: bool = False,
    ) -> LinearForces:
        """Forces by the kind of friction.

        - `friction`: None; `diagonal`, F = sum_i b_i qdot_i^2 / 2; `matrix`, any symmetric C, its
          lower triangle row by row; or rates J (k, D), F = sum_j b_j (J qdot)_j^2 / 2, such as
          those of joints between two links.

        **Raises:** `ValueError` for another kind, for matrices of another shape, and for a
        symmetric matrix without negative coefficients, which does not make it definite.
        """
        if non_negative and isinstance(friction, str) and friction == "matrix":
            raise ValueError(
                "friction='matrix' cannot be kept from being negative by its coefficients: use "
                "'diagonal', or the rates of the joints"
            )
        if isinstance(friction, np.ndarray):
            if friction.ndim != 2 or friction.shape[1] != n_dof:
                raise ValueError(f"friction has the shape {friction.shape}: (k, {n_dof}) is needed")
            shapes = friction[:, :, None] * friction[:, None, :]
        elif friction is None:
            shapes = np.zeros((0, n_dof, n_dof))
        elif friction in KINDS:
            pairs = [(i, j) for i in range(n_dof) for j in range(i + 1)]
            shapes = np.zeros((len(pairs), n_dof, n_dof))
            for shape, (i, j) in zip(shapes, pairs, strict=True):
                shape[i, j] = shape[j, i] = 1
            if friction == "diagonal":
                shapes = shapes[[i == j for i, j in pairs]]
        else:
            raise ValueError(
                f"friction={friction!r} should be None, {' or '.join(KINDS)}, or rates"
            )
        if matrix is not None and matrix.shape != (n_dof, n_inputs):
            raise ValueError(
                f"the matrix of the inputs has the shape {matrix.shape}: "
                f"({n_dof}, {n_inputs}) is needed, a row for each coordinate"
            )
        return cls(n_dof, shapes, n_inputs, matrix)

    @property
    def n_friction(self) -> int:
        """Coefficients of C, the first of f."""
        return len(self.shapes)

    @property
    def n_fitted_inputs(self) -> int:
        """Coefficients of B, the last of f."""
        return self.n_dof * self.n_inputs if self.matrix is None else 0

    @property
    def count(self) -> int:
        """k, coefficients in all."""
        return self.n_friction + self.n_fitted_inputs

    def columns(
        self, qdot: Float[Array, "n D"], u: Float[Array, "n m"] | None
    ) -> Float[Array, "n D k"]:
        """What each coefficient contributes to Q."""
        friction = -np.einsum("kij,nj->nik", self.shapes, qdot)
        if u is None or not self.n_fitted_inputs:
            return friction
        inputs = np.einsum("ij,nm->nijm", np.eye(self.n_dof), u)
        return np.concatenate([friction, inputs.reshape(len(u), self.n_dof, -1)], axis=2)

    def known(self, u: Float[Array, "n m"] | None) -> Float[Array, "n D"] | float:
        """The part of Q without coefficients."""
        return 0.0 if self.matrix is None or u is None else u @ self.matrix.T

    def matrices(self, f: Float[Array, "*r k"]) -> tuple[Float[Array, "*r D D"], Array]:
        """C, and B (*r, D, m)."""
        friction = np.tensordot(f[..., : self.n_friction], self.shapes, 1)
        shape = (*f.shape[:-1], self.n_dof, self.n_inputs)
        if self.matrix is not None:
            return friction, np.broadcast_to(self.matrix, shape)
        return friction, f[..., self.n_friction :].reshape(shape)


KINDS = ("diagonal", "matrix")
