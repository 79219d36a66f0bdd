"""Accelerations of an ensemble of MLP Lagrangians, and their gradient, in closed form.

Knows: the algebra of one MLP L(q, qdot) and of M qddot = g - c. Does not know: data, losses,
optimisers. Nothing here differentiates twice: value and tangents are pushed forward once, the
adjoint is swept back once, and every second derivative of L is a product of the two.

Notation, for layers a_k = W_k h_(k-1) + b_k, h_k = sigma(a_k), L = w . h_K + b:

- tangents t_k of a_k along e_1 .. e_D (the velocities) and along v = (qdot, 0);
- adjoint y_k = dL/dh_k, y_K = w, y_(k-1) = W_k^T (sigma'(a_k) y_k);
- D_s D_t L = sum_k <sigma''(a_k) y_k, s_k t_k>: M from pairs of e_i, c from e_i with v;
- g = dL/dq, the first entries of the adjoint at the input.

The gradient of <z, qddot> is that of the scalar D_p D_r L + D_s L with p = (0, u),
r = (qdot, qddot), s = (-u, 0), u = -M^-T z held fixed (from M qddot = g - c, differentiated in
the parameters): four streams forward (value, p, r, and the second-order one), their adjoints back.

Tensors are feature-major: (R networks, features, columns, B states), so that every layer is one
batched matrix product over all columns. Parameters are one flat row theta (P) a network.
"""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from study.core.models.activations import derivatives
from study.core.models.mlp import MLP, Layers
from study.core.models.pairs import Pair, gradient_of

# Rule for near-singular mass matrices: the determinant (D <= 3) is kept at least
# FLOOR |M|_F^D / D^(D/2) away from zero with its sign, for D > 3 each eigenvalue at least
# FLOOR max|eigenvalue|. Such samples are counted. Exact zero counts as positive.
FLOOR = {torch.float32: 1e-6, torch.float64: 1e-12}


@dataclasses.dataclass
class Sweep:
    """What one forward and backward sweep leaves behind, for the gradient to use.

    Lists run over hidden layers: `first`, `second`, `third` derivatives of sigma at a_k (R, H, B);
    `value` h_k; `tangents` t_k and `pushed` sigma' t_k (R, H, D + 1, B); `adjoint` y_k and
    `weighted` sigma' y_k (R, H, B).
    """

    x: Tensor
    inverse: Tensor
    floored: Tensor
    value: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]
    third: list[Tensor]
    tangents: list[Tensor]
    pushed: list[Tensor]
    adjoint: list[Tensor]
    weighted: list[Tensor]


def invert(
    mass: Float[Tensor, "R D D B"],
) -> tuple[Float[Tensor, "R D D B"], Bool[Tensor, "R B"]]:
    """Inverse of symmetric matrices by the module's rule, and where the rule had to act."""
    D = mass.shape[1]
    floor = FLOOR[mass.dtype]
    if D > 3:
        square = mass.permute(0, 3, 1, 2)
        finite = torch.isfinite(square).all((2, 3))
        eye = torch.eye(D, dtype=mass.dtype, device=mass.device)
        # eigh raises on NaN, which would take the other networks along
        values, vectors = torch.linalg.eigh(torch.where(finite[..., None, None], square, eye))
        values = torch.where(finite[..., None], values, torch.full_like(values, torch.nan))
        limit = floor * values.abs().amax(-1, keepdim=True) + torch.finfo(mass.dtype).tiny
        small = values.abs() < limit
        values = torch.where(small, torch.where(values < 0, -limit, limit), values)
        inverse = (vectors / values.unsqueeze(-2)) @ vectors.mT
        return inverse.permute(0, 2, 3, 1), small.any(-1)
    adjugate, det = _adjugate(mass)
    limit = (floor / D ** (D / 2)) * (mass * mass).sum((1, 2)) ** (D / 2)
    limit = limit + torch.finfo(mass.dtype).tiny
    small = det.abs() < limit
    det = torch.where(small, torch.where(det < 0, -limit, limit), det)
    return adjugate / det[:, None, None], small


def _adjugate(m: Tensor) -> tuple[Tensor, Tensor]:
    D = m.shape[1]
    if D == 1:
        return torch.ones_like(m), m[:, 0, 0]
    if D == 2:
        a, b, d = m[:, 0, 0], m[:, 0, 1], m[:, 1, 1]
        adjugate = torch.stack([d, -b, -b, a], 1).unflatten(1, (2, 2))
        return adjugate, a * d - b * b
    a, b, c, d, e, f = m[:, 0, 0], m[:, 0, 1], m[:, 0, 2], m[:, 1, 1], m[:, 1, 2], m[:, 2, 2]
    aa, bb, cc = d * f - e * e, c * e - b * f, b * e - c * d
    dd, ee, ff = a * f - c * c, b * c - a * e, a * d - b * b
    adjugate = torch.stack([aa, bb, cc, bb, dd, ee, cc, ee, ff], 1).unflatten(1, (3, 3))
    return adjugate, a * aa + b * bb + c * cc


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
    s = Sweep(x, x, x, [], [], [], [], [], [], [], [])
    for k in range(mlp.depth):
        if k:
            W, b = hidden[k]
            streams = torch.cat([s.value[-1].unsqueeze(2), s.pushed[-1]], 2)
            out = torch.bmm(W, streams.flatten(2)).unflatten(2, (D + 2, B))
            a, t = out[:, :, 0] + b, out[:, :, 1:]
        value, first, second, third = derivatives(mlp.activation, mlp.beta, a)
        s.value.append(value)
        s.first.append(first)
        s.second.append(second)
        s.third.append(third)
        s.tangents.append(t)
        s.pushed.append(first.unsqueeze(2) * t)
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
        eye = torch.eye(D, dtype=q.dtype, device=q.device)
        mass = mass + mlp.mass_prior * eye[None, :, :, None]
    return mass, c, mlp.pull(x, y), s


def mass_matrix(
    mlp: MLP,
    theta: Float[Tensor, "R P"],
    q: Float[Tensor, "R D B"],
    qdot: Float[Tensor, "R D B"],
) -> Float[Tensor, "R D D B"]:
    """d2L/dqdot2 of each network at its own states, mass prior included."""
    return _curvature(mlp, mlp.layers(theta), q, qdot)[0]


def forward(
    mlp: MLP,
    layers: Layers,
    q: Float[Tensor, "R D B"],
    qdot: Float[Tensor, "R D B"],
) -> tuple[Float[Tensor, "R D B"], Sweep]:
    """Accelerations of each network at its own states, and the sweep for `gradient`."""
    mass, c, g, s = _curvature(mlp, layers, q, qdot)
    s.inverse, s.floored = invert(mass)
    return (s.inverse * (g - c).unsqueeze(1)).sum(2), s


def gradient(
    mlp: MLP,
    layers: Layers,
    qdot: Float[Tensor, "R D B"],
    qddot: Float[Tensor, "R D B"],
    cotangent: Float[Tensor, "R D B"],
    s: Sweep,
) -> Float[Tensor, "R P"]:
    """d<cotangent, qddot>/dtheta from what `forward` left behind."""
    return gradient_of(backward(mlp, layers, qdot, qddot, cotangent, s))


def backward(
    mlp: MLP,
    layers: Layers,
    qdot: Float[Tensor, "R D B"],
    qddot: Float[Tensor, "R D B"],
    cotangent: Float[Tensor, "R D B"],
    s: Sweep,
) -> list[Pair]:
    """The streams of d<cotangent, qddot>/dtheta, layer by layer.

    At samples where the near-singular rule acted, the floored inverse is taken as the inverse.
    """
    D, I = mlp.n_dof, mlp.n_position_inputs  # noqa: E741
    hidden = layers[:-1]
    solved = (s.inverse * cotangent.unsqueeze(1)).sum(2)  # M^-T z = -u
    p, r = -solved.unsqueeze(1), qddot.unsqueeze(1)
    # streams along p = (0, u), r = (qdot, qddot): combinations of the tangents already there
    along_s = mlp.push(s.x, solved)
    mixed = torch.bmm(hidden[0][0][:, :, :I], along_s)
    inputs, tangent_p, tangent_r, second_order = [], [], [], []
    for k in range(mlp.depth):
        t = s.tangents[k]
        pk = (t[:, :, :D] * p).sum(2)
        rk = (t[:, :, :D] * r).sum(2) + t[:, :, D]
        tangent_p.append(pk)
        tangent_r.append(rk)
        second_order.append(mixed)
        mixed = s.second[k] * (pk * rk) + s.first[k] * mixed
        inputs.append(torch.stack([s.value[k], s.first[k] * pk, s.first[k] * rk, mixed], 2))
        if k + 1 < mlp.depth:
            mixed = torch.bmm(hidden[k + 1][0], mixed)
    # the output sees only the second-order stream, with adjoint one; its bias nothing
    one = torch.ones_like(mixed[:, :1])
    pairs = [Pair(one.unsqueeze(2), mixed.unsqueeze(2), torch.zeros_like(one))]
    back = None
    for k in reversed(range(mlp.depth)):
        first, second, y = s.first[k], s.second[k], s.adjoint[k]
        pk, rk, ak = tangent_p[k], tangent_r[k], second_order[k]
        bent = second * y
        to_value = bent * ak + s.third[k] * y * (pk * rk)
        to_p, to_r = bent * rk, bent * pk
        if back is not None:
            to_value = (
                to_value
                + first * back[:, :, 0]
                + second * (pk * back[:, :, 1] + rk * back[:, :, 2])
            )
            to_p, to_r = to_p + first * back[:, :, 1], to_r + first * back[:, :, 2]
        streams = torch.stack([to_value, to_p, to_r, s.weighted[k]], 2)
        if k:
            below = inputs[k - 1]
            back = torch.bmm(hidden[k][0].mT, streams[:, :, :3].flatten(2)).unflatten(2, (3, -1))
        else:
            below = _input_streams(mlp, s.x, qdot, qddot, -solved, along_s)
        pairs.append(Pair(streams, below, to_value))
    return pairs[::-1]


def _input_streams(
    mlp: MLP, x: Tensor, qdot: Tensor, qddot: Tensor, u: Tensor, along_s: Tensor
) -> Tensor:
    """The four streams at the network's input, (R, I + D, 4, B)."""
    none = torch.zeros_like(x)
    position = torch.stack([x, none, mlp.push(x, qdot), along_s], 2)
    velocity = torch.stack([qdot, u, qddot, torch.zeros_like(u)], 2)
    return torch.cat([position, velocity], 1)


def error_and_cotangent(
    loss: str, residual: Float[Tensor, "R D B"]
) -> tuple[Float[Tensor, " R"], Float[Tensor, "R D B"]]:
    """Mean `squared` or `absolute` residual of each network, and its derivative."""
    count = residual.shape[1] * residual.shape[2]
    if loss == "absolute":
        return residual.abs().mean((1, 2)), residual.sign() / count
    return (residual * residual).mean((1, 2)), residual * (2 / count)


class _Acceleration(torch.autograd.Function):
    @staticmethod
    def forward(ctx, theta, q, qdot, mlp):  # type: ignore[override]
        qddot, ctx.sweep = forward(mlp, mlp.layers(theta), q, qdot)
        ctx.mlp = mlp
        ctx.save_for_backward(theta, qdot, qddot)
        return qddot

    @staticmethod
    def backward(ctx, cotangent):  # type: ignore[override]
        theta, qdot, qddot = ctx.saved_tensors
        layers = ctx.mlp.layers(theta)
        return gradient(ctx.mlp, layers, qdot, qddot, cotangent, ctx.sweep), None, None, None


def acceleration(
    mlp: MLP,
    theta: Float[Tensor, "R P"],
    q: Float[Tensor, "R D B"],
    qdot: Float[Tensor, "R D B"],
) -> Float[Tensor, "R D B"]:
    """Accelerations of an ensemble, differentiable once in theta (not in the states)."""
    return _Acceleration.apply(theta, q, qdot, mlp)  # type: ignore[return-value]
