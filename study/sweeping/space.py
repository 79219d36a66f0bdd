"""What a search may choose from: Hydra's sweep syntax in, Optuna's distributions and cells out.

optimizer.lr: tag(log, interval(1e-4, 1e-1))      model.activation: choice(tanh, softplus)
"""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from optuna import distributions

from study.config.cell import Cell, make_cell
from study.config.command_line import parse
from study.config.errors import ConfigError, flat, nearest, unknown_key
from study.config.run import SearchConfig
from study.config.schema import GROUPS, TOP, bounds, takes_numbers, takes_whole_numbers
from study.tables import records
from study.tables.measures import MEASURES

# Either fixes the other, so whoever sets one of them unsets its twin.
TWINS = {"data.n_train": "data.n_over_p", "data.n_over_p": "data.n_train"}


@dataclasses.dataclass(frozen=True)
class SearchSpec:
    """One search, as `study.yaml` keeps it."""

    fixed: Mapping[str, Any]  # the settings of its point of the grid
    space: Mapping[str, str]  # key -> what it may be, in Hydra's sweep syntax
    configs: Mapping[str, Mapping[str, Any]]  # chosen groups, as `choices` writes them -> config
    compile: bool

    @property
    def name(self) -> str:
        """A hash of what it searches in."""
        about = {"space": self.space, "configs": self.configs, "compile": self.compile}
        canonical = json.dumps(about, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """Its name for a reader: its point of the grid, and the hash."""
        point = ", ".join(f"{key}={value}" for key, value in self.fixed.items())
        return f"{point} ({self.name})" if point else self.name

    def study_name(self, study: str) -> str:
        """What Optuna calls it."""
        return f"{study}: {self.label}"

    @property
    def seed(self) -> int:
        """Of its sampler, to which `search.seed` is added; another for each search of a study."""
        (config, *_) = self.configs.values()
        return (config["seed"] + int(self.name, 16)) % 2**31

    def distributions(self) -> dict[str, distributions.BaseDistribution]:
        """What each key may be. **Raises:** `ConfigError`."""
        allowed = {}
        for key, text in self.space.items():
            if "interval(" in text and not (key in GROUPS or takes_numbers(key)):
                raise ConfigError(f"{key}={text} is a range of numbers: name some, choice(a,b)")
            allowed[key] = distribution(key, text, whole=takes_whole_numbers(key))
        return allowed

    def cell(self, params: Mapping[str, Any]) -> Cell:
        """The cell with these settings. **Raises:** `ConfigError`."""
        plain = copy.deepcopy(dict(self.configs[choices(params)]))
        for key, value in params.items():
            if key not in GROUPS:
                set_key(plain, key, value)
        return make_cell(plain, compile=self.compile)

    def corners(self) -> Iterator[Cell]:
        """Cells at the ends of each range, other keys at their first. **Raises:** as `cell`."""
        ends = {key: extremes(allowed) for key, allowed in self.distributions().items()}
        first = {key: values[0] for key, values in ends.items()}
        yield self.cell(first)
        for key, values in ends.items():
            for value in values[1:]:
                yield self.cell(first | {key: value})

    def check_enqueued(self, trials: Sequence[Mapping[str, Any]]) -> None:
        """Refuse settings that the search could not draw. **Raises:** `ConfigError`."""
        allowed = self.distributions()
        for key, value in (item for trial in trials for item in trial.items()):
            if key not in allowed:
                raise ConfigError(f"search.enqueue: {key} is not searched: {nearest(key, allowed)}")
            try:
                inside = allowed[key]._contains(allowed[key].to_internal_repr(value))
            except (TypeError, ValueError):  # Optuna's, for another type
                inside = False
            if not inside:
                raise ConfigError(
                    f"search.enqueue: {key}={value} is not in {self.space[key]}: give a value that "
                    "the search may draw"
                )

    def unused(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The keys without which the cell of these settings is the same."""
        name = self.cell(params).hash
        return tuple(
            key
            for key, allowed in self.distributions().items()
            if key not in GROUPS
            and (others := [value for value in extremes(allowed) if value != params[key]])
            and all(self._hash({**params, key: value}) == name for value in others)
        )

    def _hash(self, params: Mapping[str, Any]) -> str | None:
        """The name of the cell with these settings; None if they exclude each other."""
        try:
            return self.cell(params).hash
        except ConfigError:
            return None

    def as_dict(self) -> dict[str, Any]:
        """Plain data, with what each key may be in words that need no parser."""
        ranges = {key: described(allowed) for key, allowed in self.distributions().items()}
        return {"name": self.name, **_plain(dataclasses.asdict(self)), "ranges": _plain(ranges)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """**Raises:** `KeyError` or `TypeError` for what is no such data."""
        return cls(**{field.name: data[field.name] for field in dataclasses.fields(cls)})


def choices(params: Mapping[str, Any]) -> str:
    """The chosen groups among some settings, in one text."""
    return " ".join(f"{key}={value}" for key, value in sorted(params.items()) if key in GROUPS)


def set_key(plain: dict[str, Any], key: str, value: Any) -> None:
    """Set one dotted key of a plain config. **Raises:** `ConfigError` if there is no such key."""
    *parents, last = key.split(".")
    node: Any = plain
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    if not isinstance(node, dict) or last not in node:
        known = {k for k, _ in flat(plain) if k.partition(".")[0] in (*GROUPS, *TOP)}
        raise ConfigError(unknown_key(key, known))
    node[last] = value
    if key in TWINS and value is not None:
        node[TWINS[key].partition(".")[2]] = None


def distribution(key: str, text: str, *, whole: bool) -> distributions.BaseDistribution:
    """What `key` may be by a sweep as on the command line; `whole`: it takes whole numbers alone.

    **Raises:** `ConfigError` for a text that is no sweep, or an empty one.
    """
    (override,) = parse([f"{key}={text}"])
    match override.value():
        case IntervalSweep(start=low, end=high, tags=tags):
            if low is None or high is None or not low < high:
                raise ConfigError(
                    f"{key}={text} holds no value: the first number should be the smaller"
                )
            if "log" in tags and low <= 0:
                raise ConfigError(f"{key}={text}: a logarithmic scale begins above 0")
            if not whole:
                return distributions.FloatDistribution(float(low), float(high), log="log" in tags)
            if low != int(low) or high != int(high):
                raise ConfigError(
                    f"{key}={text}: {key} takes whole numbers, so both ends should be whole"
                )
            return distributions.IntDistribution(int(low), int(high), log="log" in tags)
        case RangeSweep() as sweep:
            values = list(sweep.range())  # half-open, as everywhere in Hydra
            if not values:
                raise ConfigError(f"{key}={text} holds no value: give at least one")
            low, high, step = min(values), max(values), abs(sweep.step)
            if isinstance(low, float):
                return distributions.FloatDistribution(low, high, step=float(step))
            return distributions.IntDistribution(low, high, step=int(step))
        case ChoiceSweep():  # which Hydra's grammar allows no empty one of
            # as Hydra types a single value
            values: list[Any] = list(map(Override._convert_value, override.sweep_iterator()))
            return distributions.CategoricalDistribution(values)
    raise ConfigError(
        f"{key}={text} is nothing to search in: write interval(low,high), "
        "tag(log,interval(low,high)), choice(a,b) or range(low,high)"
    )


def extremes(allowed: distributions.BaseDistribution) -> list[Any]:
    """The values between which all others lie: ends of a range, every choice."""
    ends = described(allowed)
    return ends.get("choices") or [ends["low"], ends["high"]]


def at_edge(key: str, allowed: distributions.BaseDistribution, value: Any) -> bool:
    """Whether a better value of a key may lie beyond its range; a choice has no edge."""
    ends = described(allowed)
    if "low" not in ends:
        return False
    return records.at_edge(ends["low"], ends["high"], ends["log"], value, bounds(key))


def described(allowed: distributions.BaseDistribution) -> dict[str, Any]:
    """A distribution as plain data, for readers that know no sweep syntax."""
    if isinstance(allowed, distributions.CategoricalDistribution):
        return {"kind": "choice", "choices": list(allowed.choices)}
    assert isinstance(allowed, distributions.FloatDistribution | distributions.IntDistribution)
    kind = "number" if isinstance(allowed, distributions.FloatDistribution) else "whole"
    ends = {"low": allowed.low, "high": allowed.high, "step": allowed.step}
    return {"kind": kind, **ends, "log": allowed.log}


def check_objectives(search: SearchConfig) -> None:
    """**Raises:** `ConfigError` for an objective that is no measure of the table."""
    for name in search.objectives:
        if name not in MEASURES:
            raise ConfigError(f"search.objectives={name} is no measure: {nearest(name, MEASURES)}")


def _plain(data: Any) -> Any:
    return json.loads(json.dumps(data))
