"""`linear_lagrangian`: a Lagrangian that is linear in its parameters, so that it is solved for.

L = mass_prior |qdot|^2 / 2 + sum_j c_j phi_j(q, qdot), c trained. The Euler-Lagrange equation of a
sample (q, qdot, qddot) is then D linear equations in the P unknowns c:

    sum_j c_j [ (d2phi_j/dqdot2) qddot + (d2phi_j/dqdot dq) qdot - dphi_j/dq ] = -mass_prior qddot

**The gauge.** L = const fulfils all of them: least squares shrinks towards it, and M turns
indefinite on the way. A constraint keeps it away: the mean over the training points of tr M is D,
the trace of a unit mass. It fixes the scale of L, which the accelerations do not see (L -> a L).
How others avoid the trivial solution: Purnomo and Hayashibe (2023), arXiv 2209.03248.

Features are the terms of a library (`library_lagrangian`), or random Fourier features (Rahimi and
Recht 2007; for Hamiltonians Rahma, Datar and Dietrich 2024, arXiv 2411.17511):
psi = sin(w . x + b), x the encoded inputs, w ~ N(0, scale^2), b ~ U(-pi, pi). They are the hidden
layer of a network whose output layer is c, and C++ computes accelerations and rollouts as a
network's.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from study.core import native
from study.core.models.initialisation import draw_features
from study.core.models.mass_matrix import invert, with_prior
from study.core.models.mlp import MLP, States
from study.core.models.model import Equations, LinearModel, cpp_network, error_and_cotangent

Rows = Float[Tensor, "R B D P"]


@dataclasses.dataclass(frozen=True)
class Slopes:
    """Of each term phi of L: its value (R, B, P), dphi/dqdot and dphi/dq (R, B, D, P)."""

    value: Float[Tensor, "R B P"]
    of_qdot: Rows
    of_q: Rows


class LinearLagrangian(LinearModel):
    """What all kinds of features share: theta begins with c (P)."""

    @property
    @abc.abstractmethod
    def mass_prior(self) -> float:
        """The mass that is not trained, in scaled units."""

    @abc.abstractmethod
    def mass_and_force(self, theta: Tensor, q: States, qdot: States) -> tuple[Tensor, States]:
        """M with its prior (R, D, D, B), and g - c."""

    @abc.abstractmethod
    def rows(self, theta: Tensor, q: States, qdot: States, qddot: States) -> tuple[Rows, Tensor]:
        """The residual of each term of L at given accelerations, and tr M of each (R, B, P)."""

    @abc.abstractmethod
    def slopes(self, theta: Tensor, q: States, qdot: States) -> Slopes:
        """First derivatives of each term, of which the weak form is made; without the prior."""

    def acceleration(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Tensor:
        mass, force = self.mass_and_force(theta, q, qdot)
        return (invert(mass)[0] * force.unsqueeze(1)).sum(2)

    def mass_matrix(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Tensor:
        return self.mass_and_force(theta, q, qdot)[0]

    def energy(self, theta: Tensor, q: Tensor, qdot: Tensor) -> tuple[Tensor, Tensor]:
        slopes, c = self.slopes(theta, q, qdot), theta[:, : self.n_params, None]
        twice = (slopes.of_qdot.permute(0, 2, 1, 3) @ c.unsqueeze(1))[..., 0]
        prior = self.mass_prior * (qdot * qdot).sum(1)
        action = (twice * qdot).sum(1) + prior
        return action - (slopes.value @ c)[..., 0] - prior / 2, action

    def equations(self, theta: Tensor, q: Tensor, qdot: Tensor, qddot: Tensor) -> Equations:
        rows, trace = self.rows(theta, q, qdot, qddot)
        prior = self.mass_prior
        return Equations(rows, -prior * qddot.mT, trace.sum(1), qddot.shape[1] * (1 - prior))

    def jacobian(self, theta: Tensor, q: Tensor, qdot: Tensor) -> tuple[Tensor, Tensor]:
        """qddot and -M^-1 times the residual of each term, from M qddot = g - c."""
        mass, force = self.mass_and_force(theta, q, qdot)
        inverse = invert(mass)[0]
        qddot = (inverse * force.unsqueeze(1)).sum(2)
        rows, _ = self.rows(theta, q, qdot, qddot)
        return qddot, -torch.einsum("rijb,rbjp->rbip", inverse, rows)

    def loss_and_gradient(self, theta, q, qdot, target, loss="squared", compiled=False):
        mass, force = self.mass_and_force(theta, q, qdot)
        inverse, floored = invert(mass)
        qddot = (inverse * force.unsqueeze(1)).sum(2)
        value, cotangent = error_and_cotangent(loss, qddot - target)
        u = (inverse * cotangent.unsqueeze(1)).sum(2)
        rows, _ = self.rows(theta, q, qdot, qddot)
        gradient = torch.zeros_like(theta)
        gradient[:, : self.n_params] = -torch.einsum("rib,rbip->rp", u, rows)
        return value, gradient, floored.to(q.dtype).mean(1)


@dataclasses.dataclass(frozen=True)
class DrawnLagrangian(LinearLagrangian):
    """Random features: c, feature by feature, then w (p, inputs) and b (p).

    These are drawn from the replicate's seed and kept: p = `mlp.width` features, `mlp.n_outputs`
    coefficients each.
    """

    mlp: MLP
    scale: float
    native: bool = False
    kind: ClassVar[str]

    @property
    def mass_prior(self) -> float:
        return self.mlp.mass_prior

    @property
    def n_params(self) -> int:
        return self.mlp.width * self.mlp.n_outputs

    @property
    def n_features(self) -> int:
        return self.mlp.width

    @property
    def n_inputs(self) -> int:
        return self.mlp.layer_sizes[0][0]

    def initialise(self, seeds: Sequence[int], dtype: torch.dtype) -> Tensor:
        def draw(seed: int) -> Tensor:
            w, b = draw_features(self.mlp.width, self.n_inputs, seed)
            return torch.cat([w.new_zeros(self.n_params), self.scale * w, b])

        return torch.stack([draw(seed) for seed in seeds]).to(dtype)

    def scaled(self, theta: Tensor, scale: float) -> Tensor:
        """The same draws at another inverse length."""
        theta, P = theta.clone(), self.n_params
        theta[:, P : P + self.mlp.width * self.n_inputs] *= scale / self.scale
        return theta

    def as_network(self, theta: Tensor) -> Float[Tensor, "R S"]:
        """The parameters of the network whose output layer is c, in the order of `mlp.layers`."""
        P, p = self.n_params, self.mlp.width
        c = theta[:, :P].unflatten(1, (p, -1)).mT.flatten(1)
        return torch.cat([theta[:, P:], c, torch.zeros_like(theta[:, : self.mlp.n_outputs])], 1)

    def in_cpp(self, theta: Tensor) -> tuple[native.Network, Tensor] | None:
        if not (self.native and theta.device.type == "cpu"):
            return None
        return cpp_network(self.kind, self.mlp, theta.dtype), self.as_network(theta)

    def acceleration(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Tensor:
        if known := self.in_cpp(theta):
            return native.acceleration(*known, q, qdot)
        return super().acceleration(theta, q, qdot)

    def _hidden(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """w (R, p, inputs) and b (R, p, 1)."""
        P, p = self.n_params, self.mlp.width
        w, b = theta[:, P:].split([p * self.n_inputs, p], 1)
        return w.unflatten(1, (p, -1)), b.unsqueeze(2)

    def _tangents(self, x: Tensor) -> list[Float[Tensor, "R I B"]]:
        """dx/dq_i of the encoded q."""
        D, one, none = self.mlp.n_dof, torch.ones_like(x[:, :1]), torch.zeros_like(x[:, :1])
        units = [torch.cat([one if k == i else none for k in range(D)], 1) for i in range(D)]
        return [self.mlp.push(x, unit) for unit in units]

    def _slopes(self, w: Tensor, x: Tensor) -> Float[Tensor, "R D p B"]:
        """d(w . x)/dq_i, w of the inputs that depend on q alone."""
        return torch.stack([torch.bmm(w, tangent) for tangent in self._tangents(x)], 1)


@dataclasses.dataclass(frozen=True)
class RandomLagrangian(DrawnLagrangian):
    """phi_j = psi_j(q, qdot): any Lagrangian, P = p."""

    kind = "lnn"

    def mass_and_force(self, theta: Tensor, q: Tensor, qdot: Tensor) -> tuple[Tensor, Tensor]:
        of_v, slopes, sine, cosine = self._phases(theta, q, qdot)
        c = theta[:, : self.n_params, None]
        bent = -c * sine
        mass = torch.einsum("rpb,rpi,rpj->rijb", bent, of_v, of_v)
        along_q = (slopes * qdot.unsqueeze(2)).sum(1)  # of da/dt, the part that qdot makes
        force = (slopes * (c * cosine).unsqueeze(1)).sum(2) - torch.bmm(of_v.mT, bent * along_q)
        return with_prior(mass, self.mlp.mass_prior), force

    def rows(self, theta: Tensor, q: Tensor, qdot: Tensor, qddot: Tensor) -> tuple[Tensor, Tensor]:
        of_v, slopes, sine, cosine = self._phases(theta, q, qdot)
        rate = torch.bmm(of_v, qddot) + (slopes * qdot.unsqueeze(2)).sum(1)  # da/dt
        rows = -(sine * rate).unsqueeze(1) * of_v.mT.unsqueeze(3) - cosine.unsqueeze(1) * slopes
        trace = -sine * (of_v * of_v).sum(2, keepdim=True)
        return rows.permute(0, 3, 1, 2), trace.mT

    def slopes(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Slopes:
        of_v, slopes, sine, cosine = self._phases(theta, q, qdot)
        of_qdot = torch.einsum("rpb,rpi->rbip", cosine, of_v)
        return Slopes(sine.mT, of_qdot, (cosine.unsqueeze(1) * slopes).permute(0, 3, 1, 2))

    def _phases(self, theta: Tensor, q: States, qdot: States) -> tuple[Tensor, ...]:
        """Of a = w . x + b: w of qdot (R, p, D), da/dq_i (R, D, p, B), sin a, cos a (R, p, B)."""
        (w, b), x = self._hidden(theta), self.mlp.encode(q)
        of_q, of_v = w.split([x.shape[1], qdot.shape[1]], 2)
        a = torch.baddbmm(b, w, torch.cat([x, qdot], 1))
        return of_v, self._slopes(of_q, x), a.sin(), a.cos()


@dataclasses.dataclass(frozen=True)
class StructuredLagrangian(DrawnLagrangian):
    """L = qdot^T M(q) qdot / 2 - V(q), each entry of M and V a sum of features of q alone.

    M is symmetric and not positive by construction. Coefficients of a feature: the lower triangle
    of M row by row, then V; P = p (D (D + 1) / 2 + 1). No magnetic forces.
    """

    kind = "structured_lagrangian"

    def mass_and_force(self, theta: Tensor, q: Tensor, qdot: Tensor) -> tuple[Tensor, Tensor]:
        D, x, layers = self.mlp.n_dof, self.mlp.encode(q), self.mlp.layers(self.as_network(theta))
        columns = torch.stack([x, *self._tangents(x)], 2)
        out, _ = self.mlp.forward(layers, columns)  # (R, entries and V, value and slopes, B)
        place = {}
        for entry, (i, j) in enumerate(_lower(D)):
            place[i, j] = place[j, i] = entry
        order = [place[i, j] for i in range(D) for j in range(D)]
        entries = out[:, order].unflatten(1, (D, D))
        mass, slopes = entries[:, :, :, 0], entries[:, :, :, 1:]  # the latter (R, D, D, k, B)
        momentum = (slopes * qdot[:, None, :, None]).sum(2)  # sum_j dM_ij/dq_k qdot_j, (R, D, k, B)
        c = (momentum * qdot.unsqueeze(1)).sum(2)
        g = (momentum * qdot.unsqueeze(2)).sum(1) / 2 - out[:, -1, 1:]
        return with_prior(mass, self.mlp.mass_prior), g - c

    def rows(self, theta: Tensor, q: Tensor, qdot: Tensor, qddot: Tensor) -> tuple[Tensor, Tensor]:
        (w, b), x, D = self._hidden(theta), self.mlp.encode(q), self.mlp.n_dof
        a = torch.baddbmm(b, w, x)
        psi, slopes = a.sin(), a.cos().unsqueeze(1) * self._slopes(w, x)
        rate = (slopes * qdot.unsqueeze(2)).sum(1)  # dpsi/dt
        R, p, B = psi.shape
        out = psi.new_zeros(R, D, p, self.mlp.n_outputs, B)
        trace = psi.new_zeros(R, p, self.mlp.n_outputs, B)
        for entry, (i, j) in enumerate(_lower(D)):
            energy = qdot[:, i] * qdot[:, j] / (2 if i == j else 1)
            out[:, :, :, entry] = -slopes * energy[:, None, None]
            out[:, i, :, entry] += psi * qddot[:, None, j] + rate * qdot[:, None, j]
            if i != j:
                out[:, j, :, entry] += psi * qddot[:, None, i] + rate * qdot[:, None, i]
            else:
                trace[:, :, entry] = psi
        out[:, :, :, -1] = slopes
        return out.flatten(2, 3).permute(0, 3, 1, 2), trace.flatten(1, 2).mT

    def slopes(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Slopes:
        (w, b), x, D = self._hidden(theta), self.mlp.encode(q), self.mlp.n_dof
        a = torch.baddbmm(b, w, x)
        psi, along = a.sin(), a.cos().unsqueeze(1) * self._slopes(w, x)
        R, p, B = psi.shape
        value = psi.new_empty(R, p, self.mlp.n_outputs, B)
        of_q = psi.new_empty(R, D, p, self.mlp.n_outputs, B)
        of_qdot = torch.zeros_like(of_q)
        for entry, (i, j) in enumerate(_lower(D)):
            energy = (qdot[:, i] * qdot[:, j] / (2 if i == j else 1)).unsqueeze(1)
            value[:, :, entry], of_q[:, :, :, entry] = psi * energy, along * energy.unsqueeze(1)
            of_qdot[:, i, :, entry] = psi * qdot[:, None, j]
            of_qdot[:, j, :, entry] = psi * qdot[:, None, i]
        value[:, :, -1], of_q[:, :, :, -1] = -psi, -along
        rows = (each.flatten(2, 3).permute(0, 3, 1, 2) for each in (of_qdot, of_q))
        return Slopes(value.flatten(1, 2).mT, *rows)


def _lower(n_dof: int) -> list[tuple[int, int]]:
    """Where the entries of M stand, in the order of the outputs."""
    return [(i, j) for i in range(n_dof) for j in range(i + 1)]
