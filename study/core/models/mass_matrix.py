"""Inverses of mass matrices that may be nearly singular.

The rule: the determinant (D <= 3) is kept at least FLOOR |M|_F^D / D^(D/2) away from zero with its
sign, for D > 3 each eigenvalue at least FLOOR max|eigenvalue|. Exact zero counts as positive.
`native/mass_matrix.hpp` has the same rule.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

FLOOR = {torch.float32: 1e-6, torch.float64: 1e-12}


def invert(mass: Float[Tensor, "R D D B"]) -> tuple[Float[Tensor, "R D D B"], Bool[Tensor, "R B"]]:
    """Inverses of symmetric matrices, and whether each had to be floored."""
    D, floor, tiny = mass.shape[1], FLOOR[mass.dtype], torch.finfo(mass.dtype).tiny
    if D > 3:
        square = mass.permute(0, 3, 1, 2)
        finite = torch.isfinite(square).all((2, 3))
        eye = torch.eye(D, dtype=mass.dtype, device=mass.device)
        # eigh raises on NaN, which would end the other networks too
        values, vectors = torch.linalg.eigh(torch.where(finite[..., None, None], square, eye))
        values = torch.where(finite[..., None], values, torch.full_like(values, torch.nan))
        limit = floor * values.abs().amax(-1, keepdim=True) + tiny
        small = values.abs() < limit
        values = torch.where(small, torch.where(values < 0, -limit, limit), values)
        inverse = (vectors / values.unsqueeze(-2)) @ vectors.mT
        return inverse.permute(0, 2, 3, 1), small.any(-1)
    adjugate, det = _adjugate(mass)
    limit = (floor / D ** (D / 2)) * (mass * mass).sum((1, 2)) ** (D / 2)
    limit = limit + tiny
    small = det.abs() < limit
    det = torch.where(small, torch.where(det < 0, -limit, limit), det)
    return adjugate / det[:, None, None], small


def _adjugate(m: Tensor) -> tuple[Tensor, Tensor]:
    """The adjugate (R, D, D, B) and the determinant (R, B), D <= 3."""
    D = m.shape[1]
    if D == 1:
        return torch.ones_like(m), m[:, 0, 0]
    if D == 2:
        a, b, d = m[:, 0, 0], m[:, 0, 1], m[:, 1, 1]
        adjugate = torch.stack([d, -b, -b, a], 1).unflatten(1, (2, 2))
        return adjugate, a * d - b * b
    a, b, c, d, e, f = m[:, 0, 0], m[:, 0, 1], m[:, 0, 2], m[:, 1, 1], m[:, 1, 2], m[:, 2, 2]
    aa, bb, cc = d * f - e * e, c * e - b * f, b * e - c * d
    dd, ee, ff = a * f - c * c, b * c - a * e, a * d - b * b
    adjugate = torch.stack([aa, bb, cc, bb, dd, ee, cc, ee, ff], 1).unflatten(1, (3, 3))
    return adjugate, a * aa + b * bb + c * cc


def with_prior(mass: Float[Tensor, "R D D B"], prior: float) -> Float[Tensor, "R D D B"]:
    """M + prior I."""
    eye = torch.eye(mass.shape[1], dtype=mass.dtype, device=mass.device)
    return mass + prior * eye[None, :, :, None]
