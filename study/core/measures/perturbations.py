"""Random perturbations of the true accelerations, as large as a given model's typical error.

Typical means the median over the test points: rare points with a very wrong acceleration dominate
the mean, and motion hardly ever meets them. Each replicate has its own draws of three kinds:

- `White`: Gaussian, without correlation between states: drawn for every trajectory, and constant
  for `HOLD`.
- `Smooth`: a Gaussian random field over the encoded state (random Fourier features; Rahimi and
  Recht 2007, NeurIPS 20), one for each coordinate, not of any Lagrangian.
- `Conservative`: M^-1 of the force of a random potential of the same kind, as if it were added to
  the Lagrangian. There is then a conserved energy, though not quite the true one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from study.core.data.datasets import TestSet
from study.core.measures.metrics import point_errors
from study.core.systems.mechanics import System
from study.core.systems.units import Units

Array = np.ndarray
Seeds = Sequence[tuple[int, ...]]

LENGTH = 1.0  # correlation length in scaled units, an angle encoded as (cos, sin)
FEATURES = 64  # of a random field: a sum of so many cosines
DRAWS = 8  # fields a replicate: trajectory k moves in number k mod DRAWS
HOLD = 0.1  # scaled units of time a white perturbation stays the same
MEDIAN = 0.6744897501960817  # of the absolute value of a standard normal variable
# purposes of random streams, apart from those of datasets.py
WHITE, SMOOTH, CONSERVATIVE, INITIAL = range(100, 104)


# (states (R, K, 2 D), seconds, true mass matrices (R, K, D, D) there or None) -> qddot (R, K, D) to
# add to the true one, for R replicates of K trajectories each, in physical units
Perturbation = Callable[[Array, float, Array | None], Array]


@dataclasses.dataclass(frozen=True)
class White:
    """`values` (R, K, S, D), each held for `hold` seconds, one after the other."""

    values: Float[Array, "R K S D"]
    hold: float

    def __call__(self, states: Array, time: float, mass: Array | None = None) -> Array:
        return self.values[:, :, min(int(time / self.hold), self.values.shape[2] - 1)]

    @classmethod
    def draw(
        cls,
        test: TestSet,
        predicted: Float[Array, "R n D"],
        seeds: Seeds,
        n_trajectories: int,
        horizon: float,
    ) -> White:
        """Draws whose median absolute value of each coordinate is that of the model's error."""
        hold = HOLD * test.units.time
        shape = (n_trajectories, int(horizon / hold) + 1, predicted.shape[2])
        drawn = [np.random.default_rng((WHITE, *s)).standard_normal(shape) for s in seeds]
        size = typical_error(predicted, test) / MEDIAN
        return cls(np.stack(drawn) * size[:, None, None], hold)


@dataclasses.dataclass(frozen=True)
class RandomField:
    """Sums of cosines of the encoded state x: sum_f weight_f cos(frequency_f . x + phase_f).

    `frequency` (*r, I, F), `phase` (*r, F), `weight` (*r, F, O): any number of fields of O outputs.
    In single precision, whose cosines take a tenth of the time: six digits are enough here.
    """

    frequency: Float[Array, "*r I F"]
    phase: Float[Array, "*r F"]
    weight: Float[Array, "*r F O"]

    @classmethod
    def draw(cls, rng: np.random.Generator, inputs: int, outputs: int) -> RandomField:
        """A field of unit variance, correlated as exp(-|x - x'|^2 / (2 LENGTH^2))."""
        frequency = rng.standard_normal((inputs, FEATURES)) / LENGTH
        phase = rng.uniform(0, 2 * np.pi, FEATURES)
        weight = rng.standard_normal((FEATURES, outputs)) * np.sqrt(2 / FEATURES)
        return cls(*(x.astype(np.float32) for x in (frequency, phase, weight)))

    @classmethod
    def stack(cls, fields: Sequence[RandomField]) -> RandomField:
        """Many fields along a new first axis."""
        parts = ([getattr(f, x.name) for f in fields] for x in dataclasses.fields(cls))
        return cls(*map(np.stack, parts))

    def scaled(self, size: Float[Array, "*r O"]) -> RandomField:
        """Each output multiplied by a number."""
        weight = (self.weight * size[..., None, :]).astype(np.float32)
        return dataclasses.replace(self, weight=weight)

    def of_trajectories(self, k: int) -> RandomField:
        """The (R, DRAWS) fields of (R, k, 1) trajectories, each draw in turn."""
        draw = np.arange(k) % self.phase.shape[1]
        parts = (self.frequency, self.phase, self.weight)
        return RandomField(*(np.take(x, draw, axis=1) for x in parts))

    def values(self, x: Float[Array, "*n I"]) -> Float[Array, "*m O"]:
        """The fields at states (*r or less, n, I), each at n of them."""
        return np.cos(self._argument(x)) @ self.weight

    def gradient(self, x: Float[Array, "*n I"]) -> Float[Array, "*m I"]:
        """The gradient of the sum of the outputs, at the same states as `values`."""
        slope = -np.sin(self._argument(x)) * self.weight.sum(-1)[..., None, :]
        return slope @ np.swapaxes(self.frequency, -1, -2)

    def _argument(self, x: Array) -> Array:
        return x.astype(self.frequency.dtype) @ self.frequency + self.phase[..., None, :]


@dataclasses.dataclass(frozen=True)
class Smooth:
    """A random field for each coordinate over (q, qdot)."""

    system: System
    units: Units
    field: RandomField  # (R, K)

    def __call__(self, states: Array, time: float, mass: Array | None = None) -> Array:
        x = encoded(self.system, self.units, states)
        return self.field.values(x[..., None, :])[..., 0, :]

    @classmethod
    def draw(
        cls,
        system: System,
        test: TestSet,
        predicted: Float[Array, "R n D"],
        seeds: Seeds,
        n_trajectories: int,
    ) -> Smooth:
        """Draws whose median absolute value of each coordinate over the test points is that of
        the model's error."""
        x = encoded(system, test.units, test.points.states)
        fields = _draws(SMOOTH, seeds, n_trajectories, x.shape[1], system.n_dof)
        wanted = typical_error(predicted, test)[:, None]
        field = fields.scaled(wanted / np.median(np.abs(fields.values(x)), axis=-2))
        return cls(system, test.units, field.of_trajectories(n_trajectories))


@dataclasses.dataclass(frozen=True)
class Conservative:
    """-M^-1 dU/dq of a random potential U(q)."""

    system: System
    units: Units
    field: RandomField  # (R, K), one output

    def __call__(self, states: Array, time: float, mass: Array | None = None) -> Array:
        if mass is None:
            mass = self.system.mass_matrix(*np.split(states, 2, axis=-1))
        return self._accelerations(states[..., None, :], mass[..., None, :, :])[..., 0, :]

    def _accelerations(self, states: Array, mass: Array) -> Array:
        x = encoded(self.system, self.units, states[..., : self.system.n_dof])
        force = -_pulled_back(self.system, self.units, x, self.field.gradient(x))
        return solved(mass, force)

    @classmethod
    def draw(
        cls,
        system: System,
        test: TestSet,
        predicted: Float[Array, "R n D"],
        seeds: Seeds,
        n_trajectories: int,
    ) -> Conservative:
        """Draws whose median squared size over the test points, normalised by the variance of the
        accelerations and averaged over coordinates, is that of the model's error: one potential
        cannot match each coordinate."""
        states, points = test.points.states, test.points
        inputs = encoded(system, test.units, points.q).shape[1]
        fields = _draws(CONSERVATIVE, seeds, n_trajectories, inputs, 1)
        unit = cls(system, test.units, fields)
        drawn = unit._accelerations(states, system.mass_matrix(points.q, points.qdot))
        wanted = np.median(point_errors(predicted, points.qddot, test.variance), axis=-1)
        size = np.median((drawn**2 / test.variance).mean(-1), axis=-1)
        field = fields.scaled(np.sqrt(wanted[:, None] / size)[..., None])
        return dataclasses.replace(unit, field=field.of_trajectories(n_trajectories))


def typical_error(predicted: Float[Array, "R n D"], test: TestSet) -> Float[Array, "R D"]:
    """Median absolute error of the acceleration, coordinate by coordinate, physical units;
    infinite if half the predictions are not finite."""
    error = np.abs(predicted - test.points.qddot)
    return np.median(np.where(np.isfinite(error), error, np.inf), axis=1)


def encoded(system: System, units: Units, states: Float[Array, "*n S"]) -> Float[Array, "*n I"]:
    """Scaled coordinates, an angle as (cos, sin), then scaled velocities if `states` has them."""
    D, angles = system.n_dof, sum(system.angles)
    x = np.empty((*states.shape[:-1], states.shape[-1] + angles))
    at = 0
    for i, angle in enumerate(system.angles):
        q = (states[..., i] - units.origin[i]) / units.length[i]
        if angle:
            np.cos(q, out=x[..., at])
            np.sin(q, out=x[..., at + 1])
        else:
            x[..., at] = q
        at += 2 if angle else 1
    n_velocities = states.shape[-1] - D
    x[..., at:] = states[..., D:] * (units.time / units.length[:n_velocities])
    return x


def _pulled_back(
    system: System, units: Units, x: Float[Array, "*n I"], slope: Float[Array, "*m I"]
) -> Float[Array, "*m D"]:
    """A gradient at encoded coordinates x turned into one in q itself."""
    columns, at = [], 0
    for i, angle in enumerate(system.angles):
        if angle:
            columns.append(x[..., at] * slope[..., at + 1] - x[..., at + 1] * slope[..., at])
        else:
            columns.append(slope[..., at] / units.length[i])
        at += 2 if angle else 1
    return np.stack(columns, axis=-1)


def solved(mass: Float[Array, "*n D D"], force: Float[Array, "*m D"]) -> Float[Array, "*m D"]:
    """M^-1 f; in closed form if D <= 2, which takes a fifth of the time."""
    if mass.shape[-1] > 2:
        return np.linalg.solve(mass, force[..., None])[..., 0]
    if mass.shape[-1] == 1:
        return force / mass[..., 0]
    a, b, c, d = mass[..., 0, 0], mass[..., 0, 1], mass[..., 1, 0], mass[..., 1, 1]
    f, g, determinant = force[..., 0], force[..., 1], a * d - b * c
    qddot = np.empty(force.shape)
    np.divide(d * f - b * g, determinant, out=qddot[..., 0])
    np.divide(a * g - c * f, determinant, out=qddot[..., 1])
    return qddot


def _draws(purpose: int, seeds: Seeds, n_trajectories: int, inputs: int, outputs: int):
    """(R, DRAWS) random fields, or as many as there are trajectories if those are fewer."""

    def draw(*seed: int) -> RandomField:
        return RandomField.draw(np.random.default_rng((purpose, *seed)), inputs, outputs)

    draws = range(min(DRAWS, n_trajectories))
    return RandomField.stack([RandomField.stack([draw(*s, i) for i in draws]) for s in seeds])
