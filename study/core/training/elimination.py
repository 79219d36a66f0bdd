"""Least squares for two groups of unknowns: many with a ridge, and a few that matter by themselves.

    min over c, f of |A c + F f - y|^2 + ridge S_1^2 |c|^2,   S_1 the largest singular value of A

c are the coefficients of a Lagrangian, under one constraint that keeps the trivial solution away
(`least_squares`); f are those of forces. For any f the best c is linear in what is left, so c is
eliminated, and f solves a small least-squares problem of its own, without a ridge, and with bounds
if they are wanted (variable projection, Golub and Pereyra 1973, SIAM J. Numer. Anal. 10, 413; the
bounded problem by scipy).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy
import torch
from jaxtyping import Float, Int
from torch import Tensor

Array = np.ndarray

CUTOFF = 1e-13  # singular values below this part of the largest count as zero


def complement(direction: Float[Tensor, " P"]) -> Float[Tensor, "P P_1"]:
    """An orthonormal basis of what is orthogonal to a unit vector, by a reflection."""
    u = direction.clone()
    u[0] += 1.0 if u[0] >= 0 else -1.0
    u = u / u.norm()
    eye = torch.eye(len(u), dtype=u.dtype, device=u.device)
    return eye[:, 1:] - 2 * torch.outer(u, u[1:])


@dataclasses.dataclass(frozen=True)
class Design:
    """Linear equations features @ c + forces @ f = right; mean of gauge @ c is `level`.

    - `gauge` (P), the mean over states; None if the scale of L is fixed otherwise.
    - `groups` (n): equations of different groups have independent errors.
    """

    features: Float[Array, "n P"]
    forces: Float[Array, "n k"]
    right: Float[Array, " n"]
    groups: Int[Array, " n"]
    gauge: Float[Array, " P"] | None
    level: float


@dataclasses.dataclass(frozen=True)
class Solution:
    """`c` (P) and `f` (k) of one ridge; the covariance of f (k, k), NaN if not asked for."""

    c: Float[Array, " P"]
    f: Float[Array, " k"]
    covariance: Float[Array, "k k"]


@dataclasses.dataclass(frozen=True)
class Eliminated:
    """A design by the singular values of its features, the constraint taken out.

    c = offset + basis @ z; `along` (K, k + 1) are forces and right-hand side in the K left singular
    directions, `beside` is what is left of them.
    """

    values: Float[Array, " K"]
    basis: Float[Array, "P K"]
    offset: Float[Array, " P"]
    along: Float[Array, "K k1"]
    beside: Float[Array, "l k1"]

    @classmethod
    def of(cls, design: Design, equilibrated: bool = False) -> Eliminated:
        """If `equilibrated`, of features of unit norm, as `least_squares.Spectrum.of`."""
        P, k = design.features.shape[1], design.forces.shape[1]
        whole = np.concatenate([design.features, design.forces, design.right[:, None]], axis=1)
        if len(whole) > whole.shape[1]:
            whole = np.asarray(np.linalg.qr(whole, mode="r"))
        rows, rest = whole[:, :P], whole[:, P:].copy()
        size = np.ones(P)
        if equilibrated and rows.any():
            norms = np.linalg.norm(rows, axis=0)
            size = np.where(norms > CUTOFF * norms.max(), norms, norms.max())
        rows, offset, basis = rows / size, np.zeros(P), np.eye(P)
        if design.gauge is not None and (gauge := design.gauge / size).any():
            length = np.linalg.norm(gauge)
            offset = gauge * (design.level / length**2)
            basis = complement(torch.from_numpy(gauge / length)).numpy()
        rest[:, k] -= rows @ offset
        U, S, Vh = np.linalg.svd(rows @ basis, full_matrices=False)
        kept = CUTOFF * S[0] < S
        U, S, Vh = U[:, kept], S[kept], Vh[kept]
        along = U.T @ rest
        basis = (basis @ Vh.T) / size[:, None]
        return cls(S, basis, offset / size, along, rest - U @ along)

    def solve(self, ridge: float, non_negative: int = 0, definite: int = 0) -> Solution:
        """The solution with a ridge.

        The first `non_negative` entries of f are kept >= 0; or a matrix (D, D), D = `definite`,
        whose lower triangle they are row by row, positive semidefinite.
        """
        square = self.values**2 + ridge * self.values[0] ** 2
        left = np.sqrt(1 - self.values**2 / square)[:, None]  # of each direction, by the ridge
        small = np.concatenate([left * self.along, self.beside])
        k = small.shape[1] - 1
        f = np.zeros(0)
        if k:
            low = np.full(k, -np.inf)
            low[:non_negative] = 0
            if definite:
                f = _definite(small[:, :k], small[:, k], definite)
            elif non_negative:
                f = scipy.optimize.lsq_linear(small[:, :k], small[:, k], (low, np.inf)).x
            else:
                f = np.linalg.lstsq(small[:, :k], small[:, k])[0]
        c = self._features(square, self.along[:, k] - self.along[:, :k] @ f)
        return Solution(c, f, np.full((k, k), np.nan))

    def with_covariance(self, design: Design, ridge: float, non_negative: int = 0) -> Solution:
        """As `solve`, and the covariance of f from the residuals of whole groups.

        f is linear in the right-hand side. Errors within a group may be correlated in any way
        (Liang and Zeger 1986, Biometrika 73, 13, with the factor G / (G - 1) of G groups).
        """
        solution, k = self.solve(ridge, non_negative), design.forces.shape[1]
        A = design.features[:, : len(self.offset)]
        square = self.values**2 + ridge * self.values[0] ** 2
        explained = A @ (self.basis @ ((self.values / square)[:, None] * self.along[:, :k]))
        own = design.forces - explained  # what no feature can take over
        residual = design.right - A @ solution.c - design.forces @ solution.f
        labels = np.unique(design.groups, return_inverse=True)[1]
        scores = np.zeros((labels.max() + 1, k))
        np.add.at(scores, labels, own * residual[:, None])
        free = np.ones(k, bool)
        free[:non_negative] = solution.f[:non_negative] > 0
        covariance = np.zeros((k, k))
        if free.any():
            inverse = np.linalg.pinv(design.forces[:, free].T @ own[:, free])
            spread = scores[:, free].T @ scores[:, free] * (len(scores) / max(1, len(scores) - 1))
            covariance[np.ix_(free, free)] = inverse @ spread @ inverse.T
        return dataclasses.replace(solution, covariance=covariance)

    def _features(self, square: Float[Array, " K"], right: Float[Array, " K"]) -> Array:
        return self.offset + self.basis @ (self.values / square * right)


def _definite(A: Float[Array, "n k"], y: Float[Array, " n"], D: int) -> Float[Array, " k"]:
    """Least squares for f, which begins with the lower triangle of C = R R^T.

    If the free solution is not definite, over R: with a square R that has no other minima (Burer
    and Monteiro 2005, Math. Program. 103, 427).
    """
    low, f = np.tril_indices(D), np.linalg.lstsq(A, y)[0]
    C, n = np.zeros((D, D)), len(low[0])
    C[low] = f[:n]
    values, vectors = np.linalg.eigh(C + np.tril(C, -1).T)
    if values[0] >= 0:
        return f

    def packed(x: Float[Array, " _"]) -> Float[Array, " k"]:
        R = x[: D * D].reshape(D, D)
        return np.concatenate([(R @ R.T)[low], x[D * D :]])

    size = np.maximum(values, 1e-3 * np.abs(values).max())
    start = np.concatenate([(vectors * np.sqrt(size)).ravel(), f[n:]])
    tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15}
    return packed(scipy.optimize.least_squares(lambda x: A @ packed(x) - y, start, **tight).x)
