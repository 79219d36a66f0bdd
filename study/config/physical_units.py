"""Units that a user may name, of coordinates and of times: their spellings and sizes."""

from __future__ import annotations

import math
import re
from typing import NamedTuple


class Unit(NamedTuple):
    """A unit's size in the SI unit, that unit, and how people write it beside its own name."""

    size: float
    si: str
    spellings: tuple[str, ...] = ()


# Those that have the SI unit rad are angles.
UNITS: dict[str, Unit] = {
    "rad": Unit(1.0, "rad", ("rads", "radian", "radians")),
    "deg": Unit(math.pi / 180, "rad", ("degs", "degree", "degrees", "°", "º")),
    "mrad": Unit(1e-3, "rad", ("milliradian", "milliradians")),
    "turn": Unit(2 * math.pi, "rad", ("turns", "rev", "revs", "revolution", "revolutions")),
    "m": Unit(1.0, "m", ("metre", "metres", "meter", "meters")),
    "cm": Unit(1e-2, "m", ("centimetre", "centimetres", "centimeter", "centimeters")),
    "mm": Unit(1e-3, "m", ("millimetre", "millimetres", "millimeter", "millimeters")),
    "um": Unit(1e-6, "m", ("µm", "μm", "micron", "microns", "micrometre", "micrometer")),
    "km": Unit(1e3, "m", ("kilometre", "kilometres", "kilometer", "kilometers")),
}
TIMES: dict[str, Unit] = {
    "s": Unit(1.0, "s", ("sec", "secs", "second", "seconds")),
    "ms": Unit(1e-3, "s", ("msec", "millisecond", "milliseconds")),
    "us": Unit(1e-6, "s", ("µs", "μs", "usec", "microsecond", "microseconds")),
    "ns": Unit(1e-9, "s", ("nsec", "nanosecond", "nanoseconds")),
    "min": Unit(60.0, "s", ("mins", "minute", "minutes")),
    "h": Unit(3600.0, "s", ("hr", "hrs", "hour", "hours")),
    "d": Unit(86400.0, "s", ("day", "days")),
}
_BY_SPELLING = {
    spelling: name
    for units in (UNITS, TIMES)
    for name, unit in units.items()
    for spelling in (name, *unit.spellings)
}
_BRACKETS = re.compile(r"^(?P<name>.*?)\s*[(\[](?P<unit>[^()\[\]]*)[)\]]\s*$")


def usual_name(unit: str) -> str:
    """The name of a unit however it is spelt; one that is not known is left as it is."""
    text = unit.strip()
    return _BY_SPELLING.get(text, _BY_SPELLING.get(text.lower(), text))


def spellings(units: dict[str, Unit]) -> list[str]:
    """All that one may write for these units."""
    return [text for name, unit in units.items() for text in (name, *unit.spellings)]


def size(unit: str) -> tuple[float, str]:
    """(size in the SI unit, that unit); of one that is not known, (1, itself)."""
    known = UNITS.get(usual_name(unit))
    return (known.size, known.si) if known else (1.0, unit)


def in_brackets(column: str) -> tuple[str, str]:
    """A column's name without the unit in brackets at its end, and that unit; '' if none is known.

    Of a rate's, `deg/s` for instance, the unit is `deg`.
    """
    found = _BRACKETS.match(column)
    if found is None:
        return column, ""
    unit = usual_name(re.split(r"\s*(?:/|\*|·|\s)", found["unit"].strip())[0])
    known = unit in UNITS or unit in TIMES
    return (found["name"], unit) if known else (column, "")
