"""A trained model as a module of torch, in physical units and float64.

    law = model.to_torch()
    qddot = law(q, qdot)              # (..., D) tensors; differentiable in states and parameters

The Lagrangian of a model is known up to a factor, a constant and what else no motion sees.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.damped_lagrangian import DampedLagrangian
from study.core.models.linear_lagrangian import LinearLagrangian
from study.core.models.lnn import LNN
from study.core.models.model import Model
from study.core.models.structured_lnn import StructuredLNN
from study.core.systems.units import Units

Rows = Float[Tensor, "*n D"]


class Law(torch.nn.Module):
    """M qddot = dL/dq - (d2L/dqdot dq) qdot - C qdot + B u.

    **Arguments:**

    - `model`, `theta` (1, S), `units`: as trained, with the forces that were learned. Theta alone
      is a parameter.
    - `friction` C (D, D), `inputs` B (D, m): of forces that stand beside the model.
    - `unit`: joules that the model's values of L are in.
    """

    length: Tensor
    origin: Tensor
    friction: Tensor
    inputs: Tensor

    def __init__(
        self,
        model: Model,
        theta: Float[Tensor, "1 S"],
        units: Units,
        friction: Float[Tensor, "D D"] | None = None,
        inputs: Float[Tensor, "D m"] | None = None,
        unit: float = 1.0,
    ):
        super().__init__()
        self.input_units: Tensor
        self.model, self.time, self.unit = model, units.time, unit
        self.theta = torch.nn.Parameter(theta.double().clone())
        D = len(units.length)
        self.register_buffer("length", torch.tensor(units.length, dtype=torch.float64))
        self.register_buffer("origin", torch.tensor(units.origin, dtype=torch.float64))
        self.register_buffer("input_units", torch.tensor(units.inputs, dtype=torch.float64))
        none = torch.zeros(D, D, dtype=torch.float64), torch.zeros(D, 0, dtype=torch.float64)
        self.register_buffer("friction", none[0] if friction is None else friction)
        self.register_buffer("inputs", none[1] if inputs is None else inputs)
        self.forced = bool(self.friction.any() or self.inputs.any())

    def forward(self, q: Rows, qdot: Rows, u: Float[Tensor, "*n m"] | None = None) -> Rows:
        """qddot; inputs u that are not given are zero."""
        of_q, of_qdot = self._scaled(q, qdot)
        if m := self.model.n_driven:  # of forces that were learned with the model
            of_u = q.new_zeros(*q.shape[:-1], m) if u is None else u / self.input_units
            of_qdot = torch.cat([of_qdot, of_u.reshape(-1, m).mT[None]], 1)
        qddot = self.model.acceleration(self.theta, of_q, of_qdot)
        qddot = qddot[0].mT.reshape(q.shape) * self.length / self.time**2
        if not self.forced:
            return qddot
        force = -qdot @ self.friction.mT
        if u is not None:
            force = force + u @ self.inputs.mT
        return qddot + torch.linalg.solve(self.mass_matrix(q, qdot), force)

    def mass_matrix(self, q: Rows, qdot: Rows) -> Float[Tensor, "*n D D"]:
        """d2L/dqdot2. **Raises:** `ValueError` for a model without a Lagrangian."""
        mass = self.model.mass_matrix(self.theta, *self._scaled(q, qdot))
        if mass is None:
            raise ValueError(_none(self.model))
        per_length = self.time / self.length
        mass = mass[0].permute(2, 0, 1).reshape(*q.shape, q.shape[-1])
        return self.unit * torch.outer(per_length, per_length) * mass

    def lagrangian(self, q: Rows, qdot: Rows) -> Float[Tensor, "*n"]:
        """L. **Raises:** as `mass_matrix`."""
        return self.unit * _lagrangian(self.model, self.theta, *self._scaled(q, qdot))[0].reshape(
            q.shape[:-1]
        )

    def energy(self, q: Rows, qdot: Rows) -> Float[Tensor, "*n"]:
        """qdot . dL/dqdot - L. **Raises:** as `mass_matrix`."""
        with torch.enable_grad():
            rates = qdot if qdot.requires_grad else qdot.detach().requires_grad_()
            L = self.lagrangian(q, rates)
            (momentum,) = torch.autograd.grad(L.sum(), rates, create_graph=True)
            return (momentum * rates).sum(-1) - L

    def _scaled(self, q: Tensor, qdot: Tensor) -> tuple[Tensor, Tensor]:
        """States as the model takes them, (1, D, n)."""
        D = q.shape[-1]
        scaled = (q - self.origin) / self.length, qdot * self.time / self.length
        return scaled[0].reshape(-1, D).mT[None], scaled[1].reshape(-1, D).mT[None]


def _lagrangian(model: Model, theta: Tensor, q: Tensor, qdot: Tensor) -> Float[Tensor, "R B"]:
    """L with its mass prior, scaled units. **Raises:** `ValueError` for a model that has none."""
    if isinstance(model, DampedLagrangian):
        model, theta = model.free, model.parts(theta)[1]
    if isinstance(model, LinearLagrangian):
        c = theta[:, : model.n_params, None]
        value, prior = (model.slopes(theta, q, qdot).value @ c)[:, :, 0], model.mass_prior
    elif isinstance(model, LNN):
        inputs = torch.cat([model.mlp.encode(q), qdot], 1)
        value, prior = _outputs(model, theta, inputs)[:, 0], model.mlp.mass_prior
    elif isinstance(model, StructuredLNN):
        mass = model.mass_matrix(theta, q, qdot)  # with its prior
        kinetic = torch.einsum("rib,rijb,rjb->rb", qdot, mass, qdot) / 2
        return kinetic - _outputs(model, theta, model.mlp.encode(q))[:, -1]
    else:
        raise ValueError(_none(model))
    return value + prior / 2 * (qdot * qdot).sum(1)


def _outputs(model: LNN | StructuredLNN, theta: Tensor, inputs: Tensor) -> Float[Tensor, "R K B"]:
    return model.mlp.forward(model.mlp.layers(theta), inputs.unsqueeze(2))[0][:, :, 0]


def _none(model: Model) -> str:
    return (
        f"{type(model).__name__} learns accelerations and no Lagrangian: give "
        "model=linear_lagrangian, lnn or structured_lnn"
    )
