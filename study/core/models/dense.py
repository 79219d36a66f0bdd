"""An ensemble of dense networks of several outputs, with tangents beside the values.

Knows: values and first derivatives along given directions pushed forward together, and cotangents
of both swept back. Does not know: what the outputs mean. Column 0 of every stream is the value, the
others are tangents; each layer is one batched matrix product over all columns.

For a_k = W_k h_(k-1) + b_k and h_k = sigma(a_k), a tangent goes as t_k -> sigma'(a_k) t_k, and back
the value's adjoint gains sigma''(a_k) t_k times that of each tangent.
"""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.activations import derivatives
from study.core.models.mlp import MLP, Layers
from study.core.models.pairs import Pair


@dataclasses.dataclass
class Bend:
    """What one activation leaves behind: its derivatives (R, H, B), tangents (R, H, C - 1, B)."""

    first: Tensor
    second: Tensor
    tangents: Tensor


@dataclasses.dataclass
class Trace:
    """What `forward` leaves behind: what each layer was given, and each activation."""

    below: list[Tensor] = dataclasses.field(default_factory=list)
    bends: list[Bend] = dataclasses.field(default_factory=list)


def activate(
    name: str, beta: float, streams: Float[Tensor, "R H C B"]
) -> tuple[Float[Tensor, "R H C B"], Bend]:
    """sigma of the values, with their tangents."""
    value, first, second, _ = derivatives(name, beta, streams[:, :, 0])
    tangents = streams[:, :, 1:]
    out = torch.cat([value.unsqueeze(2), first.unsqueeze(2) * tangents], 2)
    return out, Bend(first, second, tangents)


def pull(bend: Bend, adjoint: Float[Tensor, "R H C B"]) -> Float[Tensor, "R H C B"]:
    """The adjoint below an activation from that above it."""
    to_value, to_tangents = adjoint[:, :, 0], adjoint[:, :, 1:]
    value = bend.first * to_value + bend.second * (bend.tangents * to_tangents).sum(2)
    return torch.cat([value.unsqueeze(2), bend.first.unsqueeze(2) * to_tangents], 2)


def forward(
    mlp: MLP, layers: Layers, streams: Float[Tensor, "R I C B"]
) -> tuple[Float[Tensor, "R K C B"], Trace]:
    """The outputs and their tangents, from the inputs and theirs."""
    trace, C = Trace(), streams.shape[2]
    for k, (W, b) in enumerate(layers):
        trace.below.append(streams)
        out = torch.bmm(W, streams.flatten(2)).unflatten(2, (C, -1))
        streams = torch.cat([out[:, :, :1] + b.unsqueeze(2), out[:, :, 1:]], 2)
        if k < mlp.depth:
            streams, bend = activate(mlp.activation, mlp.beta, streams)
            trace.bends.append(bend)
    return streams, trace


def backward(
    mlp: MLP, layers: Layers, cotangent: Float[Tensor, "R K C B"], trace: Trace
) -> list[Pair]:
    """The streams of d<cotangent, outputs>/dtheta, layer by layer."""
    pairs = [Pair(cotangent, trace.below[-1], cotangent[:, :, 0])]
    adjoint, C = cotangent, cotangent.shape[2]
    for k in reversed(range(mlp.depth)):
        above = torch.bmm(layers[k + 1][0].mT, adjoint.flatten(2)).unflatten(2, (C, -1))
        adjoint = pull(trace.bends[k], above)
        pairs.append(Pair(adjoint, trace.below[k], adjoint[:, :, 0]))
    return pairs[::-1]
