"""What is left of a backward sweep before it is summed: one pair of streams for each affine layer.

Knows: how pairs become a gradient or a Jacobian in the flat parameters. Does not know: which model
or which loss they came from. Every model here has both from the same sweep.

A layer a = W h + b whose adjoint and input are carried in C streams (values, tangents, ...) has
dW = sum over streams of adjoint x input, and db = the adjoint of the value alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


@dataclasses.dataclass
class Pair:
    """One layer of R networks at B states.

    **Arguments:**

    - `adjoint`: (R, out, C, B), of the layer's output, stream by stream.
    - `below`: (R, in, C, B), what the layer was given.
    - `bias`: (R, out, B), the adjoint of b.
    """

    adjoint: Float[Tensor, "R out C B"]
    below: Float[Tensor, "R in C B"]
    bias: Float[Tensor, "R out B"]


def gradient_of(pairs: Sequence[Pair]) -> Float[Tensor, "R P"]:
    """The gradient summed over states, in the order of the layers."""
    pieces = []
    for pair in pairs:
        weight = torch.bmm(pair.adjoint.flatten(2), pair.below.flatten(2).mT)
        pieces += [weight.flatten(1), pair.bias.sum(-1)]
    return torch.cat(pieces, 1)


def jacobian_of(
    pairs: Sequence[Pair], out: Float[Tensor, "R P B"] | None = None
) -> Float[Tensor, "R B P"]:
    """The gradient of each state apart; a view of `out`, which is filled if it is given.

    Feature-major as the pairs are: each entry of W is one product over all states at once, several
    times faster than an outer product for each state.
    """
    R, _, _, B = pairs[0].adjoint.shape
    sizes = [(pair.adjoint.shape[1], pair.below.shape[1]) for pair in pairs]
    if out is None:
        out = pairs[0].bias.new_empty(R, sum(o * i + o for o, i in sizes), B)
    at = 0
    for pair, (n_out, n_in) in zip(pairs, sizes, strict=True):
        weight = out[:, at : at + n_out * n_in].unflatten(1, (n_out, n_in))
        adjoint, below = pair.adjoint.unsqueeze(2), pair.below.unsqueeze(1)
        torch.mul(adjoint[:, :, :, 0], below[:, :, :, 0], out=weight)
        for c in range(1, pair.adjoint.shape[2]):
            weight.addcmul_(adjoint[:, :, :, c], below[:, :, :, c])
        at += n_out * n_in
        out[:, at : at + n_out] = pair.bias
        at += n_out
    return out.mT
