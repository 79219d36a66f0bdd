"""The groups of a cell from plain config data: files by content, units by their usual names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from study.config import data_files, own_system
from study.config.as_typed import ONE
from study.config.errors import ConfigError, build
from study.config.physical_units import usual_name
from study.config.schema import GROUPS, ColumnsConfig

_groups: dict[tuple[str, str], Any] = {}  # those made, by name and values


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


def nested(system: dict[str, Any], data: dict[str, Any]) -> tuple[dict, dict]:
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


def unsigned(group: dict[str, Any]) -> dict[str, Any]:
    """The group with 0.0 in the place of -0.0, which is the same number and another text."""
    return {key: 0.0 if type(v) is float and v == 0 else v for key, v in group.items()}


def checked(name: str, values: dict[str, Any]) -> Any:
    """A checked group; the cells of a grid share most of theirs, so each is made once."""
    key = (name, repr(values))
    if key not in _groups:
        if len(_groups) >= 10_000:
            _groups.clear()
        _groups[key] = build(GROUPS[name], values, f"{name}.")
    return _groups[key]
