"""One sentence for a setting that cannot be right: key, value, and what would be.

Passwords in URLs are found and refused here too: nothing that is saved or shown may hold one.
"""

import dataclasses
import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

T = TypeVar("T")

VARIABLE = "STUDY_STORAGE"  # a database's URL may stand here, password and all
FROM_VARIABLE = f"from {VARIABLE}"

# up to the last @, because a password may hold anything; [?&]: libpq takes one as a parameter too
_URL = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*://)(?P<user>[^\s'\"]*@)?(?P<rest>[^\s'\"]*)")
_PARAMETER = re.compile(r"(?i)\b(?:ssl)?passw(?:or)?d\s*=")

# pydantic's words -> those of a reader
_BETTER = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid string": "a name",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}
# pydantic puts the branch of a union into the place of an error
_BRANCHES = ("constrained-", "int", "float", "none", "function-")


class ConfigError(ValueError):
    """A setting that cannot be right: one sentence with the key, the value and what would be."""


def in_full(error: BaseException) -> None:
    """Raise an error with its causes if HYDRA_FULL_ERROR=1 asks for its traceback."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        link: BaseException | None = error
        while link is not None:  # a sentence hides what it was made of
            link.__suppress_context__ = False
            link = link.__context__
        raise error


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


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """All values with their dotted keys; those of a list have the key of the list."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from leaves(inner, key)
    else:
        yield key, value


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All dotted keys of a nested mapping with their values, inner nodes included."""
    for key, value in config.items():
        yield f"{prefix}{key}", value
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")


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
        close = close_name(last, [k.rpartition(".")[2] for k in beside])
        meant = [f"{parent}.{close}"] if close else []
    elif not meant:
        close = close_name(key, known, cutoff=0.6)
        meant = [close] if close else []
    if meant:
        return f"unknown key {key}: did you mean {' or '.join(meant)}?"
    return f"unknown key {key}: known are {', '.join(beside or [k for k in known if '.' not in k])}"


def altered(instance: T, **values: Any) -> T:
    """`dataclasses.replace`, checked anew; the same instance if nothing differs."""
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
    if isinstance(raised := first.get("ctx", {}).get("error"), ConfigError):
        return str(raised)
    steps = [str(step) for step in first["loc"] if not str(step).startswith(_BRANCHES)]
    key = (prefix + ".".join(steps)).replace("system.constants.", "system.")
    wants, value = first["msg"].removeprefix("Input should be "), first["input"]
    if first["type"] == "missing" or value is None:
        return f"{key} is not given: it should be {wants.replace('Field required', 'set')}"
    if first["type"] == "literal_error" and isinstance(value, str):
        options = re.findall(r"'([^']*)'", wants)
        # a guess between two is no help: cpu for gpu
        hint = nearest(value, options) if len(options) > 2 else f"known are {', '.join(options)}"
        return f"{key}={value} is not known: {hint}"
    for words, better in _BETTER.items():
        wants = wants.replace(words, better)
    if isinstance(value, float) and value.is_integer() and "whole number" in wants:
        wants += f", {value:.0f} for instance"
    return f"{key}={value} is not allowed: it should be {wants}"


def holds_password(text: str) -> bool:
    """Whether a text holds a URL with a password, or `password=`."""
    users = (match["user"] or "" for match in _URL.finditer(text))
    return any(":" in user for user in users) or bool(_PARAMETER.search(text))


def place(url: str) -> str:
    """Which server and database a URL means, without user, password and parameters."""
    return _URL.sub(lambda match: match["scheme"] + match["rest"].partition("?")[0], url)


def refuse_passwords(settings: Iterable[str] | Mapping[str, Any]) -> None:
    """Refuse a command line or a composed config that holds a password, and do not repeat it.

    **Raises:** `ConfigError`.
    """
    if isinstance(settings, Mapping):
        texts = {key: value for key, value in leaves(settings) if holds_password(str(value))}
    else:
        bad = [argument for argument in settings if holds_password(argument)]
        texts = {a.partition("=")[0].lstrip("+~") if "=" in a else a: a for a in bad}
    for key in texts:
        raise ConfigError(
            f"{'the command line' if holds_password(key) else key} holds a password, which process "
            "titles and study.yaml would show: put the URL into the environment variable "
            f"{VARIABLE}, or the password into a pgpass file or service"
        )
