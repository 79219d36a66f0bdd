"""Measured data of the user's own: from the columns of a file to a recording in SI units.

A recording is found by the hash of its file's content; only this process knows the path.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from study.config.columns import Table, one_length, side_by_side
from study.config.errors import ConfigError
from study.core.data.datasets import HELD_OUT
from study.core.data.derivatives import SHORTEST_WINDOW, Method, uneven_step
from study.core.data.recording import Motion, Recording
from study.core.systems.mechanics import System, unknown

Array = np.ndarray

GAP = 3.0  # steps longer than so many median ones are gaps
# unit -> (its size in the SI unit, that unit); others are taken as they are
UNITS = {
    "rad": (1.0, "rad"),
    "deg": (math.pi / 180, "rad"),
    "m": (1.0, "m"),
    "cm": (0.01, "m"),
    "mm": (0.001, "m"),
}
_METHODS = {"savgol": "Savitzky-Golay", "spline": "a quintic spline"}

_paths: dict[str, Path] = {}  # by the hash of their content


@dataclasses.dataclass(frozen=True)
class Reading:
    """What is read from a file, and how.

    - `sha256`: of the file's content.
    - `time`, `trajectory`, `q`, `qdot`, `qddot`, `units`: as `data.columns` has them.
    - `method`: estimates velocities and accelerations that the file lacks.
    - `held_out`: share of the trajectories that is tested on.
    """

    sha256: str
    time: str
    trajectory: str | None
    q: tuple[str, ...] | None
    qdot: tuple[str, ...] | None
    qddot: tuple[str, ...] | None
    units: tuple[str, ...] | None
    method: Method
    held_out: float

    @property
    def estimated(self) -> tuple[str, ...]:
        """Which rates the file lacks."""
        absent = {"velocities": self.qdot is None, "accelerations": self.qddot is None}
        return tuple(name for name, missing in absent.items() if missing)

    def estimate(self) -> str:
        """How the rates that the file lacks were estimated, for a table."""
        if not self.estimated:
            return "measured"
        method, detail = self.method, f"window {self.method.window}"
        if method.name == "spline":
            detail = f"smoothing {method.smoothing:g}"
        return f"{' and '.join(self.estimated)} by {_METHODS[method.name]}, {detail}"

    def unknown_system(self) -> System:
        """The system as its measurements alone describe it. **Raises:** `ConfigError`."""
        if not self.q or not self.units:
            key = "data.columns.units" if self.q else "data.columns.q"
            what = "its unit (rad and deg are angles)" if self.q else "a column"
            raise ConfigError(
                f"{key} is not given: system=unknown needs {what} for each coordinate, "
                f"{key}=[{'rad,m' if self.q else 'theta,x'}] for instance"
            )
        D = len(self.units)
        if len(self.q) not in (1, D):
            raise ConfigError(
                f"data.columns.units=[{','.join(self.units)}] has {D} entries, and "
                f"data.columns.q=[{','.join(self.q)}] names {len(self.q)} columns: give one unit "
                "for each"
            )
        names = self.q if len(self.q) == D else tuple(f"{self.q[0]}{i}" for i in range(D))
        si = tuple(UNITS.get(unit, (1.0, unit))[1] for unit in self.units)
        angles = tuple(unit == "rad" for unit in si)
        return unknown(tuple(zip(names, si, strict=True)), angles)


def register(path: str | Path) -> str:
    """Remember a file. **Returns:** the SHA-256 of its content. **Raises:** `ConfigError`."""
    path = Path(path)
    try:
        status = path.stat()
        digest = _digest(path.resolve(), status.st_mtime_ns, status.st_size)
    except OSError as error:
        reason = "there is no such file" if not path.exists() else error.strerror
        raise ConfigError(f"data.path={path}: {reason}") from None
    _paths[digest] = path.resolve()
    return digest


@functools.lru_cache(maxsize=64)
def _digest(path: Path, changed: int, size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def content(sha256: str) -> tuple[bytes, Path]:
    """A file's content and its name. **Raises:** `ConfigError` if it is gone or another."""
    path = _paths.get(sha256)
    if path is None:
        raise ConfigError(
            f"data=file: no file with the data of this cell (SHA-256 {sha256[:12]}...) is known: "
            "give data.path=FILE"
        )
    try:
        read = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"data.path={path} cannot be read: {error.strerror}") from None
    if hashlib.sha256(read).hexdigest() != sha256:
        raise ConfigError(f"data.path={path} changed while it was used: give the command again")
    return read, path


@functools.lru_cache(maxsize=8)
def read(
    reading: Reading, coordinates: tuple[tuple[str, str], ...], angles: tuple[bool, ...], whose: str
) -> Recording:
    """The recording, checked row by row.

    **Arguments:**

    - `coordinates`, `angles`: of the system that was measured; `whose`: what it is called.

    **Raises:** `ConfigError`, one sentence with row and column, for what cannot be right.
    """
    table = Table(*content(reading.sha256))
    method = reading.method
    local = bool(reading.estimated) and method.name == "savgol"
    if local and (method.window < SHORTEST_WINDOW or method.window % 2 == 0):
        raise ConfigError(
            f"data.window={method.window} is not allowed: it should be odd and at least "
            f"{SHORTEST_WINDOW} points"
        )
    D, scale = len(coordinates), _scale(reading, coordinates, whose)
    columns = {"t": table.numbers(reading.time, "data.columns.time")}
    for name in ("q", "qdot", "qddot"):
        names = getattr(reading, name)
        if names is None and name == "q":
            names = tuple(coordinate for coordinate, _ in coordinates)
        if names is not None:
            columns[name] = scale * side_by_side(table, names, f"data.columns.{name}", D, whose)
    labels = None
    if reading.trajectory is not None:
        labels = table.labels(reading.trajectory, "data.columns.trajectory")
    if columns["t"].ndim != 1:
        raise ConfigError(
            f"{table.where}: {reading.time} has shape {columns['t'].shape}: one a row"
        )
    n = one_length({**columns, **({} if labels is None else {"trajectory": labels})}, table.where)
    parts = []
    for label, rows in _trajectories(labels, n):
        _check_times(columns["t"][rows], rows, label, reading, table.where)
        parts.append((label, {name: values[rows] for name, values in columns.items()}))
    training, held_out = _split(parts, reading.held_out)
    made = [
        tuple(_motion(part, label, angles, reading, table.where) for label, part in side)
        for side in (training, held_out)
    ]
    recording = Recording(made[0], made[1], angles)
    for (name, _), moved in zip(coordinates, np.ptp(recording.points.q, axis=0), strict=True):
        if not moved:
            raise ConfigError(
                f"{table.where}: {name} never changes in what is trained on: leave it out of the "
                "coordinates"
            )
    return recording


def _scale(reading: Reading, coordinates: tuple[tuple[str, str], ...], whose: str) -> Array:
    """The size of each coordinate's unit in SI units. **Raises:** `ConfigError`."""
    given = reading.units
    if given is None:
        return np.ones(len(coordinates))
    listed = f"data.columns.units=[{','.join(given)}]"
    if len(given) != len(coordinates):
        raise ConfigError(
            f"{listed} has {len(given)} entries, and {whose} has {len(coordinates)} coordinates"
        )
    sizes = []
    for unit, (name, wanted) in zip(given, coordinates, strict=True):
        size, si = UNITS.get(unit, (1.0, unit))
        if si != wanted:
            known = [name for name, (_, base) in UNITS.items() if base == wanted] or [wanted]
            raise ConfigError(f"{listed}: {name} of {whose} is measured in {' or '.join(known)}")
        sizes.append(size)
    return np.array(sizes)


def _trajectories(labels: Array | None, n: int) -> Iterator[tuple[str, Array]]:
    """(name, rows) of each trajectory, in the order in which they begin."""
    if labels is None:
        yield "", np.arange(n)
        return
    for label in dict.fromkeys(labels.tolist()):
        yield str(label), np.flatnonzero(labels == label)


def _check_times(times: Array, rows: Array, label: str, reading: Reading, where: str) -> None:
    """Refuse times that repeat, go back, or leave a gap. **Raises:** `ConfigError`."""
    steps = np.diff(times)

    def place(k: int) -> str:
        of = f" (trajectory {label})" if label else ""
        return f"{where}, row {rows[k + 1] + 1}, column {reading.time}{of}"

    if (steps <= 0).any():
        k = int((steps <= 0).argmax())
        if steps[k] == 0:
            raise ConfigError(
                f"{place(k)}: the time {times[k]:g} is there twice: leave one row out"
            )
        hint = (
            "sort the rows by time"
            if label
            else "name the column that tells trajectories apart, data.columns.trajectory, or sort "
            "the rows"
        )
        raise ConfigError(
            f"{place(k)}: time goes back from {times[k]:g} to {times[k + 1]:g}: {hint}"
        )
    usual = float(np.median(steps)) if len(steps) else 0.0
    if (steps > GAP * usual).any():
        k = int((steps > GAP * usual).argmax())
        raise ConfigError(
            f"{place(k)}: a gap of {steps[k]:g} s, where steps are {usual:g} s: give what comes "
            "after it another name in data.columns.trajectory"
        )
    local = reading.estimated and reading.method.name == "savgol" and len(times) > 2
    if local and (k := uneven_step(times)) is not None:
        raise ConfigError(
            f"{place(k)}: a step of {steps[k]:g} s, where others are {usual:g} s: "
            "Savitzky-Golay needs even steps; use data.estimate=spline"
        )


def _split(parts: list, share: float) -> tuple[list, list]:
    """Training and held-out trajectories; a single one is cut in time."""
    K = len(parts)
    if K == 1:
        label, columns = parts[0]
        cut = round(len(columns["t"]) * (1 - share))
        begin, end = ({k: v[s] for k, v in columns.items()} for s in (slice(cut), slice(cut, None)))
        return [(label, begin)], [(label, end)]
    held = np.random.default_rng((HELD_OUT,)).permutation(K)
    n_held = min(K - 1, max(1, round(share * K)))
    apart = set(held[:n_held].tolist())
    return (
        [part for k, part in enumerate(parts) if k not in apart],
        [part for k, part in enumerate(parts) if k in apart],
    )


def _motion(
    columns: dict[str, Array], label: str, angles: tuple[bool, ...], reading: Reading, where: str
) -> Motion:
    """One trajectory, with estimates of missing rates. **Raises:** `ConfigError` if it is short."""
    times, method = columns["t"], reading.method
    fewest = method.fewest if reading.estimated else 2
    if len(times) < fewest:
        what = f"trajectory {label}" if label else "what is trained or tested on"
        raise ConfigError(
            f"{where}: {what} has {len(times)} row{'s' * (len(times) != 1)}, and needs {fewest}"
            + (f" with data.estimate={method.name}" if reading.estimated else "")
        )
    q = np.where(angles, np.unwrap(columns["q"], axis=0), columns["q"])
    if not reading.estimated:
        return Motion(times, q, columns["qdot"], columns["qddot"])
    if "qdot" not in columns:
        q, qdot, qddot = method(times, q)
        qddot = columns.get("qddot", qddot)
    else:
        _, qddot, _ = method(times, columns["qdot"])
        qdot = columns["qdot"]
    inner = slice(method.margin, len(times) - method.margin)
    return Motion(times[inner], q[inner], qdot[inner], qddot[inner])
