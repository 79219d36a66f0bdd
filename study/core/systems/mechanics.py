"""`System`: a Lagrangian, its constants and its domain; everything else is derived from them.

sympy derives mass matrix, acceleration and energy from L(q, qdot), once for each Lagrangian, as
functions of numpy arrays. L is written once with the functions of `xp`: sympy here, torch in tests.
Forces that no Lagrangian makes, such as friction and motors, are stated beside it as generalised
forces Q, so that M qddot + c - g = Q (Goldstein, Classical Mechanics, eq. 1-53).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy  # its submodules are loaded on first use
from jaxtyping import Bool, Float, Inexact

from study.core.systems.formulas import (
    FUNCTIONS,
    DataError,
    Forces,
    Lagrangian,
    Library,
    Terms,
    derive,
    derive_forces,
    derive_slopes,
    derive_terms,
    evaluate,
)
from study.core.systems.motion import check_width, checked_states, checked_times

__all__ = ["FUNCTIONS", "DataError", "System", "Terms", "no_lagrangian", "unknown"]

Array = np.ndarray
Rows = Inexact[Array, "*n D"]  # complex ones are for derivatives by complex step
Inputs = Inexact[Array, "*n m"]
DRAWS = 1000  # how often as many states as are wanted are drawn, at most, to find safe ones
Bodies = Callable[[Inexact[Array, "n D"], Any], Inexact[Array, "n K 2"]]
Sampler = Callable[[np.random.Generator, int, Any], Float[Array, "n two_D"]]
Signals = Callable[
    [Float[Array, "n T"]], Float[Array, "n T m"]
]  # seconds -> inputs, n trajectories
Drive = Callable[[np.random.Generator, int, Any], Signals]


@dataclasses.dataclass(frozen=True)
class System:
    """A Lagrangian with named constants and the domain it is studied in.

    **Arguments:**

    - `lagrangian`: L(q, qdot, constants, xp) in joules; `xp` offers `FUNCTIONS`.
    - `coordinates`: name and unit of each generalised coordinate.
    - `angles`: which coordinates are angles in radians, periodic in 2 pi.
    - `constants`: default values, SI units.
    - `initial_conditions`: draws (n, 2 D) states (q, qdot) that trajectories start from, row by
      row: the first k of n are the same as k alone.
    - `box`: half widths (2 D) of the states the uniform sampler draws around `centre`.
    - `centre`: centre of the box, (2 D); zero if not given.
    - `safe`: ((n, 2 D) states, constants) -> (n,) bool, the states the system is studied at:
      the Lagrangian is regular there, and the motion bounded; all if not given.
    - `horizon`: seconds that rollouts are compared over.
    - `span`: seconds of motion that data are taken from; the horizon if not given. Shorter if
      the motion forgets its start long before the horizon.
    - `energy_scale`: constants -> joules that energy errors are measured in.
    - `library`: (q, qdot, constants, xp) -> the terms that `model.features=library` sums.
    - `forces`: (q, qdot, u, constants, xp) -> the D generalised forces Q; Q_i times the rate of
      coordinate i is a power in watts. None if nothing but the Lagrangian acts.
    - `inputs`: name and unit of each input u that the forces depend on, such as a motor's torque.
      They are zero unless they are given.
    - `drive`: draws the inputs of n trajectories for simulated data, a function of times (n, T) in
      seconds, a row for each, to u (n, T, m); the first k of n are the same as k alone. Without it
      simulated inputs are zero, and models are not told of them.
    - `bodies`: ((n, D) q, constants) -> (n, K, 2) where the K bodies are in a plane, in metres, y
      upwards, each joined to the one before; a fixed pivot is the first of them. For pictures
      alone; None if there is none.
    """

    name: str
    lagrangian: Lagrangian
    coordinates: tuple[tuple[str, str], ...]
    angles: tuple[bool, ...]
    constants: Mapping[str, Any]  # numbers, numpy's among them until `__post_init__`
    initial_conditions: Sampler
    box: tuple[float, ...]
    horizon: float
    energy_scale: Callable[[Any], float]
    centre: tuple[float, ...] | None = None
    span: float | None = None
    safe: Callable[[Float[Array, "n two_D"], Any], Array] | None = None
    library: Library | None = None
    forces: Forces | None = None
    inputs: tuple[tuple[str, str], ...] = ()
    drive: Drive | None = None
    bodies: Bodies | None = None

    def __post_init__(self) -> None:
        """Numpy's numbers count as Python's, which a cell's name is made from."""
        plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in self.constants.items()}
        object.__setattr__(self, "constants", plain)

    @property
    def known(self) -> bool:
        """Whether the Lagrangian is known; if not, there is only measured motion."""
        return self.lagrangian is not no_lagrangian

    @property
    def n_dof(self) -> int:
        """D, degrees of freedom."""
        return len(self.coordinates)

    @property
    def data_span(self) -> float:
        """Seconds of motion that data are taken from."""
        return self.horizon if self.span is None else self.span

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
        changed = {**self.constants, **constants}
        if repr(changed) == repr(self.constants):  # the usual case; a cell's name tells 1 from 1.0
            return self
        return dataclasses.replace(self, constants=changed)

    def mass_matrix(self, q: Rows, qdot: Rows) -> Inexact[Array, "*n D D"]:
        """d2L/dqdot2 at states (q, qdot)."""
        check_width(q, qdot, self.n_dof)
        return self.mass_and_force(q, qdot)[0]

    def acceleration(self, q: Rows, qdot: Rows, u: Inputs | None = None) -> Rows:
        """qddot = M^-1 (dL/dq - (d2L/dqdot dq) qdot + Q), Cranmer et al. (2020), eq. 6, with Q."""
        check_width(q, qdot, self.n_dof)
        mass, force = self.mass_and_force(q, qdot, u)
        return np.linalg.solve(mass, force[..., None])[..., 0]

    def energy(self, q: Rows, qdot: Rows) -> Inexact[Array, "*n"]:
        """E = qdot . dL/dqdot - L in joules; dE/dt is the power of the forces.

        Without forces it is conserved, because no Lagrangian here has the time.
        """
        check_width(q, qdot, self.n_dof)
        energy = derive(self.lagrangian, self.n_dof, tuple(self.constants))[1]
        return evaluate(energy, q, qdot, self.constants)[..., 0]

    def generalised_force(self, q: Rows, qdot: Rows, u: Inputs | None = None) -> Rows:
        """Q of the forces; zero if there are none."""
        if self.forces is None:
            return np.zeros(np.broadcast_shapes(q.shape, qdot.shape))
        names = tuple(self.constants)
        formulas = derive_forces(self.forces, self.n_dof, len(self.inputs), names)
        u = np.zeros((*q.shape[:-1], len(self.inputs))) if u is None else u
        return evaluate(formulas, q, qdot, self.constants, u)

    def power(self, q: Rows, qdot: Rows, u: Inputs | None = None) -> Inexact[Array, "*n"]:
        """Q . qdot in watts, the rate at which the forces change the energy."""
        return (self.generalised_force(q, qdot, u) * qdot).sum(-1)

    def signals(self, rng: np.random.Generator, n: int) -> Signals | None:
        """The inputs of n trajectories, drawn; None if nothing drives the system."""
        if self.drive is None:
            return None
        drawn = self.drive(rng, n, self.parameters)
        return lambda t: np.asarray(drawn(t), float)

    def starts(self, n: int, seed: int = 0) -> tuple[Float[Array, "n D"], Float[Array, "n D"]]:
        """q and qdot of n states that trajectories start from, as those of the training do."""
        start = self.initial_conditions(np.random.default_rng(seed), n, self.parameters)
        return start[:, : self.n_dof], start[:, self.n_dof :]

    def rollout(
        self,
        q: Any,
        qdot: Any,
        t: Any,
        u: Callable[[float], Any] | None = None,
        tolerance: float = 1e-12,
    ) -> tuple[Float[Array, "*n T D"], Float[Array, "*n T D"]]:
        """Motion from each state: q and qdot at the times t in seconds, the first the start's.

        All are integrated as one system by DOP853.

        - `u`: the inputs (m) at a time, the same for all; zero if not given.

        **Raises:** `ValueError` for other shapes than q, qdot (*n, D), t (T) and u (m).
        """
        D, m = self.n_dof, len(self.inputs)
        (q, qdot), t = checked_states(q, qdot, D), checked_times(t)
        if u is not None and np.shape(u(t[0])) != (m,):
            raise ValueError(f"u({t[0]:g}) has the shape {np.shape(u(t[0]))}: it should be ({m},)")
        start = np.concatenate([q, qdot], -1)

        def field(now: float, flat: Array) -> Array:
            state = flat.reshape(start.shape)
            driven = None if u is None else np.broadcast_to(u(now), (*q.shape[:-1], m))
            return self.rhs(state, driven).reshape(-1)

        ends, how = (t[0], t[-1]), {"method": "DOP853", "rtol": tolerance, "atol": tolerance}
        states = scipy.integrate.solve_ivp(field, ends, start.reshape(-1), t_eval=t, **how).y
        states = np.moveaxis(states.reshape(*start.shape, len(t)), -1, -2)
        return states[..., :D], states[..., D:]

    def rhs(self, state, u=None):
        """d(state)/dt = (qdot, qddot) (*n, 2 D); no types, because solvers call it in a loop."""
        q, qdot = state[..., : self.n_dof], state[..., self.n_dof :]
        mass, force = self.mass_and_force(q, qdot, u)
        return np.concatenate([qdot, np.linalg.solve(mass, force[..., None])[..., 0]], axis=-1)

    def uniform_states(self, rng: np.random.Generator, n: int) -> Float[Array, "n two_D"]:
        """n states drawn uniformly from the safe part of the box.

        **Raises:** `DataError` if hardly any of the box is safe.
        """
        kept = np.empty((0, 2 * self.n_dof))
        for _ in range(DRAWS):
            drawn = self.box_states(rng, n)
            kept = np.concatenate([kept, drawn[self.is_safe(drawn)]])
            if len(kept) >= n:
                return kept[:n]
        constants = ", ".join(f"{key}={value:g}" for key, value in self.constants.items())
        raise DataError(f"{self.name} with {constants}: hardly any state of its box is safe")

    def box_states(self, rng: np.random.Generator, n: int) -> Float[Array, "n two_D"]:
        """n states drawn uniformly from the box, safe or not."""
        centre = np.zeros(2 * self.n_dof) if self.centre is None else np.asarray(self.centre)
        return centre + rng.uniform(-1, 1, (n, 2 * self.n_dof)) * np.asarray(self.box)

    def is_safe(self, states: Float[Array, "*n two_D"]) -> Bool[Array, "*n"]:
        """Which states lie in the safe domain."""
        if self.safe is None:
            return np.ones(states.shape[:-1], bool)
        flat = states.reshape(-1, states.shape[-1])
        return self.safe(flat, self.parameters).reshape(states.shape[:-1])

    def wrapped(self, states: Float[Array, "*n two_D"]) -> Float[Array, "*n two_D"]:
        """The states with their angles in (-pi, pi]."""
        angle = np.array([*self.angles, *[False] * self.n_dof])
        return np.where(angle, np.pi - np.mod(np.pi - states, 2 * np.pi), states)

    @property
    def terms(self) -> Terms:
        """The terms of the library, derived.

        **Raises:** `DataError` if there is none or it gives no terms; what the library raises.
        """
        if self.library is None:
            raise DataError(f"{self.name} has no library of terms")
        return derive_terms(self.library, self.n_dof, tuple(self.constants))

    @property
    def slopes(self) -> Terms:
        """Value and first derivatives of the terms; entry 0, then D of dphi/dqdot, D of dphi/dq.

        **Raises:** as `terms`.
        """
        if self.library is None:
            raise DataError(f"{self.name} has no library of terms")
        return derive_slopes(self.library, self.n_dof, tuple(self.constants))

    def mass_and_force(self, q, qdot, u=None):
        """M (*n, D, D) and all that M qddot is equal to, g - c + Q (*n, D)."""
        D = self.n_dof
        formulas = derive(self.lagrangian, D, tuple(self.constants))[0]
        both = evaluate(formulas, q, qdot, self.constants)
        mass, force = both[..., : D * D].reshape(*both.shape[:-1], D, D), both[..., D * D :]
        if self.forces is not None:
            force = force + self.generalised_force(q, qdot, u)
        return mass, force


def no_lagrangian(*_: Any) -> Any:
    """The Lagrangian of a system that is not known. **Raises:** `LookupError`."""
    raise LookupError("the true system is not known")


def unknown(coordinates: tuple[tuple[str, str], ...], angles: tuple[bool, ...]) -> System:
    """A system with measured motion alone: all that needs the true Lagrangian raises."""
    return System(
        name="unknown",
        lagrangian=no_lagrangian,
        coordinates=coordinates,
        angles=angles,
        constants={},
        initial_conditions=no_lagrangian,
        box=(np.inf,) * (2 * len(coordinates)),
        horizon=np.inf,
        energy_scale=lambda c: np.nan,
    )
