"""The models of `models/`, Adam and SOAP in C++, for one core: compiled once, called with tensors.

The tensors' code is the reference that all of it is tested against; it runs on every device but the
CPU, and if there is no compiler. The library's name holds a hash of the sources, the flags and the
processor, so that machines of several kinds can share a home folder, and one without a compiler can
use what another of its kind has compiled. All tensors are of one type, float32 or float64.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from study.core.files import cache_folder, replacing, sync

HERE = Path(__file__).parent
COMPILERS = ("g++", "clang++", "c++")
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi")
NATIVE = ("-march=native", "-mcpu=native")  # the one that the compiler knows
SECONDS = 300
MODELS = (
    "lnn",
    "structured_lnn",
    "acceleration_mlp",
    "structured_lagrangian",
)  # in the order of native.cpp
ACTIVATIONS = ("softplus", "tanh", "gelu", "silu", "sin")  # in the order of activations.hpp
SUFFIX = {torch.float32: "float", torch.float64: "double"}

States = Float[Tensor, "R D B"]
Rates = Float[Tensor, "R V B"]  # qdot, and inputs below it
Theta = Float[Tensor, "R P"]
Losses = Float[Tensor, " R"]
Alive = Bool[Tensor, " R"]


class BuildError(Exception):
    """There is no compiler, or it refused; the message is its own."""


@functools.cache
def library() -> ctypes.CDLL:
    """The library; compiled in some seconds if the cache has none for this kind of machine.

    **Raises:** `BuildError` if there is no compiler, or it refuses.
    """
    digest = hashlib.sha256("\0".join((os.environ.get("CXX", ""), *FLAGS, _processor())).encode())
    for source in sorted(HERE.glob("*pp")):
        digest.update(source.name.encode() + source.read_bytes())
    path = cache_folder() / "native" / f"{digest.hexdigest()[:16]}.so"
    if path.exists():
        with contextlib.suppress(OSError):  # torn, by a full disk or a loss of power
            return ctypes.CDLL(str(path))
    chosen = os.environ.get("CXX")
    commands = [shlex.split(chosen)] if chosen else [[name] for name in COMPILERS]
    compiler = next((command for command in commands if shutil.which(command[0])), None)
    if compiler is None:
        raise BuildError("there is no C++ compiler here: install one (g++ or clang)")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        target = ["-shared", "-fPIC", str(HERE / "native.cpp"), "-o", str(temporary)]
        _run([*compiler, *FLAGS, *_this_processor(compiler), *target])
        sync(temporary)
    return ctypes.CDLL(str(path))


@functools.cache
def trouble() -> str | None:
    """Why C++ cannot be used here, None if it can; compiles the library if there is none yet."""
    try:
        library()
    except (BuildError, OSError) as error:
        return str(error)
    return None


def _this_processor(compiler: list[str]) -> list[str]:
    """The flag for all instructions of this processor, if the compiler has one."""
    for flag in NATIVE:
        with contextlib.suppress(BuildError):
            _run([*compiler, flag, "-dM", "-E", "-x", "c++", os.devnull])
            return [flag]
    return []


def _processor() -> str:
    """What differs between processors that cannot run each other's instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return " ".join(platform.uname())  # this machine's alone
    kinds = ("model name", "flags", "Features", "isa", "cpu")
    chosen = {line for line in lines if line.partition("\t")[0].strip(" :") in kinds}
    return "\n".join([platform.machine(), *sorted(chosen)])


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command[0]} could not be run: {error}") from error
    if done.returncode:
        raise BuildError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")


def _fields(**names: str) -> list[tuple[str, type]]:
    """The fields of a C structure: names by their ctypes type, in order."""
    return [(name, getattr(ctypes, kind)) for kind, all_ in names.items() for name in all_.split()]


class Network(ctypes.Structure):
    """`Shape` of network.hpp: `model`, `activation` and `friction` are places in `MODELS`,
    `ACTIVATIONS` and `damping.FRICTION`; `angles` has the `bits` of coordinates that enter as (cos,
    sin).
    """

    _fields_ = _fields(
        c_int64="model n_dof width depth activation angles friction n_inputs",
        c_double="beta mass_prior floor",
    )


class _States(ctypes.Structure):
    _fields_ = _fields(c_int64="R B network row theta_row", c_void_p="theta q qdot target")


class Step(ctypes.Structure):
    """One step of Adam or SOAP; a correction is 1 - beta^t, and a clip of infinity is none."""

    _fields_ = _fields(c_double="rate beta1 beta2 correction1 correction2 epsilon clip")


SOAP_MEMORY = ("mean", "square", "left", "right", "left_basis", "right_basis")


class _Soap(ctypes.Structure):
    _fields_ = _fields(c_void_p=" ".join(("theta", *SOAP_MEMORY)))


class Course(ctypes.Structure):
    """How rollouts go: K trajectories, T times; which components are bounded is in `bits`."""

    _fields_ = _fields(c_int64="K T max_steps bounded", c_double="tolerance limit steepest")


def bits(flags: Sequence[bool]) -> int:
    """Flags in one number, the first in the lowest bit."""
    return sum(1 << i for i, flag in enumerate(flags) if flag)


@functools.cache
def _function(name: str, dtype: torch.dtype):
    function = getattr(library(), f"{name}_{SUFFIX[dtype]}")
    function.restype = None
    return function


def _call(
    name: str,
    network: Network,
    theta: Tensor,
    of: Sequence[Tensor],
    out: Sequence[Tensor],
    *options,
) -> None:
    """Let a function of native.cpp fill `out` from a network's states and targets."""
    if of[0].stride(-1) != 1 or any(x.stride() != of[0].stride() for x in of):
        of = list(torch.cat(list(of), 1).split([x.shape[1] for x in of], 1))
    if theta.stride(-1) != 1:
        theta = theta.contiguous()
    R, _, B = of[0].shape
    if len(of) > 1 and of[1].shape[1] != network.n_dof + network.n_inputs:
        raise ValueError(
            f"{of[1].shape[1]} rows of velocities and inputs: {network.n_dof} and "
            f"{network.n_inputs} are needed"
        )
    if len(theta) != R or any(x.dtype != theta.dtype for x in of):
        raise ValueError(
            f"{len(theta)} networks in {theta.dtype} and states of {R} in {of[0].dtype}: "
            "both must be the same"
        )
    stride, row, _ = of[0].stride()
    states = _States(R, B, stride, row, theta.stride(0), *(x.data_ptr() for x in (theta, *of)))
    function = _function(name, theta.dtype)
    function(ctypes.byref(network), ctypes.byref(states), *options, *_pointers(*out))


def _pointers(*tensors: Tensor) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(x.data_ptr()) for x in tensors]


def acceleration(network: Network, theta: Theta, q: States, qdot: Rates) -> States:
    """`Model.acceleration`, not differentiable."""
    out = torch.empty(q.shape, dtype=q.dtype)
    _call("accelerate", network, theta, (q, qdot), (out,))
    return out


def jacobian(
    network: Network, theta: Theta, q: States, qdot: Rates
) -> tuple[States, Float[Tensor, "R B D P"]]:
    """`Model.jacobian`: a view of an array (R, P, D, B)."""
    R, D, B = q.shape
    out = torch.empty(q.shape, dtype=q.dtype)
    J = torch.empty(R, theta.shape[1], D, B, dtype=q.dtype)
    _call("differentiate", network, theta, (q, qdot), (out, J))
    return out, J.permute(0, 3, 2, 1)


def loss_and_gradient(
    network: Network, theta: Theta, q: States, qdot: Rates, target: States, loss: str
) -> tuple[Losses, Theta, Losses]:
    """`Model.loss_and_gradient`."""
    value, floored = torch.empty(2, len(theta), dtype=q.dtype).unbind()
    gradient, absolute = torch.empty(theta.shape, dtype=q.dtype), ctypes.c_int(loss == "absolute")
    _call("descend", network, theta, (q, qdot, target), (value, gradient, floored), absolute)
    return value, gradient, floored


def segments_loss_and_gradient(
    network: Network,
    theta: Theta,
    segments: Float[Tensor, "R W B"],
    limit: float,
    straightened: bool,
) -> tuple[Losses, Theta, Losses]:
    """`loss_and_gradient` of segments.py."""
    value, floored = torch.empty(2, len(theta), dtype=theta.dtype).unbind()
    gradient, D = torch.empty(theta.shape, dtype=theta.dtype), network.n_dof
    k = (segments.shape[1] - 2 * D) // (1 + 2 * D)
    options = ctypes.c_int64(k), ctypes.c_double(limit), ctypes.c_int(straightened)
    _call("descend_segments", network, theta, (segments,), (value, gradient, floored), *options)
    return value, gradient, floored


def roll_out(
    network: Network,
    theta: Theta,
    start: Float[Tensor, "K two_D"],
    times: Float[Tensor, " T"],
    course: Course,
) -> tuple[Float[Tensor, "R K T two_D"], Int[Tensor, "R K"], Int[Tensor, "R K"]]:
    """States (float64), how many of `times` each trajectory reached, and the solver's steps.

    States at times that were not reached are zero. A state stays where it is once a component that
    is bounded passes the limit; accelerations end at the steepest.
    """
    theta, start, times = (x.contiguous() for x in (theta, start, times))
    R, (K, width), T = len(theta), start.shape, len(times)
    states = torch.zeros(R, K, T, width, dtype=torch.float64)
    reached, steps = torch.zeros(2, R, K, dtype=torch.int64).unbind()
    pointers = _pointers(theta, start, times, states, reached, steps)
    function = _function("roll_out", torch.float64)
    function(ctypes.byref(network), ctypes.byref(course), ctypes.c_int64(R), *pointers)
    return states, reached, steps


def adam(
    theta: Theta,
    mean: Theta,
    square: Theta,
    alive: Alive,
    loss: Losses,
    gradient: Theta,
    step: Step,
) -> None:
    """`adam` of adam.py: one step, in place."""
    sizes = (ctypes.c_int64(n) for n in theta.shape)
    pointers = _pointers(loss, gradient, theta, mean, square, alive)
    _function("adam", theta.dtype)(ctypes.byref(step), *sizes, *pointers)


def soap(
    sizes: Sequence[tuple[int, int]],
    theta: Theta,
    memory: dict[str, Tensor],
    loss: Losses,
    gradient: Theta,
    step: Step,
    turn: bool,
    shift: float,
) -> None:
    """`soap` of soap.py: one step, in place."""
    flat = [n for size in sizes for n in size]
    at = _Soap(theta.data_ptr(), *(memory[name].data_ptr() for name in SOAP_MEMORY))
    function = _function("soap", theta.dtype)
    counts = ctypes.c_int(turn), ctypes.c_double(shift), ctypes.c_int64(len(sizes))
    array = (ctypes.c_int64 * len(flat))(*flat)
    pointers = _pointers(loss, gradient)
    alive = _pointers(memory["alive"])
    function(ctypes.byref(step), *counts, array, ctypes.c_int64(len(theta)), *pointers, at, *alive)
