"""What factors, their levels and bundles of them are called.

Knows: names of factor columns, the two recipes. Does not know: tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from study.analysis.names import name_of

# the settings of a recipe, by which a bundle gets its name
QUESTIONED = {
    "data.units": "physical",
    "model.activation": "softplus",
    "model.beta": 0.5,
    "model.encoding": "raw",
    "model.mass_prior": 0.0,
    "model.init": "torch_default",
}
DEFAULTS = {
    "data.units": "scaled",
    "model.activation": "softplus",
    "model.beta": 2.0,
    "model.encoding": "trig",
    "model.mass_prior": 1.0,
    "model.init": "fan_in",
}

RECIPES = {"question's settings": QUESTIONED, "good defaults": DEFAULTS}

# a name, and the settings that may go with it
HEADS = {"model": ("model.",), "optimizer": ("optimizer.", "precision")}


def heads(factors: Sequence[str]) -> list[str]:
    """The names that a bundle goes by, if all the rest are settings of theirs."""
    names = [head for head in HEADS if head in factors]
    settings = tuple(start for name in names for start in HEADS[name])
    rest = [factor for factor in factors if factor not in names]
    return names if names and all(factor.startswith(settings) for factor in rest) else []


def bundle_name(factors: tuple[str, ...], levels: Sequence[tuple]) -> str:
    """What a bundle is called in a question."""
    if names := heads(factors):
        return " and ".join(names)
    if len(factors) == 1:
        return "initial conditions" if factors[0] == "data.n_trajectories" else _short(factors[0])
    if set(factors) == {"model.activation", "model.beta"}:
        return "activation and beta"
    recipes = {_recipe(factors, level) for level in levels}
    return "recipe" if recipes - {None} else " and ".join(_short(f) for f in factors)


def level_name(factors: tuple[str, ...], level: tuple) -> str:
    """What one level of a bundle is called."""
    if names := heads(factors):  # the model's name says enough where the optimiser goes with it
        return name_of(level[factors.index(names[0])])
    if recipe := _recipe(factors, level):
        return recipe
    if "system" in factors:  # its horizon goes with it
        return str(level[factors.index("system")])
    if len(factors) == 1 and factors[0] in _PLAIN:
        return str(level[0])
    if factors == ("data.n_trajectories",):
        return f"{count(level[0])} initial condition{'s' if level[0] != 1 else ''}"
    if set(factors) == {"model.activation", "model.beta"}:
        return ", ".join(
            f"{_short(f)} {_value(v)}" if f != "model.activation" else str(v)
            for f, v in zip(factors, level, strict=True)
        )
    return ", ".join(f"{_short(f)} {_value(v)}" for f, v in zip(factors, level, strict=True))


_PLAIN = {
    "system",
    "model",
    "optimizer",
    "precision",
    "data.order",
    "data.sampler",
    "model.activation",
}


def _recipe(factors: tuple[str, ...], level: tuple) -> str | None:
    if len(set(factors) & set(QUESTIONED)) < 3:
        return None
    for name, settings in RECIPES.items():
        if all(settings[f] == v for f, v in zip(factors, level, strict=True) if f in settings):
            return name
    return None


def count(value: Any) -> str:
    """A whole number, with a comma from five digits on."""
    number = int(value)
    return f"{number:,}" if abs(number) >= 10_000 else str(number)


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _short(factor: str) -> str:
    return factor.split(".")[-1].replace("n_train", "N").replace("_", " ")
