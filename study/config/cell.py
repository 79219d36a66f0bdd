"""One complete configuration: `Cell`, a point of a design, and `Run`, what surrounds the cells.

Knows: the keys above the groups of `groups.py`, what must hold between groups, how a cell is named.
Does not know: Hydra, grids, what a study's folder holds.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from study.config import sources
from study.config.credentials import refuse_settings
from study.config.errors import ConfigError, altered, build
from study.config.factors import FACTORS
from study.config.schema import (
    FROM_FILE,
    GROUPS,
    STRICT,
    Count,
    DataConfig,
    DiagnosticsConfig,
    ModelConfig,
    Name,
    OptimizerConfig,
    RolloutConfig,
    SystemConfig,
)
from study.core.data.recording import Recording
from study.core.models import make_model, n_parameters
from study.core.systems import System

DEFAULT_N_TRAIN = 4096  # where neither data.n_train nor data.n_over_p is given
TOP = ("seed", "inits_per_data", "precision", "device", "block_size")  # keys of no group
UNUSED_TRAJECTORIES = 100  # what data.n_trajectories says where there are none


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
        if self.n_train > data.pool_size:
            raise ConfigError(
                f"data.n_train={self.n_train} is larger than the pool: "
                f"give at most data.pool_size={data.pool_size} points, or a larger pool"
            )
        if data.sampler == "trajectories" and data.n_trajectories >= data.pool_size:
            raise ConfigError(
                f"data.n_trajectories={data.n_trajectories} leaves each no point but its start: "
                f"give fewer than data.pool_size={data.pool_size}"
            )
        model = make_model(self.mechanics.angles, dataclasses.asdict(self.model))
        if self.optimizer.name == "least_squares" and not model.linear:
            raise ConfigError(
                f"optimizer=least_squares solves linear models, and model={self.model.name} is "
                "none: use model=random_features, or another optimizer"
            )

    @property
    def mechanics(self) -> System:
        """The system with this cell's constants. **Raises:** `ConfigError` for code not loaded."""
        return sources.mechanics(self.system, self.data)

    @property
    def recording(self) -> Recording | None:
        """What was measured, where that is trained on. **Raises:** `ConfigError`."""
        return sources.recording(self.data, self.mechanics)

    @functools.cached_property
    def n_params(self) -> int:
        """P, trainable parameters of one network."""
        return n_parameters(self.mechanics.angles, dataclasses.asdict(self.model))

    @property
    def n_train(self) -> int:
        """N, training points."""
        return self.data.n_train or DEFAULT_N_TRAIN

    def with_compile(self, compile: bool) -> Cell:
        """This cell trained compiled, if anything in it can be: `make_cell` agrees on it."""
        return altered(self, compile=compile and _compiles(self.optimizer, self.model))

    def as_dict(self) -> dict[str, Any]:
        """Plain data: what is written, and what the hash is of."""
        plain = _fields(self)
        plain |= {name: _fields(plain[name]) for name in GROUPS}
        if self.data.sampler != "file":
            plain["data"] = {k: v for k, v in plain["data"].items() if k not in FROM_FILE}
        elif self.data.columns is not None:
            plain["data"]["columns"] = _fields(self.data.columns)
        own = {"sha256": self.system.sha256} if self.system.name == "file" else {}
        plain["system"] = {"name": self.system.name, **own, **self.mechanics.constants}
        return plain

    @functools.cached_property
    def hash(self) -> str:
        """The cell's name: 12 hexadecimal digits of the SHA-256 of its canonical JSON."""
        canonical = json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def factors(self) -> dict[str, Any]:
        """The table's columns of factors, under their config keys, and what follows from them."""
        mechanics, reading = self.mechanics, self.data.reading
        named = {
            "system": mechanics.name,
            "system.constants": self._changed_constants(),
            "model": self.model.name,
            "optimizer": self.optimizer.name,
            "precision": self.precision,
        }
        # cells that are made from files have these too; a file is named by its content
        from_files = {
            "system.file": self.system.sha256 and self.system.sha256[:12],
            "data.file": reading and reading.sha256[:12],
            "data.estimate": reading and reading.estimate(),
            "data.held_out": reading and self.data.held_out,
        }
        named |= {key: value for key, value in from_files.items() if value is not None}
        columns: dict[str, Any] = {}
        for key in FACTORS:
            group, _, field = key.partition(".")
            if key in named:
                columns[key] = named[key]
            elif key not in from_files:
                columns[key] = getattr(getattr(self, group), field)
        n_equations = self.n_train * mechanics.n_dof
        return columns | {
            "coordinates": ", ".join(f"{name} ({unit})" for name, unit in mechanics.coordinates),
            "n_params": self.n_params,
            "n_equations": n_equations,
            "n_over_p": self.n_train / self.n_params,
            "equations_per_param": n_equations / self.n_params,
        }

    def _changed_constants(self) -> str:
        if self.system.name == "unknown":
            return "unknown"
        usual = self.system.default.constants
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
class SearchConfig:
    """How searched keys are searched.

    - `sampler`, `pruner`: names, as `sweeping/samplers.py` has them.
    - `n_trials`: of each search; each trains one block of a cell of its own.
    - `objectives`: measures to minimise; several make a front, which cannot be pruned.
    - `space`: config key -> what it may be, in Hydra's sweep syntax.
    - `rerun`: whether the best cell of each search is trained again with all replicates.
    - `seed`: of the sampler: another searches the same cells in another way.
    """

    sampler: Literal["tpe", "random", "qmc", "nsga2", "gp"]
    n_trials: Count
    pruner: Literal["none", "median", "successive_halving"]
    objectives: Annotated[list[Name], Field(min_length=1)]
    space: dict[str, Any]
    rerun: bool
    seed: Annotated[int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        if len(self.objectives) > 1 and self.pruner != "none":
            raise ConfigError(
                f"search.pruner={self.pruner}: a search with {len(self.objectives)} objectives "
                "cannot prune: use search.pruner=none"
            )
        if len(self.objectives) > 1 and self.rerun:
            raise ConfigError(
                f"search.rerun=true: a search with {len(self.objectives)} objectives has no best "
                "cell: use one objective"
            )


@dataclass(frozen=True, config=STRICT)
class Run:
    """What surrounds the cells: how many replicates, by how many workers, where recorded."""

    study: str
    budget: Name
    replicates: Count
    block_size: Count
    workers: Count
    retries: Annotated[int, Field(ge=0)]
    time_limit: Annotated[float, Field(gt=0)] | None
    storage: str | None
    dry_run: bool
    detach: bool
    search: SearchConfig

    def __post_init__(self) -> None:
        check_study(self.study)
        refuse_settings({"storage": self.storage})
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


def make_cell(plain: Mapping[str, Any], *, compile: bool) -> Cell:
    """A checked cell from plain config data (`compile` as the plan resolved it).

    What comes to the same thing is made the same: the horizon is the system's own where none is
    given, the encoding is raw where there is no angle, states drawn uniformly lie on no
    trajectories, and only Adam meets the points in an order. Paths of files become hashes of what
    is in them, and a file of data says how many points there are.

    **Raises:** `ConfigError`, one sentence, for a key or value that cannot be right.
    """
    groups = {name: _mapping(name, plain.get(name)) for name in GROUPS}
    groups |= sources.groups(groups["system"], groups["data"])
    made = {name: _group(name, values) for name, values in groups.items()}
    made["data"] = made["data"].normal()
    known = sources.mechanics(made["system"], made["data"])
    made["data"], made["rollout"] = sources.counted(made["data"], made["rollout"], known)
    if not any(known.angles):
        made["model"] = altered(made["model"], encoding="raw")
    if made["data"].sampler == "uniform":
        made["data"] = altered(made["data"], n_trajectories=UNUSED_TRAJECTORIES)
    if not made["optimizer"].adam:
        made["data"] = altered(made["data"], order="shuffled")
    made["model"] = made["model"].normal()
    made["optimizer"] = made["optimizer"].normal()
    top = {key: plain.get(key) for key in TOP}
    if not made["optimizer"].adam:  # nothing in it is single precision
        top["precision"] = "float64"
    compile = compile and _compiles(made["optimizer"], made["model"])
    n_train = _n_train(made["data"], made["model"], known)
    made["data"] = altered(made["data"], n_train=n_train, n_over_p=None)
    return build(Cell, {**made, **top, "compile": compile}, "")


def _compiles(optimizer: OptimizerConfig, model: ModelConfig) -> bool:
    """Whether anything is compiled: Adam's steps are, and every model but random features is."""
    return optimizer.adam or model.name != "random_features"


def _n_train(data: DataConfig, model: ModelConfig, system: System) -> int:
    """N; `n_over_p` times P rounded to the nearest point, at least one."""
    if data.n_over_p is None:
        return data.n_train or DEFAULT_N_TRAIN
    return max(1, round(data.n_over_p * n_parameters(system.angles, dataclasses.asdict(model))))


_groups: dict[tuple[str, str], Any] = {}


def _group(name: str, values: dict[str, Any]) -> Any:
    """A checked group; the cells of a grid share most of theirs, so each is made once."""
    key = (name, repr(values))
    if key not in _groups:
        if len(_groups) >= 10_000:
            _groups.clear()
        _groups[key] = build(GROUPS[name], values, f"{name}.")
    return _groups[key]


def _fields(instance: Any) -> dict[str, Any]:
    return {field.name: getattr(instance, field.name) for field in dataclasses.fields(instance)}


def check_study(name: str) -> None:
    """Whether it names a folder under outputs/. **Raises:** `ConfigError` if it does not."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ConfigError(
            f"study={name!r} is not a folder name under outputs/: "
            "use letters, digits, '.', '_' and '-', beginning with a letter or digit"
        )
    if name == "reference":
        raise ConfigError(
            "study=reference is kept for the committed reference tables: choose another name"
        )
    path = Path("outputs") / name
    if path.is_symlink():
        raise ConfigError(
            f"study={name}: {path} is a link to {os.readlink(path)}, and a study is a folder of "
            "its own: make outputs/ the link, or choose another name"
        )


def check_device(device: str) -> None:
    """Where work is to be done on this machine. **Raises:** `ConfigError` if it cannot be."""
    if device == "cpu":
        return
    # asked in another way, a process could not use the device once it is forked
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    if not torch.cuda.is_available():
        raise ConfigError("device=cuda: torch finds no CUDA device on this machine: use device=cpu")


def make_run(plain: Mapping[str, Any]) -> Run:
    """The checked settings around the cells. **Raises:** `ConfigError`."""
    settings = {f.name: plain.get(f.name) for f in dataclasses.fields(Run)}
    settings["search"] = build(SearchConfig, _mapping("search", plain.get("search")), "search.")
    return build(Run, settings, "")


def _mapping(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}={value!r} is a config group: use one of its names, or its keys")
    return dict(value)


def wants_cpp(config: Mapping[str, Any]) -> bool:
    """Whether single cells are to be compiled: where that is said, and by itself on the CPU, where
    it costs seconds once a machine; on another device it would have to pay for each shape anew."""
    return config["compile"] is True or (config["compile"] == "auto" and config["device"] == "cpu")
