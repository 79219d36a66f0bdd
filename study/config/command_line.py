"""A command line taken apart, checked and composed; a mistake is one sentence.

A command line that is right is composed once. Only one that cannot be composed is looked at again,
for the sentence that says why. Flags are Hydra's, and those that could run code are refused.
"""

import dataclasses
import decimal
import functools
import itertools
import math
import os
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose as hydra_compose
from hydra._internal.grammar import grammar_functions
from hydra._internal.utils import get_args_parser  # what hydra.main itself reads flags with
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    RangeSweep,
    Sweep,
    ValueType,
)
from omegaconf import DictConfig, OmegaConf

from study.config import own_system
from study.config.as_typed import once, quoted
from study.config.errors import (
    ConfigError,
    close_name,
    flat,
    leaves,
    nearest,
    refuse_passwords,
    unknown_key,
)
from study.config.hydra import (
    FREE,
    LAUNCHER,
    LAUNCHER_MORE,
    OWN_SYSTEM,
    ROOT,
    check_composed,
    offer_own_system,
    opened,
    plain,
    refuse_of_sweepers,
    sentences,
)
from study.config.run import Run
from study.config.schema import ESTIMATES, FROM_FILE, GROUPS, TOP

# What belongs to a command as a whole: one value each, never a sweep over several.
COMMAND_KEYS = {"experiment", "grid", "question", "compile", OWN_SYSTEM} | {
    field.name for field in dataclasses.fields(Run)
}
TOP_KEYS = {*COMMAND_KEYS, *GROUPS, *TOP}
# keys that one option of a group has -> that option
ONLY = {OWN_SYSTEM: "system=file", "data.path": "data=file"} | {
    f"data.{key}": "data=file" for key in (*FROM_FILE, *ESTIMATES) if key != "sha256"
}
# flags that Hydra answers, and that start no study
_ANSWERED_BY_HYDRA = ("cfg", "info", "hydra_help", "package", "resolve", "shell_completion")


@dataclasses.dataclass(frozen=True)
class Flags:
    """A command line taken apart."""

    overrides: tuple[str, ...]
    config_dir: Path | None  # of the user's own configs
    completion: bool  # whether a shell asks how the line may go on
    for_hydra: bool  # whether Hydra is asked to show something


def read_flags(arguments: Sequence[str]) -> Flags:
    """Take a command line apart as Hydra does. **Raises:** `ConfigError` for a password, and for
    a flag that is none of Hydra's, would replace the project's config, or unpickle one."""
    refuse_passwords(arguments)
    parser = get_args_parser()
    refuse_unknown(arguments, parser._option_string_actions)

    def refuse(message: str) -> NoReturn:
        raise ConfigError(message)

    parser.error = refuse  # type: ignore[method-assign]
    flags = parser.parse_intermixed_args(arguments)
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
    for name in ("resolve", "package"):
        if getattr(flags, name) and not flags.cfg:
            raise ConfigError(f"--{name} says how a config is shown: give --cfg job too")
    if flags.shell_completion and not _asked_by_shell(flags.overrides):
        raise ConfigError(
            '--shell-completion says which shell, install=bash; eval "$(study completion bash)" '
            "completes study and python -m study.sweep (or zsh, fish)"
        )
    for_hydra = any(getattr(flags, name) for name in _ANSWERED_BY_HYDRA)
    return Flags(tuple(flags.overrides), folder, flags.shell_completion, for_hydra)


def _asked_by_shell(overrides: Sequence[str]) -> bool:
    """Whether Hydra's completion knows what to do: install it, or ask how a line goes on."""
    actions = [re.fullmatch(r"(install|uninstall|query)=(bash|zsh|fish)", o) for o in overrides]
    names = [action[1] for action in actions if action]
    return bool(names) and ("query" not in names or "COMP_LINE" in os.environ)


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


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """Overrides taken apart.

    - `swept`: config key or group -> its values, in the order given.
    - `ranges`: key -> an `interval(...)` as it was written, which only a search can take.
    - `options`: key -> a `choice(...)` or `range(...)` as it was written: a grid takes all of them,
      and so they are in `swept` too; a search chooses.
    - `keys`: all that were given, fixed or swept.
    - `parsed`: as Hydra has them.
    """

    swept: Mapping[str, tuple[Any, ...]]
    ranges: Mapping[str, str]
    options: Mapping[str, str]
    keys: frozenset[str]
    parsed: tuple[Override, ...] = ()


def with_plus(overrides: Sequence[str]) -> list[str]:
    """Overrides with the plus that Hydra wants of what is in no default: nobody has to write it."""
    given = (re.sub(r"^experiment=", "+experiment=", override) for override in overrides)
    # submitit has it, and Hydra's schema of its settings lacks it
    srun = r"^\+*hydra\.launcher\.use_srun="
    given = (re.sub(srun, f"{LAUNCHER_MORE}.use_srun=", override) for override in given)
    free = r"^\+*(search\.sampler_options[.=]|hydra\.callbacks\.)"
    return [re.sub(free, r"++\1", override) for override in given]


def each_experiment(overrides: Sequence[str]) -> list[list[str]]:
    """The command lines of several experiments, `+experiment=a,b`; none if there is one or none.

    **Raises:** `ConfigError` if they all have the same study.
    """
    given = with_plus(overrides)
    named = (re.fullmatch(r"\+experiment=(?:choice\()?([\w,]+)\)?", line) for line in given)
    lines = [match for match in named if match and "," in match[1]]
    if not lines:
        return []
    for line in given:
        if line.startswith("study="):
            raise ConfigError(
                f"{line} and {lines[0][0]}: each experiment is a study of its own name: leave "
                "study out"
            )
    names = filter(None, lines[0][1].split(","))
    return [[f"+experiment={n}" if o == lines[0][0] else o for o in given] for n in names]


@functools.lru_cache(maxsize=1)
def read_overrides(overrides: tuple[str, ...], loader: ConfigLoader) -> CommandLine:
    """Take a command line's overrides apart. **Raises:** `ConfigError`."""
    parsed = parse(with_plus(overrides), loader)
    given: dict[str, str] = {}
    swept: dict[str, tuple[Any, ...]] = {}
    ranges, options = {}, {}
    for override in parsed:
        key, line = override.key_or_group, str(override.input_line)
        text, of_command = line.partition("=")[2], key.partition(".")[0] in COMMAND_KEYS
        if given.setdefault(key, text) != text:  # Hydra would take the last
            one = of_command or key.startswith("hydra")
            both = "" if one else f", or both values as {key}={given[key]},{text}"
            raise ConfigError(
                f"{key} is given twice, as {given[key]} and as {text}: give it once{both}"
            )
        if override.is_sweep_override() and of_command:
            raise ConfigError(
                f"{line} sweeps over {key}, which belongs to the whole command: give it one value"
            )
        if key.startswith("data.columns.") and override.is_sweep_override():
            names = [] if override.is_interval_sweep() else [*override.sweep_string_iterator()]
            raise ConfigError(f"{line} gives several values, {once(key, names)}")
        if override.is_interval_sweep():
            ranges[key] = text
        elif override.is_sweep_override():
            with sentences():  # typed as Hydra types single values
                values = [f"{key}={value}" for value in override.sweep_string_iterator()]
            if not values:
                raise ConfigError(f"{line} holds no value: give at least one")
            swept[key] = tuple(o.value() for o in parse(values, loader))
            if override.value_type in (ValueType.CHOICE_SWEEP, ValueType.RANGE_SWEEP):
                options[key] = text
    return CommandLine(swept, ranges, options, frozenset(given), tuple(parsed))


class _Range(RangeSweep):
    """Hydra's range, counted in decimals: its end is never in it, and three times 0.1 is 0.3."""

    def range(self) -> Any:
        numbers = (self.start, self.stop, self.step)
        if all(isinstance(number, int) for number in numbers):
            return super().range()
        start, stop, step = (decimal.Decimal(str(number)) for number in numbers)
        n = math.ceil((stop - start) / step)
        return [float(start + k * step) for k in range(n)]


def _range(start: int | float, stop: int | float | None = None, step: int | float = 1) -> _Range:
    if not step or not all(map(math.isfinite, (start, stop or 0, step))):
        raise ValueError("a range has ends that are numbers, and a step that is not 0")
    start, stop = (0, start) if stop is None else (start, stop)
    return _Range(start=start, stop=stop, step=step)


def _choice(*values: Any) -> ChoiceSweep:
    """Hydra's choice, which takes null too."""
    return grammar_functions.choice(*values)


def _functions() -> Any:
    """Hydra's functions of the command line, with the two that are made better here."""
    functions = create_functions()
    for name, function in {"choice": _choice, "range": _range}.items():
        del functions.definitions[name]
        functions.register(name, function)
    return functions


def parse(overrides: Sequence[str], loader: ConfigLoader | None = None) -> list[Override]:
    """Overrides as Hydra has them. **Raises:** `ConfigError`."""
    if sys.flags.optimize and any(set("({") & set(override) for override in overrides):
        raise ConfigError(
            "PYTHONOPTIMIZE (python -O) takes asserts out of the parser of Hydra, which cannot "
            "read brackets without them: unset it"
        )
    with sentences():
        lines = [quoted(override) for override in overrides]
        parsed = OverridesParser(_functions(), loader).parse_overrides(lines)
    for override in parsed:
        line = str(override.input_line)
        _check_tags(override)
        if override.is_delete():
            raise ConfigError(f"{line} would delete a setting: give it a value instead")
        if override.is_hydra_override() and override.is_sweep_override():
            raise ConfigError(f"{line} sweeps over a setting of Hydra's: give it one value")
        # before a config is composed, because composing it imports packages
        if override.key_or_group == "hydra.searchpath" and re.search(r"(?!file:)\b\w+://", line):
            raise ConfigError(f"{line} would import a package: give folders, or --config-dir")
    return parsed


def _check_tags(override: Override) -> None:
    """Refuse a tag that would change nothing: the only one is `log`, of an interval."""
    sweep, line = override.value(), override.input_line
    tags = sorted(sweep.tags) if isinstance(sweep, Sweep) else []
    for tag in (tag for tag in tags if tag != "log"):
        meant = "did you mean log?" if "log" in tag.lower() else "the only one is log"
        raise ConfigError(f"{line}: {tag} is no known tag: {meant}")
    if tags and not isinstance(sweep, IntervalSweep):
        raise ConfigError(
            f"{line}: a logarithmic scale is one of an interval: write tag(log,interval(low,high))"
        )


def compose(overrides: Sequence[str]) -> dict[str, Any]:
    """The plain config of one cell, composed once.

    **Raises:** `ConfigError`, one sentence, for an override that cannot be right.
    """
    refuse_passwords(overrides)
    with opened() as loader:
        command = read_overrides(tuple(overrides), loader)
        for key in (*command.swept, *command.ranges):
            raise ConfigError(
                f"{key} has several values, and one cell takes one: give one, or use "
                "python -m study.sweep"
            )
        return plain(compose_first(command, loader))


def compose_first(command: CommandLine, loader: ConfigLoader) -> DictConfig:
    """The config of a command with the first choice of each swept group, Hydra's own part in it.

    Hydra is initialised already, and composes once. The file of system=file is run, so that its
    constants are known as keys.

    **Raises:** `ConfigError`, one sentence with key, value and what would be right, for what Hydra
    could not compose, sweeps included, or should not.
    """
    for override in command.parsed:
        refuse_of_sweepers(override.key_or_group, override.value())
        if override.key_or_group.startswith("search.space"):
            raise ConfigError(
                f"{override.input_line}: on the command line a range is the value of its own key, "
                "optimizer.lr='tag(log,interval(1e-4,1e-1))' for instance"
            )
    groups = loader.list_groups("")
    mappings = [o for o in command.parsed if isinstance(o._value, dict)]
    choices = [o for o in command.parsed if o.key_or_group in groups and o not in mappings]
    settings = [o for o in command.parsed if o not in choices]
    chosen = [_chosen(override, command, loader) for override in choices]
    for override in settings:
        key, line = override.key_or_group, override.input_line
        if key == LAUNCHER.replace("/", ".") and override not in mappings:
            raise ConfigError(f"{line} names a launcher: write {LAUNCHER}={override.value()}")
        if key in groups and not key.startswith("hydra"):
            raise ConfigError(
                f"{line} replaces the group {key}: name one, or set its keys one by one"
            )
    overrides = [str(o.input_line) for o in settings if not o.is_sweep_override()] + chosen
    offer_own_system({})
    offered = _offer(_own_file(settings)) if "system=file" in chosen else None

    def diagnosed() -> DictConfig:
        """Compose once every key is known. **Raises:** `ConfigError` for one that is not."""
        base = plain(_composed(chosen))
        if base["system"].get("name") == "file":
            _offer(_own_file(settings) or base["system"].get("path"))
            base = plain(_composed(chosen))
        _check_keys(settings, base, loader)
        return _composed(overrides)

    if any(_adds_key(override) for override in settings):
        config = diagnosed()
    else:
        try:
            config = _composed(overrides)
        except ConfigError:
            config = diagnosed()
    base = plain(config)
    system = base.get("system")
    if isinstance(system, Mapping) and system.get("name") == "file" and system["path"] != offered:
        _offer(system["path"])  # a config of the user's own names the file
        config = _composed(overrides)
        base = plain(config)
    _check_keys([o for o in settings if o.is_sweep_override()], base, loader)
    for key in base:
        if key not in TOP_KEYS:
            raise ConfigError(unknown_key(key, TOP_KEYS))
    single = [o for o in command.parsed if not o.is_sweep_override()]
    check_composed(config, [leaf for o in single for leaf in leaves(o.value(), o.key_or_group)])
    return config


def _composed(overrides: Sequence[str]) -> DictConfig:
    with sentences():
        return hydra_compose(ROOT, list(overrides), return_hydra_config=True)


def _adds_key(override: Override) -> bool:
    """Whether it begins with a plus, which Hydra takes for any key."""
    return (override.is_add() or override.is_force_add()) and not _free(override.key_or_group)


def _free(key: str) -> bool:
    """Whether a key lies in a mapping that takes any."""
    return key.partition(".")[0] == "grid" or key.startswith(FREE)


def _own_file(settings: Sequence[Override]) -> str | None:
    """The file of system=file, if the command line names it."""
    for override in (o for o in settings if o.key_or_group == OWN_SYSTEM):
        if override.is_sweep_override():
            raise ConfigError(
                f"{override.input_line} names several systems, each with constants of its own: "
                "give each a study"
            )
        return str(override.value())
    return None


def _offer(path: str | None) -> str | None:
    """Run the file of system=file, if there is one, and offer its constants as keys."""
    if path is not None:
        offer_own_system(own_system.system(own_system.load(path)).constants)
    return path


def _chosen(override: Override, command: CommandLine, loader: ConfigLoader) -> str:
    """The (first) choice of a group, checked: '+' is for groups that are not in the defaults."""
    group, line = override.key_or_group, str(override.input_line)
    options = loader.get_group_options(group)
    if override.is_interval_sweep():
        raise ConfigError(f"{line} is a range of numbers: name some of {', '.join(options)}")
    swept = override.is_sweep_override()
    for value in command.swept[group] if swept else (override.value(),):
        if str(value) not in options:
            raise ConfigError(f"unknown {group} {value}: {nearest(str(value), options)}")
    if group != "experiment" and override.is_add():
        raise ConfigError(f"{line} adds a second {group}: write {line.lstrip('+')}")
    return f"{override.get_key_element()}={command.swept[group][0]}" if swept else line


def _check_keys(
    settings: Sequence[Override], base: Mapping[str, Any], loader: ConfigLoader
) -> None:
    """Every key must be one of `base`, the config before any single key is set.

    **Raises:** `ConfigError` for the first that is not.
    """
    known = {key for key, _ in flat(base)}
    for override in settings:
        key, line = override.key_or_group, str(override.input_line)
        if key.startswith("hydra.launcher."):
            _check_launcher(override, settings, loader)
        elif key.startswith("hydra.") and not _free(key):
            of_hydra: Any = OmegaConf.to_container(_composed([]).hydra, resolve=False)
            names = {f"hydra.{name}" for name, _ in flat(of_hydra)}
            if key not in names and not key.startswith("hydra.callbacks."):
                raise ConfigError(unknown_key(key, names))
        if key.partition("/")[0].partition(".")[0] == "hydra" or _free(key):
            continue
        owner = ".".join(key.split(".")[:2])  # data.columns of data.columns.q
        if key not in known and owner not in known and owner in ONLY:
            raise ConfigError(f"{line} is a key of {ONLY[owner]}: give that too")
        if key not in known:
            groups = set(loader.list_groups(""))
            cluster = _launcher_keys("submitit_slurm")
            raise ConfigError(unknown_key(key, known | groups | {LAUNCHER} | cluster))
        if override.is_add():
            raise ConfigError(f"{line} adds a key that exists: write {line.lstrip('+')}")


def _check_launcher(override: Override, settings: Sequence[Override], loader: ConfigLoader) -> None:
    """A launcher's own settings, which another may have."""
    key = ".".join(override.key_or_group.split(".")[:3])  # some take mappings
    options = loader.get_group_options(LAUNCHER)
    launcher = next((str(o.value()) for o in settings if o.key_or_group == LAUNCHER), "joblib")
    if launcher not in options:
        raise ConfigError(f"unknown {LAUNCHER} {launcher}: {nearest(launcher, options)}")
    if key not in (known := _launcher_keys(launcher)):
        line = override.input_line
        for option in (option for option in options if key in _launcher_keys(option)):
            raise ConfigError(f"{line} is a key of {LAUNCHER}={option}: give that too")
        raise ConfigError(unknown_key(key, known))


def _launcher_keys(option: str) -> set[str]:
    launcher = _composed([f"{LAUNCHER}={option}"]).hydra.launcher
    return {f"hydra.launcher.{name}" for name in launcher}
