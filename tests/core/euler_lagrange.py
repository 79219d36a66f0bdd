"""Accelerations of any Lagrangian by automatic differentiation: the reference of the models."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from study.core.systems import System


def terms(
    lagrangian: Callable[[Tensor, Tensor], Tensor],
    q: Float[Tensor, "n D"],
    qdot: Float[Tensor, "n D"],
) -> tuple[Float[Tensor, "n D D"], Float[Tensor, "n D"]]:
    """Mass matrix M = d2L/dqdot2 and generalised force g - c of a scalar L(q, qdot).

    g = dL/dq, c = (d2L/dqdot dq) qdot; Cranmer et al. (2020), eq. 6.
    """
    momentum = torch.func.grad(lagrangian, argnums=1)

    def one(q: Tensor, qdot: Tensor) -> tuple[Tensor, Tensor]:
        mass = torch.func.jacfwd(momentum, argnums=1)(q, qdot)
        c = torch.func.jvp(lambda x: momentum(x, qdot), (q,), (qdot,))[1]
        return mass, torch.func.grad(lagrangian)(q, qdot) - c

    return torch.func.vmap(one)(q, qdot)


def acceleration(
    lagrangian: Callable[[Tensor, Tensor], Tensor],
    q: Float[Tensor, "n D"],
    qdot: Float[Tensor, "n D"],
) -> Float[Tensor, "n D"]:
    """qddot = M^-1 (g - c) of a scalar L(q, qdot), differentiable in whatever L holds.

    **Raises:** `torch.linalg.LinAlgError` where the mass matrix is exactly singular.
    """
    mass, force = terms(lagrangian, q, qdot)
    return torch.linalg.solve(mass, force)


def lagrangian_of(system: System) -> Callable[[Tensor, Tensor], Tensor]:
    """L(q, qdot) of a mechanical system as a torch function of one state."""
    return lambda q, qdot: system.lagrangian(q, qdot, system.parameters, torch)
