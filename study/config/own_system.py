"""A system of the user's own: the one place where a file that a command names is run.

The command line of a sweep or a trial (or the user's own --config-dir) names the file; cells and
study folders hold the hash of its content, and never a place to run anything from. A process that
such a command did not start runs nothing: `system` then raises, and status, report and `load_model`
need no system, but for a model of a library.
"""

import hashlib
import inspect
import math
import os
import re
import sys
import traceback
import types
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from study.config.errors import ConfigError
from study.core.systems.mechanics import FUNCTIONS, DataError, System

ALLOWED = "STUDY_OWN_CODE"  # hashes of the files that a sweep's workers may run, set by its head
KEYS = ("name", "path", "sha256")  # of `system`, so that no constant can be called so
STATES = 8  # initial conditions at which a new system is tried
MOMENTS = 200  # times at which what drives it is tried
SINGULAR = 1e12  # condition number of a mass matrix that cannot be inverted

# what functions of numpy, torch and math say of a symbol
_FOREIGN = re.compile(
    r"no callable (\w+) method|^(\w+)\(\): argument 'input'|Cannot convert expression to float"
)

_loaded: dict[str, System] = {}  # by the hash of the content of the file
_sources: dict[str, bytes] = {}


def load(path: str | Path) -> str:
    """Run a Python file that the command names, and check the one system it defines.

    **Returns:** the SHA-256 of its content, by which `system` finds it.

    **Raises:** `ConfigError`, one sentence, for a file that cannot be used.
    """
    where = f"system.path={path}"
    path = Path(path).expanduser()
    try:
        source = path.read_bytes()
    except OSError as error:
        reason = "there is no such file" if not path.exists() else error.strerror
        raise ConfigError(f"{where}: {reason}") from None
    digest = hashlib.sha256(source).hexdigest()
    if digest not in _loaded:
        defined = _only_system(source, Path(path), digest, where)
        _check(defined, where)
        _loaded[digest], _sources[digest] = defined, source
    return digest


def add(system: System) -> str:
    """Check a system that was made in this process.

    **Returns:** a hash of what it is and does, by which `system` finds it.

    **Raises:** `ConfigError`, one sentence, for one that cannot be used.
    """
    _check(system, f"the system {system.name}")
    start = np.concatenate(system.starts(STATES), axis=1)
    coordinates = system.coordinates, system.angles, system.inputs
    domain = system.box, system.centre, system.horizon, system.data_span
    words = repr([system.name, dict(system.constants), coordinates, domain]).encode()
    content = words + np.concatenate([start, system.rhs(start)]).tobytes()
    if system.drive:
        u = _inputs(system)[0]
        states = np.repeat(start[:, None], u.shape[1], axis=1)
        content += u.tobytes() + system.rhs(states, u).tobytes()
    digest = hashlib.sha256(content).hexdigest()
    _loaded[digest] = system
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
        raise ConfigError(f"{where} cannot be run{_line(error, path)}: {_words(error)}") from None
    systems = {id(v): (k, v) for k, v in vars(module).items() if isinstance(v, System)}
    if len(systems) != 1:
        names = ", ".join(name for name, _ in systems.values())
        defined = f"{len(systems)} systems ({names})" if systems else "no System"
        raise ConfigError(
            f"{where} defines {defined}: it should define one, system = System(...) with `from "
            "study.core.systems import System`"
        )
    return next(iter(systems.values()))[1]


def _check(system: System, where: str) -> None:
    """Try the system's functions at some states. **Raises:** `ConfigError`."""
    for wrong in _wrong_fields(system):
        raise ConfigError(f"{where}: {wrong}")
    constants, mass = system.parameters, np.empty(0)
    try:
        start = system.initial_conditions(np.random.default_rng(0), STATES, constants)
        start = np.asarray(start, float)
    except Exception as error:
        raise ConfigError(f"{where}: initial_conditions raises {_words(error)}") from None
    if start.shape != (STATES, 2 * system.n_dof) or not np.isfinite(start).all():
        raise ConfigError(
            f"{where}: initial_conditions(rng, {STATES}, c) gives an array of shape {start.shape}: "
            f"it should be ({STATES}, {2 * system.n_dof}) finite numbers, coordinates then "
            "velocities"
        )
    for function, call in {
        "forces": lambda: system.generalised_force(*np.split(start, 2, axis=1)),
        "the Lagrangian": lambda: system.mass_matrix(*np.split(start, 2, axis=1)),
        "energy_scale": lambda: float(system.energy_scale(constants)),
        "safe": lambda: system.is_safe(start),
    }.items():
        try:
            with np.errstate(all="ignore"):
                value = call()
        except DataError as error:
            raise ConfigError(f"{where}: {error}") from None
        except Exception as error:
            raise ConfigError(f"{where}: {function} {_why(error, system)}") from None
        mass = value if function == "the Lagrangian" else mass
    with np.errstate(all="ignore"):
        regular = [np.isfinite(m).all() and np.linalg.cond(m) < SINGULAR for m in mass]
    if not all(regular):
        state = ", ".join(f"{x:.3g}" for x in start[regular.index(False)])
        raise ConfigError(
            f"{where}: the mass matrix d2L/dqdot2 of {system.name} is singular at (q, qdot) = "
            f"({state}): L should hold a kinetic energy of every coordinate"
        )
    if system.library is not None:
        _check_library(system, start, where)
    if system.drive is not None:
        _check_drive(system, where)


def _inputs(system: System) -> np.ndarray:
    """What drives a few trajectories, (3, STATES, MOMENTS, m): drawn from the same twice, and the
    first asked again."""
    seconds = max(system.horizon, system.data_span)
    times = np.tile(np.linspace(0, seconds, MOMENTS), (STATES, 1))
    one, other = (system.signals(np.random.default_rng(0), STATES) for _ in range(2))
    return np.stack([signals(times) for signals in (one, other, one) if signals])


def _check_drive(system: System, where: str) -> None:
    """Draw some inputs. **Raises:** `ConfigError`."""
    try:
        u = _inputs(system)
    except Exception as error:
        raise ConfigError(f"{where}: drive raises {_words(error)}") from None
    wanted = (STATES, MOMENTS, len(system.inputs))
    if u.shape[1:] != wanted or not np.isfinite(u).all():
        raise ConfigError(
            f"{where}: drive(rng, {STATES}, c) gives a function that makes of times "
            f"({STATES}, {MOMENTS}) an array of shape {u.shape[1:]}: it should be {wanted} finite "
            "numbers, one for each of the inputs"
        )
    if (u != u[0]).any():
        raise ConfigError(
            f"{where}: drive(rng, n, c) gives other inputs with the same rng: it should draw from "
            "rng alone, once, and return a function of the times"
        )


def _check_library(system: System, start: np.ndarray, where: str) -> None:
    """Derive and try the terms of the library. **Raises:** `ConfigError`."""
    try:
        terms = system.terms
        arguments = *start.T, *system.constants.values()
        with np.errstate(all="ignore"):
            values = [np.broadcast_to(x, STATES) for x in terms.formulas(*arguments)]
    except DataError as error:
        raise ConfigError(f"{where}: {error}") from None
    except Exception as error:
        raise ConfigError(f"{where}: library {_why(error, system)}") from None
    for j, k in zip(terms.term, terms.expression, strict=True):
        if not np.isfinite(values[k]).all():
            state = ", ".join(f"{x:.3g}" for x in start[np.isfinite(values[k]).argmin()])
            raise ConfigError(
                f"{where}: term {j + 1} of library has derivatives that are not finite at (q, qdot)"
                f" = ({state}): it should be smooth wherever trajectories start"
            )


# what the derivatives of abs, sign, min, steps and unknown functions are left as
_NO_FUNCTIONS = ("DiracDelta", "Derivative", "Subs", "Heaviside")


def _wrong_fields(system: System) -> Iterator[str]:
    """What is wrong with names and lengths."""
    if not re.fullmatch(r"[A-Za-z]\w{0,49}", str(system.name), re.ASCII):
        yield f"name={system.name!r} should be letters, digits and '_', as a name in Python"
    D = len(system.coordinates)
    for pair in system.coordinates:
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            yield f'coordinates has {pair!r}: it should be name and unit, ("x", "m") for instance'
    for field, wanted in {"angles": D, "box": 2 * D, "centre": 2 * D}.items():
        given = getattr(system, field)
        if given is not None and not hasattr(given, "__len__"):
            yield f"{field}={given!r} should have {wanted} entries, as a tuple"
        elif given is not None and len(given) != wanted:
            yield f"{field} has {len(given)} entries, and {D} coordinates need {wanted}"
    for field, value in {"horizon": system.horizon, "span": system.data_span}.items():
        if not (isinstance(value, int | float) and 0 < value < math.inf):
            yield f"{field}={value!r} should be a positive number of seconds"
    for key, value in system.constants.items():
        if not str(key).isidentifier() or key in KEYS:
            yield f"a constant cannot be called {key!r}: give it another name"
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield f"constants[{key!r}]={value!r} should be a number"
    if system.drive and not (system.inputs and system.forces):
        yield "drive draws inputs: state what they are in inputs, and what they do in forces"
    arguments = {"lagrangian": "q v c xp", "library": "q v c xp", "forces": "q v u c xp"}
    for field, words in {**arguments, "drive": "rng n c"}.items():
        function, names = getattr(system, field), words.split()
        try:
            inspect.signature(function or (lambda *_: None)).bind(*names)
        except TypeError:
            takes = inspect.signature(function)
            yield (
                f"{field} takes {takes}: it should take ({', '.join(names)}); what depends on time "
                "itself has no place here"
            )
        except ValueError:  # a function of C, which tells nothing
            continue


def _why(error: Exception, system: System) -> str:
    missing = getattr(error, "name", None)
    owner = error.obj if isinstance(error, AttributeError) else None
    if isinstance(owner, types.SimpleNamespace):
        known = ", ".join(system.constants) or "none"
        return f"reads the constant {missing}, which is not in constants: it has {known}"
    if getattr(owner, "__name__", "") == "sympy":
        return f"calls xp.{missing}, which is not known: xp has {', '.join(FUNCTIONS)}"
    printing = re.search(r"_print_(Derivative|Subs)", str(error))
    if missing in _NO_FUNCTIONS or printing:
        name = printing[1] if printing else missing
        return (
            f"has a derivative that is no function ({name}): it should be smooth, such as "
            "xp.sqrt(x**2 + 1e-6) for abs(x) or xp.tanh(x / 1e-3) for its sign"
        )
    if isinstance(error, TypeError) and (foreign := _FOREIGN.search(str(error))):
        name = foreign[1] or foreign[2] or "cos"
        return (
            f"calls a function of numpy, math or torch, which takes no symbols: write xp.{name}; "
            f"xp has {', '.join(FUNCTIONS)}"
        )
    return f"raises {_words(error)}"


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")


def _line(error: Exception, path: Path) -> str:
    """The line of the file in which an error was raised, in brackets."""
    lines = [error.lineno] if isinstance(error, SyntaxError) else []
    trace = traceback.extract_tb(error.__traceback__)
    lines += [frame.lineno for frame in trace if frame.filename == str(path)]
    return f" (line {lines[-1]})" if lines and lines[-1] else ""
