"""The networks behind the models: their shape, their inputs, where their parameters lie.

Knows: layers, the encoding of angles and its Jacobian, the mass prior. Does not know: derivatives
(`mlp_acceleration.py` of a scalar L, `dense.py` of several outputs), initial values.
"""

from __future__ import annotations

import dataclasses
import itertools

import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.activations import derivatives

Layers = list[tuple[Tensor, Tensor]]  # (W: (R, out, in), b: (R, out, 1)), the output last


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

    @property
    def n_dof(self) -> int:
        """D, degrees of freedom."""
        return len(self.angles)

    @property
    def n_position_inputs(self) -> int:
        """Inputs that depend on q: one a coordinate, two for an encoded angle."""
        return self.n_dof + (sum(self.angles) if self.encoding == "trig" else 0)

    @property
    def layer_sizes(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each affine layer, the output last."""
        inputs = self.n_position_inputs + (self.n_dof if self.velocities else 0)
        sizes = [inputs, *[self.width] * self.depth, self.n_outputs]
        return list(itertools.pairwise(sizes))

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

    def encode(self, q: Float[Tensor, "R D B"]) -> Float[Tensor, "R I B"]:
        """The inputs that depend on q."""
        if self.encoding == "raw" or not any(self.angles):
            return q
        rows = []
        for i, angle in enumerate(self.angles):
            row = q[:, i : i + 1]
            rows += [torch.cos(row), torch.sin(row)] if angle else [row]
        return torch.cat(rows, 1)

    def push(
        self, x: Float[Tensor, "R I B"], tangent: Float[Tensor, "R D B"]
    ) -> Float[Tensor, "R I B"]:
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

    def pull(
        self, x: Float[Tensor, "R I B"], adjoint: Float[Tensor, "R I B"]
    ) -> Float[Tensor, "R D B"]:
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


def lagrangian(
    mlp: MLP,
    theta: Float[Tensor, " P"],
    q: Float[Tensor, " D"],
    qdot: Float[Tensor, " D"],
) -> Float[Tensor, ""]:
    """L(q, qdot) of one network at one state: what everything here is the calculus of."""
    *hidden, (top, bias) = mlp.layers(theta[None])
    h = torch.cat([mlp.encode(q[None, :, None]), qdot[None, :, None]], 1)
    for W, b in hidden:
        h = derivatives(mlp.activation, mlp.beta, W @ h + b)[0]
    value = (top @ h + bias).reshape(())
    return value + mlp.mass_prior * (qdot * qdot).sum() / 2
