"""One sentence for a setting that cannot be right: key, value, and what would be."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

T = TypeVar("T")

# pydantic's words -> those of a reader
_BETTER = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid string": "a name",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}


class ConfigError(ValueError):
    """A setting that cannot be right: one sentence with the key, the value and what would be."""


def first_line(error: object) -> str:
    """The first line of a text or of an exception's message, or else the exception's type."""
    text = str(error).strip().partition("\n")[0]
    return text if text or not isinstance(error, BaseException) else type(error).__name__


def close_name(value: str, known: Iterable[str], cutoff: float = 0.5) -> str | None:
    """The known name nearest to what was written, whatever its case; None if none is near."""
    by_lower = {name.lower(): name for name in sorted(known, reverse=True)}
    close = difflib.get_close_matches(str(value).lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[close[0]] if close else None


def nearest(value: str, known: Iterable[str]) -> str:
    """The tail of an error sentence: the nearest known name, or all of them if none is near."""
    known = sorted(known)
    close = close_name(value, known)
    return f"did you mean {close}?" if close else f"known are {', '.join(known)}"


def flat_keys(config: Mapping[str, Any], prefix: str = "") -> set[str]:
    """All dotted keys of a nested mapping, inner nodes included."""
    keys: set[str] = set()
    for key, value in config.items():
        keys.add(f"{prefix}{key}")
        if isinstance(value, Mapping):
            keys |= flat_keys(value, f"{prefix}{key}.")
    return keys


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The sentence for a dotted key that is not there.

    A key may lack its group or have another's (`lr`, `model.lr`: `optimizer.lr`), be misspelt
    within its group, or as a whole.
    """
    known = sorted(k for k in known if not k.endswith(".name"))  # which options of groups have
    parent, _, last = key.rpartition(".")
    meant = [k for k in known if "." in k and k.rpartition(".")[2] == last]
    beside = [k for k in known if k.rpartition(".")[0] == parent]
    if not meant and parent and beside:
        names = {k.rpartition(".")[2]: k for k in beside}
        close = close_name(last, names)
        meant = [names[close]] if close else []
    elif not meant:
        close = close_name(key, known, cutoff=0.6)
        meant = [close] if close else []
    if meant:
        return f"unknown key {key}: did you mean {' or '.join(meant)}?"
    return f"unknown key {key}: known are {', '.join(beside or [k for k in known if '.' not in k])}"


def altered(instance: T, **values: Any) -> T:
    """`dataclasses.replace`, checked anew; the same instance where nothing differs."""
    if all(getattr(instance, key) == value for key, value in values.items()):
        return instance
    return dataclasses.replace(instance, **values)  # type: ignore[type-var]


def build(kind: type[T], values: dict[str, Any], prefix: str) -> T:
    """A checked pydantic dataclass; `prefix` begins its keys' names. **Raises:** `ConfigError`."""
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown key {prefix}{key}: {nearest(key, known)}")
    try:
        return kind(**values)
    except ValidationError as error:
        raise ConfigError(_sentence(error, prefix)) from None


def _sentence(error: ValidationError, prefix: str) -> str:
    """The first failing setting of a pydantic error as one sentence."""
    first = error.errors()[0]
    raised = first.get("ctx", {}).get("error")
    if isinstance(raised, ConfigError):
        return str(raised)
    place = [str(part) for part in first["loc"] if not _is_type_tag(str(part))]
    if prefix == "system." and place[:1] == ["constants"]:
        place = place[1:]
    key = prefix + ".".join(place)
    wants = re.sub(r"^Input should be ", "", first["msg"])
    if first["type"] == "missing" or first["input"] is None:
        return f"{key} is not given: it should be {wants.replace('Field required', 'set')}"
    value = first["input"]
    if first["type"] == "literal_error" and isinstance(value, str):
        options = re.findall(r"'([^']*)'", wants)
        # a guess between two is no help: cpu for gpu
        hint = nearest(value, options) if len(options) > 2 else f"known are {', '.join(options)}"
        return f"{key}={value} is not known: {hint}"
    for said, better in _BETTER.items():
        wants = wants.replace(said, better)
    if isinstance(value, float) and value.is_integer() and "whole number" in wants:
        wants += f", {value:.0f} for instance"
    return f"{key}={value} is not allowed: it should be {wants}"


def _is_type_tag(part: str) -> bool:
    """pydantic puts the branch of a union into the location; a reader does not want it."""
    return part.startswith(("constrained-", "int", "float", "none", "function-"))
