"""`lnn`: the Lagrangian is an MLP of (q, qdot), after Cranmer et al. (2020), arXiv 2003.04630."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from study.core.models import mlp_acceleration
from study.core.models.mlp import MLP, Layers
from study.core.models.mlp_acceleration import Sweep
from study.core.models.network_model import NetworkModel
from study.core.models.pairs import Pair


@dataclasses.dataclass(frozen=True)
class LNN(NetworkModel):
    """A plain Lagrangian network; its algebra is `mlp_acceleration.py`."""

    kind = "lnn"

    @staticmethod
    def forward(mlp: MLP, layers: Layers, q: Tensor, qdot: Tensor) -> tuple[Tensor, Sweep]:
        return mlp_acceleration.forward(mlp, layers, q, qdot)

    @staticmethod
    def backward(
        mlp: MLP, layers: Layers, qdot: Tensor, qddot: Tensor, cotangent: Tensor, sweep: Sweep
    ) -> list[Pair]:
        return mlp_acceleration.backward(mlp, layers, qdot, qddot, cotangent, sweep)

    def mass_matrix(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Tensor:
        return mlp_acceleration.mass_matrix(self.mlp, theta, q, qdot)
