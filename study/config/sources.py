"""What moves and what was measured: the system and the recording that two groups describe.

Knows: `system` and `data` together, and what follows from a file of measured data. Does not know:
models, optimisers, what makes a complete cell (`config.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.config import inputs, measured
from study.config.errors import ConfigError, altered, build
from study.config.schema import ColumnsConfig, DataConfig, RolloutConfig, SystemConfig
from study.core.data.datasets import DataError
from study.core.data.recording import Recording
from study.core.systems import System


def mechanics(system: SystemConfig, data: DataConfig) -> System:
    """The system with its constants, or what measurements alone say of it.

    **Raises:** `ConfigError` for a file whose code is not to run here, or nothing to learn from.
    """
    if system.name == "unknown":
        reading = data.reading
        if reading is None:
            raise ConfigError(
                f"system=unknown has no motion to make data from, as data.sampler={data.sampler} "
                "asks: give data=file data.path=measured.csv, or a system"
            )
        return reading.unknown_system()
    return system.default.with_constants(**system.constants)


def recording(data: DataConfig, moving: System) -> Recording | None:
    """What was measured, where that is trained on. **Raises:** `ConfigError`, by row and column."""
    reading = data.reading
    if reading is None:
        return None
    return measured.read(reading, moving.coordinates, moving.angles, moving.name)


def groups(system: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Plain `system` and `data` as the schema has them: hashes for paths, constants and columns
    by themselves. **Raises:** `ConfigError` for a file that cannot be used."""
    constants, data = inputs.by_content(system, data)
    own = {"name": constants.pop("name", None)}
    if own["name"] == "file":
        own["sha256"] = constants.pop("sha256", None)
    if data.get("sampler") == "file" and "columns" not in data:
        raise ConfigError("data.sampler=file needs the keys of data=file: write data=file")
    if (columns := data.get("columns")) is not None:
        if not isinstance(columns, Mapping):
            raise ConfigError(f"data.columns={columns} is a group of keys: set them one by one")
        lists = {key: _tuple(key, value) for key, value in columns.items()}
        data["columns"] = build(ColumnsConfig, lists, "data.columns.")
    return {"system": {**own, "constants": constants}, "data": data}


def _tuple(key: str, value: Any) -> Any:
    """One name stands for a list of one, where a list is meant."""
    if key in ("time", "trajectory"):
        return value
    return (
        tuple(value) if isinstance(value, list) else (value,) if isinstance(value, str) else value
    )


def counted(
    data: DataConfig, rollout: RolloutConfig, moving: System
) -> tuple[DataConfig, RolloutConfig]:
    """What the file decides: how many points and trajectories there are, how far rollouts can go.

    **Raises:** `ConfigError` for a file that cannot be used, or more than it holds.
    """
    measured = recording(data, moving)
    if measured is None:
        return data, altered(rollout, horizon=rollout.horizon or moving.horizon)
    n = len(measured.points)
    if data.n_train is not None and data.n_train > n:
        raise ConfigError(
            f"data.n_train={data.n_train} is more than was measured: {n} points are left to train "
            "on; leave it out to take all of them"
        )
    whole = data.n_train is None and data.n_over_p is None
    data = altered(
        data,
        n_train=n if whole else data.n_train,
        n_trajectories=len(measured.training),
        pool_size=n,
    )
    if moving.known:
        horizon, room = rollout.horizon or moving.horizon, 0.0
    else:
        # to twelve digits: times in a file are differences of rounded numbers
        horizon = room = rollout.horizon or float(f"{measured.shortest:.12g}")
    try:
        starts = len(measured.starts(rollout.n_trajectories, room))
    except DataError as error:
        raise ConfigError(str(error)) from None
    return data, altered(rollout, horizon=horizon, n_trajectories=starts)
