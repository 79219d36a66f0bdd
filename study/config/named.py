"""What the groups of a cell name: a system, a model, and what was measured."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from study.config import measured
from study.config.errors import ConfigError
from study.config.schema import DataConfig, ModelConfig, SystemConfig
from study.core.data.checks import Names, remarks
from study.core.data.recording import Recording
from study.core.systems import System

if TYPE_CHECKING:  # with torch, which help spares
    from study.core.models import Model


def system_of(system: SystemConfig, data: DataConfig) -> System:
    """The system with its constants, or what measurements alone say of it.

    **Raises:** `ConfigError` for a file whose code is not to run here, or nothing to learn from.
    """
    if system.name != "unknown":
        return system.default.with_constants(**system.constants)
    reading = reading_of(data)
    if reading is None:
        raise ConfigError(
            f"system=unknown has no motion to make data from, as data.sampler={data.sampler} "
            "asks: give data=file data.path=measured.csv, or a system"
        )
    return reading.unknown_system()


def model_of(system: System, model: ModelConfig, n_driven: int) -> Model:
    """The model, in physical units. **Raises:** `ConfigError` for a library that is not stated."""
    if model.features == "library" and system.library is None:
        raise ConfigError(
            f"model.features=library sums terms that the system states, and {system.name} states "
            "none: give system=file with library=... in its System, or model.features=structured"
        )
    from study.core.models import make_model

    settings = dataclasses.asdict(model)
    return make_model(system.angles, settings, system=system, n_driven=n_driven)


def inputs_of(data: DataConfig, system: System) -> tuple[str, ...]:
    """The inputs that models see: those that were recorded, or that drive simulated motion."""
    if data.sampler == "file":
        return tuple(data.columns.inputs or ()) if data.columns else ()
    return tuple(name for name, _ in system.inputs) if system.drive else ()


def reading_of(data: DataConfig) -> measured.Reading | None:
    """What is read from a file, and how; None for data that are made."""
    if data.sampler != "file" or data.columns is None or data.sha256 is None:
        return None
    return measured.Reading(data.sha256, data.columns, data.method, data.held_out)


def recording_of(data: DataConfig, system: System) -> Recording | None:
    """What was measured; None for data that are made. **Raises:** `ConfigError`, by row."""
    reading = reading_of(data)
    return reading and measured.read(reading, system.coordinates, system.angles, system.name)


def points_of(data: DataConfig, k: int) -> int:
    """Points of a pool with a state and k samples after it; of a file, its pool."""
    if data.sampler != "trajectories":
        return data.pool_size
    margin = data.method.margin if data.position_noise else 0
    return data.n_trajectories * max(0, data.pool_size // data.n_trajectories - 2 * margin - k)


def remarks_of(reading: measured.Reading, system: System) -> list[str]:
    """What contradicts the description of a recording, a sentence each."""
    recording = measured.read(reading, system.coordinates, system.angles, system.name)
    names, given = tuple(name for name, _ in system.coordinates), reading.columns.qdot
    named = Names(names, given if given and len(given) == len(names) else None)
    estimated = bool(reading.estimated)
    return remarks(recording.training, system.angles, system, named, estimated)
