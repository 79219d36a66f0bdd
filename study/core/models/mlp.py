"""An ensemble of MLPs: shape, parameters, values with tangents forward, cotangents back.

Streams are feature-major, (R networks, features, C columns, B states): column 0 is the value, the
others are tangents, so that each layer is one batched matrix product over all columns. For
a_k = W_k h_(k-1) + b_k and h_k = sigma(a_k), a tangent goes as t_k -> sigma'(a_k) t_k; on the way
back the value's adjoint gains sigma''(a_k) t_k times the adjoint of each tangent.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.activations import derivatives

Layers = list[tuple[Tensor, Tensor]]  # (W: (R, out, in), b: (R, out, 1)), the output last
States = Float[Tensor, "R D B"]  # q, qdot or qddot: R networks, D coordinates, B states
Inputs = Float[Tensor, "R I B"]
Streams = Float[Tensor, "R H C B"]


@dataclasses.dataclass
class Pair:
    """The streams of one layer a = W h + b: dW sums adjoint x input over them, db is that of a.

    **Arguments:**

    - `adjoint`: (R, out, C, B), of the layer's output.
    - `below`: (R, in, C, B), the layer's input.
    - `bias`: (R, out, B), the adjoint of b.
    """

    adjoint: Float[Tensor, "R out C B"]
    below: Float[Tensor, "R in C B"]
    bias: Float[Tensor, "R out B"]


def gradient_of(pairs: Sequence[Pair]) -> Float[Tensor, "R P"]:
    """The gradient in the flat parameters, summed over states."""
    pieces = []
    for pair in pairs:
        weight = torch.bmm(pair.adjoint.flatten(2), pair.below.flatten(2).mT)
        pieces += [weight.flatten(1), pair.bias.sum(-1)]
    return torch.cat(pieces, 1)


def pull_input(layers: Layers, pairs: Sequence[Pair]) -> Streams:
    """The adjoints (R, I, C, B) of the network's input, below its first layer."""
    adjoint = pairs[0].adjoint
    return torch.bmm(layers[0][0].mT, adjoint.flatten(2)).unflatten(2, adjoint.shape[2:])


def fill_jacobian(pairs: Sequence[Pair], out: Float[Tensor, "R P B"]) -> None:
    """Write the gradient of each state into `out`.

    Each entry of W is one product over all states at once, several times faster than an outer
    product for each state.
    """
    at = 0
    for pair in pairs:
        n_out, n_in = pair.adjoint.shape[1], pair.below.shape[1]
        weight = out[:, at : at + n_out * n_in].unflatten(1, (n_out, n_in))
        adjoint, below = pair.adjoint.unsqueeze(2), pair.below.unsqueeze(1)
        torch.mul(adjoint[:, :, :, 0], below[:, :, :, 0], out=weight)
        for c in range(1, pair.adjoint.shape[2]):
            weight.addcmul_(adjoint[:, :, :, c], below[:, :, :, c])
        at += n_out * n_in
        out[:, at : at + n_out] = pair.bias
        at += n_out


@dataclasses.dataclass
class Bend:
    """Derivatives (R, H, B) of one activation, and the tangents (R, H, C - 1, B) that met it."""

    first: Tensor
    second: Tensor
    tangents: Tensor

    def pull(self, adjoint: Streams) -> Streams:
        """The adjoint below the activation from that above it."""
        to_value, to_tangents = adjoint[:, :, 0], adjoint[:, :, 1:]
        value = self.first * to_value + self.second * (self.tangents * to_tangents).sum(2)
        return torch.cat([value.unsqueeze(2), self.first.unsqueeze(2) * to_tangents], 2)


def activate(name: str, beta: float, streams: Streams) -> tuple[Streams, Bend]:
    """sigma of the values, with their tangents."""
    value, first, second, _ = derivatives(name, beta, streams[:, :, 0])
    tangents = streams[:, :, 1:]
    out = torch.cat([value.unsqueeze(2), first.unsqueeze(2) * tangents], 2)
    return out, Bend(first, second, tangents)


@dataclasses.dataclass
class Trace:
    """What `MLP.forward` leaves for `MLP.backward`: each layer's input, and each activation."""

    below: list[Tensor] = dataclasses.field(default_factory=list)
    bends: list[Bend] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class MLP:
    """The shape of one network, and where its layers lie in theta.

    **Arguments:**

    - `angles`: which coordinates are angles; with `encoding="trig"` each enters as (cos, sin).
    - `width`, `depth`: hidden units, hidden layers.
    - `activation`, `beta`: sigma(beta x) / beta.
    - `mass_prior`: L + mass_prior |qdot|^2 / 2.
    - `n_outputs`: 1 for an MLP Lagrangian.
    - `velocities`: whether qdot is among the inputs, after the encoded q.
    - `n_driven`: inputs of the motion that the network sees, after qdot.
    """

    angles: tuple[bool, ...]
    width: int
    depth: int
    activation: str
    beta: float
    encoding: str = "raw"
    mass_prior: float = 0.0
    n_outputs: int = 1
    velocities: bool = True
    n_driven: int = 0

    @property
    def n_dof(self) -> int:
        """D, degrees of freedom."""
        return len(self.angles)

    @property
    def n_position_inputs(self) -> int:
        """I, inputs that depend on q: one a coordinate, two for an encoded angle."""
        return self.n_dof + (sum(self.angles) if self.encoding == "trig" else 0)

    @property
    def layer_sizes(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each affine layer, the output last."""
        inputs = self.n_position_inputs + (self.n_dof if self.velocities else 0) + self.n_driven
        return list(itertools.pairwise([inputs, *[self.width] * self.depth, self.n_outputs]))

    @property
    def n_params(self) -> int:
        """P, trainable parameters."""
        return sum(fan_in * fan_out + fan_out for fan_in, fan_out in self.layer_sizes)

    def layers(self, theta: Float[Tensor, "R P"]) -> Layers:
        """Views of theta, one pair (W, b) a layer."""
        views, at = [], 0
        for fan_in, fan_out in self.layer_sizes:
            size = fan_in * fan_out
            weight = theta[:, at : at + size].view(-1, fan_out, fan_in)
            bias = theta[:, at + size : at + size + fan_out].unsqueeze(-1)
            views.append((weight, bias))
            at += size + fan_out
        return views

    def encode(self, q: States) -> Inputs:
        """The inputs that depend on q."""
        if self.encoding == "raw" or not any(self.angles):
            return q
        rows = []
        for i, angle in enumerate(self.angles):
            row = q[:, i : i + 1]
            rows += [torch.cos(row), torch.sin(row)] if angle else [row]
        return torch.cat(rows, 1)

    def push(self, x: Inputs, tangent: States) -> Inputs:
        """The encoding's Jacobian applied to a tangent in q; `x` is the encoded q."""
        if x.shape[1] == self.n_dof:
            return tangent
        rows, at = [], 0
        for i, angle in enumerate(self.angles):
            row = tangent[:, i : i + 1]
            if angle:
                rows += [-x[:, at + 1 : at + 2] * row, x[:, at : at + 1] * row]
            else:
                rows.append(row)
            at += 2 if angle else 1
        return torch.cat(rows, 1)

    def pull(self, x: Inputs, adjoint: Inputs) -> States:
        """The transposed Jacobian applied to an adjoint of the inputs."""
        if x.shape[1] == self.n_dof:
            return adjoint
        rows, at = [], 0
        for angle in self.angles:
            here = adjoint[:, at : at + 1]
            if angle:
                cos, sin = x[:, at : at + 1], x[:, at + 1 : at + 2]
                rows.append(cos * adjoint[:, at + 1 : at + 2] - sin * here)
            else:
                rows.append(here)
            at += 2 if angle else 1
        return torch.cat(rows, 1)

    def bend(self, x: Inputs, adjoint: Inputs, tangent: States) -> States:
        """The derivative in q of <adjoint, `push` of the tangent>."""
        if x.shape[1] == self.n_dof:
            return torch.zeros_like(tangent)
        rows, at = [], 0
        for i, angle in enumerate(self.angles):
            row = tangent[:, i : i + 1]
            pair = slice(at, at + 2)
            turned = -(x[:, pair] * adjoint[:, pair]).sum(1, keepdim=True) * row
            rows.append(turned if angle else torch.zeros_like(row))
            at += 2 if angle else 1
        return torch.cat(rows, 1)

    def forward(self, layers: Layers, streams: Streams) -> tuple[Float[Tensor, "R K C B"], Trace]:
        """The outputs and their tangents from the inputs and theirs; `C` may be 1."""
        trace, C = Trace(), streams.shape[2]
        for k, (W, b) in enumerate(layers):
            trace.below.append(streams)
            out = torch.bmm(W, streams.flatten(2)).unflatten(2, (C, -1))
            streams = torch.cat([out[:, :, :1] + b.unsqueeze(2), out[:, :, 1:]], 2)
            if k < self.depth:
                streams, bend = activate(self.activation, self.beta, streams)
                trace.bends.append(bend)
        return streams, trace

    def backward(
        self, layers: Layers, cotangent: Float[Tensor, "R K C B"], trace: Trace
    ) -> list[Pair]:
        """The streams of d<cotangent, outputs>/dtheta, layer by layer."""
        pairs = [Pair(cotangent, trace.below[-1], cotangent[:, :, 0])]
        adjoint, C = cotangent, cotangent.shape[2]
        for k in reversed(range(self.depth)):
            above = torch.bmm(layers[k + 1][0].mT, adjoint.flatten(2)).unflatten(2, (C, -1))
            adjoint = trace.bends[k].pull(above)
            pairs.append(Pair(adjoint, trace.below[k], adjoint[:, :, 0]))
        return pairs[::-1]
