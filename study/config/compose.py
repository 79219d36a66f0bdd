"""From a command line to one plain config, through Hydra.

Knows: what comes before what. Does not know: what may stand there (`overrides.py`), where the
config's files lie (`config_tree.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose as hydra_compose
from omegaconf import DictConfig

from study.config import credentials, guard
from study.config.command_line import check_overrides, first_values, read_overrides
from study.config.errors import ConfigError
from study.config.hydra import LAUNCHER, ROOT, opened, plain, sentences


def compose(overrides: Sequence[str]) -> dict[str, Any]:
    """The plain config of one run without a sweep.

    **Raises:** `ConfigError`, one sentence, for an override that cannot be right.
    """
    credentials.refuse(overrides)
    with opened() as loader:
        command = read_overrides(overrides, loader)
        for key in (*command.swept, *command.ranges):
            raise ConfigError(
                f"{key} has several values, and one cell takes one: give one, or use "
                "python -m study.sweep"
            )
        check_overrides(overrides, loader)
        return plain(hydra_compose(ROOT, list(overrides)))


def check(arguments: Sequence[str]) -> DictConfig | None:
    """Refuse a command line that Hydra could not compose, sweeps included, or should not.

    **Returns:** the config with the first value of each sweep, Hydra's own part in it; None where
    only what completes a word is asked for.

    **Raises:** `ConfigError`, one sentence with key, value and what would be right.
    """
    credentials.refuse(arguments)
    flags = guard.read_flags(arguments)
    if flags.completion:
        return None
    with opened(flags.config_dir) as loader:
        return check_overrides(flags.overrides, loader)


@dataclasses.dataclass(frozen=True)
class Composed:
    """What a command line comes to: `config`, the option chosen of each group, all its options."""

    config: Mapping[str, Any]
    choices: Mapping[str, str]
    options: Mapping[str, Sequence[str]]


def describe(arguments: Sequence[str]) -> Composed:
    """A checked command line, the first value of each sweep. **Raises:** `ConfigError`."""
    credentials.refuse(arguments)
    flags = guard.read_flags(arguments)
    with opened(flags.config_dir) as loader:
        check_overrides(flags.overrides, loader)
        first = first_values(flags.overrides, loader)
        with sentences():
            composed = hydra_compose(ROOT, first, return_hydra_config=True)
        groups = [group for group in loader.list_groups("") if group != "hydra"]
        options = {group: loader.get_group_options(group) for group in (*groups, LAUNCHER)}
        return Composed(plain(composed), dict(composed.hydra.runtime.choices), options)
