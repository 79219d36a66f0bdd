"""One point of a design: `Cell`, checked, and named by the hash of what can change its numbers."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from study.config import cell_checks, groups, measured
from study.config.errors import ConfigError, altered, build
from study.config.factors import FACTORS
from study.config.named import (
    inputs_of,
    model_of,
    points_of,
    reading_of,
    recording_of,
    remarks_of,
    system_of,
)
from study.config.sampled import chosen
from study.config.schema import (
    ESTIMATES,
    FROM_FILE,
    GROUPS,
    STRICT,
    TOP,
    ColumnsConfig,
    Count,
    DataConfig,
    DiagnosticsConfig,
    ModelConfig,
    OptimizerConfig,
    RolloutConfig,
    SystemConfig,
    mapping,
)
from study.core.data.datasets import DataError
from study.core.data.label_noise import Noise
from study.core.data.recording import Recording
from study.core.systems import System

DEFAULT_N_TRAIN = 4096  # if neither data.n_train nor data.n_over_p is given
MOST_CHOSEN = 1000  # unknowns that model.width=auto allows
UNUSED_TRAJECTORIES = 100  # data.n_trajectories of states that are drawn uniformly


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
    seed: Annotated[int, Field(ge=0, lt=2**31), "another draws other data and initialisations"]
    inits_per_data: Annotated[
        Count | None, "initialisations crossed with each data seed; null pairs the seeds"
    ]
    precision: Annotated[Literal["float32", "float64"], "of Adam and SOAP; all else is float64"]
    device: Literal["cpu", "cuda"]
    compile: Annotated[
        bool, "C++ on the CPU, torch.compile elsewhere if it pays: auto, true, false"
    ]
    block_size: Annotated[Count, "replicates trained together as one batched ensemble"]

    def __post_init__(self) -> None:
        cell_checks.check(self)

    @property
    def mechanics(self) -> System:
        """The system with this cell's constants. **Raises:** `ConfigError` for code not loaded."""
        return system_of(self.system, self.data)

    @property
    def recording(self) -> Recording | None:
        """What was measured; None for data that are made. **Raises:** `ConfigError`."""
        return recording_of(self.data, self.mechanics)

    @property
    def remarks(self) -> list[str]:
        """What its recording contradicts; nothing of data that are made."""
        if self.recording is None or (reading := self.reading) is None:
            return []
        return remarks_of(reading, self.mechanics)

    @property
    def findings(self) -> list[str]:
        """How noisy its recording is, and whether its motion is conservative; nothing of data that
        are made."""
        if self.recording is None or (reading := self.reading) is None:
            return []
        return measured.findings(reading, self.mechanics)

    @property
    def label_noise(self) -> Noise | None:
        """The noise of its recording, and what it leaves in accelerations; None of made data."""
        if (reading := self.reading) is None:
            return None
        system = self.mechanics
        return measured.label_noise(reading, system.coordinates, system.angles, system.name)

    @property
    def reading(self) -> measured.Reading | None:
        """How the recording is read; None for data that are made."""
        return reading_of(self.data)

    @functools.cached_property
    def n_params(self) -> int:
        """P, trainable parameters of one network."""
        return model_of(self.mechanics, self.model, self.n_driven).n_params

    @property
    def n_driven(self) -> int:
        """m, inputs of the motion, recorded or of the system's own drive."""
        return len(inputs_of(self.data, self.mechanics))

    @property
    def n_train(self) -> int:
        """N, training points, those held out for validation among them."""
        n = self.data.n_train
        return n if isinstance(n, int) else DEFAULT_N_TRAIN

    @property
    def n_validation(self) -> int:
        """Points of N that only choose among the steps of training."""
        return round(self.optimizer.validation * self.n_train)

    def with_compile(self, compile: bool) -> Cell:
        """This cell trained compiled if `compile` and anything in it can be."""
        return altered(self, compile=compile and _compiles(self.optimizer, self.model))

    def as_dict(self) -> dict[str, Any]:
        """Plain data: what is written, and what the hash is of."""
        plain = dataclasses.asdict(self)
        if self.data.sampler != "file":
            unused = FROM_FILE if self.data.position_noise else (*FROM_FILE, *ESTIMATES)
            plain["data"] = {k: v for k, v in plain["data"].items() if k not in unused}
        if not self.data.position_noise:
            del plain["data"]["position_noise"]
        del plain["data"]["sampling_rate"]  # which is a number of points by now
        groups = [(plain[name], GROUPS[name]) for name in ("model", "optimizer")]
        if columns := plain["data"].get("columns"):
            groups.append((columns, ColumnsConfig))
        for group, kind in groups:
            for field in dataclasses.fields(kind):  # those with a default were added later
                if group[field.name] == field.default:
                    del group[field.name]
        own = {"sha256": self.system.sha256} if self.system.name == "file" else {}
        constants = {key: float(value) for key, value in self.mechanics.constants.items()}
        plain["system"] = {"name": self.system.name, **own, **constants}
        return plain

    @functools.cached_property
    def hash(self) -> str:
        """The cell's name: 12 hexadecimal digits of the SHA-256 of its canonical JSON."""
        canonical = json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def factors(self) -> dict[str, Any]:
        """The table's columns of factors, under their config keys, and what follows from them."""
        mechanics, reading = self.mechanics, reading_of(self.data)
        linear, ridge = self.model.name == "linear_lagrangian", self.optimizer.ridge
        followed, stride = self.optimizer.followed, self.optimizer.rollout_stride
        named = {
            "model.features": self.model.features if linear else None,
            "model.scale": str(self.model.scale) if linear else None,
            "model.friction": self.model.friction if self.model.friction != "none" else None,
            "optimizer.validation": self.optimizer.validation or None,
            "optimizer.ridge": str(ridge) if ridge != 0 else None,
            "optimizer.rollout_steps": self.optimizer.rollout_steps if followed else None,
            "optimizer.rollout_stride": stride if stride > 1 else None,
            "optimizer.warm_steps": self.optimizer.warm_steps or None,
            "data.position_noise": self.data.position_noise or None,
            "system": mechanics.name,
            "system.constants": self._changed_constants(),
            "model": self.model.name,
            "optimizer": self.optimizer.name,
            "precision": self.precision,
            # only cells that are made from files have these; a file is named by its content
            "system.file": self.system.sha256 and self.system.sha256[:12],
            "data.file": reading and reading.sha256[:12],
            "data.estimate": reading.estimate() if reading else self._estimate(),
            "data.held_out": reading and self.data.held_out,
            "data.inputs": ", ".join(inputs_of(self.data, mechanics)) or None,
        }
        columns: dict[str, Any] = {}
        for key, factor in FACTORS.items():
            group, _, field = key.partition(".")
            value = named[key] if key in named else getattr(getattr(self, group), field)
            if value is not None or not (factor.nullable and factor.later):
                columns[key] = value
        n_equations = self.n_train * mechanics.n_dof
        return columns | {
            "coordinates": ", ".join(f"{name} ({unit})" for name, unit in mechanics.coordinates),
            "n_params": self.n_params,
            "n_equations": n_equations,
            "n_over_p": self.n_train / self.n_params,
            "equations_per_param": n_equations / self.n_params,
        }

    def _estimate(self) -> str | None:
        """How states were estimated from noisy positions of made data, for a table."""
        data = self.data
        if not data.position_noise:
            return None
        if data.estimate == "savgol":
            return f"savgol, window {data.window}"
        return f"spline, smoothing {data.smoothing:g}"

    def _changed_constants(self) -> str:
        if self.system.name == "unknown":
            return "unknown"
        usual = self.system.default.constants
        changed = {k: v for k, v in self.mechanics.constants.items() if v != usual[k]}
        return ", ".join(f"{k}={v:g}" for k, v in changed.items()) or "default"

    def block_seeds(self, block: int) -> list[tuple[int, int, int]]:
        """(replicate, data seed, initialisation seed) of each replicate of a block.

        Data seeds and initialisations are paired; with `inits_per_data=c` they are crossed, and
        replicate k has data k // c and initialisation k % c. Another `seed` gives other seeds.
        """
        first, c, base = block * self.block_size, self.inits_per_data, self.seed * 10_000
        replicates = range(first, first + self.block_size)
        pairs = ((k, *(divmod(k, c) if c else (k, k))) for k in replicates)
        return [(k, base + data, base + init) for k, data, init in pairs]


def make_cell(plain: Mapping[str, Any], *, compile: bool) -> Cell:
    """A checked cell from plain config data; equal cells hash equally, however they are written.

    Keys that a cell does not use are set to their defaults; N and the horizon are resolved; paths
    of files become hashes of their content, and a file of data says how many points there are. A
    cell's own `as_dict` gives the same cell again. The plan decides `compile`.

    **Raises:** `ConfigError`, one sentence, for a key or value that cannot be right.
    """
    given = {name: groups.unsigned(mapping(name, plain.get(name))) for name in GROUPS}
    given["system"], given["data"] = groups.nested(
        *groups.by_content(given["system"], given["data"])
    )
    made = {name: groups.checked(name, values) for name, values in given.items()}
    data, model, optimizer = (made[name].normal() for name in ("data", "model", "optimizer"))
    system = system_of(made["system"], data)
    if optimizer.weak:  # it takes every sample, and chooses the features
        from study.core.training.lagrangian_fit import COUNTS

        data = altered(data, n_train="all", n_over_p=None)
        wide = {} if model.features == "library" else {"width": max(COUNTS), "encoding": "trig"}
        model = altered(model, scale="auto", mass_prior=0.0, **wide)
    seed = plain.get("seed")
    data = chosen(data, system, seed if type(seed) is int else 0)
    data, rollout = _counted(data, made["rollout"], system, optimizer.followed)
    if data.n_train == "all":
        data = altered(data, n_train=max(1, points_of(data, optimizer.followed)))
    if not any(system.angles):
        model = altered(model, encoding="raw")
    if data.sampler == "uniform":
        data = altered(data, n_trajectories=UNUSED_TRAJECTORIES)
    top = {key: plain.get(key) for key in TOP}
    if not optimizer.first:  # every point is in every step, and nothing is in single precision
        data = altered(data, order="shuffled")
        top["precision"] = "float64"
    n_train = data.n_train if isinstance(data.n_train, int) else DEFAULT_N_TRAIN
    if data.n_over_p is not None:  # rounded to the nearest point, at least one
        if model.width == "auto":
            raise ConfigError(
                f"data.n_over_p={data.n_over_p:g} and model.width=auto, which follows from N: give "
                "data.n_train or a number for model.width"
            )
        m = len(inputs_of(data, system))
        n_train = max(1, round(data.n_over_p * model_of(system, model, m).n_params))
    data = altered(data, n_train=n_train, n_over_p=None)
    if model.width == "auto":  # two equations for each unknown, if there are so many
        one = model_of(system, altered(model, width=1, friction="none"), 0).n_params
        model = altered(model, width=max(1, min(n_train * system.n_dof // 2, MOST_CHOSEN) // one))
    made |= {"data": data, "model": model, "optimizer": optimizer, "rollout": rollout}
    return build(Cell, {**made, **top, "compile": compile and _compiles(optimizer, model)}, "")


def _counted(
    data: DataConfig, rollout: RolloutConfig, system: System, k: int
) -> tuple[DataConfig, RolloutConfig]:
    """The groups with what the file decides: numbers of points and trajectories, the horizon.

    Points count that k samples follow.

    **Raises:** `ConfigError` for a file that cannot be used, or more points than it holds.
    """
    recording = recording_of(data, system)
    if recording is None:
        return data, altered(rollout, horizon=rollout.horizon or system.horizon)
    n = int(recording.curves.followed(k).sum())
    n_train = None if data.n_train == "all" else data.n_train
    if not n or (n_train is not None and n_train > n):
        wanted = f"data.n_train={n_train}" if n else f"optimizer.rollout_steps={k}"
        raise ConfigError(
            f"{wanted} is more than was measured: {n} points are left to train "
            "on; leave it out to take all of them"
        )
    if n_train is None and data.n_over_p is None:
        n_train = n
    data = altered(data, n_train=n_train, n_trajectories=len(recording.training), pool_size=n)
    if system.known:
        horizon, room = rollout.horizon or system.horizon, 0.0
    else:
        # to twelve digits: times in a file are differences of rounded numbers
        horizon = room = rollout.horizon or float(f"{recording.horizon:.12g}")
    try:
        starts = len(recording.starts(rollout.n_trajectories, room))
    except DataError as error:
        raise ConfigError(str(error)) from None
    return data, altered(rollout, horizon=horizon, n_trajectories=starts)


def _compiles(optimizer: OptimizerConfig, model: ModelConfig) -> bool:
    """Whether anything is compiled: steps on minibatches are, and every model that C++ knows is."""
    if model.friction == "varying":
        return False
    return optimizer.first is not None or (
        model.name != "random_features" and model.features != "library"
    )
