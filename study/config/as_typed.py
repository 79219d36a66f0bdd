"""Names of columns and files on a command line: taken as they stand, and shown as one types them.

Hydra reads `1_2` as the number 12 and refuses a bracket, a number sign or an umlaut, unless a text
is in quotes. Where only a name can stand, the quotes are put here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

ONE = tuple(f"data.columns.{key}" for key in ("time", "trajectory", "time_unit"))  # not a list
PATHS = ("data.path", "system.path")
_PLAIN = re.compile(r"(?!(?:null|true|false|nan|inf|on|off|yes|no)$)[A-Za-z_][\w.-]*", re.A | re.I)
_ITEM = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^,'"][^,]*|)\s*(?:,|$)""")


def quoted(override: str) -> str:
    """The override with names in quotes if Hydra would read anything else from them.

    Several values are left as they are, and so are `null`, interpolations and what is in quotes.
    """
    key, equals, text = override.partition("=")
    text = text.strip()
    name = key.lstrip("+")
    if not equals or text in ("", "null") or "${" in text:
        return override
    if name in PATHS:
        several = "," in text and not Path(text).expanduser().exists()
        return override if several else f"{key}={_quoted(text)}"
    if not name.startswith("data.columns."):
        return override
    if (
        name not in ONE
        and text[0] == "["
        and text[-1] == "]"
        and not re.search(r"\]\s*,\s*\[", text)
    ):
        return f"{key}=[{','.join(map(_quoted, items(text[1:-1])))}]"
    return override if len(items(text)) > 1 else f"{key}={_quoted(text)}"


def items(text: str) -> list[str]:
    """What stands between commas that are in no quotes."""
    names, place = [], 0
    while place < len(text):
        match = _ITEM.match(text, place)
        if match is None:  # a quote that is not closed, or text behind one: Hydra says so
            return [text]
        names.append(match[1].strip())
        place = match.end()
    return names


def to_type(key: str, value: str | Sequence[str]) -> str:
    """A setting as one types it in a shell, `'data.columns.q=[Theta (deg),x]'` for instance."""
    if isinstance(value, str):
        return shlex.quote(f"{key}={item(value)}")
    return shlex.quote(f"{key}=[{','.join(map(item, value))}]")


def once(key: str, names: Sequence[str]) -> str:
    """The end of a sentence on several values of a key of `data.columns`, which is never swept."""
    if key not in ONE and names:
        names = [name.strip("[] ") for name in names]
        return f"and columns are not swept: write {to_type(key, names)}"
    return f"and columns are not swept: give {key} one name"


def item(name: str) -> str:
    """A name as one types it, in quotes if Hydra would cut it."""
    return _in_quotes(name) if re.search(r"""[,'"]|^\s|\s$""", name) else name


def _quoted(text: str) -> str:
    in_quotes = len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]
    return text if in_quotes or _PLAIN.fullmatch(text) else _in_quotes(text)


def _in_quotes(text: str) -> str:
    """In single quotes, as Hydra undoes them: backslashes count only before a quote."""
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + "\\'", text)
    tail = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{escaped[len(escaped) - tail :]}'"
