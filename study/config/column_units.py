"""The units of a file's columns: those of the config, of their names, and of the system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from study.config.as_typed import to_type
from study.config.errors import ConfigError, close_name
from study.config.physical_units import TIMES, UNITS, in_brackets, size, spellings, usual_name

if TYPE_CHECKING:
    from study.config.schema import ColumnsConfig

Array = np.ndarray

NEAR = 0.75  # how like a known unit one must be that is taken for a mistyped one


def seconds(columns: ColumnsConfig, where: str) -> float:
    """The size of the unit of time. **Raises:** `ConfigError` if the column's name has another."""
    stated = in_brackets(columns.time)[1]
    if columns.time_unit is None and stated in TIMES and stated != "s":
        raise ConfigError(
            f"{where}: the name of column {columns.time} says {stated}, and times are taken in "
            f"seconds: write {to_type('data.columns.time_unit', stated)}"
        )
    return TIMES[columns.time_unit or "s"].size


def coordinate_sizes(
    columns: ColumnsConfig,
    coordinates: tuple[tuple[str, str], ...],
    angles: tuple[bool, ...],
    whose: str,
    where: str,
) -> Array:
    """The size of each coordinate's unit in the unit of the system's formulas; of angles, radians.

    **Raises:** `ConfigError` for a unit of another kind, or one that a column's name contradicts.
    """
    D, given = len(coordinates), columns.units
    if given is not None and len(given) != D:
        raise ConfigError(
            f"data.columns.units=[{','.join(given)}] has {len(given)} entries, and {whose} has "
            f"{D} coordinates"
        )
    names = columns.q or tuple(name for name, _ in coordinates)
    declared = [unit for _, unit in coordinates]
    stated = [in_brackets(name)[1] for name in names] if len(names) == D else [""] * D
    units = given or [s if s in UNITS else d for s, d in zip(stated, declared, strict=True)]
    wanted = ["rad" if angle else unit for unit, angle in zip(declared, angles, strict=True)]
    sizes = []
    for unit, target, (name, _) in zip(units, wanted, coordinates, strict=True):
        (factor, si), (own, base) = size(unit), size(target)
        if si != base:
            known = [name for name, (_, of, _) in UNITS.items() if of == base] or [target]
            raise ConfigError(
                f"data.columns.units=[{','.join(units)}]: {name} of {whose} is measured in "
                f"{' or '.join(known)}"
            )
        sizes.append(factor / own)
    if given is None and any(size(u) != size(d) for u, d in zip(units, declared, strict=True)):
        raise ConfigError(
            f"{where}: the names of the columns {', '.join(names)} say {', '.join(units)}, and "
            f"{whose} is measured in {', '.join(declared)}: write "
            f"{to_type('data.columns.units', units)}"
        )
    _check_rates(columns, units, where)
    return np.array(sizes)


def close_unit(unit: str) -> str | None:
    """The known unit for which one that is not known is a slip of the pen; None if it is none."""
    if usual_name(unit) in UNITS:
        return None
    close = close_name(unit, spellings(UNITS), NEAR)
    return close and usual_name(close)


def _check_rates(columns: ColumnsConfig, units: tuple[str, ...] | list[str], where: str) -> None:
    """Refuse rates whose names say that they are in other units than the coordinates."""
    for key, names in {"qdot": columns.qdot, "qddot": columns.qddot}.items():
        for name, unit in zip(names or (), units, strict=False):
            stated = in_brackets(name)[1]
            if stated in UNITS and size(stated) != size(unit):
                raise ConfigError(
                    f"{where}: the name of column {name} says {stated}, and its coordinate is in "
                    f"{unit}: rates should be in the coordinates' units, by second; convert it, or "
                    f"leave data.columns.{key} out"
                )
