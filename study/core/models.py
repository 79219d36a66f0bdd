"""The models by name, with their initialisations; what training and rollout ask of a model.

Knows: parameters in, accelerations out, in scaled units. Does not know: data, optimisers.
A new model is one subclass of `Model` and one entry of `MODELS`.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from study.core import mlp_acceleration
from study.core.activations import ACTIVATIONS
from study.core.mlp import MLP, initial_scale
from study.core.units import Units

__all__ = ["ACTIVATIONS", "INITS", "LNN", "MODELS", "Model", "TrainedModel", "n_parameters"]


class Model(abc.ABC):
    """An ensemble's architecture; parameters are a flat row theta (P) a network.

    States are feature-major: q, qdot (R networks, D, B states), in scaled units.
    """

    @property
    @abc.abstractmethod
    def n_params(self) -> int:
        """P, trainable parameters of one network."""

    @abc.abstractmethod
    def initialise(self, seeds: Sequence[int], dtype: torch.dtype) -> Float[Tensor, "R P"]:
        """One network a seed; a network depends on its own seed alone."""

    @abc.abstractmethod
    def acceleration(
        self, theta: Float[Tensor, "R P"], q: Float[Tensor, "R D B"], qdot: Float[Tensor, "R D B"]
    ) -> Float[Tensor, "R D B"]:
        """qddot, without a gradient."""

    @abc.abstractmethod
    def loss_and_gradient(
        self,
        theta: Float[Tensor, "R P"],
        q: Float[Tensor, "R D B"],
        qdot: Float[Tensor, "R D B"],
        target: Float[Tensor, "R D B"],
        compiled: bool = False,
    ) -> tuple[Float[Tensor, " R"], Float[Tensor, "R P"], Float[Tensor, " R"]]:
        """Mean squared error of each network, its gradient, and the share of floored samples.

        With `compiled` by torch.compile, the same up to rounding.
        """

    def mass_matrix(
        self, theta: Float[Tensor, "R P"], q: Float[Tensor, "R D B"], qdot: Float[Tensor, "R D B"]
    ) -> Float[Tensor, "R D D B"] | None:
        """d2L/dqdot2, or None for a model that has none."""
        return None


@dataclasses.dataclass(frozen=True)
class LNN(Model):
    """A plain Lagrangian network: L is an MLP of (q, qdot). Cranmer et al. (2020)."""

    mlp: MLP
    init: str

    @property
    def n_params(self) -> int:
        return self.mlp.n_params

    def initialise(self, seeds: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.stack([INITS[self.init](self.mlp, seed) for seed in seeds]).to(dtype)

    def acceleration(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Tensor:
        return mlp_acceleration.forward(self.mlp, self.mlp.layers(theta), q, qdot)[0]

    def mass_matrix(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Tensor:
        return mlp_acceleration.mass_matrix(self.mlp, theta, q, qdot)

    def loss_and_gradient(
        self, theta: Tensor, q: Tensor, qdot: Tensor, target: Tensor, compiled: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        layers = self.mlp.layers(theta)
        if not compiled:
            return mlp_acceleration.loss_and_gradient(self.mlp, layers, q, qdot, target)
        # the width is no part of what is compiled, so one compilation serves all of them
        shape = dataclasses.replace(self.mlp, width=1)
        R, single = theta.shape[0], q.shape[-1] == 1
        function = mlp_acceleration.compiled(shape, theta.dtype, str(theta.device), R, single)
        return function(layers, q, qdot, target)


def _normal(init: str) -> Callable[[MLP, int], Tensor]:
    """Weights N(0, scale^2) by layer, biases zero."""

    def draw(mlp: MLP, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        pieces = []
        for layer, (fan_in, fan_out) in enumerate(mlp.layer_sizes):
            scale = initial_scale(init, layer, mlp.depth, fan_in, mlp.width)
            weight = torch.randn(fan_in * fan_out, generator=generator, dtype=torch.float64)
            pieces += [scale * weight, torch.zeros(fan_out, dtype=torch.float64)]
        return torch.cat(pieces)

    return draw


def _torch_default(mlp: MLP, seed: int) -> Tensor:
    """As torch.nn.Linear does: weights and biases U(+-1/sqrt(fan_in))."""
    generator = torch.Generator().manual_seed(seed)
    pieces = []
    for fan_in, fan_out in mlp.layer_sizes:
        drawn = torch.rand(fan_in * fan_out + fan_out, generator=generator, dtype=torch.float64)
        pieces.append((2 * drawn - 1) / math.sqrt(fan_in))
    return torch.cat(pieces)


INITS: dict[str, Callable[[MLP, int], Tensor]] = {
    "fan_in": _normal("fan_in"),
    "cranmer": _normal("cranmer"),
    "torch_default": _torch_default,
}


def _lnn(angles: tuple[bool, ...], settings: dict[str, Any]) -> LNN:
    keys = ("width", "depth", "activation", "beta", "encoding", "mass_prior")
    return LNN(MLP(angles=angles, **{key: settings[key] for key in keys}), settings["init"])


MODELS: dict[str, Callable[[tuple[bool, ...], dict[str, Any]], Model]] = {"lnn": _lnn}


def make_model(angles: tuple[bool, ...], settings: dict[str, Any]) -> Model:
    """The model of a cell from its plain settings (`name`, `width`, ...)."""
    return MODELS[settings["name"]](angles, settings)


def n_parameters(angles: tuple[bool, ...], settings: dict[str, Any]) -> int:
    """P of a model before it is made."""
    return make_model(angles, settings).n_params


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """One trained network, asked in physical units.

    **Arguments:**

    - `model`: the architecture.
    - `theta`: its parameters, (1, P) float64.
    - `units`: the scaling it was trained in.
    """

    model: Model
    theta: Float[Tensor, "1 P"]
    units: Units

    @classmethod
    def from_saved(cls, saved: dict[str, Any], index: int) -> TrainedModel:
        """The network at `index` of a block's saved weights."""
        return cls(
            make_model(tuple(saved["angles"]), saved["model"]),
            saved["theta"][index : index + 1].double(),
            Units(time=saved["time"], length=np.asarray(saved["length"])),
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
