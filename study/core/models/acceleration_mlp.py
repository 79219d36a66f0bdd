"""`acceleration_mlp`: no mechanics at all, the network's outputs are the accelerations.

The control of Gruver et al. (2022), arXiv 2202.04836: what is gained by modelling accelerations,
without what is gained by a Lagrangian.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from study.core.models import dense
from study.core.models.mlp import MLP, Layers
from study.core.models.network_model import NetworkModel
from study.core.models.pairs import Pair


@dataclasses.dataclass
class Sweep:
    """The dense network's trace; nothing is inverted, so `floored` (R, B) is false."""

    trace: dense.Trace
    floored: Tensor


@dataclasses.dataclass(frozen=True)
class AccelerationMLP(NetworkModel):
    """qddot = MLP(q, qdot), D outputs; the mass prior has no meaning here and is not used."""

    kind = "acceleration_mlp"

    @staticmethod
    def forward(mlp: MLP, layers: Layers, q: Tensor, qdot: Tensor) -> tuple[Tensor, Sweep]:
        inputs = torch.cat([mlp.encode(q), qdot], 1).unsqueeze(2)
        out, trace = dense.forward(mlp, layers, inputs)
        return out[:, :, 0], Sweep(trace, torch.zeros_like(q[:, 0], dtype=torch.bool))

    @staticmethod
    def backward(
        mlp: MLP, layers: Layers, qdot: Tensor, qddot: Tensor, cotangent: Tensor, sweep: Sweep
    ) -> list[Pair]:
        return dense.backward(mlp, layers, cotangent.unsqueeze(2), sweep.trace)
