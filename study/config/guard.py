"""What a command line or a config may not make Hydra do: run or import something it names.

Knows: where Hydra turns names into code (launchers, sweepers, callbacks, logging, search paths,
pickles of former runs, the environment of jobs). Does not know: what a setting of a study means.

A study's own settings are plain values of a strict schema. What remains is Hydra's part of the
config, and it may come from anywhere: the command line, a folder of configs from somebody else.
A launcher's own settings, `setup` of a SLURM job for instance, are shell commands by nature, and
belong to whoever runs the command.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

from hydra._internal.utils import get_args_parser  # what hydra.main itself reads flags with
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from study.config.errors import ConfigError, close_name, nearest

SWEEPER = "hydra_plugins.study_sweeper.study_sweeper.StudySweeper"
_FORMATTERS = ("colorlog.ColoredFormatter",)  # of Hydra's colorlog plugin
_LOGGING = re.compile(r"logging\.(handlers\.)?\w*(Handler|Formatter)")
# what may stand for a value: another key, a variable; not what makes a mapping of a text
_PLAIN = re.compile(r"\$\{([\w.\[\]]+|oc\.env:[\w ,./-]+)\}")
_STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
# others can make a job load or run another program: LD_PRELOAD, CXX, OMP_TOOL_LIBRARIES, ...
_ENVIRONMENT = (
    "CUDA_VISIBLE_DEVICES",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "STUDY_CACHE",
)


@dataclasses.dataclass(frozen=True)
class Flags:
    """A command line taken apart.

    - `config_dir`: a folder of the user's own configs.
    - `completion`: whether a shell asks how the line may go on.
    """

    overrides: tuple[str, ...]
    config_dir: Path | None
    completion: bool


def read_flags(arguments: Sequence[str]) -> Flags:
    """Take a command line apart as Hydra will.

    **Raises:** `ConfigError` for a flag that is none of Hydra's, or that would replace the
    project's config or unpickle one.
    """
    parser = get_args_parser()
    refuse_unknown(arguments, parser._option_string_actions)
    parser.error = _refuse  # type: ignore[method-assign]
    found: argparse.Namespace = parser.parse_args(flags_first(arguments))
    if found.experimental_rerun is not None:
        raise ConfigError(
            f"--experimental-rerun={found.experimental_rerun} would unpickle a file: give the "
            "study's command again, it goes on from there"
        )
    for flag in ("config_path", "config_name"):
        if (value := getattr(found, flag)) is not None:
            raise ConfigError(
                f"--{flag.replace('_', '-')}={value} replaces the project's config: keep your own "
                "configs in a folder and give --config-dir=FOLDER"
            )
    folder = None if found.config_dir is None else Path(found.config_dir).absolute()
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--config-dir={found.config_dir} is not a folder")
    return Flags(tuple(found.overrides), folder, found.shell_completion)


def _refuse(message: str) -> NoReturn:
    raise ConfigError(message)


def flags_first(arguments: Sequence[str]) -> list[str]:
    """The command line as Hydra reads it whole: it knows no override after flags among them."""
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
    """Only flags as they are spelt: argparse would take `--experiment` for --experimental-rerun.

    **Raises:** `ConfigError`, with the setting that was meant.
    """
    for argument, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        flag, _, value = argument.partition("=")
        if not flag.startswith("-") or flag in known or (flag[:2] in known and flag[1] != "-"):
            continue
        if close := close_name(flag.strip("-"), [each.strip("-") for each in known], cutoff=0.7):
            raise ConfigError(f"unknown flag {flag}: did you mean --{close}?")
        name = flag.lstrip("-").replace("-", "_")
        if len(name) < 2:
            raise ConfigError(f"unknown flag {flag}: --help shows what can be given")
        plus = "+" if name == "experiment" else ""
        value = value or (following if following and "=" not in following else "true")
        raise ConfigError(
            f"unknown flag {flag}: settings have no dashes, so write {plus}{name}={value}"
        )


def check_overrides(overrides: Iterable[Override]) -> None:
    """What must be refused before a config is composed, since composing it imports packages.

    **Raises:** `ConfigError`.
    """
    for override in overrides:
        if not override.key_or_group.startswith("hydra"):
            continue
        line = str(override.input_line)
        if override.is_sweep_override():
            raise ConfigError(f"{line} sweeps over a setting of Hydra's: give it one value")
        if override.key_or_group == "hydra.searchpath" and re.search(r"(?!file:)\b\w+://", line):
            raise ConfigError(f"{line} would import a package: give folders, or --config-dir")


def check_composed(config: DictConfig) -> None:
    """Refuse what Hydra would run or import by name. **Raises:** `ConfigError`."""
    _check_hidden(config.hydra, "hydra")
    hydra = cast(dict[str, Any], OmegaConf.to_container(config.hydra, resolve=False))
    _check_targets(hydra)
    for key in ("job_logging", "hydra_logging"):
        _check_logging(hydra.get(key), f"hydra.{key}")
    for name in hydra["job"].get("env_set") or {}:
        if name not in _ENVIRONMENT:
            raise ConfigError(
                f"hydra.job.env_set.{name} can make a job load or run another program: set it in "
                "your shell, whose variables jobs inherit"
            )
    _check_places(config)


def _check_hidden(node: Any, place: str) -> None:
    """No interpolation stands for more than a text: what is in a mapping is to be seen here."""
    keys: list[Any] = list(node if isinstance(node, DictConfig) else range(len(node)))
    for key in keys:
        inner: Any = node._get_node(key)
        name = f"{place}.{key}"
        if OmegaConf.is_interpolation(node, key):
            text = str(inner._value())
            hidden = "${" in _PLAIN.sub("", text)
            with contextlib.suppress(OmegaConfBaseException):  # Hydra's own, known in a job
                hidden = hidden or OmegaConf.is_config(node[key])
            if hidden:
                raise ConfigError(f"{name}={text} hides what it names: write it out")
        elif isinstance(inner, DictConfig | ListConfig) and not (
            inner._is_none() or inner._is_missing()
        ):
            _check_hidden(inner, name)


def _check_targets(hydra: Mapping[str, Any]) -> None:
    """Only the launcher and the sweeper are made from a name, and only from a plugin's."""
    launchers = [f"{c.__module__}.{c.__name__}" for c in Plugins.instance().discover(Launcher)]
    allowed = {"launcher._target_": launchers, "sweeper._target_": [SWEEPER]}
    for key, value in _leaves(hydra, ""):
        name = key.rpartition(".")[2]
        if name in ("_target_", "_partial_", "_args_", "_recursive_"):
            if key not in allowed:
                raise ConfigError(f"hydra.{key}={value} names something to run: remove it")
            if value not in allowed[key]:
                raise ConfigError(
                    f"hydra.{key}={value} is no plugin of Hydra's: {nearest(value, allowed[key])}"
                )
    if callbacks := hydra.get("callbacks"):
        first = next(iter(callbacks))
        raise ConfigError(f"hydra.callbacks.{first} names something to run: remove it")


def _check_logging(node: Any, place: str) -> None:
    """`logging.config` calls what `class` and `()` name, and imports what follows `ext://`."""
    for key, value in _leaves(node, place):
        name = key.rpartition(".")[2]
        text = str(value)
        if name == "()" and text not in _FORMATTERS:
            raise ConfigError(f"{key}={text} names something to run: remove it")
        if name == "class" and not _LOGGING.fullmatch(text):
            raise ConfigError(f"{key}={text} is not one of Python's logging handlers or formatters")
        if re.match(r"(ext|cfg)://", text) and text not in _STREAMS:
            raise ConfigError(f"{key}={text} would be imported: use {' or '.join(_STREAMS)}")
        if "${" in text and name in ("class", "()", "stream"):
            raise ConfigError(f"{key}={text} hides what it names: write it out")


def _check_places(config: DictConfig) -> None:
    """A study lies in outputs/<study>/, and nothing of it anywhere else."""
    own = f"outputs/{config.study}"
    wanted = {
        "hydra.mode": "MULTIRUN",
        "hydra.run.dir": own,
        "hydra.sweep.dir": own,
        "hydra.sweep.subdir": ".",
        "hydra.job.chdir": False,
        "hydra.output_subdir": None,
    }
    for key, right in wanted.items():
        value = OmegaConf.select(config, key)
        value = getattr(value, "name", value)
        if value != right:
            raise ConfigError(
                f"{key}={value} is not for a study to choose: leave it out (it is {right}); cd to "
                "where outputs/ is to be, or make outputs/ a link"
            )


def _leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """All values with their dotted keys; those of a list have the key of the list."""
    if isinstance(node, Mapping):
        for name, inner in node.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        if key.rpartition(".")[2] == "_args_":
            yield key, node
        for inner in node:
            yield from _leaves(inner, key)
    else:
        yield key, node
