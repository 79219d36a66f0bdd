"""`lnn`: the Lagrangian is an MLP of (q, qdot), after Cranmer et al. (2020), arXiv 2003.04630."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from study.core import mlp_acceleration
from study.core.network_model import NetworkModel


@dataclasses.dataclass(frozen=True)
class LNN(NetworkModel):
    """A plain Lagrangian network; its algebra is `mlp_acceleration.py`."""

    forward = staticmethod(mlp_acceleration.forward)
    backward = staticmethod(mlp_acceleration.backward)

    def mass_matrix(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Tensor:
        return mlp_acceleration.mass_matrix(self.mlp, theta, q, qdot)
