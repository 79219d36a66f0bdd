"""The schema of the config groups of `conf/`, a class each: types and ranges.

Knows: which keys a group has and what each may hold, what the core's registries offer. Does not
know: Hydra, grids, what makes a complete cell (`config.py`).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args, get_type_hints

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from study.config import own_system
from study.config.errors import ConfigError, altered, nearest
from study.config.measured import Reading
from study.core.data.derivatives import Method
from study.core.models import ACTIVATIONS, INITS, MODELS, UNUSED
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

    - `file`: one of the user's own, found by the hash of its file's content, `sha256`.
    - `unknown`: of which there are only measurements (`data=file`).
    """

    name: Name
    constants: dict[str, float]
    sha256: str | None = None

    @property
    def default(self) -> System:
        """The system with its usual constants. **Raises:** `ConfigError` if it was not loaded."""
        if self.name == "file":
            return own_system.system(str(self.sha256))
        return SYSTEMS[self.name]

    def __post_init__(self) -> None:
        if self.name == "unknown":
            if self.constants:
                raise ConfigError(
                    f"unknown key system.{next(iter(self.constants))}: system=unknown has no "
                    "constants"
                )
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
        with np.errstate(all="ignore"):
            try:
                scale = float(system.energy_scale(system.parameters))
            except (ArithmeticError, ValueError):
                scale = math.nan
            try:
                start = system.initial_conditions(np.random.default_rng(0), 8, system.parameters)
                moves = bool(np.isfinite(start).all() and np.isfinite(system.rhs(start)).all())
            except (ArithmeticError, ValueError, np.linalg.LinAlgError):
                moves = False
        if not 0 < scale < math.inf:
            raise ConfigError(
                f"{given} give {name} an energy scale of {scale:g} J: it should be positive"
            )
        if not moves:
            raise ConfigError(
                f"{given} leave {name} without a motion: starts or accelerations are no "
                f"numbers; the usual constants are {dict(known)}"
            )


@dataclass(frozen=True, config=STRICT)
class ColumnsConfig:
    """Which columns of a file are what.

    - `time` in seconds; `trajectory` tells trajectories apart, null if all is one.
    - `q`, `qdot`, `qddot`: one column a coordinate; `q` null for the system's own names, the
      others null where they are to be estimated.
    - `units`: of each coordinate, rad, deg, m, cm or mm; null for the system's own. Velocities
      and accelerations are in the same, per second and per second squared.
    """

    time: Name
    trajectory: Name | None
    q: tuple[Name, ...] | None
    qdot: tuple[Name, ...] | None
    qddot: tuple[Name, ...] | None
    units: tuple[Name, ...] | None


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """Which states are trained on.

    - `n_train`: points N; or `n_over_p`: N as a multiple of the parameters P. One fixes the
      other; 4096 points if neither is given.
    - `n_trajectories`: initial conditions in the pool (sampler `trajectories`).
    - `pool_size`: points in the pool, of which the first N of one shuffle train.
    - `noise`: standard deviation of label noise over that of the accelerations.
    - `order`: minibatches `shuffled`, or `sequential` along the curve.
    - `units`: `scaled` (one time, one length a coordinate) or `physical`.

    With `sampler=file` they were measured, and the file says how many there are:

    - `sha256`: of its content; `columns`: what is where in it.
    - `estimate`: how velocities and accelerations that it lacks are estimated, local polynomials
      over `window` points (`savgol`) or a `spline` that need not follow noise of the standard
      deviation `smoothing` in the positions.
    - `held_out`: share of the trajectories that is tested on.
    """

    sampler: Literal["trajectories", "uniform", "file"]
    n_train: Count | None
    n_over_p: Positive | None
    n_trajectories: Count
    pool_size: Count
    noise: NonNegative
    order: Literal["shuffled", "sequential"]
    units: Literal["scaled", "physical"]
    sha256: str | None = None
    columns: ColumnsConfig | None = None
    estimate: Literal["savgol", "spline"] = "savgol"
    window: Count = 11
    smoothing: NonNegative = 0.0
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.2

    def __post_init__(self) -> None:
        if self.n_train is not None and self.n_over_p is not None:
            raise ConfigError(
                f"data.n_train={self.n_train} and data.n_over_p={self.n_over_p}: "
                "give one of them, the other follows"
            )

    @property
    def reading(self) -> Reading | None:
        """What is read from a file, and how; None for data that are made."""
        if self.sampler != "file" or self.columns is None or self.sha256 is None:
            return None
        columns, method = self.columns, Method(self.estimate, self.window, self.smoothing)
        return Reading(
            self.sha256,
            columns.time,
            columns.trajectory,
            columns.q,
            columns.qdot,
            columns.qddot,
            columns.units,
            method,
            self.held_out,
        )

    def normal(self) -> DataConfig:
        """The same with settings that nothing is estimated by at one value, so that cells agree."""
        reading = self.reading
        unused: dict[str, Any] = {}
        if reading is None or not reading.estimated or self.estimate == "spline":
            unused["window"] = 11
        if reading is None or not reading.estimated or self.estimate == "savgol":
            unused["smoothing"] = 0.0
        if reading is None or not reading.estimated:
            unused["estimate"] = "savgol"
        if reading is None:
            unused |= {"sha256": None, "columns": None, "held_out": 0.2}
        return altered(self, **unused)


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """A model by name; `depth` counts hidden layers, `width` their units or the features."""

    name: Name
    width: Count
    depth: Count
    activation: Name
    beta: Positive
    encoding: Literal["raw", "trig"]
    mass_prior: NonNegative
    init: Name

    def __post_init__(self) -> None:
        if self.name not in MODELS:
            raise ConfigError(f"unknown model {self.name}: {nearest(self.name, MODELS)}")
        if self.activation == "relu":
            raise ConfigError(
                "model.activation=relu cannot learn a Lagrangian: its second derivative is zero, "
                f"so the mass matrix is too; use one of {', '.join(sorted(ACTIVATIONS))}"
            )
        if self.activation not in ACTIVATIONS:
            raise ConfigError(
                f"unknown activation {self.activation}: {nearest(self.activation, ACTIVATIONS)}"
            )
        if self.init not in INITS:
            raise ConfigError(f"unknown init {self.init}: {nearest(self.init, INITS)}")

    def normal(self) -> ModelConfig:
        """The same with settings that the model does not use at one value, so that cells agree."""
        return altered(self, **UNUSED.get(self.name, {}))


@dataclass(frozen=True, config=STRICT)
class OptimizerConfig:
    """Adam, a second-order method, or one after the other.

    - Adam's: `steps`, `batch_size`, `lr` at the start of the `schedule`, `clip` the gradient norm
      of each replicate, `loss` mean `squared` or `absolute` error.
    - `iterations` of Levenberg-Marquardt or L-BFGS at most, on all points, squared error, float64.

    What a method does not use is not checked, and no part of a cell's name.
    """

    name: Literal["adam", "levenberg_marquardt", "adam_lm", "adam_lbfgs", "least_squares"]
    steps: Index
    batch_size: Index
    lr: NonNegative
    schedule: Literal["cosine", "constant"]
    clip: Positive | None
    loss: Literal["squared", "absolute"]
    iterations: Index

    @property
    def adam(self) -> bool:
        """Whether it begins with Adam."""
        return self.name.startswith("adam")

    @property
    def iterates(self) -> bool:
        """Whether it ends with iterations on all points."""
        return self.name not in ("adam", "least_squares")

    def __post_init__(self) -> None:
        needed = ["steps", "batch_size", "lr"] if self.adam else []
        if self.iterates:
            needed.append("iterations")
        for key in needed:
            if not getattr(self, key):
                raise ConfigError(
                    f"optimizer.{key}={getattr(self, key)} is not allowed: "
                    f"{self.name} needs more than 0"
                )

    def normal(self) -> OptimizerConfig:
        """The same with settings that it does not use at their zero, so that cells agree."""
        unused: dict[str, Any] = {}
        if not self.adam:
            unused = {"steps": 0, "batch_size": 0, "lr": 0.0, "clip": None}
            unused |= {"schedule": "constant", "loss": "squared"}
        if not self.iterates:
            unused["iterations"] = 0
        return altered(self, **unused)


@dataclass(frozen=True, config=STRICT)
class RolloutConfig:
    """Integration of the learned dynamics; `horizon` in seconds, null for the system's own."""

    horizon: Positive | None
    n_trajectories: Count
    n_times: Annotated[int, Field(ge=2)]
    rtol: Annotated[float, Field(gt=0, le=1e-2)]
    max_steps: Count


@dataclass(frozen=True, config=STRICT)
class DiagnosticsConfig:
    """What is measured of a trained model beside its errors.

    - `error_budget`: rollouts of the controls that say what makes trajectories wrong.
    - `identifiability`: the spectrum of d(qddot)/d(theta), at initialisation and when trained.
    """

    error_budget: bool
    identifiability: bool


FROM_FILE = ("sha256", "columns", "estimate", "window", "smoothing", "held_out")  # of `data`

GROUPS: dict[str, type] = {
    "system": SystemConfig,
    "data": DataConfig,
    "model": ModelConfig,
    "optimizer": OptimizerConfig,
    "rollout": RolloutConfig,
    "diagnostics": DiagnosticsConfig,
}


def takes_whole_numbers(key: str) -> bool:
    """Whether a dotted config key is declared to hold whole numbers alone."""
    return key == "seed" or _kinds(key) == {int}


def takes_numbers(key: str) -> bool:
    """Whether a dotted config key may hold a number; a system's constants do."""
    kinds = _kinds(key)
    return not kinds or bool(kinds & {int, float})


def _kinds(key: str) -> set[Any]:
    """The types a key is declared with; none where it is not declared."""
    group, _, field = key.partition(".")
    hint = get_type_hints(GROUPS[group]).get(field) if group in GROUPS else None
    return set(get_args(hint) or (hint,)) - {type(None), None}
