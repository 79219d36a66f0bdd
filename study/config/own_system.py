"""A system of the user's own: the one place where a file that a command names is run.

The command line of a sweep or a trial (or the user's own --config-dir) names the file; cells and
study folders hold the hash of its content, and never a place to run anything from. A process that
such a command did not start runs nothing: `system` then raises, and status, report and `load_model`
need no system.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import sys
import types
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from study.config.errors import ConfigError
from study.core.systems.mechanics import System

ALLOWED = "STUDY_OWN_CODE"  # hashes of the files that a sweep's workers may run, set by its head
KEYS = ("name", "path", "sha256")  # of `system`, so that no constant can be called so
STATES = 8  # initial conditions at which a new system is tried
SINGULAR = 1e12  # condition number of a mass matrix that cannot be inverted

_loaded: dict[str, System] = {}  # by the hash of the content of the file
_sources: dict[str, bytes] = {}


def load(path: str | Path) -> str:
    """Run a Python file that the command names, and check the one system it defines.

    **Returns:** the SHA-256 of its content, by which `system` finds it.

    **Raises:** `ConfigError`, one sentence, for a file that cannot be used.
    """
    where = f"system.path={path}"
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        reason = "there is no such file" if not Path(path).exists() else error.strerror
        raise ConfigError(f"{where}: {reason}") from None
    digest = hashlib.sha256(source).hexdigest()
    if digest not in _loaded:
        _loaded[digest] = _checked(_only_system(source, Path(path), digest, where), where)
        _sources[digest] = source
    return digest


def system(sha256: str) -> System:
    """The system of a file that was loaded. **Raises:** `ConfigError` if it was not."""
    if sha256 not in _loaded:
        raise ConfigError(
            f"system=file: the code of a cell (SHA-256 {sha256[:12]}...) runs only where the "
            "command names it: give system.path=FILE with the file it was made from"
        )
    return _loaded[sha256]


def source(sha256: str) -> bytes:
    """The content of a file that was loaded."""
    return _sources[sha256]


def allow(hashes: Iterable[str]) -> dict[str, str]:
    """Let processes that this one starts run just these files.

    **Returns:** the environment that says so, for those elsewhere.
    """
    os.environ.pop(ALLOWED, None)
    listed = ",".join(sorted(set(hashes)))
    variables = {ALLOWED: listed} if listed else {}
    os.environ.update(variables)
    return variables


def allowed() -> list[str]:
    """The hashes that the command which started this process allows."""
    return [digest for digest in os.environ.get(ALLOWED, "").split(",") if digest]


def supply(sha256: str, path: Path) -> None:
    """Load a study's copy of a file, in a worker of the command that named it.

    **Raises:** `ConfigError` if the command did not, or the copy is another file.
    """
    if sha256 in _loaded or sha256 not in allowed():
        return  # `system` then raises, with the reason
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ConfigError(f"{path} is not the file that the command named: give the command again")
    load(path)


def _only_system(source: bytes, path: Path, digest: str, where: str) -> System:
    """The one system that the file defines; run as a module, which dataclasses in it need."""
    module = types.ModuleType(f"study_own_{digest[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except Exception as error:
        del sys.modules[module.__name__]
        raise ConfigError(f"{where} cannot be run{_line(error, path)}: {_said(error)}") from None
    systems = {id(v): (k, v) for k, v in vars(module).items() if isinstance(v, System)}
    if len(systems) != 1:
        names = ", ".join(name for name, _ in systems.values())
        defined = f"{len(systems)} systems ({names})" if systems else "no System"
        raise ConfigError(
            f"{where} defines {defined}: it should define one, system = System(...) with `from "
            "study.core.systems import System`"
        )
    return next(iter(systems.values()))[1]


def _checked(system: System, where: str) -> System:
    """The system, after a try of its functions at some states. **Raises:** `ConfigError`."""
    _check_fields(system, where)
    try:
        start = system.initial_conditions(np.random.default_rng(0), STATES, system.parameters)
        start = np.asarray(start, float)
    except Exception as error:
        raise ConfigError(f"{where}: initial_conditions raises {_said(error)}") from None
    if start.shape != (STATES, 2 * system.n_dof) or not np.isfinite(start).all():
        raise ConfigError(
            f"{where}: initial_conditions(rng, {STATES}, c) gives an array of shape {start.shape}: "
            f"it should be ({STATES}, {2 * system.n_dof}) finite numbers, coordinates then "
            "velocities"
        )
    q, qdot = np.split(start, 2, axis=1)
    try:
        with np.errstate(all="ignore"):
            mass = system.mass_matrix(q, qdot)
    except Exception as error:
        raise ConfigError(f"{where}: the Lagrangian {_why(error, system)}") from None
    for field, call in {
        "energy_scale": lambda: float(system.energy_scale(system.parameters)),
        "safe": lambda: system.is_safe(start),
    }.items():
        try:
            call()
        except Exception as error:
            raise ConfigError(f"{where}: {field} {_why(error, system)}") from None
    with np.errstate(all="ignore"):
        condition = np.array([_condition(m) for m in mass])
    if not (condition < SINGULAR).all():
        state = ", ".join(f"{x:.3g}" for x in start[(~(condition < SINGULAR)).argmax()])
        raise ConfigError(
            f"{where}: the mass matrix d2L/dqdot2 of {system.name} is singular at (q, qdot) = "
            f"({state}): L should hold a kinetic energy of every coordinate"
        )
    return system


def _condition(mass: np.ndarray) -> float:
    return float(np.linalg.cond(mass)) if np.isfinite(mass).all() else math.inf


def _check_fields(system: System, where: str) -> None:
    """Check names and lengths. **Raises:** `ConfigError`."""
    if not re.fullmatch(r"[A-Za-z]\w{0,49}", str(system.name), re.ASCII):
        raise ConfigError(
            f"{where}: name={system.name!r} should be letters, digits and '_', as a name in Python"
        )
    D = len(system.coordinates)
    lengths = {"angles": D, "box": 2 * D, "centre": 2 * D}
    for field, wanted in lengths.items():
        given = getattr(system, field)
        if given is not None and len(given) != wanted:
            raise ConfigError(
                f"{where}: {field} has {len(given)} entries, and {D} coordinates need {wanted}"
            )
    for field, value in {"horizon": system.horizon, "span": system.data_span}.items():
        if not (isinstance(value, int | float) and 0 < value < math.inf):
            raise ConfigError(f"{where}: {field}={value!r} should be a positive number of seconds")
    for key, value in system.constants.items():
        if not str(key).isidentifier() or key in KEYS:
            raise ConfigError(f"{where}: a constant cannot be called {key!r}: give it another name")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{where}: constants[{key!r}]={value!r} should be a number")


def _why(error: Exception, system: System) -> str:
    missing = getattr(error, "name", None)
    if isinstance(error, AttributeError) and isinstance(error.obj, types.SimpleNamespace):
        return (
            f"reads the constant {missing}, which is not in constants: it has "
            f"{', '.join(system.constants) or 'none'}"
        )
    if isinstance(error, AttributeError) and getattr(error.obj, "__name__", "") == "sympy":
        return f"calls xp.{missing}, which is not known: xp has sin, cos, sqrt, exp, log"
    return f"raises {_said(error)}"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")


def _line(error: Exception, path: Path) -> str:
    """The line of the file in which an error was raised, in brackets."""
    lines = [error.lineno] if isinstance(error, SyntaxError) else []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f" (line {lines[-1]})" if lines and lines[-1] else ""
