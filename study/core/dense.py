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

from study.core.activations import derivatives
from study.core.mlp import MLP, Layers
from study.core.pairs import Pair


@dataclasses.dataclass
class Trace:
    """What `forward` leaves behind for `backward`.

    - `below`: what each layer was given, (R, in, C, B).
    - `first`, `second`: derivatives of sigma at each hidden a_k, (R, H, B).
    - `tangents`: those of each hidden a_k, (R, H, C - 1, B).
    """

    below: list[Tensor] = dataclasses.field(default_factory=list)
    first: list[Tensor] = dataclasses.field(default_factory=list)
    second: list[Tensor] = dataclasses.field(default_factory=list)
    tangents: list[Tensor] = dataclasses.field(default_factory=list)


def forward(
    mlp: MLP, layers: Layers, streams: Float[Tensor, "R I C B"]
) -> tuple[Float[Tensor, "R K C B"], Trace]:
    """The outputs and their tangents, from the inputs and theirs."""
    trace = Trace()
    C = streams.shape[2]
    for k, (W, b) in enumerate(layers):
        trace.below.append(streams)
        out = torch.bmm(W, streams.flatten(2)).unflatten(2, (C, -1))
        value, tangents = out[:, :, 0] + b, out[:, :, 1:]
        if k < mlp.depth:
            value, first, second, _ = derivatives(mlp.activation, mlp.beta, value)
            trace.first.append(first)
            trace.second.append(second)
            trace.tangents.append(tangents)
            tangents = first.unsqueeze(2) * tangents
        streams = torch.cat([value.unsqueeze(2), tangents], 2)
    return streams, trace


def backward(
    mlp: MLP, layers: Layers, cotangent: Float[Tensor, "R K C B"], trace: Trace
) -> list[Pair]:
    """The streams of d<cotangent, outputs>/dtheta, layer by layer."""
    C = cotangent.shape[2]
    pairs = []
    adjoint = cotangent
    for k in reversed(range(mlp.depth + 1)):
        pairs.append(Pair(adjoint, trace.below[k], adjoint[:, :, 0]))
        if k == 0:
            break
        back = torch.bmm(layers[k][0].mT, adjoint.flatten(2)).unflatten(2, (C, -1))
        first, second, tangents = trace.first[k - 1], trace.second[k - 1], trace.tangents[k - 1]
        value = first * back[:, :, 0] + second * (tangents * back[:, :, 1:]).sum(2)
        adjoint = torch.cat([value.unsqueeze(2), first.unsqueeze(2) * back[:, :, 1:]], 2)
    return pairs[::-1]
