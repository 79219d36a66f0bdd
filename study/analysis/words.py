"""How numbers, factors, models and optimisers are written in a sentence, on an axis, in a table."""

# ruff: noqa: RUF001 (a reader gets the minus and multiplication signs)

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from study.analysis.statistics.medians import Estimate
from study.config.factors import short_name

_NAMES = {
    "lnn": "plain LNN",
    "structured_lnn": "structured LNN",
    "linear_lagrangian": "linear Lagrangian",
    "acceleration_mlp": "acceleration MLP",
    "adam": "Adam",
    "levenberg_marquardt": "Levenberg-Marquardt",
    "adam_lm": "Adam then Levenberg-Marquardt",
    "soap": "SOAP",
    "soap_lm": "SOAP then Levenberg-Marquardt",
    "adam_lbfgs": "Adam then L-BFGS",
}

# settings that change together as one recipe
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

# a factor that gives its name to a bundle -> the beginnings of the settings that go with it
HEADS = {"model": ("model.",), "optimizer": ("optimizer.", "precision")}
_PLAIN = {"precision", "data.order", "data.sampler", "model.activation"}  # levels that need no name
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def name_of(entry: str) -> str:
    """The name of a model or optimiser: its entry in the registry, in words."""
    return _NAMES.get(str(entry), str(entry).replace("_", " "))


def heads(factors: Sequence[str]) -> list[str]:
    """The factors that a bundle is named after, if all others are settings of theirs."""
    names = [head for head in HEADS if head in factors]
    settings = tuple(start for name in names for start in HEADS[name])
    rest = [factor for factor in factors if factor not in names]
    return names if names and all(factor.startswith(settings) for factor in rest) else []


def bundle_name(factors: tuple[str, ...], levels: Sequence[tuple]) -> str:
    """The name of a bundle of factors, for a question."""
    if names := heads(factors):
        return " and ".join(names)
    if factors == ("data.n_trajectories",):
        return "initial conditions"
    if set(factors) == {"model.activation", "model.beta"}:
        return "activation and beta"
    is_recipe = any(_recipe(factors, level) for level in levels)
    return "recipe" if is_recipe else " and ".join(short_name(f) for f in factors)


def level_name(factors: tuple[str, ...], level: tuple) -> str:
    """The name of one level of a bundle."""
    if names := heads(factors):  # the model's name is enough if the optimiser goes with it
        return name_of(level[factors.index(names[0])])
    if recipe := _recipe(factors, level):
        return recipe
    if "system" in factors:  # its horizon goes with it
        return str(level[factors.index("system")])
    if factors == ("data.n_trajectories",):
        return f"{count(level[0])} initial condition{'s' if level[0] != 1 else ''}"
    plain = _PLAIN if len(factors) == 1 else set[str]()
    if set(factors) == {"model.activation", "model.beta"}:
        plain = {"model.activation"}
    return ", ".join(
        str(value) if factor in plain else f"{short_name(factor)} {_value(value)}"
        for factor, value in zip(factors, level, strict=True)
    )


def _recipe(factors: tuple[str, ...], level: tuple) -> str | None:
    if len(set(factors) & set(QUESTIONED)) < 3:
        return None
    for name, settings in RECIPES.items():
        if all(settings[f] == v for f, v in zip(factors, level, strict=True) if f in settings):
            return name
    return None


def with_article(label: str) -> str:
    """A label within a sentence: a recipe's takes the article."""
    return f"the {label}" if label.startswith(tuple(RECIPES)) else label


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def count(value: Any) -> str:
    """A whole number, with commas from five digits on."""
    number = int(value)
    return f"{number:,}" if abs(number) >= 10_000 else str(number)


def number(value: float, digits: int = 2) -> str:
    """A number to so many significant digits: 3.1, 0.0012, 4.2×10⁻⁴, ∞."""
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if -4 < exponent < 4:
        text = f"{value:.{max(0, digits - 1 - exponent)}f}"
        if exponent >= digits:  # 1234 -> 1200
            text = f"{round(value, digits - 1 - exponent):.0f}"
        return text.replace("-", "−")
    mantissa = f"{value / 10.0**exponent:.{digits - 1}f}".replace("-", "−")
    return f"{mantissa}×10{str(exponent).translate(SUPERSCRIPT)}"


def estimate(e: Estimate, unit: str = "", digits: int = 2) -> str:
    """A value with its interval: 3.1 [2.4, 4.0]; the unit follows the value."""
    after = f" {unit}" if unit else ""
    return f"{number(e.value, digits)}{after} [{number(e.low, digits)}, {number(e.high, digits)}]"


def multiple(ratio: float, of: str = "P") -> str:
    """A ratio as a multiple: P/2, P, 4P, 0.31P."""
    if abs(ratio - 1) < 0.01:
        return of
    if ratio < 1 and abs(1 / ratio - round(1 / ratio)) < 0.01 / ratio:
        return f"{of}/{round(1 / ratio)}"
    if ratio > 1 and abs(ratio - round(ratio)) < 0.01 * ratio:
        return f"{round(ratio)}{of}"
    return f"{number(ratio)}{of}"


def plural(n: int, noun: str, several: str = "") -> str:
    """A number of things: 1 cell, 2 cells, 3 searches."""
    return f"{count(n)} {noun if n == 1 else several or noun + 's'}"


def duration(seconds: float) -> str:
    """A time in the unit that suits it: 20 s, 3 min, 1.5 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def span(counts: Iterable[int], noun: str) -> str:
    """A range of numbers of things: 5 replicates, or 2 to 5 replicates."""
    low, high = min(counts := list(counts)), max(counts)
    return plural(int(high), noun) if low == high else f"{low} to {plural(int(high), noun)}"


def capital(text: str) -> str:
    """The text with a capital first letter and the other letters as they are."""
    return text[:1].upper() + text[1:]
