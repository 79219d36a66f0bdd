"""What training, rollout and measures ask of a model.

Knows: parameters in, accelerations out, in scaled units. Does not know: any one model, data,
optimisers.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


class Model(abc.ABC):
    """An ensemble's architecture; parameters are a flat row theta (S) a network.

    The first `n_params` of theta are trained, the rest are fixed draws (random features; S = P for
    every other model). States are feature-major: q, qdot (R networks, D, B states), in scaled
    units. `linear` says whether qddot is linear in what is trained.
    """

    linear = False

    @property
    @abc.abstractmethod
    def n_params(self) -> int:
        """P, trainable parameters of one network."""

    @abc.abstractmethod
    def initialise(self, seeds: Sequence[int], dtype: torch.dtype) -> Float[Tensor, "R S"]:
        """One network a seed; a network depends on its own seed alone."""

    @abc.abstractmethod
    def acceleration(
        self, theta: Float[Tensor, "R S"], q: Float[Tensor, "R D B"], qdot: Float[Tensor, "R D B"]
    ) -> Float[Tensor, "R D B"]:
        """qddot, without a gradient."""

    @abc.abstractmethod
    def loss_and_gradient(
        self,
        theta: Float[Tensor, "R S"],
        q: Float[Tensor, "R D B"],
        qdot: Float[Tensor, "R D B"],
        target: Float[Tensor, "R D B"],
        loss: str = "squared",
        compiled: bool = False,
    ) -> tuple[Float[Tensor, " R"], Float[Tensor, "R S"], Float[Tensor, " R"]]:
        """Each network's error, its gradient, and the share of samples with a floored mass matrix.

        The error is the mean `squared` or `absolute` one. With `compiled` by torch.compile, the
        same up to rounding.
        """

    @abc.abstractmethod
    def jacobian(
        self, theta: Float[Tensor, "R S"], q: Float[Tensor, "R D B"], qdot: Float[Tensor, "R D B"]
    ) -> tuple[Float[Tensor, "R D B"], Float[Tensor, "R B D P"]]:
        """qddot, and d qddot / d theta of each state and coordinate."""

    def mass_matrix(
        self, theta: Float[Tensor, "R S"], q: Float[Tensor, "R D B"], qdot: Float[Tensor, "R D B"]
    ) -> Float[Tensor, "R D D B"] | None:
        """d2L/dqdot2, or None for a model that has none."""
        return None
