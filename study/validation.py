"""One sentence for a setting that cannot be right: key, value, and what would be.

Knows: pydantic's errors and how to say them. Does not know: which settings there are.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

T = TypeVar("T")


class ConfigError(ValueError):
    """A setting that cannot be right: one sentence with the key, the value and what would be."""


def nearest(value: str, known: Iterable[str]) -> str:
    """The tail of an error sentence: the nearest known name, then all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(str(value), known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}Known: {', '.join(known)}"


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
        return f"{key}={value} is not known: {nearest(value, options)}"
    return f"{key}={value} is not allowed: it should be {wants}"


def _is_type_tag(part: str) -> bool:
    """pydantic puts the branch of a union into the location; a reader does not want it."""
    return part.startswith(("constrained-", "int", "float", "none", "function-"))
