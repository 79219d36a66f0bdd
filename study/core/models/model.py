"""`Model`, what training, rollout and measures use of a model; `NetworkModel`, one that is an MLP.

Everything is in scaled units, and states are feature-major: (R networks, D coordinates, B states).
If the motion has inputs, their rows (R, m, B) stand below those of qdot, wherever a model
takes qdot.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from study.core import native
from study.core.models.damping import FRICTION, Damping, Rates
from study.core.models.initialisation import INITS
from study.core.models.mass_matrix import FLOOR
from study.core.models.mlp import MLP, Layers, Pair, States, Streams, fill_jacobian, gradient_of

Theta = Float[Tensor, "R S"]
Forward = tuple[States, Bool[Tensor, "R B"], Any]
LossAndGradient = tuple[Float[Tensor, " R"], Theta, Float[Tensor, " R"]]


class Model(abc.ABC):
    """An ensemble's architecture; parameters are a flat row theta (S) a network.

    The first `n_params` of theta are trained, the rest are fixed draws (of random features; S = P
    for every other model).
    """

    @property
    @abc.abstractmethod
    def n_params(self) -> int:
        """P, trainable parameters of one network."""

    @property
    def n_driven(self) -> int:
        """m, inputs of the motion."""
        return 0

    @abc.abstractmethod
    def initialise(self, seeds: Sequence[int], dtype: torch.dtype) -> Theta:
        """One network a seed; a network depends on its own seed alone."""

    @abc.abstractmethod
    def acceleration(self, theta: Theta, q: States, qdot: Rates) -> States:
        """qddot, without a gradient."""

    @abc.abstractmethod
    def loss_and_gradient(
        self,
        theta: Theta,
        q: States,
        qdot: Rates,
        target: States,
        loss: str = "squared",
        compiled: bool = False,
    ) -> LossAndGradient:
        """Each network's error, its gradient, and the share of samples with a floored mass matrix.

        The error is the mean `squared` or `absolute` one. `compiled` uses torch.compile, which
        gives the same up to rounding.
        """

    @abc.abstractmethod
    def jacobian(
        self, theta: Theta, q: States, qdot: Rates
    ) -> tuple[States, Float[Tensor, "R B D P"]]:
        """qddot, and d qddot / d theta of each state and coordinate."""

    def mass_matrix(self, theta: Theta, q: States, qdot: Rates) -> Float[Tensor, "R D D B"] | None:
        """d2L/dqdot2, or None for a model that has none."""
        return None

    def learned_force(self, theta: Theta, q: States, qdot: Rates) -> States:
        """Q of friction and inputs that is learned beside a Lagrangian."""
        return torch.zeros_like(qdot[:, : qdot.shape[1] - self.n_driven])

    def energy(
        self, theta: Theta, q: States, qdot: Rates
    ) -> tuple[Float[Tensor, "R B"], Float[Tensor, "R B"]] | None:
        """E = qdot . dL/dqdot - L up to a constant, and qdot . dL/dqdot; None without a Lagrangian.

        The rate of E along the motion is the power of the forces, Q . qdot.
        """
        return None

    def in_cpp(self, theta: Theta) -> tuple[native.Network, Theta] | None:
        """What C++ computes accelerations of, and its parameters; None if it does not."""
        return None


@dataclasses.dataclass(frozen=True)
class Equations:
    """Linear equations for the trained parameters: rows (R, B, D, P) @ trained = right (R, B, D).

    `gauge` (R, P), summed over the B states: the mean of gauge @ trained over all states is to be
    `level`. None if the equations need no such constraint.
    """

    rows: Float[Tensor, "R B D P"]
    right: Float[Tensor, "R B D"]
    gauge: Float[Tensor, "R P"] | None = None
    level: float = 0.0


class LinearModel(Model):
    """A model that one linear least-squares problem trains."""

    scale: float = 1.0  # of the drawn features; `scaled` gives the same draws at another
    equilibrated: bool = False  # whether each column of the equations is divided by its norm
    damping: Damping | None = None  # C_ij at its places, and B, are the first trained parameters

    @property
    def n_features(self) -> int:
        """Equal parts of what is trained beside forces; the first few may do alone."""
        return 1

    @abc.abstractmethod
    def equations(self, theta: Theta, q: States, qdot: Rates, qddot: States) -> Equations:
        """What the trained part of theta is to fulfil at measured accelerations."""

    def scaled(self, theta: Theta, scale: float) -> Theta:
        """The same features at another inverse length. **Raises:** `ValueError` without one."""
        raise ValueError(f"{type(self).__name__} has no scale to choose")


def cpp_network(
    kind: str, mlp: MLP, dtype: torch.dtype, damping: Damping | None = None
) -> native.Network:
    """How C++ knows a network."""
    encoded = mlp.angles if mlp.encoding == "trig" else (False,) * mlp.n_dof
    places = native.MODELS.index(kind), native.ACTIVATIONS.index(mlp.activation)
    sizes = (places[0], mlp.n_dof, mlp.width, mlp.depth, places[1], native.bits(encoded))
    damped = FRICTION.index(damping.kind) if damping else 0
    driven = damping.n_inputs if damping else mlp.n_driven
    return native.Network(*sizes, damped, driven, mlp.beta, mlp.mass_prior, FLOOR[dtype])


@dataclasses.dataclass(frozen=True)
class NetworkModel(Model):
    """A model whose theta is one MLP, initialised by the entry `init` of `INITS`.

    A subclass gives `forward` and `backward`, without state, so that they can be compiled, and the
    `kind` that C++ knows it by, if it does. If `native`, C++ computes all that it knows on the CPU:
    the same up to rounding, and not differentiable.

    With `damping`, for which there has to be a mass matrix, its parameters follow those of the MLP;
    `forward` then takes qdot alone and the force, and its sweep has the `inverse` of M.
    """

    mlp: MLP
    init: str
    native: bool = False
    damping: Damping | None = None
    kind: ClassVar[str]

    @staticmethod
    @abc.abstractmethod
    def forward(mlp: MLP, layers: Layers, q: States, qdot: States) -> Forward:
        """qddot, which mass matrices were floored (R, B), and a sweep for `backward`."""

    @staticmethod
    @abc.abstractmethod
    def backward(
        mlp: MLP, layers: Layers, qdot: States, qddot: States, cotangent: States, sweep: Any
    ) -> list[Pair]:
        """The streams of d<cotangent, qddot>/dtheta, layer by layer."""

    @staticmethod
    @abc.abstractmethod
    def pull(
        mlp: MLP, qdot: States, qddot: States, cotangent: States, sweep: Any, adjoint: Streams
    ) -> tuple[States, States]:
        """d<cotangent, qddot>/dq and /dqdot; `adjoint` is that of the network's input in the
        streams of `backward`."""

    @property
    def n_params(self) -> int:
        return self.mlp.n_params + (self.damping.count if self.damping else 0)

    @property
    def n_driven(self) -> int:
        return self.damping.n_inputs if self.damping else self.mlp.n_driven

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of what theta holds, one affine layer after the other; the parameters
        of forces are the bias of one without inputs."""
        return self.mlp.layer_sizes + ([(0, self.damping.count)] if self.damping else [])

    def initialise(self, seeds: Sequence[int], dtype: torch.dtype) -> Tensor:
        draw, sizes, beta = INITS[self.init], self.mlp.layer_sizes, self.mlp.beta
        own = [self.damping.start()] if self.damping else []
        return torch.stack([torch.cat([*draw(sizes, beta, seed), *own]) for seed in seeds]).to(
            dtype
        )

    def evaluate(self, theta: Theta, q: States, qdot: Rates) -> Forward:
        """`forward` with the forces, if there are any."""
        seen = seen_by(self.damping, self.coefficients(theta), q, qdot)
        return self.forward(self.mlp, self.mlp.layers(theta), q, *seen)

    def coefficients(self, theta: Theta) -> Float[Tensor, "R k"]:
        """The parameters of forces; none without."""
        return theta[:, self.mlp.n_params :]

    def learned_force(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Tensor:
        if self.damping is None:
            return super().learned_force(theta, q, qdot)
        return self.damping.force(self.coefficients(theta), q, qdot)

    def in_cpp(self, theta: Tensor) -> tuple[native.Network, Tensor] | None:
        known = "kind" in vars(type(self)) and self.mlp.activation in native.ACTIVATIONS
        known = known and not (self.damping and self.damping.varies)
        if not (self.native and known and theta.device.type == "cpu"):
            return None
        return cpp_network(self.kind, self.mlp, theta.dtype, self.damping), theta

    def acceleration(self, theta: Tensor, q: Tensor, qdot: Tensor) -> Tensor:
        if known := self.in_cpp(theta):
            return native.acceleration(*known, q, qdot)
        return self.evaluate(theta, q, qdot)[0]

    def jacobian(self, theta: Tensor, q: Tensor, qdot: Tensor) -> tuple[Tensor, Tensor]:
        if known := self.in_cpp(theta):
            return native.jacobian(*known, q, qdot)
        layers, P = self.mlp.layers(theta), self.mlp.n_params
        qddot, _, sweep = self.evaluate(theta, q, qdot)
        v = qdot[:, : self.mlp.n_dof] if self.damping else qdot
        R, D, B = qddot.shape
        J = qddot.new_empty(R, self.n_params, D, B)
        for i in range(D):
            along = torch.zeros_like(qddot)
            along[:, i] = 1
            pairs = self.backward(self.mlp, layers, v, qddot, along, sweep)
            fill_jacobian(pairs, J[:, :P, i])
            if self.damping:
                u = solved(sweep.inverse, along)
                J[:, P:, i] = self.damping.gradient(self.coefficients(theta), q, u, qdot)
        return qddot, J.permute(0, 3, 2, 1)

    def loss_and_gradient(self, theta, q, qdot, target, loss="squared", compiled=False):
        if known := self.in_cpp(theta):
            return native.loss_and_gradient(*known, q, qdot, target, loss)
        layers, f = self.mlp.layers(theta), self.coefficients(theta)
        fixed = type(self), self.damping, loss
        if not compiled:
            return _loss_and_gradient(*fixed, self.mlp, layers, f, q, qdot, target)
        # the width is no part of what is compiled, so one compilation serves all of them
        shape = dataclasses.replace(self.mlp, width=1)
        R, single = theta.shape[0], q.shape[-1] == 1
        function = _compiled(*fixed, shape, theta.dtype, str(theta.device), R, single)
        return function(layers, f, q, qdot, target)


def parts_of(batch: Float[Tensor, "R W B"], n_driven: int) -> tuple[Tensor, Tensor, Tensor]:
    """q, the rates and qddot, which stand below each other in a batch."""
    D = (batch.shape[1] - n_driven) // 3
    q, qdot, qddot = batch.split([D, D + n_driven, D], 1)
    return q, qdot, qddot


def error_and_cotangent(loss: str, residual: States) -> tuple[Float[Tensor, " R"], States]:
    """Mean `squared` or `absolute` residual of each network, and its derivative."""
    count = residual.shape[1] * residual.shape[2]
    if loss == "absolute":
        return residual.abs().mean((1, 2)), residual.sign() / count
    return (residual * residual).mean((1, 2)), residual * (2 / count)


def seen_by(
    damping: Damping | None, f: Float[Tensor, "R k"], q: States, qdot: Rates
) -> list[Tensor]:
    """What `forward` takes after q: qdot alone and the force, or all rates as they are."""
    return [qdot[:, : damping.n_dof], damping.force(f, q, qdot)] if damping else [qdot]


def solved(inverse: Float[Tensor, "R D D B"], vector: States) -> States:
    """u = M^-1 z of a symmetric mass matrix."""
    return (inverse * vector.unsqueeze(1)).sum(2)


def _loss_and_gradient(
    kind: type[NetworkModel],
    damping: Damping | None,
    loss: str,
    mlp: MLP,
    layers: Layers,
    f: Tensor,
    q: Tensor,
    qdot: Tensor,
    target: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    seen = seen_by(damping, f, q, qdot)
    qddot, floored, sweep = kind.forward(mlp, layers, q, *seen)
    value, cotangent = error_and_cotangent(loss, qddot - target)
    gradient = gradient_of(kind.backward(mlp, layers, seen[0], qddot, cotangent, sweep))
    if damping:
        own = damping.gradient(f, q, solved(sweep.inverse, cotangent), qdot)
        gradient = torch.cat([gradient, own.sum(2)], 1)
    return value, gradient, floored.to(q.dtype).mean(1)


@functools.cache
def _compiled(
    kind: type[NetworkModel],
    damping: Damping | None,
    loss: str,
    mlp: MLP,
    dtype: torch.dtype,
    device: str,
    R: int,
    single: bool,
) -> Callable:
    """`_loss_and_gradient` of R networks, compiled once for all widths and batches.

    Compiled code may depend on the sizes of its first call. So that a cell's bits do not depend on
    the cell before it, the first call always has the same sizes; only batches of one state
    (`single`) and the number of networks are specialised.

    **Raises:** what torch.compile raises if there is no compiler.
    """
    torch._dynamo.config.recompile_limit = 1024  # past it, torch would silently run eagerly
    own = functools.partial(_loss_and_gradient, kind, damping, loss, mlp)
    function = torch.compile(own, dynamic=True)
    typical = dataclasses.replace(mlp, width=24)
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype).to(device)

    layers = typical.layers(normal(R, typical.n_params))
    # Laid out as in training: other strides would be compiled anew, with the sizes of that call.
    # 113, because torch takes sizes that are equal here (a layer's offset in theta, say) as equal.
    m = damping.n_inputs if damping else mlp.n_driven
    batch = parts_of(normal(R, 3 * mlp.n_dof + m, 1 if single else 113), m)
    f = normal(R, damping.count if damping else 0)
    for tensor in (*itertools.chain.from_iterable(layers), f, *batch):
        torch._dynamo.mark_static(tensor, 0)
    function(layers, f, *batch)
    return function
