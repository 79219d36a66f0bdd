"""Text for a terminal, without control characters; pipes that close early.

Names, errors and tracebacks come from files that anyone may have written: an escape sequence in one
could hide or forge lines, and rich would take `[red]` for markup.
"""

from __future__ import annotations

import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterator
from typing import IO, Any

from rich.console import Console

KEPT = "\n\t"


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Go on silently once nobody reads any more; rich would end the program."""
        self.quiet = True
        _to_nowhere(self.file)


def console(**more: Any) -> Console:
    """A console that shows text as it is: no markup, no emoji names, no guessed colours."""
    return _Console(markup=False, emoji=False, highlight=False, **more)


def plain(text: object) -> str:
    """The text with every control or direction character but line breaks and tabs made visible."""
    return "".join(_visible(character) for character in str(text))


def one_line(text: object) -> str:
    """`plain` on one line."""
    return " ".join(plain(text).split())


def _visible(character: str) -> str:
    # C: control, format (directions, zero widths), surrogate, private, unassigned
    if character in KEPT or not unicodedata.category(character).startswith("C"):
        return character
    return character.encode("unicode_escape").decode()


@contextlib.contextmanager
def busy(text: str) -> Iterator[None]:
    """Show a spinner on stderr, if that is a terminal."""
    shown = console(stderr=True)
    if not shown.is_terminal:
        yield
        return
    with shown.status(text):
        yield


@contextlib.contextmanager
def quiet_pipe() -> Iterator[None]:
    """Ignore a reader that closes the pipe early, as `| head` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _to_nowhere(sys.stdout)


def _to_nowhere(file: IO[str]) -> None:
    """Discard the rest, which Python would else try to flush when it exits, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
