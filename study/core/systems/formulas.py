"""What sympy derives from the formulas of a system, as functions of numpy arrays or torch tensors.

From a Lagrangian its mass matrix, force and energy; from a library mass matrix and force of each
term, or its first derivatives; and generalised forces as they are.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

FUNCTIONS = ("sin", "cos", "tan", "sinh", "cosh", "tanh", "sqrt", "exp", "log")  # of xp
Lagrangian = Callable[[Any, Any, Any, Any], Any]  # (q, qdot, constants, xp) -> L
Forces = Callable[[Any, Any, Any, Any, Any], Iterable[Any]]  # (q, qdot, u, constants, xp) -> Q
Library = Callable[[Any, Any, Any, Any], Iterable[Any]]  # as a Lagrangian -> its terms


class DataError(ValueError):
    """Data that cannot be made or used: one sentence."""


@functools.cache
def derive(lagrangian: Lagrangian, D: int, names: tuple[str, ...]):
    """Two numpy functions of a Lagrangian: mass matrix and generalised force g - c; energy."""
    import sympy as sp

    q, v, constants, arguments = _symbols(D, names)
    L = lagrangian(q, v, constants, sp)
    energy = [sum(vi * sp.diff(L, vi) for vi in v) - L]
    formulas = _mass_and_force(L, q, v), energy
    return tuple(sp.lambdify(arguments, f, "numpy", cse=True) for f in formulas)


@functools.cache
def derive_forces(forces: Forces, D: int, n_inputs: int, names: tuple[str, ...]):
    """A numpy function of forces. **Raises:** `DataError` if they are not D formulas."""
    import sympy as sp

    q, v, constants, arguments = _symbols(D, names)
    u = sp.symbols(f"u:{n_inputs}", real=True)
    given = forces(q, v, u, constants, sp)
    if isinstance(given, str | set | frozenset | sp.Basic) or not isinstance(given, Iterable):
        raise DataError(f"forces gives {_kind(given)}: it should give a list of {D} formulas")
    formulas = list(given)
    if len(formulas) != D:
        raise DataError(f"forces gives {len(formulas)} formulas: it should give {D}")
    for i, formula in enumerate(formulas):
        if not isinstance(formula, int | float | sp.Expr):
            raise DataError(
                f"forces gives {_kind(formula)} for q[{i}]: it should be a formula of q, qdot, u "
                "and constants"
            )
    return sp.lambdify((*arguments[: 2 * D], *u, *arguments[2 * D :]), formulas, "numpy", cse=True)


def _symbols(D: int, names: tuple[str, ...]):
    """q, qdot, the constants as attributes, and all of them in a row."""
    import sympy as sp

    q, v, constants = (sp.symbols(x, real=True) for x in (f"q:{D}", f"v:{D}", names))
    return q, v, SimpleNamespace(**dict(zip(names, constants, strict=True))), (*q, *v, *constants)


def _mass_and_force(L: Any, q: tuple, v: tuple) -> list:
    """d2L/dqdot2, row by row, and dL/dq - (d2L/dqdot dq) qdot, as formulas."""
    import sympy as sp

    momentum = [sp.diff(L, vi) for vi in v]
    mass = [sp.diff(p, vj) for p in momentum for vj in v]
    return mass + [
        sp.diff(L, qi) - sum(sp.diff(p, qj) * vj for qj, vj in zip(q, v, strict=True))
        for qi, p in zip(q, momentum, strict=True)
    ]


@dataclasses.dataclass(frozen=True)
class Terms:
    """Formulas of each of P = `count` terms, such as mass matrix and force; most are zero.

    Expression `expression[k]` of those that `formulas` gives is entry `entry[k]` of term `term[k]`.
    Of `System.terms` these are the mass matrix, row by row, then the force. All other entries are
    zero.
    `formulas` takes the coordinates, the velocities and the constants, each by itself.
    """

    count: int
    formulas: Callable[..., list]
    term: list[int]
    entry: list[int]
    expression: list[int]


@functools.cache
def derive_terms(library: Library, D: int, names: tuple[str, ...]) -> Terms:
    """The terms of a library. **Raises:** `DataError` if it gives none, or what is no term."""
    terms = _collected(library, D, names, _mass_and_force)
    for i in range(D):
        if not any(k in range(i * D, i * D + D) for k in terms.entry):
            raise DataError(
                f"library gives {terms.count} terms, and none is a kinetic energy of q[{i}]: it "
                f"should give one, such as v[{i}]**2"
            )
    return terms


@functools.cache
def derive_slopes(library: Library, D: int, names: tuple[str, ...]) -> Terms:
    """Value and first derivatives. **Raises:** `DataError` if it gives what is no term."""
    return _collected(library, D, names, _value_and_slopes)


def _value_and_slopes(L: Any, q: tuple, v: tuple) -> list:
    """L, dL/dqdot and dL/dq, as formulas."""
    import sympy as sp

    return [L, *(sp.diff(L, x) for x in (*v, *q))]


def _collected(
    library: Library, D: int, names: tuple[str, ...], formulas_of: Callable[..., list]
) -> Terms:
    """What `formulas_of` makes of each term. **Raises:** `DataError` for what is no term."""
    import sympy as sp

    q, v, constants, arguments = _symbols(D, names)
    given = library(q, v, constants, sp)
    if isinstance(given, str | set | frozenset | sp.Basic) or not isinstance(given, Iterable):
        raise DataError(f"library gives {_kind(given)}: it should give a list of terms")
    expressions: dict[Any, int] = {}
    terms, places = list(given), []
    for j, term in enumerate(terms):
        if not isinstance(term, int | float | sp.Expr):
            raise DataError(
                f"library gives {_kind(term)} as its term {j + 1}: it should be a formula of q, "
                "qdot and constants"
            )
        for k, formula in enumerate(formulas_of(sp.sympify(term), q, v)):
            if sp.expand(formula, trig=True) != 0:  # of a total time derivative all forces are
                places.append((j, k, expressions.setdefault(formula, len(expressions))))
    functions = {name: functools.partial(_either, name) for name in FUNCTIONS}
    formulas = sp.lambdify(arguments, list(expressions), [functions, "math"], cse=True)
    columns = list(zip(*places, strict=True)) or [(), (), ()]
    return Terms(len(terms), formulas, *map(list, columns))


def _either(name: str, x: Any) -> Any:
    """A function by name, of a torch tensor or of anything that numpy knows."""
    return getattr(x, name)() if hasattr(x, name) else getattr(np, name)(x)


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def evaluate(function, q, qdot, constants: Mapping[str, int | float], *inputs):
    """The function's entries side by side, (*n, entries)."""
    columns = [x[..., i] for x in (q, qdot, *inputs) for i in range(x.shape[-1])]
    entries = function(*columns, *constants.values())
    out = np.empty((*q.shape[:-1], len(entries)), np.result_type(q, qdot, *inputs, np.float64))
    for i, entry in enumerate(entries):
        out[..., i] = entry
    return out
