"""The models by name; a trained one asked in physical units.

Knows: which models there are and which settings they do not use. Does not know: data, optimisers.
A new model is one subclass of `Model` in a file of its own and one entry of `MODELS`.
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
from study.core.models.initialisation import INITS
from study.core.models.lnn import LNN
from study.core.models.mlp import MLP
from study.core.models.model import Model
from study.core.models.network_model import NetworkModel
from study.core.models.random_features import RandomFeatures
from study.core.models.structured_lnn import StructuredLNN, n_outputs
from study.core.systems.units import Units

__all__ = [
    "ACTIVATIONS",
    "INITS",
    "LNN",
    "MODELS",
    "UNUSED",
    "AccelerationMLP",
    "Model",
    "RandomFeatures",
    "StructuredLNN",
    "TrainedModel",
    "make_model",
    "n_parameters",
]

Angles = tuple[bool, ...]


def _mlp(angles: Angles, settings: dict[str, Any], **shape: Any) -> MLP:
    keys = ("width", "depth", "activation", "beta", "encoding", "mass_prior")
    return MLP(angles=angles, **{key: settings[key] for key in keys}, **shape)


def _lnn(angles: Angles, settings: dict[str, Any]) -> Model:
    return LNN(_mlp(angles, settings), settings["init"])


def _structured_lnn(angles: Angles, settings: dict[str, Any]) -> Model:
    mlp = _mlp(angles, settings, n_outputs=n_outputs(len(angles)), velocities=False)
    return StructuredLNN(mlp, settings["init"])


def _acceleration_mlp(angles: Angles, settings: dict[str, Any]) -> Model:
    return AccelerationMLP(_mlp(angles, settings, n_outputs=len(angles)), settings["init"])


def _random_features(angles: Angles, settings: dict[str, Any]) -> Model:
    return RandomFeatures(_mlp(angles, settings))


MODELS: dict[str, Callable[[Angles, dict[str, Any]], Model]] = {
    "lnn": _lnn,
    "structured_lnn": _structured_lnn,
    "acceleration_mlp": _acceleration_mlp,
    "random_features": _random_features,
}

# settings that a model does not use, at the value that a cell is given for them
UNUSED: dict[str, dict[str, Any]] = {
    "acceleration_mlp": {"mass_prior": 0.0},
    "random_features": {"depth": 1, "mass_prior": 0.0, "init": "fan_in"},
}


def make_model(angles: Angles, settings: dict[str, Any], *, native: bool = False) -> Model:
    """The model of a cell from its plain settings (`name`, `width`, ...).

    With `native` in C++ on the CPU, if it is a network.
    """
    model = MODELS[settings["name"]](angles, settings)
    if native and isinstance(model, NetworkModel):
        return dataclasses.replace(model, native=True)
    return model


def n_parameters(angles: Angles, settings: dict[str, Any]) -> int:
    """P of a model before it is made."""
    return make_model(angles, settings).n_params


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """One trained network, asked in physical units.

    **Arguments:**

    - `model`: the architecture.
    - `theta`: its parameters, (1, S) float64.
    - `units`: the scaling it was trained in.
    """

    model: Model
    theta: Float[Tensor, "1 S"]
    units: Units

    @classmethod
    def from_saved(cls, saved: dict[str, Any], index: int) -> TrainedModel:
        """The network at `index` of a block's saved weights."""
        return cls(
            make_model(tuple(saved["angles"]), saved["model"]),
            saved["theta"][index : index + 1].double(),
            Units(saved["time"], np.asarray(saved["length"]), np.asarray(saved["origin"])),
        )

    def acceleration(
        self, q: Float[np.ndarray, "n D"], qdot: Float[np.ndarray, "n D"]
    ) -> Float[np.ndarray, "n D"]:
        """qddot at states given and answered in physical units (s; m or rad)."""
        scaled = self.units.scale(q, qdot)
        q_, qdot_ = (torch.from_numpy(np.ascontiguousarray(x.T))[None] for x in scaled)
        with torch.no_grad():
            qddot = self.model.acceleration(self.theta, q_, qdot_)[0].T.numpy()
        return self.units.acceleration_to_physical(qddot)
