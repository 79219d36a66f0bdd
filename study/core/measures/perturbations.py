"""Random perturbations of the true accelerations, as large as a given model's typical error.

Typical means the median over the test points: rare points with a very wrong acceleration dominate
the mean, and motion hardly ever meets them. Each replicate has its own draws of three kinds:

- `white`: Gaussian, drawn anew for every trajectory and each `HOLD` of time.
- `smooth`: a Gaussian random field over the encoded state (random Fourier features; Rahimi and
  Recht 2007, NeurIPS 20), one for each coordinate, not of any Lagrangian.
- `conservative`: M^-1 of the force of a random potential of the same kind, as if it were added to
  the Lagrangian. There is then a conserved energy, though not quite the true one.

`own` is not random: it is what a model's accelerations are off along given trajectories.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from study.core.data.datasets import TestSet, Trajectories
from study.core.measures.metrics import point_errors
from study.core.systems.mechanics import System
from study.core.systems.units import Units

Array = np.ndarray
Seeds = Sequence[tuple[int, ...]]
Predicted = Float[Array, "R n D"]

LENGTH = 1.0  # correlation length in scaled units, an angle encoded as (cos, sin)
FEATURES = 64  # of a random field: a sum of so many cosines
DRAWS = 8  # fields a replicate: trajectory k moves in number k mod DRAWS
HOLD = 0.1  # scaled units of time a white perturbation stays the same
MEDIAN = 0.6744897501960817  # of the absolute value of a standard normal variable
# purposes of random streams, apart from those of datasets.py
WHITE, SMOOTH, CONSERVATIVE, INITIAL = range(100, 104)


# (states (R, K, 2 D), seconds, true mass matrices (R, K, D, D) there) -> qddot (R, K, D) to add to
# the true one, for R replicates of K trajectories each, in physical units
Perturbation = Callable[[Array, float, Array], Array]


@dataclasses.dataclass(frozen=True)
class RandomField:
    """Sums of cosines of the encoded state x: sum_f weight_f cos(frequency_f . x + phase_f).

    Any number of fields of O outputs. In single precision, whose cosines take a tenth of the time:
    six digits are enough here.
    """

    frequency: Float[Array, "*r I F"]
    phase: Float[Array, "*r F"]
    weight: Float[Array, "*r F O"]

    @classmethod
    def draw(cls, rngs: Sequence[np.random.Generator], inputs: int, outputs: int) -> RandomField:
        """Fields of unit variance, one a generator, correlated as exp(-|x-x'|^2 / (2 LENGTH^2))."""
        drawn = [
            (
                rng.standard_normal((inputs, FEATURES)) / LENGTH,
                rng.uniform(0, 2 * np.pi, FEATURES),
                rng.standard_normal((FEATURES, outputs)) * np.sqrt(2 / FEATURES),
            )
            for rng in rngs
        ]
        return cls(*(np.stack(x).astype(np.float32) for x in zip(*drawn, strict=True)))

    def of_trajectories(self, k: int, size: Float[Array, "R S O"]) -> RandomField:
        """(R, S) fields, outputs multiplied by `size`, for (R, k, 1) trajectories in turn."""
        weight = (self.weight * size[..., None, :]).astype(np.float32)
        draw = np.arange(k) % self.phase.shape[1]
        parts = (self.frequency, self.phase, weight)
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


def own(system: System, truth: Trajectories, along: Float[Array, "R K T D"]) -> Perturbation:
    """What the accelerations `along` the trajectories are off, by cubic splines in time; NaN for a
    replicate with one that is not finite."""
    error = along - system.rhs(truth.states)[..., system.n_dof :]
    lost = ~np.isfinite(error).all(axis=(1, 2, 3))
    error[lost] = 0.0
    spline = CubicSpline(truth.times, error, axis=2)
    missing = np.where(lost, np.nan, 0.0)[:, None, None]
    return lambda states, time, mass: spline(time) + missing


def white(
    test: TestSet, predicted: Predicted, seeds: Seeds, n_trajectories: int, horizon: float
) -> Perturbation:
    """Draws whose median absolute value of each coordinate is that of the model's error."""
    hold = HOLD * test.units.time
    shape = (n_trajectories, int(horizon / hold) + 1, predicted.shape[2])
    drawn = [np.random.default_rng((WHITE, *s)).standard_normal(shape) for s in seeds]
    values = np.stack(drawn) * (typical_error(predicted, test) / MEDIAN)[:, None, None]
    return lambda states, time, mass: values[:, :, min(int(time / hold), shape[1] - 1)]


def smooth(
    system: System, test: TestSet, predicted: Predicted, seeds: Seeds, n_trajectories: int
) -> Perturbation:
    """Fields whose median absolute value of each coordinate over the test points is that of the
    model's error."""
    x = encoded(system, test.units, test.points.states)
    fields = _draws(SMOOTH, seeds, n_trajectories, x.shape[1], system.n_dof)
    wanted = typical_error(predicted, test)[:, None]
    size = wanted / np.median(np.abs(fields.values(x)), axis=-2)
    field = fields.of_trajectories(n_trajectories, size)

    def perturbation(states: Array, time: float, mass: Array) -> Array:
        return field.values(encoded(system, test.units, states)[..., None, :])[..., 0, :]

    return perturbation


def conservative(
    system: System, test: TestSet, predicted: Predicted, seeds: Seeds, n_trajectories: int
) -> Perturbation:
    """Potentials whose median squared acceleration over the test points, normalised by the variance
    of the accelerations and averaged over coordinates, is that of the model's error: one potential
    cannot match each coordinate."""

    def accelerations(field: RandomField, q: Array, mass: Array) -> Array:
        x = encoded(system, test.units, q)
        return solved(mass, -_pulled_back(system, test.units, x, field.gradient(x)))

    points, D = test.points, system.n_dof
    inputs = encoded(system, test.units, points.q).shape[1]
    fields = _draws(CONSERVATIVE, seeds, n_trajectories, inputs, 1)
    drawn = accelerations(fields, points.q, system.mass_matrix(points.q, points.qdot))
    wanted = np.median(point_errors(predicted, points.qddot, test.variance), axis=-1)
    size = np.median((drawn**2 / test.variance).mean(-1), axis=-1)
    field = fields.of_trajectories(n_trajectories, np.sqrt(wanted[:, None] / size)[..., None])

    def perturbation(states: Array, time: float, mass: Array) -> Array:
        return accelerations(field, states[..., None, :D], mass[..., None, :, :])[..., 0, :]

    return perturbation


def typical_error(predicted: Predicted, test: TestSet) -> Float[Array, "R D"]:
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
    shape = (len(seeds), min(DRAWS, n_trajectories))
    rngs = [np.random.default_rng((purpose, *s, i)) for s in seeds for i in range(shape[1])]
    fields = RandomField.draw(rngs, inputs, outputs)
    return RandomField(*(x.reshape(*shape, *x.shape[1:]) for x in vars(fields).values()))
