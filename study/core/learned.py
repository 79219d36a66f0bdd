"""`LearnedModel`: what a user holds of a trained network or a fitted Lagrangian.

Arrays are numpy's, float64 and in physical units (s; m or rad), with any leading shape.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from study.core import native
from study.core.files import write_whole
from study.core.measures.rollout import LIMIT, rollout
from study.core.models import TrainedModel
from study.core.models.damped_lagrangian import DampedLagrangian
from study.core.models.law import Law
from study.core.models.linear_lagrangian import DrawnLagrangian
from study.core.models.model import Model, NetworkModel
from study.core.models.portable import Portable
from study.core.systems import System
from study.core.systems.motion import checked_states, checked_times, motion

Array = np.ndarray
Rows = Float[Array, "*n D"]
CHUNK = 4096  # states evaluated at once
MOST_STEPS = 100_000  # of a rollout's solver


@dataclasses.dataclass(frozen=True)
class LearnedModel(TrainedModel):
    """A trained model; `saved` is all that `save` writes.

    Its Lagrangian is known up to a factor and a constant, because accelerations do not see them.
    """

    saved: dict[str, Any] = dataclasses.field(kw_only=True, repr=False)

    @classmethod
    def from_saved(
        cls, saved: dict[str, Any], index: int, system: System | None = None
    ) -> LearnedModel:
        """As `TrainedModel.from_saved`; forces may stand beside the model."""
        trained = TrainedModel.from_saved(saved, index, system)
        own = {k: v for k, v in saved.items() if k not in ("cell", "replicates")}
        return cls(**vars(trained), saved=own | {"theta": trained.theta})

    @classmethod
    def from_portable(cls, portable: Portable) -> LearnedModel:
        """The model in a file that needs NumPy alone, `study.core.models.portable`."""
        p = portable
        model = {"name": "linear_lagrangian", "features": "structured", "scale": 1.0}
        model |= {"width": len(p.b), "encoding": "trig", "mass_prior": 0.0}
        theta = np.concatenate([x.ravel() for x in (p.c, p.w, p.b)])
        saved = {
            "angles": p.angles.tolist(),
            "model": model,
            "time": p.time,
            "length": p.length.tolist(),
            "origin": p.origin.tolist(),
            "theta": torch.from_numpy(theta)[None],
            "forces": {"friction": p.friction.tolist(), "inputs": p.inputs.tolist()},
            "unit": p.unit,
        }
        return cls.from_saved(saved, 0)

    @property
    def n_dof(self) -> int:
        """D, degrees of freedom."""
        return len(self.units.length)

    @property
    def friction(self) -> Float[Array, "D D"]:
        """C of the force -C qdot, learned with the Lagrangian or beside it; zero without one.

        It is known up to the factor of the mass matrix: solve(mass_matrix, friction), in 1/s, does
        not depend on it.
        """
        return super().friction + self._law.friction.numpy()

    def friction_at(self, q: Any) -> Float[Array, "*n D D"]:
        """C at positions, which depends on them if the model's friction varies."""
        q, _ = checked_states(q, np.zeros(np.shape(q)), self.n_dof)
        C = super().friction_at(q.reshape(-1, self.n_dof))
        return C.reshape(*q.shape, self.n_dof)

    @property
    def input_matrix(self) -> Float[Array, "D m"]:
        """B of the force B u, in the same units."""
        beside = self._law.inputs.numpy()
        return beside if beside.size else super().input_matrix

    def acceleration(self, q: Any, qdot: Any, u: Any = None) -> Rows:
        """qddot; `u` (..., m) are the inputs of a model with recorded forces.

        **Raises:** `ValueError` for arrays of another width, as all methods here, and for a model
        with inputs if none are given.
        """
        driven = (self._inputs(u, np.shape(q)),) if self._asks(u) else ()
        return self._of(self._law.forward, q, qdot, *driven)

    def lagrangian(self, q: Any, qdot: Any) -> Float[Array, "*n"]:
        """L. **Raises:** `ValueError` for a model of accelerations alone, as the next two."""
        return self._of(self._law.lagrangian, q, qdot)

    def mass_matrix(self, q: Any, qdot: Any) -> Float[Array, "*n D D"]:
        """d2L/dqdot2."""
        return self._of(self._law.mass_matrix, q, qdot)

    def energy(self, q: Any, qdot: Any) -> Float[Array, "*n"]:
        """qdot . dL/dqdot - L, which the model's own motion keeps unless there are forces."""
        return self._of(self._law.energy, q, qdot)

    def rollout(
        self,
        q: Any,
        qdot: Any,
        t: Any,
        u: Callable[[float], Any] | None = None,
        tolerance: float = 1e-8,
    ) -> tuple[Float[Array, "*n T D"], Float[Array, "*n T D"]]:
        """Motion from each state: q and qdot at the times t (T) in seconds, the first that of the
        start; NaN once it has diverged.

        - `u`: the inputs (m) at a time, of a model that has some.
        - `tolerance`: relative and absolute, in scaled units.
        """
        D = self.n_dof
        self._asks(u)
        (q, qdot), t = checked_states(q, qdot, D), checked_times(t)
        start = np.concatenate([q, qdot], -1).reshape(-1, 2 * D)
        if self._law.forced or self.model.n_driven:
            states = motion(self._field(u), start, t, tolerance, self._room)
        else:
            rolled = rollout(
                self._fast,
                self.theta,
                torch.tensor(self.units.to_scaled(start)),
                torch.tensor((t - t[0]) / self.units.time),
                tuple(self.saved["angles"]),
                rtol=tolerance,
                max_steps=MOST_STEPS,
            )
            states = self.units.to_physical(rolled.states[0].numpy())
        states = states.reshape(*q.shape[:-1], len(t), 2 * D)
        return states[..., :D], states[..., D:]

    def save(self, path: str | Path) -> None:
        """Write the model to a file that `study.load` reads; nothing in it is ever run."""
        write_whole(Path(path), lambda file: torch.save(self.saved, file))

    def to_torch(self) -> Law:
        """A module of torch: qddot = law(q, qdot), law.lagrangian(q, qdot), float64 tensors."""
        forces = self.saved.get("forces", {})
        friction, inputs = (
            torch.tensor(forces[name], dtype=torch.float64) if name in forces else None
            for name in ("friction", "inputs")
        )
        unit = self.saved.get("unit", self.units.time**-2)  # M is then M / (l l) of scaled units
        return Law(self.model, self.theta, self.units, friction, inputs, unit)

    @functools.cached_property
    def _law(self) -> Law:
        return self.to_torch().requires_grad_(False)

    @functools.cached_property
    def _fast(self) -> Model:
        """The model as C++ computes it, if it can."""
        model = self.model
        inner = model.free if isinstance(model, DampedLagrangian) else model
        if not isinstance(inner, NetworkModel | DrawnLagrangian) or native.trouble():
            return model
        inner = dataclasses.replace(inner, native=True)
        return (
            dataclasses.replace(model, free=inner) if isinstance(model, DampedLagrangian) else inner
        )

    def _of(self, function: Callable[..., Tensor], q: Any, qdot: Any, *more: Array) -> Array:
        """A function of states, some at a time."""
        q, qdot = checked_states(q, qdot, self.n_dof)
        flat = [torch.tensor(x.reshape(-1, x.shape[-1])) for x in (q, qdot, *more)]
        with torch.no_grad():
            parts = [function(*part) for part in zip(*(x.split(CHUNK) for x in flat), strict=True)]
        out = torch.cat(parts).detach().numpy()
        return out.reshape((*q.shape[:-1], *out.shape[1:]))

    def _asks(self, u: Any) -> bool:
        """Whether inputs are given. **Raises:** `ValueError` if there should be, and are none."""
        m = self.input_matrix.shape[1]
        if m and u is None:
            raise ValueError(f"the model has {m} inputs, and no u is given: give zeros for none")
        return u is not None

    def _inputs(self, u: Any, of: tuple[int, ...]) -> Float[Array, "*n m"]:
        u, m = np.asarray(u, float), self.input_matrix.shape[1]
        if u.shape != (*of[:-1], m):
            raise ValueError(f"u has the shape {u.shape}: it should be {(*of[:-1], m)}")
        return u

    def _field(self, u: Callable[[float], Any] | None) -> Callable[[float, Array], Array]:
        def field(t: float, state: Array) -> Array:
            q, qdot = np.split(state, 2)
            driven = None if u is None else np.asarray(u(t), float).reshape(-1)
            return np.concatenate([qdot, self.acceleration(q, qdot, driven)])

        return field

    def _room(self, state: Array) -> float:
        """How far a state is from what counts as diverged, as `core.measures.rollout` has it."""
        bounded = [not angle for angle in self.saved["angles"]] + [True] * self.n_dof
        return LIMIT - float(np.abs(self.units.to_scaled(state)[bounded]).max())
