"""How a number is written in a sentence, on an axis and in a table.

Knows: digits and signs. Does not know: what the number means.
"""

# ruff: noqa: RUF001 (a reader gets the minus and multiplication signs)

from __future__ import annotations

import math
from collections.abc import Iterable

from study.analysis.design import count
from study.analysis.statistics.ratios import Estimate

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, digits: int = 2) -> str:
    """Significant digits: 3.1, 0.0012, 4.2×10⁻⁴, ∞."""
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
    return f"{mantissa}×10{str(exponent).translate(_SUPERSCRIPT)}"


def estimate(e: Estimate, unit: str = "", digits: int = 2) -> str:
    """Value and interval: 3.1 [2.4, 4.0]; the unit after the value."""
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


def plural(n: int, noun: str) -> str:
    """1 cell, 2 cells."""
    return f"{count(n)} {noun}" + ("" if n == 1 else "s")


def span(counts: Iterable[int], noun: str) -> str:
    """5 replicates, or 2 to 5 replicates."""
    low, high = min(counts := list(counts)), max(counts)
    return plural(int(high), noun) if low == high else f"{low} to {plural(int(high), noun)}"


def capital(text: str) -> str:
    """With a capital first letter, the others as they are."""
    return text[:1].upper() + text[1:]
