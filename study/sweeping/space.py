"""What a search may choose from: Hydra's sweep syntax in, Optuna's distributions out.

Knows: `interval`, `tag(log, ...)`, `choice`, `range`. Does not know: what a key means, samplers.

    optimizer.lr: tag(log, interval(1e-4, 1e-1))      model.width: tag(log, interval(8, 64))
    model.activation: choice(tanh, softplus)          model.depth: range(1, 4)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    FloatRange,
    IntervalSweep,
    Override,
    RangeSweep,
)
from hydra.errors import HydraException

from study.config.errors import ConfigError, first_line
from study.tables import searches

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def distribution(key: str, text: str, *, whole: bool) -> BaseDistribution:
    """What `key` may be.

    **Arguments:**

    - `text`: a sweep as on the command line.
    - `whole`: whether the key takes whole numbers alone.

    **Raises:** `ConfigError` for a text that is no sweep, or an empty one.
    """
    from optuna.distributions import CategoricalDistribution

    override = _parse(key, text)
    match override.value():
        case IntervalSweep() as interval:
            return _interval(key, text, interval, whole)
        case RangeSweep() as numbers:
            return _range(key, text, numbers)
        case ChoiceSweep():
            values = [element_value(element) for element in override.sweep_iterator()]
            if not values:
                raise ConfigError(f"{key}={text} holds no value: give at least one")
            return CategoricalDistribution(values)
    raise ConfigError(
        f"{key}={text} is nothing to search in: write interval(low,high), "
        "tag(log,interval(low,high)), choice(a,b) or range(low,high)"
    )


def extremes(allowed: BaseDistribution) -> list[Any]:
    """The values between which all others lie: ends of a range, every choice."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match allowed:
        case CategoricalDistribution():
            return list(allowed.choices)
        case FloatDistribution() | IntDistribution():
            return [allowed.low, allowed.high]
    raise TypeError(f"{allowed} is none of Optuna's distributions")


def at_edge(allowed: BaseDistribution, value: Any) -> bool:
    """Whether a better value may lie beyond the range; a choice has no edge."""
    from optuna.distributions import FloatDistribution, IntDistribution

    if not isinstance(allowed, FloatDistribution | IntDistribution):
        return False
    return searches.at_edge(allowed.low, allowed.high, allowed.log, value)


def described(allowed: BaseDistribution) -> dict[str, Any]:
    """A distribution as plain data, for who knows no sweep syntax."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match allowed:
        case CategoricalDistribution():
            return {"kind": "choice", "choices": list(allowed.choices)}
        case FloatDistribution() | IntDistribution():
            kind = "number" if isinstance(allowed, FloatDistribution) else "whole"
            ends = {"low": allowed.low, "high": allowed.high, "step": allowed.step}
            return {"kind": kind, **ends, "log": allowed.log}
    raise TypeError(f"{allowed} is none of Optuna's distributions")


def element_value(element: Any) -> Any:
    """A value of a choice, as Hydra types a single one."""
    return Override._convert_value(element)


def _parse(key: str, text: str) -> Override:
    try:
        return OverridesParser.create().parse_override(f"{key}={text}")
    except HydraException as error:
        reason = first_line(error)
        raise ConfigError(f"{key}={text} cannot be read: {reason}") from None


def _interval(key: str, text: str, given: IntervalSweep, whole: bool) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high, log = given.start, given.end, "log" in given.tags
    if low is None or high is None or not low < high:
        raise ConfigError(f"{key}={text} holds no value: the first number should be the smaller")
    if log and low <= 0:
        raise ConfigError(f"{key}={text}: a logarithmic scale begins above 0")
    if not whole:
        return FloatDistribution(float(low), float(high), log=log)
    if low != int(low) or high != int(high):
        raise ConfigError(f"{key}={text}: {key} takes whole numbers, so both ends should be whole")
    return IntDistribution(int(low), int(high), log=log)


def _range(key: str, text: str, given: RangeSweep) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    numbers = given.range()
    values = list(numbers)  # half-open, as everywhere in Hydra
    if not values:
        raise ConfigError(f"{key}={text} holds no value: give at least one")
    low, high = min(values), max(values)
    if isinstance(numbers, FloatRange):
        return FloatDistribution(low, high, step=abs(float(given.step)))
    return IntDistribution(low, high, step=abs(int(given.step)))


def texts(space: Mapping[str, Any]) -> dict[str, str]:
    """A config's `search.space` as text. **Raises:** `ConfigError` for what is no text."""
    for key, value in space.items():
        if not isinstance(value, str):
            raise ConfigError(
                f"search.space.{key}={value} is one value: write a range to search in, or set "
                f"{key} itself"
            )
    return {str(key): value for key, value in space.items()}
