"""The models by name, and `TrainedModel`, which takes and gives physical units.

A new model is one subclass of `Model` in a file of its own and one entry of `MODELS`.

All of them learn accelerations, and all but the controls by way of a Lagrangian. The accelerations
of any L(q, qdot) follow from the Euler-Lagrange equation, M qddot = g - c with M = d2L/dqdot2,
g = dL/dq, c = (d2L/dqdot dq) qdot (Cranmer et al. 2020, eq. 6). With automatic differentiation
that is, at one state,

    def acceleration(L, q, qdot):
        momentum = torch.func.grad(L, argnums=1)
        M = torch.func.jacfwd(momentum, argnums=1)(q, qdot)
        c = torch.func.jvp(lambda x: momentum(x, qdot), (q,), (qdot,))[1]
        g = torch.func.grad(L, argnums=0)(q, qdot)
        return torch.linalg.solve(M, g - c)

The models here do the same in closed form, for many networks and states at once (`lnn.py`,
`structured_lnn.py`), and are tested against these lines.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.acceleration_mlp import AccelerationMLP
from study.core.models.activations import ACTIVATIONS
from study.core.models.damped_lagrangian import DampedLagrangian
from study.core.models.damping import Damping
from study.core.models.initialisation import INITS
from study.core.models.library_lagrangian import LibraryLagrangian
from study.core.models.linear_lagrangian import (
    DrawnLagrangian,
    LinearLagrangian,
    RandomLagrangian,
    StructuredLagrangian,
)
from study.core.models.lnn import LNN
from study.core.models.mlp import MLP
from study.core.models.model import LinearModel, Model, NetworkModel
from study.core.models.random_features import RandomFeatures
from study.core.models.structured_lnn import StructuredLNN
from study.core.systems import System
from study.core.systems.units import Units

__all__ = [
    "ACTIVATIONS",
    "INITS",
    "MODELS",
    "UNUSED",
    "LinearModel",
    "Model",
    "TrainedModel",
    "make_model",
]

Settings = dict[str, Any]


def _mlp(angles: tuple[bool, ...], settings: Settings, **shape: Any) -> MLP:
    keys = ("width", "depth", "activation", "beta", "encoding", "mass_prior")
    return MLP(angles, **{key: settings[key] for key in keys}, **shape)


def _structured_lnn(angles: tuple[bool, ...], settings: Settings) -> Model:
    entries = len(angles) * (len(angles) + 1) // 2  # of a lower triangular matrix; and a potential
    mlp = _mlp(angles, settings, n_outputs=entries + 1, velocities=False)
    return StructuredLNN(mlp, settings["init"], damping=_damping(angles, settings))


def _damping(angles: tuple[bool, ...], settings: Settings) -> Damping | None:
    """The forces; models of earlier versions have none."""
    kind, m = settings.get("friction", "none"), settings["n_driven"]
    return Damping(len(angles), kind, m, angles) if kind != "none" or m else None


def _linear_lagrangian(angles: tuple[bool, ...], settings: Settings) -> Model:
    settings = settings | UNUSED["linear_lagrangian"]
    scale = 1.0 if settings["scale"] == "auto" else settings["scale"]
    if settings["features"] == "random":
        return RandomLagrangian(_mlp(angles, settings), scale)
    entries = len(angles) * (len(angles) + 1) // 2
    mlp = _mlp(angles, settings, n_outputs=entries + 1, velocities=False)
    return StructuredLagrangian(mlp, scale)


MODELS: dict[str, Callable[[tuple[bool, ...], Settings], Model]] = {
    "lnn": lambda angles, s: LNN(_mlp(angles, s), s["init"], damping=_damping(angles, s)),
    "structured_lnn": _structured_lnn,
    "acceleration_mlp": lambda angles, s: AccelerationMLP(
        _mlp(angles, s, n_outputs=len(angles), n_driven=s["n_driven"]), s["init"]
    ),
    "random_features": lambda angles, s: RandomFeatures(_mlp(angles, s, n_driven=s["n_driven"])),
    "linear_lagrangian": _linear_lagrangian,
}

# Settings that a model does not use, at the value that every cell of it has.
UNUSED: dict[str, Settings] = {
    "acceleration_mlp": {"mass_prior": 0.0, "friction": "none"},
    "random_features": {"depth": 1, "mass_prior": 0.0, "init": "fan_in", "friction": "none"},
    "linear_lagrangian": {"depth": 1, "activation": "sin", "beta": 1.0, "init": "fan_in"},
}


def make_model(
    angles: tuple[bool, ...],
    settings: Settings,
    *,
    native: bool = False,
    system: System | None = None,
    units: Units | None = None,
    n_driven: int = 0,
) -> Model:
    """The model of a cell from its plain settings (`name`, `width`, ...), with inputs.

    If `native`, C++ computes it on the CPU, provided it is a network. The terms of a library are
    those of `system`; `units`, physical if not given, are those of the states it is asked about.

    **Raises:** `ValueError` for a library without a system.
    """
    settings = {**settings, "n_driven": n_driven}
    if (settings["name"], settings.get("features")) == ("linear_lagrangian", "library"):
        if system is None:
            raise ValueError("model.features=library needs the system that states the terms")
        units = units or Units.physical(len(angles))
        model = LibraryLagrangian(system, units, settings["mass_prior"])
    else:
        model = MODELS[settings["name"]](angles, settings)
        if native and isinstance(model, NetworkModel | DrawnLagrangian):
            model = dataclasses.replace(model, native=True)
    damping = _damping(angles, settings)
    if isinstance(model, LinearLagrangian) and damping:
        return DampedLagrangian(model, damping)
    return model


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """One trained network in physical units.

    **Arguments:**

    - `model`: the architecture.
    - `theta`: its parameters, (1, S) float64.
    - `units`: the scaling it was trained in.
    """

    model: Model
    theta: Float[Tensor, "1 S"]
    units: Units

    @classmethod
    def from_saved(
        cls, saved: dict[str, Any], index: int, system: System | None = None
    ) -> TrainedModel:
        """The network at `index` of a block's saved weights; its terms are those of `system`.

        **Raises:** `ValueError` for a library without a system.
        """
        scales = (np.asarray(saved.get(name, [])) for name in ("length", "origin", "inputs"))
        units = Units(saved["time"], *scales)
        angles, theta = tuple(saved["angles"]), saved["theta"][index : index + 1].double()
        shape = {"system": system, "units": units, "n_driven": len(units.inputs)}
        return cls(make_model(angles, saved["model"], **shape), theta, units)

    def acceleration(
        self,
        q: Float[np.ndarray, "..."],
        qdot: Float[np.ndarray, "..."],
        u: Float[np.ndarray, "..."] | None = None,
    ) -> Float[np.ndarray, "n D"]:
        """qddot (n, D) at states q and qdot (n, D), all in physical units (s; m or rad).

        - `u`: (n, m), of a model with inputs, in the units they were told in.

        **Raises:** `ValueError` if q, qdot and u do not have this shape.
        """
        D = len(self.units.length)
        if q.ndim != 2 or q.shape[1] != D or qdot.shape != q.shape:
            raise ValueError(
                f"q has the shape {q.shape} and qdot {qdot.shape}: both must be (n, {D}), "
                "a row for each state"
            )
        m = len(self.units.inputs)
        if m != (0 if u is None else u.shape[-1]) or (u is not None and u.shape != (len(q), m)):
            given = "no u is given" if u is None else f"u has the shape {u.shape}"
            raise ValueError(f"the model has {m} inputs, and {given}: (n, {m}) is needed")
        with torch.no_grad():
            qddot = self.model.acceleration(self.theta, *self._scaled(q, qdot, u))[0].T.numpy()
        return self.units.acceleration_to_physical(qddot)

    @property
    def friction(self) -> Float[np.ndarray, "D D"]:
        """C of the force -C qdot; zero if none is learned.

        It is known up to the factor of the mass matrix, which accelerations do not see.

        **Raises:** `ValueError` if it depends on q.
        """
        length, damping = self.units.length, getattr(self.model, "damping", None)
        if damping and damping.varies:
            raise ValueError("the friction of the model depends on q: ask friction_at(q)")
        return -self._slopes[:, : len(length)] / np.outer(length, length) / self.units.time

    def friction_at(self, q: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n D D"]:
        """C at positions q in physical units."""
        length, damping = self.units.length, getattr(self.model, "damping", None)
        if not (damping and damping.varies):
            return np.broadcast_to(self.friction, (len(q), len(length), len(length)))
        f = self.theta[:, -damping.count :]
        C = damping.matrix(f, self._scaled(q, np.zeros_like(q))[0])[0].permute(2, 0, 1).numpy()
        return C / np.outer(length, length) / self.units.time

    @property
    def input_matrix(self) -> Float[np.ndarray, "D m"]:
        """B of the force B u, in the same units."""
        length = self.units.length
        of_u = self._slopes[:, len(length) :] / self.units.inputs
        return of_u / length[:, None] / self.units.time**2

    @property
    def _slopes(self) -> Float[np.ndarray, "D V"]:
        """Of the learned force in (qdot, u) at q = 0, scaled units: it is linear in them."""
        units = torch.eye(len(self.units.length) + len(self.units.inputs), dtype=torch.float64)
        origin = torch.zeros(1, len(self.units.length), len(units), dtype=torch.float64)
        return self.model.learned_force(self.theta, origin, units[None])[0].numpy()

    def _scaled(self, q: np.ndarray, qdot: np.ndarray, u: np.ndarray | None = None) -> list[Tensor]:
        scaled = self.units.scale_driven(q, qdot, u)
        return [torch.from_numpy(np.ascontiguousarray(x.T))[None] for x in scaled]
