"""`linear_lagrangian` with `features=library`: L is a sum of the user's own terms.

They are functions of q and qdot in physical units, as in sparse identification (Brunton, Proctor
and Kutz 2016, PNAS 113, 3932).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.linear_lagrangian import LinearLagrangian, Slopes
from study.core.models.mass_matrix import with_prior
from study.core.models.mlp import States
from study.core.systems.mechanics import System, Terms
from study.core.systems.units import Units


@dataclasses.dataclass(frozen=True)
class LibraryLagrangian(LinearLagrangian):
    """phi_j = the terms of the system's library, at physical q and qdot; theta is c alone.

    With lengths l_i and a time t as units, E_i is l_i times that of physical units, and M_ij
    is l_i l_j / t^2 times it. No draws: every network starts from c = 1.
    """

    system: System
    units: Units
    prior: float
    equilibrated = True

    @property
    def mass_prior(self) -> float:
        return self.prior

    @property
    def terms(self) -> Terms:
        return self.system.terms

    @property
    def n_params(self) -> int:
        return self.terms.count

    def initialise(self, seeds: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.ones(len(seeds), self.n_params, dtype=dtype)

    def mass_and_force(self, theta: Tensor, q: Tensor, qdot: Tensor) -> tuple[Tensor, Tensor]:
        terms, D = self.terms, self.system.n_dof
        values = self._values(terms, q, qdot)
        R, n = values.shape[:2]
        places = torch.tensor(terms.entry) * n + torch.tensor(terms.expression)
        weights = theta.new_zeros(R, D * (D + 1) * n)
        weights.index_add_(1, places.to(theta.device), theta[:, terms.term])
        entries = torch.bmm(weights.unflatten(1, (-1, n)), values) * self._sizes(values)
        mass, force = entries.split([D * D, D], 1)
        return with_prior(mass.unflatten(1, (D, D)), self.prior), force

    def rows(self, theta: Tensor, q: Tensor, qdot: Tensor, qddot: Tensor) -> tuple[Tensor, Tensor]:
        D = self.system.n_dof
        entries = self._entries(self.terms, D * (D + 1), q, qdot)
        mass, force = (entries * self._sizes(entries)).split([D * D, D], 2)
        mass = mass.unflatten(2, (D, D))
        rows = (mass * qddot[:, None, None]).sum(3) - force
        return rows.permute(0, 3, 2, 1), mass.diagonal(dim1=2, dim2=3).sum(3).mT

    def slopes(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Slopes:
        D, length = self.system.n_dof, q.new_tensor(self.units.length)[:, None]
        entries = self._entries(self.system.slopes, 1 + 2 * D, q, qdot)
        value, of_qdot, of_q = entries.split([1, D, D], 2)
        rows = (x.permute(0, 3, 2, 1) for x in (of_qdot * length / self.units.time, of_q * length))
        return Slopes(value[:, :, 0].mT, *rows)

    def _entries(
        self, terms: Terms, n_entries: int, q: States, qdot: States
    ) -> Float[Tensor, "R P E B"]:
        """All entries of all terms, in physical units."""
        values = self._values(terms, q, qdot)
        R, _, B = values.shape
        entries = values.new_zeros(R, terms.count, n_entries, B)
        entries[:, terms.term, terms.entry] = values[:, terms.expression]
        return entries

    def _values(self, terms: Terms, q: States, qdot: States) -> Float[Tensor, "R n B"]:
        """The expressions of the terms, at states in scaled units."""
        length, origin = (q.new_tensor(x)[:, None] for x in (self.units.length, self.units.origin))
        q, qdot = origin + length * q, length / self.units.time * qdot
        arguments = *q.unbind(1), *qdot.unbind(1), *self.system.constants.values()
        values = terms.formulas(*arguments)
        like = {"dtype": q.dtype, "device": q.device}  # some values are plain numbers
        return torch.stack([torch.as_tensor(x, **like).expand_as(q[:, 0]) for x in values], 1)

    def _sizes(self, like: Tensor) -> Float[Tensor, "K 1"]:
        """From physical to scaled units: of the entries of M, row by row, and of the force."""
        length = like.new_tensor(self.units.length)
        mass = torch.outer(length, length) / self.units.time**2
        return torch.cat([mass.flatten(), length])[:, None]
