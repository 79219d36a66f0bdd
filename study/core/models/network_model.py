"""What the models that are one MLP have in common: initialisation, loss, Jacobian, compilation.

Knows: how accelerations and the sweep back from a cotangent give a loss with its gradient and the
Jacobian. Does not know: how qddot comes from the network's outputs (`lnn.py`, `structured_lnn.py`,
`acceleration_mlp.py`).
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from study.core.models.initialisation import INITS
from study.core.models.mlp import MLP, Layers
from study.core.models.mlp_acceleration import error_and_cotangent
from study.core.models.model import Model
from study.core.models.pairs import Pair, gradient_of, jacobian_of
from study.core.native import calls


@dataclasses.dataclass(frozen=True)
class NetworkModel(Model):
    """A model whose theta is one MLP, `init` being a name of `INITS`.

    A subclass gives `forward` and `backward`, without state, so that they can be compiled, and the
    `kind` that C++ knows it by, if it does. With `native` all that C++ knows is done there if it is
    on the CPU: the same up to rounding, and never differentiable.
    """

    mlp: MLP
    init: str
    native: bool = False
    kind: ClassVar[str]

    @staticmethod
    @abc.abstractmethod
    def forward(
        mlp: MLP, layers: Layers, q: Float[Tensor, "R D B"], qdot: Float[Tensor, "R D B"]
    ) -> tuple[Float[Tensor, "R D B"], Any]:
        """qddot, and a sweep for `backward`; `sweep.floored` (R, B) marks floored mass matrices."""

    @staticmethod
    @abc.abstractmethod
    def backward(
        mlp: MLP,
        layers: Layers,
        qdot: Float[Tensor, "R D B"],
        qddot: Float[Tensor, "R D B"],
        cotangent: Float[Tensor, "R D B"],
        sweep: Any,
    ) -> list[Pair]:
        """The streams of d<cotangent, qddot>/dtheta, layer by layer."""

    @property
    def n_params(self) -> int:
        return self.mlp.n_params

    def initialise(self, seeds: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.stack([INITS[self.init](self.mlp, seed) for seed in seeds]).to(dtype)

    def in_cpp(self, theta: Tensor) -> bool:
        """Whether C++ computes with these parameters."""
        known = "kind" in vars(type(self)) and self.mlp.activation in calls.ACTIVATIONS
        return self.native and known and theta.device.type == "cpu"

    def acceleration(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Tensor:
        if self.in_cpp(theta):
            return calls.acceleration(self.kind, self.mlp, theta, q, qdot)
        return self.forward(self.mlp, self.mlp.layers(theta), q, qdot)[0]

    def jacobian(self, theta: Tensor, q: Tensor, qdot: Tensor) -> tuple[Tensor, Tensor]:
        if self.in_cpp(theta):
            return calls.jacobian(self.kind, self.mlp, theta, q, qdot)
        layers = self.mlp.layers(theta)
        qddot, sweep = self.forward(self.mlp, layers, q, qdot)
        R, D, B = qddot.shape
        J = qddot.new_empty(R, self.n_params, D, B)
        for i in range(D):
            along = torch.zeros_like(qddot)
            along[:, i] = 1
            pairs = self.backward(self.mlp, layers, qdot, qddot, along, sweep)
            jacobian_of(pairs, out=J[:, :, i])
        return qddot, J.permute(0, 3, 2, 1)

    def loss_and_gradient(
        self,
        theta: Tensor,
        q: Tensor,
        qdot: Tensor,
        target: Tensor,
        loss: str = "squared",
        compiled: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        if self.in_cpp(theta):
            return calls.loss_and_gradient(self.kind, self.mlp, theta, q, qdot, target, loss)
        layers = self.mlp.layers(theta)
        if not compiled:
            return _loss_and_gradient(type(self), self.mlp, loss, layers, q, qdot, target)
        # the width is no part of what is compiled, so one compilation serves all of them
        shape = dataclasses.replace(self.mlp, width=1)
        R, single = theta.shape[0], q.shape[-1] == 1
        function = _compiled(type(self), shape, loss, theta.dtype, str(theta.device), R, single)
        return function(layers, q, qdot, target)


def _loss_and_gradient(
    kind: type[NetworkModel],
    mlp: MLP,
    loss: str,
    layers: Layers,
    q: Tensor,
    qdot: Tensor,
    target: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    qddot, sweep = kind.forward(mlp, layers, q, qdot)
    value, cotangent = error_and_cotangent(loss, qddot - target)
    pairs = kind.backward(mlp, layers, qdot, qddot, cotangent, sweep)
    return value, gradient_of(pairs), sweep.floored.to(q.dtype).mean(1)


@functools.cache
def _compiled(
    kind: type[NetworkModel],
    mlp: MLP,
    loss: str,
    dtype: torch.dtype,
    device: str,
    R: int,
    single: bool,
) -> Callable:
    """`_loss_and_gradient` of R networks, compiled once for all widths and batches.

    Compiled code may depend on the sizes it is first met with. So that a cell's bits do not depend
    on which cell came before it, it is first met with sizes that are always the same; only batches
    of one state (`single`) and the number of networks are specialised.

    **Raises:** what torch.compile raises where there is no compiler.
    """
    torch._dynamo.config.recompile_limit = 1024  # past it, it would fall back to eager unsaid
    function = torch.compile(functools.partial(_loss_and_gradient, kind, mlp, loss), dynamic=True)
    typical = dataclasses.replace(mlp, width=24)
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype).to(device)

    layers = typical.layers(normal(R, typical.n_params))
    # laid out as training has them: other strides would be compiled anew, with sizes of the moment;
    # 113, for sizes that are equal here (a layer's offset in theta, say) would be held equal always
    batch = normal(R, 3 * mlp.n_dof, 1 if single else 113).chunk(3, 1)
    for tensor in (*itertools.chain.from_iterable(layers), *batch):
        torch._dynamo.mark_static(tensor, 0)
    function(layers, *batch)
    return function
