"""The same networks as a user of torch.nn and torch.func writes them, for the competitors.

Knows: one Lagrangian network as a module, float64, and the Euler-Lagrange equation at one state by
automatic differentiation. Does not know: ensembles, anything of the project's own calculus; only
where a network's parameters lie in theta, so that both are the same function.
"""

from __future__ import annotations

import torch
from torch import Tensor

from study.core.models.mlp import MLP


class PlainLagrangian(torch.nn.Module):
    """L(q, qdot) of one state (2 D), all coordinates angles, with softplus."""

    def __init__(self, mlp: MLP, theta: Tensor) -> None:
        """**Arguments:** the shape, and parameters (P) to begin with."""
        super().__init__()
        assert mlp.activation == "softplus"
        assert all(mlp.angles)
        self.trig, self.mass_prior = mlp.encoding == "trig", mlp.mass_prior
        modules: list[torch.nn.Module] = []
        for weight, bias in mlp.layers(theta[None]):
            linear = torch.nn.Linear(weight.shape[2], weight.shape[1], dtype=theta.dtype)
            with torch.no_grad():
                linear.weight.copy_(weight[0])
                linear.bias.copy_(bias[0, :, 0])
            modules += [linear, torch.nn.Softplus(beta=mlp.beta)]
        self.network = torch.nn.Sequential(*modules[:-1])

    def forward(self, state: Tensor) -> Tensor:
        q, qdot = state.chunk(2)
        if self.trig:  # cos and sin of one angle after the other
            q = torch.stack([torch.cos(q), torch.sin(q)], 1).flatten()
        value = self.network(torch.cat([q, qdot])).squeeze(-1)
        return value + self.mass_prior * (qdot * qdot).sum() / 2

    def acceleration(self, state: Tensor) -> Tensor:
        """qddot (D) at one state, Cranmer et al. (2020), eq. 6.

        The gradient, and the D rows of the Hessian that are needed: jacrev over grad takes less
        than half the time of torch.func.hessian here. By inverse, for jacrev of a mapped
        torch.linalg.solve is wrong under torch.no_grad (torch 2.13), which some trainers set.
        """
        D = len(state) // 2

        def momentum(state: Tensor) -> tuple[Tensor, Tensor]:
            slope = torch.func.grad(self)(state)
            return slope[D:], slope

        rows, slope = torch.func.jacrev(momentum, has_aux=True)(state)
        return torch.linalg.inv(rows[:, D:]) @ (slope[:D] - rows[:, :D] @ state[D:])


class Accelerations(torch.nn.Module):
    """States (B, 2 D) -> qddot (B, D) as a module of its own, for trainers that take modules."""

    def __init__(self, lagrangian: PlainLagrangian) -> None:
        super().__init__()
        self.lagrangian = lagrangian

    def forward(self, states: Tensor) -> Tensor:
        return torch.func.vmap(self.lagrangian.acceleration)(states).contiguous()
