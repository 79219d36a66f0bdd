"""`random_features`: linear least squares on fixed random features, whose double descent is known.

Rahimi and Recht (2007); Belkin et al. (2019), arXiv 1812.11118, for the peak at as many features
for each output as points.

qddot = C phi(x), phi_j = sigma(beta w_j . x + b_j), x the encoded q and qdot, w_j ~ N(0, 1/inputs),
b_j ~ U(-pi, pi); no bias. With sigma = sin these are random Fourier features of a Gaussian kernel
of width sqrt(inputs) / beta.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.activations import derivatives
from study.core.models.damping import Rates
from study.core.models.initialisation import draw_features
from study.core.models.mlp import MLP, States
from study.core.models.model import Equations, LinearModel, Theta, error_and_cotangent


@dataclasses.dataclass(frozen=True)
class RandomFeatures(LinearModel):
    """p = `mlp.width` features for each of D outputs; depth and mass prior are not used.

    theta is C (D, p), which is trained and starts at zero, then w (p, inputs) and b (p), which are
    drawn from the replicate's seed and kept: S = P + p (inputs + 1).
    """

    mlp: MLP

    @property
    def n_params(self) -> int:
        return self.mlp.n_dof * self.mlp.width

    @property
    def n_inputs(self) -> int:
        """Encoded q, qdot and what drives the motion."""
        return self.mlp.layer_sizes[0][0]

    @property
    def n_driven(self) -> int:
        return self.mlp.n_driven

    def initialise(self, seeds: Sequence[int], dtype: torch.dtype) -> Tensor:
        p, inputs = self.mlp.width, self.n_inputs

        def draw(seed: int) -> Tensor:
            w, b = draw_features(p, inputs, seed)
            return torch.cat([w.new_zeros(self.n_params), w / math.sqrt(inputs), b])

        return torch.stack([draw(seed) for seed in seeds]).to(dtype)

    def features(self, theta: Theta, q: States, qdot: Rates) -> Float[Tensor, "R p B"]:
        """phi at each network's own states."""
        P, p = self.n_params, self.mlp.width
        w, b = theta[:, P : P + p * self.n_inputs], theta[:, P + p * self.n_inputs :]
        x = torch.cat([self.mlp.encode(q), qdot], 1)
        a = torch.bmm(self.mlp.beta * w.unflatten(1, (p, -1)), x) + b.unsqueeze(2)
        return derivatives(self.mlp.activation, 1.0, a)[0]

    def acceleration(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Tensor:
        return torch.bmm(self._trained(theta), self.features(theta, q, qdot))

    def jacobian(self, theta: Tensor, q: Tensor, qdot: Tensor) -> tuple[Tensor, Tensor]:
        phi = self.features(theta, q, qdot)
        D = self.mlp.n_dof
        eye = torch.eye(D, dtype=phi.dtype, device=phi.device)
        blocks = eye[:, :, None] * phi.mT[:, :, None, None]  # each output has its own row of C
        return torch.bmm(self._trained(theta), phi), blocks.flatten(3)

    def equations(self, theta: Tensor, q: Tensor, qdot: Tensor, qddot: Tensor) -> Equations:
        fixed = theta.clone()
        fixed[:, : self.n_params] = 0
        zero, rows = self.jacobian(fixed, q, qdot)
        return Equations(rows, (qddot - zero).mT)

    def loss_and_gradient(self, theta, q, qdot, target, loss="squared", compiled=False):
        """As `Model` says; two products, so that there is nothing to compile."""
        phi = self.features(theta, q, qdot)
        value, cotangent = error_and_cotangent(loss, torch.bmm(self._trained(theta), phi) - target)
        gradient = torch.zeros_like(theta)
        gradient[:, : self.n_params] = torch.bmm(cotangent, phi.mT).flatten(1)
        return value, gradient, torch.zeros_like(value)

    def _trained(self, theta: Tensor) -> Tensor:
        return theta[:, : self.n_params].unflatten(1, (self.mlp.n_dof, self.mlp.width))
