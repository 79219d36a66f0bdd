"""Mechanical systems: a Lagrangian, its constants and its domain; the rest is derived from it.

Knows: formulas. Does not know: networks, files, time stepping. A new system is one entry of
`SYSTEMS`: L(q, qdot) written once with the functions of `xp`, which is sympy here (mass matrix,
acceleration and energy are derived symbolically and run in numpy) and torch in
`euler_lagrange.py` (the reference by automatic differentiation).

    from study.core.systems import SYSTEMS
    SYSTEMS["kepler"].acceleration(q, qdot)
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from jaxtyping import Float, Inexact

Array = np.ndarray
Lagrangian = Callable[[Any, Any, Any, Any], Any]  # (q, qdot, constants, xp) -> L
Sampler = Callable[[np.random.Generator, int, Any], Float[Array, "n two_D"]]


@dataclasses.dataclass(frozen=True)
class System:
    """A Lagrangian with named constants and the domain it is studied in.

    **Arguments:**

    - `lagrangian`: L(q, qdot, constants, xp) in joules; `xp` offers sin, cos, sqrt, exp, log.
    - `coordinates`: name and unit of each generalised coordinate.
    - `angles`: which coordinates are angles in radians, periodic in 2 pi.
    - `constants`: default values, SI units.
    - `initial_conditions`: draws (n, 2 D) states (q, qdot) that trajectories start from, row by
      row: the first k of n are those of k.
    - `box`: half widths (2 D) of the states the uniform sampler draws around `centre`.
    - `centre`: centre of the box, (2 D); zero if not given.
    - `safe`: (n, 2 D) states -> (n,) bool, where the Lagrangian is regular; all if not given.
    - `horizon`: seconds that rollouts are compared over.
    - `energy_scale`: constants -> joules that energy errors are measured in.
    """

    name: str
    lagrangian: Lagrangian
    coordinates: tuple[tuple[str, str], ...]
    angles: tuple[bool, ...]
    constants: Mapping[str, float]
    initial_conditions: Sampler
    box: tuple[float, ...]
    horizon: float
    energy_scale: Callable[[Any], float]
    centre: tuple[float, ...] | None = None
    safe: Callable[[Float[Array, "n two_D"]], Array] | None = None

    @property
    def n_dof(self) -> int:
        """D, degrees of freedom."""
        return len(self.coordinates)

    @property
    def parameters(self) -> SimpleNamespace:
        """The constants as attributes, the form the formulas take them in."""
        return SimpleNamespace(**self.constants)

    def with_constants(self, **constants: float) -> System:
        """The same system with other constants.

        **Raises:** `KeyError` naming a constant the system does not have.
        """
        for key in constants:
            if key not in self.constants:
                raise KeyError(f"{self.name} has no constant {key}")
        return dataclasses.replace(self, constants={**self.constants, **constants})

    def mass_matrix(
        self, q: Inexact[Array, "*n D"], qdot: Inexact[Array, "*n D"]
    ) -> Inexact[Array, "*n D D"]:
        """d2L/dqdot2 at states (q, qdot); complex states are for derivatives by complex step."""
        return self._mass_and_force(q, qdot)[0]

    def acceleration(
        self, q: Inexact[Array, "*n D"], qdot: Inexact[Array, "*n D"]
    ) -> Inexact[Array, "*n D"]:
        """qddot = M^-1 (dL/dq - (d2L/dqdot dq) qdot), Cranmer et al. (2020), eq. 6."""
        mass, force = self._mass_and_force(q, qdot)
        return np.linalg.solve(mass, force[..., None])[..., 0]

    def energy(
        self, q: Inexact[Array, "*n D"], qdot: Inexact[Array, "*n D"]
    ) -> Inexact[Array, "*n"]:
        """E = qdot . dL/dqdot - L in joules; conserved, for no Lagrangian here knows the time."""
        energy = _derive(self.lagrangian, self.n_dof, tuple(self.constants))[1]
        return _evaluate(energy, q, qdot, self.constants)[..., 0]

    def field(self, state: Inexact[Array, "*n two_D"]) -> Inexact[Array, "*n two_D"]:
        """d(state)/dt = (qdot, qddot)."""
        return self.rhs(state)

    def rhs(self, state):
        """`field` for the inner loop of a solver: without shapes to check."""
        q, qdot = state[..., : self.n_dof], state[..., self.n_dof :]
        mass, force = self._mass_and_force(q, qdot)
        return np.concatenate([qdot, np.linalg.solve(mass, force[..., None])[..., 0]], axis=-1)

    def uniform_states(self, rng: np.random.Generator, n: int) -> Float[Array, "n two_D"]:
        """n states drawn uniformly from the safe part of the box."""
        centre = np.zeros(2 * self.n_dof) if self.centre is None else np.asarray(self.centre)
        kept = np.empty((0, 2 * self.n_dof))
        while len(kept) < n:
            drawn = centre + rng.uniform(-1, 1, (n, 2 * self.n_dof)) * np.asarray(self.box)
            kept = np.concatenate([kept, drawn if self.safe is None else drawn[self.safe(drawn)]])
        return kept[:n]

    def _mass_and_force(self, q, qdot):
        """M (*n, D, D) and the generalised force g - c (*n, D)."""
        D = self.n_dof
        formulas = _derive(self.lagrangian, D, tuple(self.constants))[0]
        both = _evaluate(formulas, q, qdot, self.constants)
        return both[..., : D * D].reshape(*both.shape[:-1], D, D), both[..., D * D :]


@functools.cache
def _derive(lagrangian: Lagrangian, D: int, names: tuple[str, ...]):
    """Two numpy functions of a Lagrangian: mass matrix and generalised force g - c; energy."""
    import sympy as sp

    q = sp.symbols(f"q:{D}", real=True)
    v = sp.symbols(f"v:{D}", real=True)
    constants = sp.symbols(names, real=True) if names else ()
    constants = constants if isinstance(constants, tuple) else (constants,)
    L = lagrangian(q, v, SimpleNamespace(**dict(zip(names, constants, strict=True))), sp)
    momentum = [sp.diff(L, vi) for vi in v]
    mass = [sp.diff(p, vj) for p in momentum for vj in v]
    force = [
        sp.diff(L, q[i]) - sum(sp.diff(momentum[i], q[j]) * v[j] for j in range(D))
        for i in range(D)
    ]
    energy = [sum(vi * p for vi, p in zip(v, momentum, strict=True)) - L]
    arguments = (*q, *v, *constants)
    return tuple(sp.lambdify(arguments, f, "numpy", cse=True) for f in (mass + force, energy))


def _evaluate(function, q, qdot, constants: Mapping[str, float]):
    """The function's entries side by side, (*n, entries)."""
    columns = [x[..., i] for x in (q, qdot) for i in range(x.shape[-1])]
    entries = function(*columns, *constants.values())
    out = np.empty((*q.shape[:-1], len(entries)), np.result_type(q, qdot, np.float64))
    for i, entry in enumerate(entries):
        out[..., i] = entry
    return out


def _at_rest(*amplitudes: float) -> Sampler:
    """Coordinates uniform in +- amplitude, released from rest."""

    def sample(rng: np.random.Generator, n: int, c: Any) -> Array:
        q = rng.uniform(-1, 1, (n, len(amplitudes))) * np.asarray(amplitudes)
        return np.concatenate([q, np.zeros_like(q)], axis=1)

    return sample


def _double_pendulum(q, v, c, xp):
    kinetic = (
        (c.m1 + c.m2) * c.l1**2 * v[0] ** 2 / 2
        + c.m2 * c.l2**2 * v[1] ** 2 / 2
        + c.m2 * c.l1 * c.l2 * v[0] * v[1] * xp.cos(q[0] - q[1])
    )
    potential = -(c.m1 + c.m2) * c.g * c.l1 * xp.cos(q[0]) - c.m2 * c.g * c.l2 * xp.cos(q[1])
    return kinetic - potential


def _triple_pendulum(q, v, c, xp):
    masses, lengths = (c.m1, c.m2, c.m3), (c.l1, c.l2, c.l3)
    L = 0
    for i in range(3):
        for j in range(3):
            carried = sum(masses[max(i, j) :])  # every bob below both joints moves with them
            L += carried * lengths[i] * lengths[j] * v[i] * v[j] * xp.cos(q[i] - q[j]) / 2
        L += sum(masses[i:]) * c.g * lengths[i] * xp.cos(q[i])
    return L


def _spring_pendulum(q, v, c, xp):
    r, theta = q
    kinetic = c.m * (v[0] ** 2 + r**2 * v[1] ** 2) / 2
    return kinetic + c.m * c.g * r * xp.cos(theta) - c.k * (r - c.l) ** 2 / 2


def _spring_pendulum_start(rng: np.random.Generator, n: int, c: Any) -> Array:
    stretch, theta = (rng.uniform(-1, 1, (n, 2)) * [0.15, 0.8]).T
    r = (c.l + c.m * c.g / c.k) * (1 + stretch)  # around the equilibrium
    return np.stack([r, theta, np.zeros(n), np.zeros(n)], axis=1)


def _kepler(q, v, c, xp):
    return c.m * (v[0] ** 2 + v[1] ** 2) / 2 + c.m * c.mu / xp.sqrt(q[0] ** 2 + q[1] ** 2)


def _kepler_start(rng: np.random.Generator, n: int, c: Any) -> Array:
    """Ellipses of semi-major axis 0.8 to 1.2 m and eccentricity up to 0.4, from pericentre."""
    drawn = rng.uniform(size=(n, 4)).T
    a, e, phi = 0.8 + 0.4 * drawn[0], 0.4 * drawn[1], 2 * np.pi * drawn[2]
    sense = np.where(drawn[3] < 0.5, -1.0, 1.0)
    r = a * (1 - e)
    speed = sense * np.sqrt(c.mu / a * (1 + e) / (1 - e))
    cos, sin = np.cos(phi), np.sin(phi)
    return np.stack([r * cos, r * sin, -speed * sin, speed * cos], axis=1)


def _magnetic_trap(q, v, c, xp):
    r2 = q[0] ** 2 + q[1] ** 2
    kinetic = c.m * (v[0] ** 2 + v[1] ** 2) / 2
    magnetic = c.charge * c.B * (q[0] * v[1] - q[1] * v[0]) / 2  # charge A . qdot, symmetric gauge
    return kinetic + magnetic - c.k * r2 / 2 - c.kappa * r2**2 / 4


def _magnetic_trap_start(rng: np.random.Generator, n: int, c: Any) -> Array:
    return rng.uniform(-1, 1, (n, 4)) * np.array([1.0, 1.0, 1.5, 1.5])


SYSTEMS: dict[str, System] = {
    system.name: system
    for system in (
        System(
            name="double_pendulum",
            lagrangian=_double_pendulum,
            coordinates=(("theta1", "rad"), ("theta2", "rad")),
            angles=(True, True),
            constants={"m1": 1.0, "m2": 1.0, "l1": 1.0, "l2": 1.0, "g": 9.8},
            initial_conditions=_at_rest(1.5, 1.5),
            box=(np.pi, np.pi, 10.0, 10.0),
            horizon=10.0,
            # from both bobs hanging to both level with the pivot: 29.4 J, as Cranmer et al. use
            energy_scale=lambda c: (c.m1 + c.m2) * c.g * c.l1 + c.m2 * c.g * c.l2,
        ),
        System(
            name="triple_pendulum",
            lagrangian=_triple_pendulum,
            coordinates=(("theta1", "rad"), ("theta2", "rad"), ("theta3", "rad")),
            angles=(True, True, True),
            constants={"m1": 1.0, "m2": 1.0, "m3": 1.0, "l1": 1.0, "l2": 1.0, "l3": 1.0, "g": 9.8},
            initial_conditions=_at_rest(1.0, 1.0, 1.0),
            box=(np.pi, np.pi, np.pi, 8.0, 8.0, 8.0),
            horizon=10.0,
            energy_scale=lambda c: (
                c.g * ((c.m1 + c.m2 + c.m3) * c.l1 + (c.m2 + c.m3) * c.l2 + c.m3 * c.l3)
            ),
        ),
        System(
            name="spring_pendulum",
            lagrangian=_spring_pendulum,
            coordinates=(("r", "m"), ("theta", "rad")),
            angles=(False, True),
            constants={"m": 1.0, "l": 1.0, "k": 40.0, "g": 9.8},
            initial_conditions=_spring_pendulum_start,
            box=(0.4, np.pi, 3.0, 4.0),
            centre=(1.245, 0.0, 0.0, 0.0),
            horizon=10.0,
            energy_scale=lambda c: c.m * c.g * (c.l + c.m * c.g / c.k),
        ),
        System(
            name="kepler",
            lagrangian=_kepler,
            coordinates=(("x", "m"), ("y", "m")),
            angles=(False, False),
            constants={"m": 1.0, "mu": 1.0},
            initial_conditions=_kepler_start,
            box=(1.7, 1.7, 1.5, 1.5),
            safe=lambda s: np.hypot(s[:, 0], s[:, 1]) > 0.4,
            horizon=20.0,
            energy_scale=lambda c: c.m * c.mu / 2,
        ),
        System(
            name="magnetic_trap",
            lagrangian=_magnetic_trap,
            coordinates=(("x", "m"), ("y", "m")),
            angles=(False, False),
            constants={"m": 1.0, "charge": 1.0, "B": 2.0, "k": 1.0, "kappa": 0.5},
            initial_conditions=_magnetic_trap_start,
            box=(1.5, 1.5, 2.0, 2.0),
            horizon=20.0,
            energy_scale=lambda c: c.m * 1.5**2 / 2 + c.k / 2 + c.kappa / 4,
        ),
    )
}
