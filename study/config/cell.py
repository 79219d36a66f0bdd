"""One point of a design: `Cell`, checked, and named by the hash of what can change its numbers."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from study.config import data_files, measured, own_system
from study.config.as_typed import ONE
from study.config.errors import ConfigError, altered, build
from study.config.factors import FACTORS
from study.config.physical_units import usual_name
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
from study.core.data.checks import Names, remarks
from study.core.data.datasets import DataError
from study.core.data.label_noise import Noise
from study.core.data.recording import Recording
from study.core.systems import System

if TYPE_CHECKING:  # with torch, which help spares
    from study.core.models import Model

DEFAULT_N_TRAIN = 4096  # if neither data.n_train nor data.n_over_p is given
MOST_CHOSEN = 1000  # unknowns that model.width=auto allows
FREE_START = 3  # positions that a motion from an unknown state does not all fit, at least
UNUSED_TRAJECTORIES = 100  # data.n_trajectories of states that are drawn uniformly

_groups: dict[tuple[str, str], Any] = {}  # those made, by name and values


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
        data = self.data
        if self.n_train > data.pool_size:
            raise ConfigError(
                f"data.n_train={self.n_train} is larger than the pool: "
                f"give at most data.pool_size={data.pool_size} points, or a larger pool"
            )
        share = self.optimizer.validation
        if share and not 0 < self.n_validation < self.n_train:
            raise ConfigError(
                f"optimizer.validation={share:g} holds out {self.n_validation} of "
                f"data.n_train={self.n_train} points: it should hold out one or more, and leave one"
            )
        if data.sampler == "trajectories" and data.n_trajectories >= data.pool_size:
            raise ConfigError(
                f"data.n_trajectories={data.n_trajectories} leaves each no point but its start: "
                f"give fewer than data.pool_size={data.pool_size}"
            )
        from study.core.models import LinearModel

        if self.n_driven and self.system.name != "unknown":
            raise ConfigError(
                f"data.columns.inputs drives the motion, and that of system={self.system.name} is "
                "made without: use system=unknown"
            )
        model = _model(self.mechanics, self.model, self.n_driven)
        solved = self.optimizer.name == "least_squares"
        if solved and not isinstance(model, LinearModel):
            raise ConfigError(
                f"optimizer=least_squares solves linear models, and model={self.model.name} is "
                "none: use model=linear_lagrangian or random_features, or another optimizer"
            )
        if self.optimizer.first == "soap" and isinstance(model, LinearModel):
            raise ConfigError(
                f"optimizer={self.optimizer.name} turns the layers of a network, and "
                f"model={self.model.name} is none: use optimizer=adam or least_squares, or "
                "model=lnn"
            )
        if self.model.name == "linear_lagrangian" and self.model.scale == "auto" and not solved:
            raise ConfigError(
                f"model.scale=auto is chosen by optimizer=least_squares: {self.optimizer.name} "
                "needs a number, such as model.scale=0.5"
            )
        if self.model.name == "linear_lagrangian" and self.model.friction != "none" and not solved:
            raise ConfigError(
                f"model.friction={self.model.friction} of model=linear_lagrangian is kept from "
                f"being negative by optimizer=least_squares, and {self.optimizer.name} does not: "
                "use that, or model=structured_lnn"
            )
        if self.optimizer.followed:
            self._check_segments(model)
        if self.optimizer.weak:
            self._check_weak()
        if data.sampler == "trajectories" and (data.position_noise or self.optimizer.followed):
            self._check_samples()

    def _check_segments(self, model: Model) -> None:
        """Whether learned motion can be compared with the samples that follow a point.

        **Raises:** `ConfigError`.
        """
        data = self.data
        from study.core.models import NetworkModel

        if not isinstance(model, NetworkModel):
            raise ConfigError(
                "optimizer.loss=rollout needs the accelerations' gradient in the states, which "
                f"model={self.model.name} has not: use lnn, structured_lnn or acceleration_mlp"
            )
        if data.sampler == "uniform":
            raise ConfigError(
                "optimizer.loss=rollout follows the samples of a trajectory, and data.sampler="
                "uniform has no trajectories: use data=trajectories"
            )
        if self.n_driven:
            raise ConfigError(
                "optimizer.loss=rollout knows no inputs between the samples, and "
                "data.columns.inputs names some: use optimizer.loss=squared"
            )
        self._check_noise()
        steps = self.optimizer.rollout_steps
        if data.position_noise and steps < FREE_START:
            raise ConfigError(
                f"optimizer.rollout_steps={steps} positions with data.position_noise="
                f"{data.position_noise:g} lie on a straight line, which is no motion: it should "
                f"be at least {FREE_START}"
            )

    def _check_weak(self) -> None:
        """Whether there are positions for the weak form. **Raises:** `ConfigError`."""
        from study.core.training.lagrangian_fit import FEWEST

        data, name = self.data, self.model.name
        if name != "linear_lagrangian":
            raise ConfigError(
                f"optimizer.loss=weak fits a Lagrangian, and model={name} is none: use "
                "model=linear_lagrangian"
            )
        if self.model.friction != "none" or self.n_driven:
            raise ConfigError(
                "optimizer.loss=weak fits no forces in a sweep, and model.friction or "
                "data.columns.inputs asks for some: use study.fit, or optimizer.loss=squared"
            )
        if data.sampler == "uniform":
            raise ConfigError(
                "optimizer.loss=weak integrates along trajectories, and data.sampler=uniform has "
                "none: use data=trajectories"
            )
        self._check_noise()
        recording = self.recording
        longest = (
            data.pool_size // data.n_trajectories
            if recording is None
            else max(len(motion.times) for motion in recording.training)
        )
        if longest < FEWEST:
            raise ConfigError(
                f"optimizer.loss=weak needs a trajectory of {FEWEST} samples, and the longest has "
                f"{longest}: use longer ones, or optimizer.loss=squared"
            )

    def _check_noise(self) -> None:
        """**Raises:** `ConfigError` for noise that the loss does not see."""
        if noise := self.data.noise:
            raise ConfigError(
                f"data.noise={noise:g} is noise of the accelerations, which "
                f"optimizer.loss={self.optimizer.loss} does not see: use data.position_noise"
            )

    def _check_samples(self) -> None:
        """Whether each trajectory of the pool has samples enough. **Raises:** `ConfigError`."""
        data, k = self.data, self.optimizer.followed
        samples, rest = divmod(data.pool_size, data.n_trajectories)
        if rest:
            raise ConfigError(
                f"data.pool_size={data.pool_size} gives data.n_trajectories={data.n_trajectories} "
                "trajectories unequal numbers of samples: use a multiple, or data.sampling_rate"
            )
        points = _available(data, k)
        if self.n_train > points:
            short = f" that {k} samples follow" if k else ""
            raise ConfigError(
                f"data.n_train={self.n_train} is more than the {points} points{short} of "
                f"{data.n_trajectories} trajectories of {samples} samples: give fewer, or a larger "
                "data.pool_size or data.sampling_rate"
            )

    @property
    def mechanics(self) -> System:
        """The system with this cell's constants. **Raises:** `ConfigError` for code not loaded."""
        return _mechanics(self.system, self.data)

    @property
    def recording(self) -> Recording | None:
        """What was measured; None for data that are made. **Raises:** `ConfigError`."""
        return _recording(self.data, self.mechanics)

    @property
    def remarks(self) -> list[str]:
        """What its recording contradicts; nothing of data that are made."""
        if self.recording is None or (reading := self.reading) is None:
            return []
        return _remarks(reading, self.mechanics)

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
        return _reading(self.data)

    @functools.cached_property
    def n_params(self) -> int:
        """P, trainable parameters of one network."""
        return _model(self.mechanics, self.model, self.n_driven).n_params

    @property
    def n_driven(self) -> int:
        """m, recorded inputs."""
        return _n_driven(self.data)

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
        mechanics, reading = self.mechanics, _reading(self.data)
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
            "data.inputs": (reading and ", ".join(reading.columns.inputs or ())) or None,
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
    groups = {name: _unsigned(mapping(name, plain.get(name))) for name in GROUPS}
    groups["system"], groups["data"] = _nested(*by_content(groups["system"], groups["data"]))
    made = {name: _group(name, values) for name, values in groups.items()}
    data, model, optimizer = (made[name].normal() for name in ("data", "model", "optimizer"))
    system = _mechanics(made["system"], data)
    if optimizer.weak:  # it takes every sample, and chooses the features
        from study.core.training.lagrangian_fit import COUNTS

        data = altered(data, n_train="all", n_over_p=None)
        wide = {} if model.features == "library" else {"width": max(COUNTS), "encoding": "trig"}
        model = altered(model, scale="auto", mass_prior=0.0, **wide)
    seed = plain.get("seed")
    data = chosen(data, system, seed if type(seed) is int else 0)
    data, rollout = _counted(data, made["rollout"], system, optimizer.followed)
    if data.n_train == "all":
        data = altered(data, n_train=max(1, _available(data, optimizer.followed)))
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
        n_train = max(1, round(data.n_over_p * _model(system, model, _n_driven(data)).n_params))
    data = altered(data, n_train=n_train, n_over_p=None)
    if model.width == "auto":  # two equations for each unknown, if there are so many
        one = _model(system, altered(model, width=1, friction="none"), 0).n_params
        model = altered(model, width=max(1, min(n_train * system.n_dof // 2, MOST_CHOSEN) // one))
    made |= {"data": data, "model": model, "optimizer": optimizer, "rollout": rollout}
    return build(Cell, {**made, **top, "compile": compile and _compiles(optimizer, model)}, "")


def _unsigned(group: dict[str, Any]) -> dict[str, Any]:
    """The group with 0.0 in the place of -0.0, which is the same number and another text."""
    return {key: 0.0 if type(v) is float and v == 0 else v for key, v in group.items()}


def by_content(system: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[dict, dict]:
    """The groups `system` and `data` with hashes in the place of paths.

    The file of a system is run. **Raises:** `ConfigError` for one that cannot be used.
    """
    system, data = dict(system), dict(data)
    if system.get("name") == "file":
        _hashed(system, own_system.load, "system", "my_system.py")
    if data.get("sampler") == "file":
        _hashed(data, data_files.register, "data", "measured.csv (or .npz, .parquet)")
    return system, data


def _hashed(group: dict, load: Callable[[str], str], name: str, example: str) -> None:
    if (path := group.pop("path", None)) is not None:
        group["sha256"] = load(path)
    elif not group.get("sha256"):
        raise ConfigError(f"{name}.path is not given: {name}=file needs {name}.path={example}")


def _nested(system: dict[str, Any], data: dict[str, Any]) -> tuple[dict, dict]:
    """The two groups as their classes have them: constants apart, columns checked."""
    own = {"name": system.pop("name", None)}
    if own["name"] == "file":
        own["sha256"] = system.pop("sha256", None)
    if data.get("sampler") == "file" and "columns" not in data:
        raise ConfigError("data.sampler=file needs the keys of data=file: write data=file")
    if (columns := data.get("columns")) is not None:
        if not isinstance(columns, Mapping):
            raise ConfigError(f"data.columns={columns} is a group of keys: set them one by one")
        lists = {  # one name stands for a list of one
            key: (value,) if isinstance(value, str) else tuple(value)
            for key, value in columns.items()
            if f"data.columns.{key}" not in ONE and isinstance(value, str | list | tuple)
        }
        if (units := lists.get("units")) is not None:
            lists["units"] = tuple(usual_name(u) if isinstance(u, str) else u for u in units)
        unit = columns.get("time_unit")
        of_time = {"time_unit": usual_name(unit)} if isinstance(unit, str) else {}
        data["columns"] = build(ColumnsConfig, {**columns, **lists, **of_time}, "data.columns.")
    return {**own, "constants": system}, data


def _reading(data: DataConfig) -> measured.Reading | None:
    """What is read from a file, and how; None for data that are made."""
    if data.sampler != "file" or data.columns is None or data.sha256 is None:
        return None
    return measured.Reading(data.sha256, data.columns, data.method, data.held_out)


def _remarks(reading: measured.Reading, system: System) -> list[str]:
    """What contradicts the description of a recording, a sentence each."""
    recording = measured.read(reading, system.coordinates, system.angles, system.name)
    names, given = tuple(name for name, _ in system.coordinates), reading.columns.qdot
    named = Names(names, given if given and len(given) == len(names) else None)
    estimated = bool(reading.estimated)
    return remarks(recording.training, system.angles, system, named, estimated)


def _mechanics(system: SystemConfig, data: DataConfig) -> System:
    """The system with its constants, or what measurements alone say of it.

    **Raises:** `ConfigError` for a file whose code is not to run here, or nothing to learn from.
    """
    if system.name != "unknown":
        return system.default.with_constants(**system.constants)
    reading = _reading(data)
    if reading is None:
        raise ConfigError(
            f"system=unknown has no motion to make data from, as data.sampler={data.sampler} "
            "asks: give data=file data.path=measured.csv, or a system"
        )
    return reading.unknown_system()


def _n_driven(data: DataConfig) -> int:
    columns = data.columns if data.sampler == "file" else None
    return len(columns.inputs or ()) if columns else 0


def _model(system: System, model: ModelConfig, n_driven: int) -> Model:
    """The model, in physical units. **Raises:** `ConfigError` for a library that is not stated."""
    if model.features == "library" and system.library is None:
        raise ConfigError(
            f"model.features=library sums terms that the system states, and {system.name} states "
            "none: give system=file with library=... in its System, or model.features=structured"
        )
    from study.core.models import make_model

    settings = dataclasses.asdict(model)
    return make_model(system.angles, settings, system=system, n_driven=n_driven)


def _recording(data: DataConfig, system: System) -> Recording | None:
    """What was measured; None for data that are made. **Raises:** `ConfigError`, by row."""
    reading = _reading(data)
    return reading and measured.read(reading, system.coordinates, system.angles, system.name)


def _counted(
    data: DataConfig, rollout: RolloutConfig, system: System, k: int
) -> tuple[DataConfig, RolloutConfig]:
    """The groups with what the file decides: numbers of points and trajectories, the horizon.

    Points count that k samples follow.

    **Raises:** `ConfigError` for a file that cannot be used, or more points than it holds.
    """
    recording = _recording(data, system)
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


def _available(data: DataConfig, k: int) -> int:
    """Points of a pool with a state and k samples after it; of a file, its pool."""
    if data.sampler != "trajectories":
        return data.pool_size
    margin = data.method.margin if data.position_noise else 0
    return data.n_trajectories * max(0, data.pool_size // data.n_trajectories - 2 * margin - k)


def _compiles(optimizer: OptimizerConfig, model: ModelConfig) -> bool:
    """Whether anything is compiled: steps on minibatches are, and every model that C++ knows is."""
    return optimizer.first is not None or (
        model.name != "random_features" and model.features != "library"
    )


def _group(name: str, values: dict[str, Any]) -> Any:
    """A checked group; the cells of a grid share most of theirs, so each is made once."""
    key = (name, repr(values))
    if key not in _groups:
        if len(_groups) >= 10_000:
            _groups.clear()
        _groups[key] = build(GROUPS[name], values, f"{name}.")
    return _groups[key]


def check_device(device: str) -> None:
    """Refuse a device that this machine lacks. **Raises:** `ConfigError`."""
    if device == "cpu":
        return
    # asked in another way, a process could not use the device once it is forked
    import torch

    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    if not torch.cuda.is_available():
        raise ConfigError("device=cuda: torch finds no CUDA device on this machine: use device=cpu")


def wants_cpp(config: Mapping[str, Any]) -> bool:
    """Whether a single cell is to be compiled: if that is asked for, and by `auto` on the CPU.

    On the CPU it costs seconds once a machine; another device compiles anew for each shape.
    """
    return config["compile"] is True or (config["compile"] == "auto" and config["device"] == "cpu")
