"""Activations sigma(beta x) / beta with their first three derivatives in x.

A new activation is one function, its formula at beta = 1, and one entry of `ACTIVATIONS`; the tests
check its derivatives against automatic differentiation.

A Lagrangian needs a second derivative that is not zero: ReLU has none, so its mass matrix is zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Derivatives = tuple[Tensor, Tensor, Tensor, Tensor]


def _softplus(z: Tensor) -> Derivatives:
    # log1p: log(1 + exp) loses two digits if the mass matrix is nearly singular
    value = torch.log1p(torch.exp(-torch.abs(z))) + torch.relu(z)
    s = torch.sigmoid(z)
    first = s * (1 - s)
    return value, s, first, first * (1 - 2 * s)


def _tanh(z: Tensor) -> Derivatives:
    t = torch.tanh(z)
    first = 1 - t * t
    return t, first, -2 * t * first, first * (6 * t * t - 2)


def _gelu(z: Tensor) -> Derivatives:
    cdf = 0.5 * (1 + torch.erf(z * (1 / math.sqrt(2))))
    pdf = torch.exp(-0.5 * z * z) * (1 / math.sqrt(2 * math.pi))
    return z * cdf, cdf + z * pdf, pdf * (2 - z * z), pdf * z * (z * z - 4)


def _silu(z: Tensor) -> Derivatives:
    s = torch.sigmoid(z)
    s1 = s * (1 - s)
    s2 = s1 * (1 - 2 * s)
    s3 = s2 * (1 - 2 * s) - 2 * s1 * s1
    return z * s, s + z * s1, 2 * s1 + z * s2, 3 * s2 + z * s3


def _sin(z: Tensor) -> Derivatives:
    sin, cos = torch.sin(z), torch.cos(z)
    return sin, cos, -sin, -cos


ACTIVATIONS: dict[str, Callable[[Tensor], Derivatives]] = {
    "softplus": _softplus,
    "tanh": _tanh,
    "gelu": _gelu,
    "silu": _silu,
    "sin": _sin,
}


def derivatives(name: str, beta: float, x: Tensor) -> Derivatives:
    """sigma(beta x) / beta and its first, second and third derivative in x, elementwise."""
    value, first, second, third = ACTIVATIONS[name](x if beta == 1 else beta * x)
    if beta == 1:
        return value, first, second, third
    return value / beta, first, beta * second, (beta * beta) * third
