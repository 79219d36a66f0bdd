"""Initial values of a network by name.

Knows: scales by layer, one generator a seed. Does not know: what the network is used for. A new
initialisation is one function and one entry of `INITS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from study.core.models.mlp import MLP


def initial_scale(name: str, layer: int, depth: int, fan_in: int, width: int) -> float:
    """Standard deviation of a layer's weights under initialisation `name`.

    - `fan_in`: 1 / sqrt(fan_in).
    - `cranmer`: (1 / sqrt(n)) {2.2 first, 0.58 i hidden layer i, n output}, n the width;
      Cranmer et al. (2020), arXiv 2003.04630, section 4.
    """
    if name == "fan_in":
        return 1 / math.sqrt(fan_in)
    if layer == 0:
        return 2.2 / math.sqrt(width)
    return math.sqrt(width) if layer == depth else 0.58 * layer / math.sqrt(width)


def _normal(init: str) -> Callable[[MLP, int], Tensor]:
    """Weights N(0, scale^2) by layer, biases zero."""

    def draw(mlp: MLP, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        pieces = []
        for layer, (fan_in, fan_out) in enumerate(mlp.layer_sizes):
            scale = initial_scale(init, layer, mlp.depth, fan_in, mlp.width)
            weight = torch.randn(fan_in * fan_out, generator=generator, dtype=torch.float64)
            pieces += [scale * weight, torch.zeros(fan_out, dtype=torch.float64)]
        return torch.cat(pieces)

    return draw


def _beta_matched(mlp: MLP, seed: int) -> Tensor:
    """The function that `fan_in` starts from at beta 1, whatever beta is.

    With sigma(beta x) / beta and no biases, beta is a factor beta on the first layer and 1 / beta
    on the last; both are taken out here, so that what beta does beyond the initial scale is left.
    """
    theta = _normal("fan_in")(mlp, seed).unsqueeze(0)
    layers = mlp.layers(theta)  # views
    layers[0][0].div_(mlp.beta)
    layers[-1][0].mul_(mlp.beta)
    return theta[0]


def _torch_default(mlp: MLP, seed: int) -> Tensor:
    """As torch.nn.Linear does: weights and biases U(+-1/sqrt(fan_in))."""
    generator = torch.Generator().manual_seed(seed)
    pieces = []
    for fan_in, fan_out in mlp.layer_sizes:
        drawn = torch.rand(fan_in * fan_out + fan_out, generator=generator, dtype=torch.float64)
        pieces.append((2 * drawn - 1) / math.sqrt(fan_in))
    return torch.cat(pieces)


INITS: dict[str, Callable[[MLP, int], Tensor]] = {
    "fan_in": _normal("fan_in"),
    "cranmer": _normal("cranmer"),
    "torch_default": _torch_default,
    "beta_matched": _beta_matched,
}
