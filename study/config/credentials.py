"""Passwords in URLs: found, refused, taken out. Nothing that is saved or shown may hold one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from study.config.errors import ConfigError

VARIABLE = "STUDY_STORAGE"
FROM_VARIABLE = f"from {VARIABLE}"

# up to the last @, for a password may hold anything; [?&]: libpq takes one as a parameter too
_URL = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*://)(?P<user>[^\s'\"]*@)?(?P<rest>[^\s'\"]*)")
_PARAMETER = re.compile(r"(?i)\b(?:ssl)?passw(?:or)?d\s*=")


def default_storage() -> str | None:
    """The default of the key `storage`: the variable's name, never its content."""
    return FROM_VARIABLE if os.environ.get(VARIABLE) else None


def holds_password(text: str) -> bool:
    """Whether a text holds a URL with a password, or `password=`."""
    users = (match["user"] or "" for match in _URL.finditer(text))
    return any(":" in user for user in users) or bool(_PARAMETER.search(text))


def place(url: str) -> str:
    """Which server and database a URL means, without user, password and parameters."""
    return _URL.sub(lambda match: match["scheme"] + match["rest"].partition("?")[0], url)


def refuse(arguments: Iterable[str]) -> None:
    """**Raises:** `ConfigError` for a command line with a password; it does not repeat it."""
    for argument in arguments:
        if holds_password(argument):
            raise _refusal(argument.partition("=")[0].lstrip("+~") if "=" in argument else argument)


def refuse_settings(settings: Mapping[str, Any]) -> None:
    """**Raises:** `ConfigError` if a composed setting holds a password, wherever it came from."""
    for key, value in leaves(settings, ""):
        if isinstance(value, str) and holds_password(value):
            raise _refusal(key)


def _refusal(key: str) -> ConfigError:
    key = "the command line" if holds_password(key) else key
    return ConfigError(
        f"{key} holds a password, which process titles and study.yaml would show: put the URL "
        f"into the environment variable {VARIABLE}, or the password into a pgpass file or service"
    )


def leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """All values with their dotted keys; those of a list have the key of the list."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from leaves(inner, key)
    else:
        yield key, value
