"""What may stand on a command line: overrides taken apart and checked, each fault a sentence.

Knows: Hydra's override grammar, which keys and options there are. Does not know: what a setting
means (`config.py`) or how a grid is run (`sweeping/`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose as hydra_compose
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, ValueType
from omegaconf import DictConfig, OmegaConf

from study.config import guard
from study.config.cell import Run
from study.config.errors import ConfigError, nearest, unknown_key
from study.config.hydra import LAUNCHER, ROOT, flat_keys, plain, sentences
from study.config.options import ONLY, OWN_SYSTEM, load_own_system, offer_own_system
from study.config.schema import GROUPS

# What belongs to a command as a whole: one value each, never a sweep over several.
COMMAND_KEYS = frozenset(f.name for f in dataclasses.fields(Run)) | {
    "experiment",
    "grid",
    "question",
    "compile",
    OWN_SYSTEM,
}
TOP_KEYS = COMMAND_KEYS | frozenset(GROUPS) | {"seed", "inits_per_data", "precision", "device"}


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """Overrides taken apart.

    - `fixed`: those with one value, as they were written.
    - `swept`: config key or group -> its values, in the order given.
    - `ranges`: key -> an `interval(...)` as it was written, which only a search can take.
    - `options`: key -> a `choice(...)` or `range(...)` as it was written: a grid takes all of them,
      and so they are in `swept` too; a search chooses.
    - `keys`: all that were given, fixed or swept.
    """

    fixed: tuple[str, ...]
    swept: Mapping[str, tuple[Any, ...]]
    ranges: Mapping[str, str]
    options: Mapping[str, str]
    keys: frozenset[str]


def read_overrides(overrides: Sequence[str], loader: ConfigLoader) -> CommandLine:
    """Take a command line's overrides apart. **Raises:** `ConfigError`."""
    parsed = _parse(overrides, loader)
    swept: dict[str, tuple[Any, ...]] = {}
    ranges, options = {}, {}
    for override in parsed:
        key, text = override.key_or_group, str(override.input_line).partition("=")[2]
        if override.is_interval_sweep():
            _check_swept(override)
            ranges[key] = text
        elif override.is_sweep_override():
            swept[key] = _values(override, loader)
            if override.value_type in (ValueType.CHOICE_SWEEP, ValueType.RANGE_SWEEP):
                options[key] = text
    fixed = tuple(str(o.input_line) for o in parsed if not o.is_sweep_override())
    return CommandLine(fixed, swept, ranges, options, frozenset(o.key_or_group for o in parsed))


def first_values(overrides: Sequence[str], loader: ConfigLoader) -> list[str]:
    """Overrides with the first value of each sweep, as a single composition takes them.

    **Raises:** `ConfigError`.
    """
    return [_first_value(override) for override in _parse(overrides, loader)]


def check_overrides(overrides: Sequence[str], loader: ConfigLoader) -> DictConfig:
    """Refuse what Hydra could not compose, sweeps included, or should not.

    Hydra is initialised already. Returns the config with the first value of each sweep, Hydra's own
    part in it. **Raises:** `ConfigError`, one sentence with key, value and what
    would be right.
    """
    parsed = _parse(overrides, loader)
    _check_once(parsed)
    groups = loader.list_groups("")
    choices = [o for o in parsed if o.key_or_group in groups and not _is_mapping(o)]
    for override in choices:
        _check_choice(override, loader)
    offer_own_system({})
    base = _base(choices)
    if load_own_system(parsed, base):
        base = _base(choices)
    known = flat_keys(base)
    for override in parsed:
        if override.key_or_group.startswith("hydra.launcher."):
            _check_launcher(override, parsed, loader)
        elif override not in choices:
            _check_key(override, known, groups)
    with sentences():
        composed = hydra_compose(ROOT, [_first_value(o) for o in parsed], return_hydra_config=True)
        for key in plain(composed):
            if key not in TOP_KEYS:
                raise ConfigError(unknown_key(key, TOP_KEYS))
        guard.check_composed(composed)
    return composed


def _base(choices: Sequence[Override]) -> dict[str, Any]:
    """The config before any single key is set."""
    with sentences():
        return plain(hydra_compose(ROOT, [_first_value(o) for o in choices]))


def _parse(overrides: Sequence[str], loader: ConfigLoader) -> list[Override]:
    with sentences():
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
    for override in parsed:
        if override.is_delete():
            raise ConfigError(
                f"{override.input_line} would delete a setting: give it a value instead"
            )
    guard.check_overrides(parsed)
    return parsed


def _values(override: Override, loader: ConfigLoader) -> tuple[Any, ...]:
    """All values of a sweep, typed as Hydra types single ones."""
    key = override.key_or_group
    _check_swept(override)
    with sentences():
        options = [f"{key}={value}" for value in override.sweep_string_iterator()]
        if not options:
            raise ConfigError(f"{override.input_line} holds no value: give at least one")
        return tuple(o.value() for o in _parse(options, loader))


def _check_swept(override: Override) -> None:
    key = override.key_or_group
    if key.partition(".")[0] in COMMAND_KEYS:
        raise ConfigError(
            f"{override.input_line} sweeps over {key}, which belongs to the whole command: "
            "give it one value"
        )


def _check_choice(override: Override, loader: ConfigLoader) -> None:
    """A group's option must exist, and '+' is for groups that are not in the defaults."""
    group = override.key_or_group
    options = loader.get_group_options(group)
    if override.is_interval_sweep():
        raise ConfigError(
            f"{override.input_line} is a range of numbers: name some of {', '.join(options)}"
        )
    swept = override.is_sweep_override()
    values = _values(override, loader) if swept else (override.value(),)
    for value in values:
        if str(value) not in options:
            raise ConfigError(f"unknown {group} {value}: {nearest(str(value), options)}")
    if group == "experiment" and not override.is_add():
        raise ConfigError(f"{override.input_line} needs a plus: write +{override.input_line}")
    if group != "experiment" and override.is_add():
        line = str(override.input_line)
        raise ConfigError(f"{line} adds a second {group}: write {line.lstrip('+')}")


def _check_key(override: Override, known: set[str], groups: Sequence[str]) -> None:
    key = override.key_or_group
    if key == LAUNCHER.replace("/", ".") and not _is_mapping(override):
        raise ConfigError(
            f"{override.input_line} names a launcher: write {LAUNCHER}={override.value()}"
        )
    if key.split("/")[0].split(".")[0] == "hydra" or key.split(".")[0] == "grid":
        return
    if key in groups:
        raise ConfigError(
            f"{override.input_line} replaces the group {key}: name one, or set its keys one by one"
        )
    owner = ".".join(key.split(".")[:2])  # data.columns of data.columns.q
    option = None if owner in known else ONLY.get(owner)
    if key not in known and option:
        raise ConfigError(f"{override.input_line} is a key of {option}: give that too")
    if key not in known:
        cluster = _launcher_keys("submitit_slurm")
        raise ConfigError(unknown_key(key, known | set(groups) | {LAUNCHER} | cluster))
    if override.is_add():
        line = str(override.input_line)
        raise ConfigError(f"{line} adds a key that exists: write {line.lstrip('+')}")


def _check_launcher(override: Override, parsed: Sequence[Override], loader: ConfigLoader) -> None:
    """A launcher's own settings, which another may have."""
    key = ".".join(override.key_or_group.split(".")[:3])  # some take mappings
    options = loader.get_group_options(LAUNCHER)
    named = [str(o.value()) for o in parsed if o.key_or_group == LAUNCHER]
    (chosen,) = named[:1] or ["joblib"]
    if chosen not in options:
        raise ConfigError(f"unknown {LAUNCHER} {chosen}: {nearest(chosen, options)}")
    known = _launcher_keys(chosen)
    if key in known:
        return
    for option in options:
        if key in _launcher_keys(option):
            raise ConfigError(
                f"{override.input_line} is a key of {LAUNCHER}={option}: give that too"
            )
    raise ConfigError(unknown_key(key, known))


def _launcher_keys(option: str) -> set[str]:
    with sentences():
        composed = hydra_compose(ROOT, [f"{LAUNCHER}={option}"], return_hydra_config=True)
    launcher = OmegaConf.to_container(composed.hydra.launcher, resolve=False)
    assert isinstance(launcher, dict)
    return {f"hydra.launcher.{name}" for name in launcher}


def _check_once(parsed: Sequence[Override]) -> None:
    """Hydra takes the last of several; who wrote them may have meant all."""
    given: dict[str, str] = {}
    for override in parsed:
        key, text = override.key_or_group, str(override.input_line).partition("=")[2]
        if given.setdefault(key, text) != text:
            one = key.partition(".")[0] in COMMAND_KEYS or key.startswith("hydra")
            both = "" if one else f", or both values as {key}={given[key]},{text}"
            raise ConfigError(
                f"{key} is given twice, as {given[key]} and as {text}: give it once{both}"
            )


def _is_mapping(override: Override) -> bool:
    return isinstance(override._value, dict)


def _first_value(override: Override) -> str:
    """The override with the first value of its sweep, which a single composition takes."""
    if not override.is_sweep_override():
        return str(override.input_line)
    if override.is_interval_sweep():
        return f"{override.get_key_element()}={_start(override)}"
    first = next(iter(override.sweep_string_iterator()), None)
    if first is None:
        raise ConfigError(f"{override.input_line} holds no value: give at least one")
    return f"{override.get_key_element()}={first}"


def _start(override: Override) -> str:
    """The lower end of an interval, whole where it is."""
    interval = override.value()
    assert isinstance(interval, IntervalSweep)
    start = interval.start
    return str(int(start) if start is not None and start == int(start) else start)
