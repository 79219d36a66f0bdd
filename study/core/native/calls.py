"""Tensors to the C++ library and back.

Knows: what `native.cpp` takes. Does not know: how the library comes to be. All tensors are on the
CPU, of one type, float32 or float64.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from study.core.models.mlp import MLP
from study.core.models.mlp_acceleration import FLOOR
from study.core.native.build import library

MODELS = ("lnn", "structured_lnn", "acceleration_mlp")  # in the order of native.cpp
ACTIVATIONS = ("softplus", "tanh", "gelu", "silu", "sin")  # in the order of activations.hpp
SIZES = ("model", "n_dof", "width", "depth", "activation", "angles")
SUFFIX = {torch.float32: "float", torch.float64: "double"}


class _Shape(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in SIZES),
        *((name, ctypes.c_double) for name in ("beta", "mass_prior", "floor")),
    )


class _States(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("R", "B", "network", "row", "theta_row")),
        *((name, ctypes.c_void_p) for name in ("theta", "q", "qdot", "target")),
    )


class _Step(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_double)
        for name in ("rate", "beta1", "beta2", "correction1", "correction2", "epsilon", "clip")
    )


class _Course(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("K", "T", "max_steps", "bounded")),
        *((name, ctypes.c_double) for name in ("tolerance", "limit", "steepest")),
    )


@functools.lru_cache(maxsize=64)
def _shape(model: str, mlp: MLP, dtype: torch.dtype) -> _Shape:
    encoded = [angle and mlp.encoding == "trig" for angle in mlp.angles]
    angles = sum(1 << i for i, angle in enumerate(encoded) if angle)
    kinds = MODELS.index(model), ACTIVATIONS.index(mlp.activation)
    sizes = (kinds[0], mlp.n_dof, mlp.width, mlp.depth, kinds[1], angles)
    return _Shape(*sizes, mlp.beta, mlp.mass_prior, FLOOR[dtype])


@functools.cache
def _function(name: str, dtype: torch.dtype):
    function = getattr(library(), f"{name}_{SUFFIX[dtype]}")
    function.restype = None
    return function


def _states(theta: Tensor, *of: Tensor) -> tuple[_States, list[Tensor]]:
    """The states as C++ sees them, and what has to live as long."""
    if of[0].stride(-1) != 1 or any(x.stride() != of[0].stride() for x in of):
        of = tuple(x.contiguous() for x in of)
    if theta.stride(-1) != 1:
        theta = theta.contiguous()
    R, _, B = of[0].shape
    if len(theta) != R or any(x.dtype != theta.dtype for x in of):
        raise ValueError(
            f"{len(theta)} networks in {theta.dtype} and states of {R} in {of[0].dtype}: "
            "both must be the same"
        )
    network, row, _ = of[0].stride()
    pointers = [x.data_ptr() for x in (theta, *of)]
    return _States(R, B, network, row, theta.stride(0), *pointers), [theta, *of]


def _pointers(*tensors: Tensor) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(x.data_ptr()) for x in tensors]


def acceleration(
    model: str,
    mlp: MLP,
    theta: Float[Tensor, "R P"],
    q: Float[Tensor, "R D B"],
    qdot: Float[Tensor, "R D B"],
) -> Float[Tensor, "R D B"]:
    """`Model.acceleration` of one of `MODELS`, not differentiable."""
    states, _alive = _states(theta, q, qdot)
    out = torch.empty(q.shape, dtype=q.dtype)
    _function("accelerate", q.dtype)(
        ctypes.byref(_shape(model, mlp, q.dtype)), ctypes.byref(states), *_pointers(out)
    )
    return out


def jacobian(
    model: str,
    mlp: MLP,
    theta: Float[Tensor, "R P"],
    q: Float[Tensor, "R D B"],
    qdot: Float[Tensor, "R D B"],
) -> tuple[Float[Tensor, "R D B"], Float[Tensor, "R B D P"]]:
    """Accelerations, and their derivatives in theta: a view of an array (R, P, D, B)."""
    states, _alive = _states(theta, q, qdot)
    R, D, B = q.shape
    out = torch.empty(q.shape, dtype=q.dtype)
    J = torch.empty(R, mlp.n_params, D, B, dtype=q.dtype)
    _function("differentiate", q.dtype)(
        ctypes.byref(_shape(model, mlp, q.dtype)), ctypes.byref(states), *_pointers(out, J)
    )
    return out, J.permute(0, 3, 2, 1)


def loss_and_gradient(
    model: str,
    mlp: MLP,
    theta: Float[Tensor, "R P"],
    q: Float[Tensor, "R D B"],
    qdot: Float[Tensor, "R D B"],
    target: Float[Tensor, "R D B"],
    loss: str,
) -> tuple[Float[Tensor, " R"], Float[Tensor, "R P"], Float[Tensor, " R"]]:
    """Mean error, its gradient, and the share of floored mass matrices of each network."""
    states, _alive = _states(theta, q, qdot, target)
    R = len(theta)
    value, floored = torch.empty(2, R, dtype=q.dtype).unbind()
    gradient = torch.empty(R, mlp.n_params, dtype=q.dtype)
    _function("descend", q.dtype)(
        ctypes.byref(_shape(model, mlp, q.dtype)),
        ctypes.byref(states),
        ctypes.c_int(loss == "absolute"),
        *_pointers(value, gradient, floored),
    )
    return value, gradient, floored


def roll_out(
    model: str,
    mlp: MLP,
    theta: Float[Tensor, "R P"],
    start: Float[Tensor, "K two_D"],
    times: Float[Tensor, " T"],
    bounded: Sequence[bool],
    *,
    tolerance: float,
    max_steps: int,
    limit: float,
    steepest: float,
) -> tuple[Float[Tensor, "R K T two_D"], Int[Tensor, "R K"], Int[Tensor, "R K"]]:
    """States at the first so many of `times`, how many, and the solver's steps; float64.

    `bounded`: components beyond whose `limit` a state is held; accelerations end at `steepest`.
    """
    theta, start, times = (x.contiguous() for x in (theta, start, times))
    R, (K, width), T = len(theta), start.shape, len(times)
    states = torch.zeros(R, K, T, width, dtype=torch.float64)
    reached, steps = torch.zeros(2, R, K, dtype=torch.int64).unbind()
    held = sum(1 << i for i, is_held in enumerate(bounded) if is_held)
    _function("roll_out", torch.float64)(
        ctypes.byref(_shape(model, mlp, torch.float64)),
        ctypes.byref(_Course(K, T, max_steps, held, tolerance, limit, steepest)),
        ctypes.c_int64(R),
        *_pointers(theta, start, times, states, reached, steps),
    )
    return states, reached, steps


def adam(
    theta: Float[Tensor, "R P"],
    mean: Float[Tensor, "R P"],
    square: Float[Tensor, "R P"],
    alive: Bool[Tensor, " R"],
    loss: Float[Tensor, " R"],
    gradient: Float[Tensor, "R P"],
    *,
    rate: float,
    betas: tuple[float, float],
    corrections: tuple[float, float],
    epsilon: float,
    clip: float | None,
) -> None:
    """One step, in place: theta, its two moments, and who is alive after it."""
    step = _Step(rate, *betas, *corrections, epsilon, math.inf if clip is None else clip)
    R, P = theta.shape
    _function("adam", theta.dtype)(
        ctypes.byref(step),
        ctypes.c_int64(R),
        ctypes.c_int64(P),
        *_pointers(loss, gradient, theta, mean, square, alive),
    )
