"""`acceleration_mlp`: no mechanics at all, the network's outputs are the accelerations.

The control of Gruver et al. (2022), arXiv 2202.04836: what modelling accelerations gains, without
what a Lagrangian gains.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from study.core.models.mlp import MLP, Layers, Pair, Trace
from study.core.models.model import Forward, NetworkModel


@dataclasses.dataclass(frozen=True)
class AccelerationMLP(NetworkModel):
    """qddot = MLP(q, qdot), D outputs; the mass prior has no meaning here and is not used."""

    kind = "acceleration_mlp"

    @staticmethod
    def forward(mlp: MLP, layers: Layers, q: Tensor, qdot: Tensor) -> Forward:
        inputs = torch.cat([mlp.encode(q), qdot], 1).unsqueeze(2)
        out, trace = mlp.forward(layers, inputs)
        return out[:, :, 0], torch.zeros_like(q[:, 0], dtype=torch.bool), trace

    @staticmethod
    def backward(
        mlp: MLP, layers: Layers, qdot: Tensor, qddot: Tensor, cotangent: Tensor, sweep: Trace
    ) -> list[Pair]:
        return mlp.backward(layers, cotangent.unsqueeze(2), sweep)

    @staticmethod
    def pull(
        mlp: MLP, qdot: Tensor, qddot: Tensor, cotangent: Tensor, sweep: Trace, adjoint: Tensor
    ) -> tuple[Tensor, Tensor]:
        I = mlp.n_position_inputs  # noqa: E741
        x = sweep.below[0][:, :I, 0]
        return mlp.pull(x, adjoint[:, :I, 0]), adjoint[:, I:, 0]
