"""The schema of `conf/`: types and ranges.

Knows: which keys there are, what each may hold, how a cell is named, what the core's registries
offer. Does not know: Hydra, grids, folders. `Cell` is one point of a design, complete and checked;
`Run` is what surrounds the cells and cannot change their numbers.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from study.core.models import ACTIVATIONS, INITS, MODELS, UNUSED, make_model, n_parameters
from study.core.systems import SYSTEMS, System
from study.validation import ConfigError, build, nearest

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

DEFAULT_N_TRAIN = 4096  # where neither data.n_train nor data.n_over_p is given

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class SystemConfig:
    """A mechanical system by name, with its constants (`system.g=9.8`)."""

    name: Name
    constants: dict[str, float]

    def __post_init__(self) -> None:
        if self.name not in SYSTEMS:
            raise ConfigError(f"unknown system {self.name}: {nearest(self.name, SYSTEMS)}")
        known = SYSTEMS[self.name].constants
        for key in self.constants:
            if key not in known:
                raise ConfigError(f"unknown key system.{key}: {nearest(key, known)}")
        system = SYSTEMS[self.name].with_constants(**self.constants)
        scale = system.energy_scale(system.parameters)
        if not 0 < scale < math.inf:
            given = ", ".join(f"system.{key}={value}" for key, value in self.constants.items())
            raise ConfigError(
                f"{given} give {self.name} an energy scale of {scale:g} J: it should be positive"
            )


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
    """

    sampler: Literal["trajectories", "uniform"]
    n_train: Count | None
    n_over_p: Positive | None
    n_trajectories: Count
    pool_size: Count
    noise: NonNegative
    order: Literal["shuffled", "sequential"]
    units: Literal["scaled", "physical"]


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
        return dataclasses.replace(self, **UNUSED.get(self.name, {}))


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
        return dataclasses.replace(self, **unused)


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


@dataclass(frozen=True, config=STRICT)
class Cell:
    """One point of the design: every setting that can change its numbers, and no other.

    `compile` and `block_size` change the bits and so belong here; the number of replicates
    does not.
    """

    system: SystemConfig
    data: DataConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    rollout: RolloutConfig
    diagnostics: DiagnosticsConfig
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    inits_per_data: Count | None
    precision: Literal["float32", "float64"]
    device: Literal["cpu", "cuda"]
    compile: bool
    block_size: Count

    def __post_init__(self) -> None:
        data = self.data
        if data.n_train is not None and data.n_over_p is not None:
            raise ConfigError(
                f"data.n_train={data.n_train} and data.n_over_p={data.n_over_p}: "
                "give one of them, the other follows"
            )
        if self.n_train > data.pool_size:
            raise ConfigError(
                f"data.n_train={self.n_train} is larger than the pool: "
                f"at most data.pool_size={data.pool_size} points"
            )
        if data.sampler == "trajectories" and data.n_trajectories > data.pool_size:
            raise ConfigError(
                f"data.n_trajectories={data.n_trajectories} leaves some without a point: "
                f"at most data.pool_size={data.pool_size}"
            )
        model = make_model(self.mechanics.angles, dataclasses.asdict(self.model))
        if self.optimizer.name == "least_squares" and not model.linear:
            raise ConfigError(
                f"optimizer=least_squares solves linear models, and model={self.model.name} is "
                "none: use model=random_features, or another optimizer"
            )

    @property
    def mechanics(self) -> System:
        """The system with this cell's constants."""
        return SYSTEMS[self.system.name].with_constants(**self.system.constants)

    @functools.cached_property
    def n_params(self) -> int:
        """P, trainable parameters of one network."""
        return n_parameters(self.mechanics.angles, dataclasses.asdict(self.model))

    @functools.cached_property
    def n_train(self) -> int:
        """N, training points; from `n_over_p` rounded to the nearest point, at least one."""
        if self.data.n_over_p is not None:
            return max(1, round(self.data.n_over_p * self.n_params))
        return self.data.n_train or DEFAULT_N_TRAIN

    def as_dict(self) -> dict[str, Any]:
        """Plain data, with N resolved: what is written, and what the hash is of."""
        plain = dataclasses.asdict(self)
        plain["data"] |= {"n_train": self.n_train, "n_over_p": None}
        plain["system"] = {"name": self.system.name, **self.mechanics.constants}
        return plain

    @functools.cached_property
    def hash(self) -> str:
        """The cell's name: 12 hexadecimal digits of the SHA-256 of its canonical JSON."""
        canonical = json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def factors(self) -> dict[str, Any]:
        """The table's factor and derived columns, under their config names."""
        mechanics = self.mechanics
        D = mechanics.n_dof
        return {
            "system": self.system.name,
            "system.constants": self._changed_constants(),
            "data.n_train": self.n_train,
            "data.noise": self.data.noise,
            "data.sampler": self.data.sampler,
            "data.order": self.data.order,
            "data.n_trajectories": self.data.n_trajectories,
            "data.units": self.data.units,
            "data.pool_size": self.data.pool_size,
            "model": self.model.name,
            "model.width": self.model.width,
            "model.depth": self.model.depth,
            "model.activation": self.model.activation,
            "model.beta": self.model.beta,
            "model.encoding": self.model.encoding,
            "model.mass_prior": self.model.mass_prior,
            "model.init": self.model.init,
            "optimizer": self.optimizer.name,
            "optimizer.lr": self.optimizer.lr,
            "optimizer.steps": self.optimizer.steps,
            "optimizer.batch_size": self.optimizer.batch_size,
            "optimizer.schedule": self.optimizer.schedule,
            "optimizer.clip": self.optimizer.clip,
            "optimizer.loss": self.optimizer.loss,
            "optimizer.iterations": self.optimizer.iterations,
            "rollout.horizon": self.rollout.horizon,
            "precision": self.precision,
            "n_params": self.n_params,
            "n_equations": self.n_train * D,
            "n_over_p": self.n_train / self.n_params,
            "equations_per_param": self.n_train * D / self.n_params,
        }

    def _changed_constants(self) -> str:
        usual = SYSTEMS[self.system.name].constants
        changed = {k: v for k, v in self.mechanics.constants.items() if v != usual[k]}
        return ", ".join(f"{k}={v:g}" for k, v in changed.items()) or "default"

    def block_seeds(self, block: int) -> list[tuple[int, int, int]]:
        """(replicate, data seed, initialisation seed) of each replicate of a block.

        Paired, or crossed where `inits_per_data` says how many initialisations each data seed
        has: replicate k then has data k // c and initialisation k % c. Both are drawn apart from
        other studies' by `seed`.
        """
        first, c = block * self.block_size, self.inits_per_data
        seeds = []
        for k in range(first, first + self.block_size):
            data, init = divmod(k, c) if c else (k, k)
            seeds.append((k, self.seed * 10_000 + data, self.seed * 10_000 + init))
        return seeds


@dataclass(frozen=True, config=STRICT)
class Run:
    """What surrounds the cells: how many replicates, by how many workers, where recorded."""

    study: str
    budget: Name
    replicates: Count
    block_size: Count
    workers: Count
    retries: Annotated[int, Field(ge=0)]
    storage: str | None
    dry_run: bool

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.study):
            raise ConfigError(
                f"study={self.study!r} is not a folder name under outputs/: "
                "use letters, digits, '.', '_' and '-', beginning with a letter or digit"
            )
        if self.study == "reference":
            raise ConfigError(
                "study=reference is kept for the committed reference tables: choose another name"
            )
        if self.replicates % self.block_size:
            fewer = max(1, self.replicates // self.block_size) * self.block_size
            raise ConfigError(
                f"replicates={self.replicates} is not a multiple of block_size={self.block_size}: "
                f"use replicates={fewer} or block_size={self.replicates}"
            )

    @property
    def n_blocks(self) -> int:
        """Blocks of each cell."""
        return self.replicates // self.block_size


GROUPS: dict[str, type] = {
    "system": SystemConfig,
    "data": DataConfig,
    "model": ModelConfig,
    "optimizer": OptimizerConfig,
    "rollout": RolloutConfig,
    "diagnostics": DiagnosticsConfig,
}


def make_cell(plain: Mapping[str, Any], *, compile: bool) -> Cell:
    """A checked cell from plain config data (`compile` as the plan resolved it).

    What comes to the same thing is made the same: the horizon is the system's own where none is
    given, and the encoding is raw where there is no angle.

    **Raises:** `ConfigError`, one sentence, for a key or value that cannot be right.
    """
    system = _mapping("system", plain.get("system"))
    groups = {
        **{name: _mapping(name, plain.get(name)) for name in GROUPS},
        "system": {
            "name": system.get("name"),
            "constants": {k: v for k, v in system.items() if k != "name"},
        },
    }
    made = {name: build(kind, groups[name], f"{name}.") for name, kind in GROUPS.items()}
    known = SYSTEMS[made["system"].name]
    if made["rollout"].horizon is None:
        made["rollout"] = dataclasses.replace(made["rollout"], horizon=known.horizon)
    if not any(known.angles):
        made["model"] = dataclasses.replace(made["model"], encoding="raw")
    made["model"] = made["model"].normal()
    made["optimizer"] = made["optimizer"].normal()
    keys = ("seed", "inits_per_data", "precision", "device", "block_size")
    top = {key: plain.get(key) for key in keys}
    if not made["optimizer"].adam:  # nothing in it is single precision
        top["precision"], compile = "float64", False
    return build(Cell, {**made, **top, "compile": compile}, "")


def check_device(device: str) -> None:
    """Where work is to be done on this machine. **Raises:** `ConfigError` if it cannot be."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda: torch finds no CUDA device on this machine: use device=cpu")


def make_run(plain: Mapping[str, Any]) -> Run:
    """The checked settings around the cells. **Raises:** `ConfigError`."""
    return build(Run, {f.name: plain.get(f.name) for f in dataclasses.fields(Run)}, "")


def _mapping(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}={value!r} is a config group: use one of its names, or its keys")
    return dict(value)
