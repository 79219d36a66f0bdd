"""The commands on a terminal: the folder of a study as argument, text without control characters.

Names, errors and tracebacks come from files that anyone may have written: an escape sequence in one
could hide or forge lines, and rich would take `[red]` for markup.
"""

import argparse
import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from rich.console import Console

from study import __version__
from study.config.errors import close_name

MADE_OF = ("study.yaml", "cells", "results.parquet")  # a study has at least one of them
OUTPUTS = Path("outputs")


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
    return "".join(
        # C: control, format (directions, zero widths), surrogate, private, unassigned
        character.encode("unicode_escape").decode()
        if character not in "\n\t" and unicodedata.category(character).startswith("C")
        else character
        for character in str(text)
    )


def one_line(text: object) -> str:
    """`plain` on one line."""
    return " ".join(plain(text).split())


@contextlib.contextmanager
def busy(text: str) -> Iterator[None]:
    """Show a spinner on stderr, if that is a terminal."""
    shown = console(stderr=True)
    with shown.status(text) if shown.is_terminal else contextlib.nullcontext():
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


VERSION = f"lagrangian-study {__version__}"


def told(arguments: list[str], usage: str) -> bool:
    """Print `usage` or the version if that, or nothing, is asked for; whether it was."""
    if not arguments or set(arguments) & {"-h", "--help"}:
        print(usage)
        return True
    if "--version" in arguments:
        print(VERSION)
        return True
    return False


class Parser(argparse.ArgumentParser):
    """A command with one folder and some flags, whose errors are one sentence."""

    def __init__(self, prog: str, description: str):
        layout = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, None, description, formatter_class=layout, allow_abbrev=False)
        self.add_argument("--version", action="version", version=VERSION)

    def read(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """The arguments. **Raises:** `SystemExit`, status 2, for what the command does not take."""
        given = list(sys.argv[1:] if arguments is None else arguments)
        known = {flag[2:]: flag for flag in self._option_string_actions if flag[:2] == "--"}
        for flag in (argument.partition("=")[0] for argument in given):
            if flag.startswith("-") and flag not in self._option_string_actions:
                close = close_name(flag.strip("-"), known)
                listed = f"known are {', '.join(known.values())}"
                hint = f"did you mean {known[close]}?" if close else listed
                self.error(f"unknown flag {flag}: {hint}")
        read, extra = self.parse_known_args(given)
        if extra:
            self.error(f"{' '.join(extra)} is too much: give one folder")
        return read

    def error(self, message: str) -> NoReturn:
        """Leave with one sentence."""
        if "required: folder" in message:
            message = f"no folder is given: write {self.prog} {_an_example(OUTPUTS)}"
        self.exit(2, f"error: {one_line(message)}\n")


def is_study(folder: Path) -> bool:
    """Whether a study, or what is left of one, lies in the folder."""
    return any((folder / name).exists() for name in MADE_OF)


def studies_in(folder: Path) -> list[Path]:
    """The studies that a folder holds; none if it is a study itself."""
    if not folder.is_dir() or is_study(folder):
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and is_study(path))


def no_study(folder: Path) -> str:
    """Why a folder is no study, and which one may be meant, in one sentence."""
    if studies_in(folder):
        return (
            f"{folder} is a folder of studies: name one of them, {_an_example(folder)} for instance"
        )
    reason = "it is a file" if folder.exists() else "there is no such folder"
    if folder.is_dir():
        reason = f"it has no {', no '.join(MADE_OF)}"
    beside = [*studies_in(OUTPUTS), *studies_in(folder.absolute().parent)]
    close = close_name(folder.name, [path.name for path in beside])
    for path in beside:
        if path.name == close:
            return f"{folder} is no study, {reason}: did you mean {path}?"
    return f"{folder} is no study, {reason}: give the folder of one, {_an_example(OUTPUTS)}"


def _an_example(folder: Path) -> str:
    studies = studies_in(folder)
    return str(studies[0]) if studies else f"{folder}/<study>"
