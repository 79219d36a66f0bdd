"""The flags of a command line, which are Hydra's: those that could run code are refused."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser  # what hydra.main itself reads flags with

from study.config import credentials
from study.config.errors import ConfigError, close_name

# flags that Hydra answers, and that start no study
_ANSWERED_BY_HYDRA = ("cfg", "info", "hydra_help", "package", "resolve", "shell_completion")


@dataclasses.dataclass(frozen=True)
class Flags:
    """A command line taken apart.

    - `config_dir`: a folder of the user's own configs.
    - `completion`: whether a shell asks how the line may go on.
    - `for_hydra`: whether Hydra is asked to show something.
    """

    overrides: tuple[str, ...]
    config_dir: Path | None
    completion: bool
    for_hydra: bool


def read_flags(arguments: Sequence[str]) -> Flags:
    """Take a command line apart as Hydra does.

    **Raises:** `ConfigError` for a password, for a flag that is none of Hydra's, and for one that
    would replace the project's config or unpickle one.
    """
    credentials.refuse(arguments)
    parser = get_args_parser()
    refuse_unknown(arguments, parser._option_string_actions)
    parser.error = _refuse  # type: ignore[method-assign]
    flags = parser.parse_args(flags_first(arguments))
    if flags.experimental_rerun is not None:
        raise ConfigError(
            f"--experimental-rerun={flags.experimental_rerun} would unpickle a file: give the "
            "study's command again, it goes on from there"
        )
    for flag in ("config_path", "config_name"):
        if (value := getattr(flags, flag)) is not None:
            raise ConfigError(
                f"--{flag.replace('_', '-')}={value} replaces the project's config: keep your own "
                "configs in a folder and give --config-dir=FOLDER"
            )
    folder = None if flags.config_dir is None else Path(flags.config_dir).absolute()
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--config-dir={flags.config_dir} is not a folder")
    for_hydra = any(getattr(flags, name) for name in _ANSWERED_BY_HYDRA)
    return Flags(tuple(flags.overrides), folder, flags.shell_completion, for_hydra)


def _refuse(message: str) -> NoReturn:
    raise ConfigError(message)


def flags_first(arguments: Sequence[str]) -> list[str]:
    """The command line with its flags first: argparse takes no override after flags among them."""
    known = get_args_parser()._option_string_actions
    flags: list[str] = []
    overrides: list[str] = []
    left = iter(arguments)
    for argument in left:
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        flags.append(argument)
        if argument in known and known[argument].nargs is None:
            flags += [value for value in [next(left, None)] if value is not None]
    return [*flags, *overrides]


def refuse_unknown(arguments: Sequence[str], known: Collection[str]) -> None:
    """Refuse a flag that is not spelt as one of `known`, which argparse would complete.

    **Raises:** `ConfigError`, with the setting that was meant.
    """
    for argument, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        flag, _, value = argument.partition("=")
        if not flag.startswith("-") or flag in known or (flag[:2] in known and flag[1] != "-"):
            continue
        name = flag.lstrip("-").replace("-", "_")
        close = close_name(flag.strip("-"), [k.strip("-") for k in known], cutoff=0.7)
        if close and name != "experiment":
            raise ConfigError(f"unknown flag {flag}: did you mean --{close}?")
        if len(name) < 2:
            raise ConfigError(f"unknown flag {flag}: --help shows what can be given")
        plus = "+" if name == "experiment" else ""
        value = value or (following if following and "=" not in following else "true")
        raise ConfigError(
            f"unknown flag {flag}: settings have no dashes, so write {plus}{name}={value}"
        )
