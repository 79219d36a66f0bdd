"""`FittedLagrangian`: a linear Lagrangian with forces that was fitted to measurements.

It takes and gives physical units. What cannot be known is the scale of L, unless the effect of an
input is: L is then normalised so that mean tr M = D over the data (masses of coordinates that are
no angles in units of their standard deviations), and friction is in the units of this M. Ratios do
not depend on it: `rates`, in 1/s.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy
import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.forced_lagrangian import ForcedLagrangian
from study.core.models.linear_lagrangian import StructuredLagrangian
from study.core.models.mlp import States
from study.core.models.portable import Portable
from study.core.systems.mechanics import DataError

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class Choices:
    """How a fit was made.

    - `form`: `weak` or `strong`; `half_width` of the test functions in seconds, NaN if strong.
    - `window`: samples of the smoothing polynomials, 0 if nothing was smoothed.
    - `n_features`, `scale`, `n_params`, `ridge`: of the Lagrangian.
    - `held_out`: the error they were chosen by: the geometric mean of the squared prediction error
      of positions (weak), or the mean squared error of accelerations (strong), scaled units.
    - `indefinite`: share of the recorded states at which M is not positive definite.
    """

    form: str
    window: int
    half_width: float
    n_features: int
    scale: float
    n_params: int
    ridge: float
    held_out: float
    indefinite: float


@dataclasses.dataclass(frozen=True)
class Estimates:
    """Estimates and their standard errors, of the same shape."""

    mean: Float[Array, "..."]
    error: Float[Array, "..."]

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Lower and upper ends, by the normal distribution."""
        half = scipy.special.ndtri((1 + level) / 2) * self.error
        return self.mean - half, self.mean + half


@dataclasses.dataclass(frozen=True)
class FittedLagrangian:
    """**Arguments:**

    - `theta` (1, S): of the Lagrangian in scaled units; `unit`: joules that its values are in.
    - `f` (k), `covariance` (k, k): coefficients of the forces, physical units.
    - `mean_mass` (D, D): over the data, physical units.
    - `noise` (D): estimated standard deviation of the positions, physical units.
    - `absolute`: whether an input of known effect fixes the scale of L.
    """

    forced: ForcedLagrangian
    theta: Float[Tensor, "1 S"]
    unit: float
    f: Float[Array, " k"]
    covariance: Float[Array, "k k"]
    mean_mass: Float[Array, "D D"]
    noise: Float[Array, " D"]
    choices: Choices
    absolute: bool

    @property
    def friction(self) -> Estimates:
        """The coefficients of friction, as `LinearForces.of` orders them.

        The errors hold the scatter of the equations, correlated in time as it is. They do not hold
        the bias of what no feature can express, nor that of noise in the terms themselves.
        """
        return self._linear(np.eye(self.forced.forces.n_friction))

    @property
    def rates(self) -> Estimates:
        """C by the mean mass matrix, M^-1 C (D, D), in 1/s: free of the scale of L."""
        return self._linear(np.linalg.solve(self.mean_mass, self.forced.forces.shapes))

    @property
    def input_matrix(self) -> Float[Array, "D m"]:
        """B, known or fitted."""
        return self.forced.forces.matrices(self.f)[1]

    @property
    def coefficients(self) -> Float[Array, " P"]:
        """Of the terms of L: of a library in the units of the terms, in the order it gives them."""
        return self.unit * self.theta[0, : self.forced.model.n_params].numpy()

    def with_mean_mass(self, q: Float[Array, "n D"]) -> FittedLagrangian:
        """The same, with the mean mass matrix over these positions, at rest."""
        mass = self.mass_matrix(q, np.zeros_like(q)).mean(0)
        return dataclasses.replace(self, mean_mass=mass)

    def _linear(self, each: Float[Array, "k ..."]) -> Estimates:
        """Linear functions of the coefficients of friction, the first axis of `each`."""
        k = self.forced.forces.n_friction
        values = np.tensordot(self.f[:k], each, 1)
        covariance = np.einsum("i...,ij,j...->...", each, self.covariance[:k, :k], each)
        return Estimates(values, np.sqrt(np.maximum(covariance, 0.0)))

    def acceleration(
        self,
        q: Float[Array, "n D"],
        qdot: Float[Array, "n D"],
        u: Float[Array, "n m"] | None = None,
    ) -> Float[Array, "n D"]:
        """qddot; inputs that are not given are zero."""
        driven = None if u is None else _states(u)
        qddot = self.scaled_acceleration(*self._scaled(q, qdot), driven)
        return self.forced.units.acceleration_to_physical(qddot[0].T.numpy())

    def scaled_acceleration(
        self, q: States, qdot: States, u: Float[Tensor, "1 m B"] | None = None
    ) -> States:
        """The same in scaled units, inputs in their own."""
        return self.forced.acceleration(self.theta, self.f[None] / self.unit, q, qdot, u)

    def mass_matrix(
        self, q: Float[Array, "n D"], qdot: Float[Array, "n D"]
    ) -> Float[Array, "n D D"]:
        """d2L/dqdot2."""
        mass = self.forced.model.mass_matrix(self.theta, *self._scaled(q, qdot))
        per_length = self.forced.units.time / self.forced.units.length
        return self.unit * np.outer(per_length, per_length) * mass[0].permute(2, 0, 1).numpy()

    def lagrangian(self, q: Float[Array, "n D"], qdot: Float[Array, "n D"]) -> Float[Array, " n"]:
        """L, up to what no motion sees."""
        return self._value_and_momentum(q, qdot)[0]

    def energy(self, q: Float[Array, "n D"], qdot: Float[Array, "n D"]) -> Float[Array, " n"]:
        """qdot . dL/dqdot - L, up to a constant; its rate is the power of the forces."""
        value, momentum = self._value_and_momentum(q, qdot)
        return (momentum * qdot).sum(1) - value

    def portable(self) -> Portable:
        """The same in NumPy alone. **Raises:** `DataError` if the features are not structured."""
        model = self.forced.model
        if not isinstance(model, StructuredLagrangian):
            raise DataError("only structured features can be saved for use elsewhere")
        theta, P, p = self.theta[0].numpy(), model.n_params, model.mlp.width
        w, b = np.split(theta[P:], [p * model.n_inputs])
        friction, inputs = self.forced.forces.matrices(self.f)
        units = self.forced.units
        return Portable(
            w.reshape(p, -1),
            b,
            theta[:P].reshape(p, -1),
            np.array(model.mlp.angles),
            units.origin,
            units.length,
            units.time,
            self.unit,
            friction,
            inputs,
        )

    def generalised_force(
        self, qdot: Float[Array, "n D"], u: Float[Array, "n m"] | None = None
    ) -> Float[Array, "n D"]:
        """Q of friction and inputs."""
        friction, matrix = self.forced.forces.matrices(self.f)
        return -qdot @ friction.T + (0.0 if u is None else u @ matrix.T)

    def power(
        self, qdot: Float[Array, "n D"], u: Float[Array, "n m"] | None = None
    ) -> Float[Array, " n"]:
        """Q . qdot."""
        return (self.generalised_force(qdot, u) * qdot).sum(1)

    def _value_and_momentum(
        self, q: Float[Array, "n D"], qdot: Float[Array, "n D"]
    ) -> tuple[Float[Array, " n"], Float[Array, "n D"]]:
        units, c = self.forced.units, self.theta[0, : self.forced.model.n_params]
        slopes = self.forced.model.slopes(self.theta, *self._scaled(q, qdot))
        momentum = (slopes.of_qdot[0] @ c).numpy() * units.time / units.length
        return self.unit * (slopes.value[0] @ c).numpy(), self.unit * momentum

    def _scaled(self, q: Array, qdot: Array) -> tuple[Tensor, Tensor]:
        q, qdot = self.forced.units.scale(q, qdot)
        return _states(q), _states(qdot)


def _states(rows: Float[Array, "n D"]) -> Float[Tensor, "1 D n"]:
    return torch.from_numpy(np.ascontiguousarray(rows.T, float))[None]
