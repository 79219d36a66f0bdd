"""Which searches a study consists of: one for each point of its grid.

Knows: configs, what is searched in them, the cells that come of it. Does not know: samplers,
workers, folders.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from study.config.cell import Cell, SearchConfig, make_cell
from study.config.errors import ConfigError, nearest
from study.config.schema import GROUPS, takes_numbers, takes_whole_numbers
from study.sweeping import space
from study.sweeping.settings import set_key
from study.tables.measures import MEASURES

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclasses.dataclass(frozen=True)
class SearchSpec:
    """One search, as `study.yaml` keeps it.

    - `fixed`: the settings of its point of the grid.
    - `space`: key -> what it may be, in Hydra's sweep syntax.
    - `configs`: the choices of the groups searched, written together -> the plain config they give.
    - `compile`: whether its cells train compiled.
    """

    fixed: Mapping[str, Any]
    space: Mapping[str, str]
    configs: Mapping[str, Mapping[str, Any]]
    compile: bool

    @property
    def name(self) -> str:
        """What it is called: what it searches in is what makes it another."""
        about = {
            "space": dict(self.space),
            "configs": _plain(self.configs),
            "compile": self.compile,
        }
        canonical = json.dumps(about, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """What a reader calls it: its point of the grid, and what tells it from others there."""
        point = ", ".join(f"{key}={value}" for key, value in self.fixed.items())
        return f"{point} ({self.name})" if point else self.name

    @property
    def seed(self) -> int:
        """Of its sampler, to which `search.seed` is added: the study's, another for each search."""
        (config, *_) = self.configs.values()
        return (config["seed"] + int(self.name, 16)) % 2**31

    def distributions(self) -> dict[str, BaseDistribution]:
        """What each key may be. **Raises:** `ConfigError`."""
        for key, text in self.space.items():
            if "interval(" in text and not (key in GROUPS or takes_numbers(key)):
                raise ConfigError(f"{key}={text} is a range of numbers: name some, choice(a,b)")
        return {
            key: space.distribution(key, text, whole=takes_whole_numbers(key))
            for key, text in self.space.items()
        }

    def cell(self, params: Mapping[str, Any]) -> Cell:
        """The cell with these settings. **Raises:** `ConfigError`."""
        plain = copy.deepcopy(dict(self.configs[choices(params)]))
        for key, value in params.items():
            if key not in GROUPS:
                set_key(plain, key, value)
        return make_cell(plain, compile=self.compile)

    def corners(self) -> Iterator[Cell]:
        """Cells at the ends of each range, other keys at their first. **Raises:** as `cell`."""
        ends = {key: space.extremes(allowed) for key, allowed in self.distributions().items()}
        first = {key: values[0] for key, values in ends.items()}
        yield self.cell(first)
        for key, values in ends.items():
            for value in values[1:]:
                yield self.cell(first | {key: value})

    def as_dict(self) -> dict[str, Any]:
        """Plain data, with what each key may be in words that need no parser."""
        ranges = {key: space.described(each) for key, each in self.distributions().items()}
        return {"name": self.name, **_plain(dataclasses.asdict(self)), "ranges": _plain(ranges)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SearchSpec:
        """**Raises:** `KeyError` or `TypeError` for what is no such data."""
        return cls(**{field.name: data[field.name] for field in dataclasses.fields(cls)})


def choices(params: Mapping[str, Any]) -> str:
    """The chosen groups among some settings, written together."""
    return " ".join(f"{key}={value}" for key, value in sorted(params.items()) if key in GROUPS)


def check_objectives(search: SearchConfig) -> None:
    """**Raises:** `ConfigError` for an objective that is no measure of the table."""
    for name in search.objectives:
        if name not in MEASURES:
            raise ConfigError(f"search.objectives={name} is no measure: {nearest(name, MEASURES)}")


def _plain(data: Any) -> Any:
    return json.loads(json.dumps(data))
