"""`lnn`: the Lagrangian is an MLP of (q, qdot), after Cranmer et al. (2020), arXiv 2003.04630.

Accelerations and their gradient in closed form, from M qddot = g - c. Nothing here differentiates
twice: value and tangents are pushed forward once, the adjoint is swept back once, and every second
derivative of L is a product of the two.

Notation, for layers a_k = W_k h_(k-1) + b_k, h_k = sigma(a_k), L = w . h_K + b:

- tangents t_k of a_k along e_1 .. e_D (the velocities) and along v = (qdot, 0);
- adjoint y_k = dL/dh_k, y_K = w, y_(k-1) = W_k^T (sigma'(a_k) y_k);
- D_s D_t L = sum_k <sigma''(a_k) y_k, s_k t_k>: M from pairs of e_i, c from e_i with v;
- g = dL/dq, the first entries of the adjoint at the input.

The gradient of <z, qddot> is that of the scalar D_p D_r L + D_s L with p = (0, u),
r = (qdot, qddot), s = (-u, 0), u = -M^-T z held fixed (from M qddot = g - c, differentiated in
the parameters): four streams forward (value, p, r, and the second-order one), their adjoints back.
Below the first layer the same adjoints give the gradient in the state.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from study.core.models.activations import derivatives
from study.core.models.mass_matrix import invert, with_prior
from study.core.models.mlp import MLP, Layers, Pair
from study.core.models.model import Forward, NetworkModel, solved


@dataclasses.dataclass
class Sweep:
    """What one forward and backward sweep leaves for the gradient.

    Lists run over hidden layers: `first`, `second`, `third` derivatives of sigma at a_k (R, H, B);
    `value` h_k; `tangents` t_k (R, H, D + 1, B); `adjoint` y_k and `weighted` sigma' y_k (R, H, B).
    """

    x: Tensor
    inverse: Tensor
    value: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]
    third: list[Tensor]
    tangents: list[Tensor]
    adjoint: list[Tensor]
    weighted: list[Tensor]


@dataclasses.dataclass(frozen=True)
class LNN(NetworkModel):
    """A plain Lagrangian network.

    At samples whose mass matrix was floored, `backward` takes the floored inverse as the inverse.
    """

    kind = "lnn"

    @staticmethod
    def forward(
        mlp: MLP, layers: Layers, q: Tensor, qdot: Tensor, force: Tensor | float = 0.0
    ) -> Forward:
        mass, c, g, s = _curvature(mlp, layers, q, qdot)
        s.inverse, floored = invert(mass)
        return solved(s.inverse, g - c + force), floored, s

    @staticmethod
    def backward(
        mlp: MLP, layers: Layers, qdot: Tensor, qddot: Tensor, cotangent: Tensor, sweep: Sweep
    ) -> list[Pair]:
        D, I = mlp.n_dof, mlp.n_position_inputs  # noqa: E741
        hidden = layers[:-1]
        z = solved(sweep.inverse, cotangent)  # M^-T z = -u
        p, r = -z.unsqueeze(1), qddot.unsqueeze(1)
        # streams along p = (0, u), r = (qdot, qddot): combinations of the tangents already there
        along_s = mlp.push(sweep.x, z)
        mixed = torch.bmm(hidden[0][0][:, :, :I], along_s)
        inputs, tangent_p, tangent_r, second_order = [], [], [], []
        for k in range(mlp.depth):
            t = sweep.tangents[k]
            pk = (t[:, :, :D] * p).sum(2)
            rk = (t[:, :, :D] * r).sum(2) + t[:, :, D]
            tangent_p.append(pk)
            tangent_r.append(rk)
            second_order.append(mixed)
            mixed = sweep.second[k] * (pk * rk) + sweep.first[k] * mixed
            inputs.append(
                torch.stack([sweep.value[k], sweep.first[k] * pk, sweep.first[k] * rk, mixed], 2)
            )
            if k + 1 < mlp.depth:
                mixed = torch.bmm(hidden[k + 1][0], mixed)
        # the output sees only the second-order stream, with adjoint one; its bias nothing
        one = torch.ones_like(mixed[:, :1])
        pairs = [Pair(one.unsqueeze(2), mixed.unsqueeze(2), torch.zeros_like(one))]
        back = None
        for k in reversed(range(mlp.depth)):
            first, second, y = sweep.first[k], sweep.second[k], sweep.adjoint[k]
            pk, rk, ak = tangent_p[k], tangent_r[k], second_order[k]
            bent = second * y
            to_value = bent * ak + sweep.third[k] * y * (pk * rk)
            to_p, to_r = bent * rk, bent * pk
            if back is not None:
                to_value = (
                    to_value
                    + first * back[:, :, 0]
                    + second * (pk * back[:, :, 1] + rk * back[:, :, 2])
                )
                to_p, to_r = to_p + first * back[:, :, 1], to_r + first * back[:, :, 2]
            streams = torch.stack([to_value, to_p, to_r, sweep.weighted[k]], 2)
            if k:
                below = inputs[k - 1]
                back = torch.bmm(hidden[k][0].mT, streams[:, :, :3].flatten(2)).unflatten(
                    2, (3, -1)
                )
            else:
                below = _input_streams(mlp, sweep.x, qdot, qddot, -z, along_s)
            pairs.append(Pair(streams, below, to_value))
        return pairs[::-1]

    @staticmethod
    def pull(
        mlp: MLP, qdot: Tensor, qddot: Tensor, cotangent: Tensor, sweep: Sweep, adjoint: Tensor
    ) -> tuple[Tensor, Tensor]:
        I, x = mlp.n_position_inputs, sweep.x  # noqa: E741
        z = solved(sweep.inverse, cotangent)
        to_value, _, to_r, to_s = adjoint[:, :I].unbind(2)
        to_q = mlp.pull(x, to_value) + mlp.bend(x, to_r, qdot) + mlp.bend(x, to_s, z)
        return to_q, adjoint[:, I:, 0] + mlp.pull(x, to_r)  # r is (qdot, qddot)

    def energy(self, theta: Tensor, q: Tensor, qdot: Tensor) -> tuple[Tensor, Tensor]:
        mlp, layers, qdot = self.mlp, self.mlp.layers(theta), qdot[:, : self.mlp.n_dof]
        *_, sweep = _curvature(mlp, layers, q, qdot)
        (W, _), (top, bias) = layers[0], layers[-1]
        momentum = torch.bmm(W[:, :, mlp.n_position_inputs :].mT, sweep.weighted[0])
        value = (torch.bmm(top, sweep.value[-1]) + bias)[:, 0]
        prior = mlp.mass_prior * (qdot * qdot).sum(1)
        action = (momentum * qdot).sum(1) + prior
        return action - value - prior / 2, action

    def mass_matrix(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Tensor:
        return _curvature(self.mlp, self.mlp.layers(theta), q, qdot[:, : self.mlp.n_dof])[0]


def _curvature(
    mlp: MLP, layers: Layers, q: Tensor, qdot: Tensor
) -> tuple[Tensor, Tensor, Tensor, Sweep]:
    """Mass matrix (R, D, D, B), c and g (R, D, B), and the sweep they came from."""
    D, I = mlp.n_dof, mlp.n_position_inputs  # noqa: E741
    *hidden, (top, _) = layers
    W, b = hidden[0]
    R, H, B = W.shape[0], W.shape[1], q.shape[-1]  # so that one compilation serves every width
    x = mlp.encode(q)
    a = torch.baddbmm(b, W, torch.cat([x, qdot], 1))
    along_q = torch.bmm(W[:, :, :I], mlp.push(x, qdot))
    t = torch.cat([W[:, :, I:].unsqueeze(-1).expand(R, H, D, B), along_q.unsqueeze(2)], 2)
    s, pushed = Sweep(x, x, [], [], [], [], [], [], []), t
    for k in range(mlp.depth):
        if k:
            W, b = hidden[k]
            streams = torch.cat([s.value[-1].unsqueeze(2), pushed], 2)
            out = torch.bmm(W, streams.flatten(2)).unflatten(2, (D + 2, B))
            a, t = out[:, :, 0] + b, out[:, :, 1:]
        value, first, second, third = derivatives(mlp.activation, mlp.beta, a)
        s.value.append(value)
        s.first.append(first)
        s.second.append(second)
        s.third.append(third)
        s.tangents.append(t)
        pushed = first.unsqueeze(2) * t
    pairs = torch.zeros((), dtype=q.dtype, device=q.device)
    y = top.mT
    for k in reversed(range(mlp.depth)):
        s.adjoint.append(y)
        weighted = s.first[k] * y
        s.weighted.append(weighted)
        bent = (s.second[k] * y).unsqueeze(2) * s.tangents[k][:, :, :D]
        pairs = pairs + (bent.unsqueeze(3) * s.tangents[k].unsqueeze(2)).sum(1)
        W = hidden[k][0]
        y = torch.bmm((W if k else W[:, :, :I]).mT, weighted)
    s.adjoint.reverse()
    s.weighted.reverse()
    mass, c = pairs[:, :, :D], pairs[:, :, D]
    if mlp.mass_prior:
        mass = with_prior(mass, mlp.mass_prior)
    return mass, c, mlp.pull(x, y), s


def _input_streams(
    mlp: MLP, x: Tensor, qdot: Tensor, qddot: Tensor, u: Tensor, along_s: Tensor
) -> Tensor:
    """The four streams at the network's input, (R, I + D, 4, B)."""
    none = torch.zeros_like(x)
    position = torch.stack([x, none, mlp.push(x, qdot), along_s], 2)
    velocity = torch.stack([qdot, u, qddot, torch.zeros_like(u)], 2)
    return torch.cat([position, velocity], 1)
