"""Initial values of a network by name.

A new initialisation is one function and one entry of `INITS`: it takes the (inputs, outputs) of
each layer, beta and a seed, and gives weights and biases in turn, layer by layer, each flat.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Sizes = list[tuple[int, int]]


def _normal(sizes: Sizes, scales: list[float], seed: int) -> list[Tensor]:
    """Weights N(0, scale^2), a scale for each layer; biases zero."""
    generator = torch.Generator().manual_seed(seed)
    pieces = []
    for (fan_in, fan_out), scale in zip(sizes, scales, strict=True):
        weight = torch.randn(fan_in * fan_out, generator=generator, dtype=torch.float64)
        pieces += [scale * weight, torch.zeros(fan_out, dtype=torch.float64)]
    return pieces


def draw_features(
    n_features: int, n_inputs: int, seed: int
) -> tuple[Float[Tensor, " pI"], Float[Tensor, " p"]]:
    """w ~ N(0, 1), flat, and b ~ U(-pi, pi) of random features sin(w . x + b), float64."""
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(n_features * n_inputs, generator=generator, dtype=torch.float64)
    b = torch.rand(n_features, generator=generator, dtype=torch.float64)
    return w, math.pi * (2 * b - 1)


def _fan_in(sizes: Sizes, beta: float, seed: int) -> list[Tensor]:
    """Scale 1 / sqrt(fan_in)."""
    return _normal(sizes, [1 / math.sqrt(fan_in) for fan_in, _ in sizes], seed)


def _cranmer(sizes: Sizes, beta: float, seed: int) -> list[Tensor]:
    """Scale (1 / sqrt(n)) {2.2 first, 0.58 i hidden layer i, n output}, n the width.

    Cranmer et al. (2020), arXiv 2003.04630, section 4.
    """
    root = math.sqrt(sizes[0][1])
    hidden = [0.58 * layer / root for layer in range(1, len(sizes) - 1)]
    return _normal(sizes, [2.2 / root, *hidden, root], seed)


def _beta_matched(sizes: Sizes, beta: float, seed: int) -> list[Tensor]:
    """The function that `fan_in` starts from at beta 1, whatever beta is.

    With sigma(beta x) / beta and no biases, beta is a factor beta on the first layer and 1 / beta
    on the last. Both are undone here, which leaves what beta does beyond the initial scale.
    """
    pieces = _fan_in(sizes, beta, seed)
    pieces[0].div_(beta)
    pieces[-2].mul_(beta)
    return pieces


def _torch_default(sizes: Sizes, beta: float, seed: int) -> list[Tensor]:
    """As torch.nn.Linear does: weights and biases U(+-1/sqrt(fan_in))."""
    generator = torch.Generator().manual_seed(seed)
    pieces = []
    for fan_in, fan_out in sizes:
        drawn = torch.rand(fan_in * fan_out + fan_out, generator=generator, dtype=torch.float64)
        pieces.append((2 * drawn - 1) / math.sqrt(fan_in))
    return pieces


INITS: dict[str, Callable[[Sizes, float, int], list[Tensor]]] = {
    "fan_in": _fan_in,
    "cranmer": _cranmer,
    "torch_default": _torch_default,
    "beta_matched": _beta_matched,
}
