"""The argument of `study.status` and `study.report`: the folder of a study, and flags."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from study.config.errors import close_name
from study.config.terminal import one_line

MADE_OF = ("study.yaml", "cells", "results.parquet")  # a study has at least one of them
OUTPUTS = Path("outputs")


class Parser(argparse.ArgumentParser):
    """A command with one folder and some flags, whose errors are one sentence."""

    def __init__(self, prog: str, description: str, **more: Any):
        super().__init__(
            prog,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **more,
        )

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
    if folder.is_dir():
        reason = f"it has no {', no '.join(MADE_OF)}"
    else:
        reason = "it is a file" if folder.exists() else "there is no such folder"
    beside = {str(path): path.name for path in studies_in(OUTPUTS)}
    beside |= {str(path): path.name for path in studies_in(folder.absolute().parent)}
    close = close_name(folder.name, beside.values())
    meant = [path for path, name in beside.items() if name == close]
    if meant:
        return f"{folder} is no study, {reason}: did you mean {meant[0]}?"
    return f"{folder} is no study, {reason}: give the folder of one, {_an_example(OUTPUTS)}"


def _an_example(folder: Path) -> str:
    studies = studies_in(folder)
    return str(studies[0]) if studies else f"{folder}/<study>"
