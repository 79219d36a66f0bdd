"""The schema of what a user may say, a class for each group of keys: types, ranges, meanings.

The text beside a type is what `--help` says of the key.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_type_hints

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from study.config import own_system
from study.config.errors import ConfigError, altered, nearest
from study.config.physical_units import TIMES
from study.core.data.derivatives import SHORTEST_WINDOW, Method
from study.core.systems import SYSTEMS, System

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class SystemConfig:
    """A mechanical system by name, with its constants (`system.g=9.8`).

    `file` is one of the user's own, found by the hash of its file's content; of `unknown` there are
    only measurements.
    """

    name: Name
    constants: dict[str, float]
    sha256: str | None = None

    @property
    def default(self) -> System:
        """The system with its usual constants. **Raises:** `ConfigError` if it was not loaded."""
        own = self.name == "file"
        return own_system.system(str(self.sha256)) if own else SYSTEMS[self.name]

    def __post_init__(self) -> None:
        if self.name == "unknown":
            for key in self.constants:
                raise ConfigError(f"unknown key system.{key}: system=unknown has no constants")
            return
        if self.name not in SYSTEMS and self.name != "file":
            raise ConfigError(
                f"unknown system {self.name}: {nearest(self.name, (*SYSTEMS, 'file', 'unknown'))}"
            )
        known = self.default.constants
        for key in self.constants:
            if key not in known:
                raise ConfigError(f"unknown key system.{key}: {nearest(key, known)}")
        system = self.default.with_constants(**self.constants)
        name, changed = system.name, {k: v for k, v in self.constants.items() if v != known[k]}
        if self.name in SYSTEMS and not changed:
            return  # it moves; to see that it does takes the second in which sympy is loaded
        given = ", ".join(f"system.{k}={v}" for k, v in changed.items()) or "its constants"
        scale, moves, bad = math.nan, False, (ArithmeticError, ValueError)
        with np.errstate(all="ignore"), contextlib.suppress(*bad):
            scale = float(system.energy_scale(system.parameters))
        if not 0 < scale < math.inf:
            raise ConfigError(
                f"{given} give {name} an energy scale of {scale:g} J: it should be positive"
            )
        with np.errstate(all="ignore"), contextlib.suppress(*bad, np.linalg.LinAlgError):
            start = system.initial_conditions(np.random.default_rng(0), 8, system.parameters)
            moves = bool(np.isfinite(start).all() and np.isfinite(system.rhs(start)).all())
        if not moves:
            raise ConfigError(
                f"{given} leave {name} without a motion: starts or accelerations are no "
                f"numbers; the usual constants are {dict(known)}"
            )


@dataclass(frozen=True, config=STRICT)
class ColumnsConfig:
    """Which columns of a file are what. Rates are in the coordinates' units, by second."""

    time: Annotated[Name, "in time_unit"]
    trajectory: Annotated[Name | None, "tells trajectories apart; null: all rows are one"]
    q: Annotated[
        tuple[Name, ...] | None, "a column a coordinate; null: those that coordinates are named"
    ]
    qdot: Annotated[tuple[Name, ...] | None, "velocities; null: estimated from q"]
    qddot: Annotated[tuple[Name, ...] | None, "accelerations; null: estimated"]
    units: Annotated[
        tuple[Name, ...] | None,
        "of each coordinate: rad, deg, mrad, turn, m, cm, mm, um, km; null: the system's own",
    ]
    time_unit: Annotated[Name | None, "s, ms, us, ns, min, h, d; null: s"] = None
    inputs: Annotated[
        tuple[Name, ...] | None,
        "recorded forces (N, N m, V): models learn what they do; null: none",
    ] = None

    def __post_init__(self) -> None:
        if self.time_unit is not None and self.time_unit not in TIMES:
            raise ConfigError(
                f"data.columns.time_unit={self.time_unit} is not known: "
                f"{nearest(self.time_unit, TIMES)}"
            )


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """Which states are trained on; those after `units` say how a file is read."""

    sampler: Literal["trajectories", "uniform", "file"]
    n_train: Annotated[
        Count | Literal["all"] | None,
        "N; all: each point there is; null without n_over_p: 4096, or all that was measured",
    ]
    n_over_p: Annotated[Positive | None, "N as a multiple of the parameters P"]
    n_trajectories: Annotated[Count, "initial conditions in the pool"]
    pool_size: Annotated[Count, "points in the pool, of which the first N of one shuffle train"]
    noise: Annotated[
        NonNegative, "standard deviation of label noise over that of the accelerations"
    ]
    order: Annotated[
        Literal["shuffled", "sequential"], "minibatches shuffled, or sequential along the curve"
    ]
    units: Annotated[
        Literal["scaled", "physical"], "scaled: one time, one length a coordinate; or physical"
    ]
    position_noise: Annotated[
        NonNegative,
        "standard deviation of the noise of sampled positions, rad or m; velocities and "
        "accelerations are then estimated from them",
    ] = 0.0
    sampling_rate: Annotated[
        Positive | None, "samples a second of each trajectory, in place of pool_size"
    ] = None
    sha256: str | None = None
    columns: ColumnsConfig | None = None
    estimate: Annotated[
        Literal["savgol", "spline"], "local polynomials of degree 4, or spline (quintic)"
    ] = "savgol"
    window: Annotated[
        Count | Literal["auto"],
        "savgol: points, odd; auto: as many as suit the estimated noise (Mallows' C_p)",
    ] = 11
    smoothing: Annotated[
        NonNegative, "spline: standard deviation of the noise in q, which it need not follow"
    ] = 0.0
    held_out: Annotated[
        float,
        Field(gt=0, lt=1),
        "share of the trajectories that is tested on; of the time, if there is one",
    ] = 0.2

    def __post_init__(self) -> None:
        if self.n_train is not None and self.n_over_p is not None:
            raise ConfigError(
                f"data.n_train={self.n_train} and data.n_over_p={self.n_over_p}: "
                "give one of them, the other follows"
            )
        for key in ("position_noise", "sampling_rate"):
            if (value := getattr(self, key)) and self.sampler != "trajectories":
                raise ConfigError(
                    f"data.{key}={value:g} is of trajectories that are made, and data.sampler="
                    f"{self.sampler} makes none: use data=trajectories"
                )
        even = self.window != "auto" and (self.window < SHORTEST_WINDOW or self.window % 2 == 0)
        if self.position_noise and self.estimate == "savgol" and even:
            raise ConfigError(
                f"data.window={self.window} is not allowed: it should be odd and at least "
                f"{SHORTEST_WINDOW} points"
            )

    @property
    def method(self) -> Method:
        """How derivatives are estimated; of a cell, whose window is a number."""
        window = SHORTEST_WINDOW if self.window == "auto" else self.window
        return Method(self.estimate, window, self.smoothing)

    def normal(self) -> DataConfig:
        """Set keys that are not used to their defaults, so that equal cells hash equally."""
        columns = self.columns if self.sampler == "file" else None
        estimated = self.position_noise > 0 or (
            columns is not None and None in (columns.qdot, columns.qddot)
        )
        unused: dict[str, Any] = {} if estimated else {"estimate": "savgol"}
        if not estimated or self.estimate == "spline":
            unused["window"] = 11
        if not estimated or self.estimate == "savgol":
            unused["smoothing"] = 0.0
        if columns is None:
            unused |= {"sha256": None, "columns": None, "held_out": 0.2}
        return altered(self, **unused)


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """A model by name."""

    name: Name
    width: Annotated[
        Count | Literal["auto"], "units of a hidden layer, or features; linear_lagrangian: or auto"
    ]
    depth: Annotated[Count, "hidden layers"]
    activation: Annotated[Name, "softplus, tanh, gelu, silu, sin"]
    beta: Annotated[Positive, "sigma(beta x) / beta; of random features: their inverse length"]
    encoding: Annotated[
        Literal["raw", "trig"], "cos and sin of the coordinates that are angles; or raw"
    ]
    mass_prior: Annotated[NonNegative, "mass that is added to the learned one, in scaled units"]
    init: Annotated[
        Name,
        "N(0, 1/fan_in), zero bias; or torch_default, cranmer, or beta_matched: that of beta 1, "
        "whatever beta is",
    ]
    features: Annotated[
        Literal["structured", "random", "library"],
        "of linear_lagrangian: of q, for mass matrix and potential; random, of (q, qdot); or "
        "library: the terms that an own system states",
    ] = "structured"
    scale: Annotated[
        Positive | Literal["auto"],
        "of linear_lagrangian: inverse length of its features; auto: by held-out points",
    ] = "auto"
    friction: Annotated[
        Literal["none", "diagonal", "matrix", "varying"],
        "learned beside the Lagrangian, -C times the velocities; C diagonal, or any matrix that is "
        "never negative; varying: such a matrix that depends on q, of networks",
    ] = "none"

    def __post_init__(self) -> None:
        from study.core.models import ACTIVATIONS, INITS, MODELS  # and torch, which help spares

        if self.width == "auto" and self.name != "linear_lagrangian":
            raise ConfigError(
                f"model.width=auto is for model=linear_lagrangian: give {self.name} a number"
            )
        if self.activation == "relu" and self.name in MODELS:
            raise ConfigError(
                "model.activation=relu cannot learn a Lagrangian: its second derivative is zero, "
                f"so the mass matrix is too; use one of {', '.join(sorted(ACTIVATIONS))}"
            )
        for what, value, known in (
            ("model", self.name, MODELS),
            ("activation", self.activation, ACTIVATIONS),
            ("init", self.init, INITS),
        ):
            if value not in known:
                raise ConfigError(f"unknown {what} {value}: {nearest(value, known)}")

    def normal(self) -> ModelConfig:
        """Set keys that the model does not use to one value, so that equal cells hash equally."""
        from study.core.models import UNUSED

        unused = UNUSED.get(self.name, {})
        if self.name != "linear_lagrangian":
            unused = unused | {"features": "structured", "scale": "auto"}
        elif self.features == "library":  # the terms alone are L
            unused = unused | {"width": 1, "scale": 1.0, "encoding": "raw", "mass_prior": 0.0}
        return altered(self, **unused)


# Of each optimizer: what steps on minibatches, then what iterates on all points
METHODS: dict[str, tuple[str | None, str | None]] = {
    "adam": ("adam", None),
    "soap": ("soap", None),
    "levenberg_marquardt": (None, "levenberg_marquardt"),
    "adam_lm": ("adam", "levenberg_marquardt"),
    "soap_lm": ("soap", "levenberg_marquardt"),
    "adam_lbfgs": ("adam", "lbfgs"),
    "least_squares": (None, None),  # solves
}


@dataclass(frozen=True, config=STRICT)
class OptimizerConfig:
    """A minibatch method (Adam, SOAP), a second-order one, or one after the other.

    Keys that a method does not use are not checked, and have no part in a cell's name.
    """

    name: Literal[
        "adam",
        "soap",
        "levenberg_marquardt",
        "adam_lm",
        "soap_lm",
        "adam_lbfgs",
        "least_squares",
    ]
    steps: Annotated[Index, "of Adam or SOAP"]
    batch_size: Annotated[Index, "of Adam or SOAP"]
    lr: Annotated[NonNegative, "of Adam or SOAP, at the start of its schedule"]
    schedule: Annotated[
        Literal["cosine", "linear", "constant"], "cosine or linear: to zero over the steps"
    ]
    clip: Annotated[Positive | None, "norm of each replicate's gradient; null for none"]
    loss: Annotated[
        Literal["squared", "absolute", "rollout", "weak"],
        "of Adam or SOAP: mean squared error of accelerations; or absolute; or rollout: the "
        "squared deviation of the learned motion from the samples that follow a point. Of "
        "least_squares: squared, or weak: the weak form, from positions alone",
    ]
    iterations: Annotated[
        Index,
        "of Levenberg-Marquardt or L-BFGS at most, on all points, squared error, float64",
    ]
    seconds: Annotated[
        Positive | None,
        "of processor time, after which Levenberg-Marquardt ends a replicate; null: no limit",
    ] = None
    validation: Annotated[
        float,
        Field(ge=0, lt=1),
        "share of the training points that no step sees; the parameters with the least error on "
        "them are kept (early stopping); 0: those of the last step",
    ] = 0.0
    rollout_steps: Annotated[
        Count, "of loss=rollout: samples that the learned motion is followed over"
    ] = 20
    rollout_stride: Annotated[Count, "of loss=rollout: each so many-th sample is one of them"] = 1
    warm_steps: Annotated[
        Index, "of loss=rollout: steps on estimated accelerations before, with a schedule of theirs"
    ] = 0
    ridge: Annotated[
        NonNegative | Literal["auto"],
        "of least squares, over the largest squared singular value; auto: by held-out points",
    ] = 0.0

    @property
    def first(self) -> str | None:
        """The method of steps on minibatches that training begins with; None without one."""
        return METHODS[self.name][0]

    @property
    def second(self) -> str | None:
        """The method of iterations on all points that training ends with; None without one."""
        return METHODS[self.name][1]

    def __post_init__(self) -> None:
        used = {"steps": self.first, "batch_size": self.first, "lr": self.first}
        for key in [key for key, by in (used | {"iterations": self.second}).items() if by]:
            if not (value := getattr(self, key)):
                raise ConfigError(
                    f"optimizer.{key}={value} is not allowed: {self.name} needs more than 0"
                )
        if self.loss == "rollout" and self.name not in ("adam", "soap"):
            raise ConfigError(
                f"optimizer.loss=rollout is for steps on minibatches alone, and {self.name} fits "
                "accelerations: use optimizer=adam or soap"
            )
        if self.loss == "weak" and self.name != "least_squares":
            raise ConfigError(
                "optimizer.loss=weak is a linear problem: use optimizer=least_squares with "
                f"model=linear_lagrangian, or for {self.name} optimizer.loss=rollout"
            )

    @property
    def weak(self) -> bool:
        """Whether the weak form is fitted, which chooses all else by itself."""
        return self.loss == "weak"

    @property
    def followed(self) -> int:
        """Samples after each training point that the loss needs."""
        return self.rollout_steps * self.rollout_stride if self.loss == "rollout" else 0

    def normal(self) -> OptimizerConfig:
        """Set keys that the method does not use to zero, so that equal cells hash equally."""
        unused: dict[str, Any] = {} if self.second else {"iterations": 0}
        if not self.first:
            unused |= {"steps": 0, "batch_size": 0, "lr": 0.0, "clip": None}
            unused["schedule"] = "constant"
            if self.name != "least_squares" or not self.weak:
                unused["loss"] = "squared"
        if self.name == "least_squares":
            unused["validation"] = 0.0  # ridge=auto holds out points of its own
            if self.weak:
                unused["ridge"] = "auto"
        else:
            unused["ridge"] = 0.0
        if self.second != "levenberg_marquardt":
            unused["seconds"] = None
        if not self.followed:
            unused |= {"rollout_steps": 20, "rollout_stride": 1, "warm_steps": 0}
        return altered(self, **unused)


@dataclass(frozen=True, config=STRICT)
class RolloutConfig:
    """Integration of the learned dynamics."""

    horizon: Annotated[Positive | None, "seconds; null for the system's own"]
    n_trajectories: Annotated[Count, "held out"]
    n_times: Annotated[int, Field(ge=2), "points in time at which they are compared"]
    rtol: Annotated[float, Field(gt=0, le=1e-2), "of the adaptive steps"]
    max_steps: Annotated[Count, "of one trajectory, which has diverged after them"]


@dataclass(frozen=True, config=STRICT)
class DiagnosticsConfig:
    """What is measured of a trained model beside its errors."""

    error_budget: Annotated[bool, "controls that say what makes trajectories wrong"]
    identifiability: Annotated[
        bool, "the spectrum of d(qddot)/d(theta), at initialisation and when trained"
    ]


# of `data`: what only a file has, and how derivatives are estimated that were not measured
FROM_FILE = ("sha256", "columns", "held_out")
ESTIMATES = ("estimate", "window", "smoothing")
TOP = ("seed", "inits_per_data", "precision", "device", "block_size")  # keys above the groups
GROUPS: dict[str, type] = {
    "system": SystemConfig,
    "data": DataConfig,
    "model": ModelConfig,
    "optimizer": OptimizerConfig,
    "rollout": RolloutConfig,
    "diagnostics": DiagnosticsConfig,
}


def meanings(kind: Any, prefix: str = "") -> dict[str, str]:
    """What the schema says of each key of a class, under its dotted name."""
    return {
        f"{prefix}{field}": text
        for field, hint in get_type_hints(kind, include_extras=True).items()
        for text in getattr(hint, "__metadata__", ())
        if isinstance(text, str)
    }


def mapping(key: str, value: Any) -> dict[str, Any]:
    """The keys of a group. **Raises:** `ConfigError` for anything else."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}={value!r} is a config group: use one of its names, or its keys")
    return dict(value)


def takes_whole_numbers(key: str) -> bool:
    """Whether the numbers that a dotted config key may hold are whole ones."""
    return key == "seed" or (int in _types(key) and float not in _types(key))


def takes_numbers(key: str) -> bool:
    """Whether a dotted config key may hold a number; a system's constants do."""
    return not (types := _types(key)) or bool(types & {int, float})


@functools.cache
def bounds(key: str) -> tuple[float, float]:
    """The least and the largest number that a dotted config key may hold; infinite without."""
    group, _, field = key.partition(".")
    properties = TypeAdapter(GROUPS[group]).json_schema()["properties"] if group in GROUPS else {}
    known = properties.get(field, {})
    kinds = [known, *known.get("anyOf", ())]  # a number, or null
    low = [kind[name] for kind in kinds for name in ("minimum", "exclusiveMinimum") if name in kind]
    high = [
        kind[name] for kind in kinds for name in ("maximum", "exclusiveMaximum") if name in kind
    ]
    return max(low, default=-math.inf), min(high, default=math.inf)


def _types(key: str) -> set[Any]:
    """The types that a key is declared with; none for one that is not."""
    group, _, field = key.partition(".")
    hint = get_type_hints(GROUPS[group]).get(field) if group in GROUPS else None
    return set(get_args(hint) or (hint,)) - {type(None), None}
