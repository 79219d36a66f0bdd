"""Measured data of the user's own: from the columns of a file to a recording in SI units."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from study.config.data_files import Table
from study.config.errors import ConfigError
from study.core.data.datasets import HELD_OUT
from study.core.data.derivatives import SHORTEST_WINDOW, Method, uneven_step
from study.core.data.recording import Motion, Recording
from study.core.systems.mechanics import System, unknown

if TYPE_CHECKING:
    from study.config.schema import ColumnsConfig

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


@dataclasses.dataclass(frozen=True)
class Reading:
    """What is read from a file, and how.

    - `sha256`: of the file's content.
    - `method`: estimates velocities and accelerations that the file lacks.
    - `held_out`: share of the trajectories that is tested on.
    """

    sha256: str
    columns: ColumnsConfig
    method: Method
    held_out: float

    @property
    def estimated(self) -> tuple[str, ...]:
        """Which rates the file lacks."""
        columns = self.columns
        absent = {"velocities": columns.qdot is None, "accelerations": columns.qddot is None}
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
        q, units = self.columns.q, self.columns.units
        if not q or not units:
            key = "data.columns.units" if q else "data.columns.q"
            what = "its unit (rad and deg are angles)" if q else "a column"
            raise ConfigError(
                f"{key} is not given: system=unknown needs {what} for each coordinate, "
                f"{key}=[{'rad,m' if q else 'theta,x'}] for instance"
            )
        D = len(units)
        if len(q) not in (1, D):
            raise ConfigError(
                f"data.columns.units=[{','.join(units)}] has {D} entries, and "
                f"data.columns.q=[{','.join(q)}] names {len(q)} columns: give one unit "
                "for each"
            )
        names = q if len(q) == D else tuple(f"{q[0]}{i}" for i in range(D))
        si = tuple(UNITS.get(unit, (1.0, unit))[1] for unit in units)
        angles = tuple(unit == "rad" for unit in si)
        return unknown(tuple(zip(names, si, strict=True)), angles)


@functools.lru_cache(maxsize=8)
def read(
    reading: Reading, coordinates: tuple[tuple[str, str], ...], angles: tuple[bool, ...], whose: str
) -> Recording:
    """The recording, checked row by row, of the system that is called `whose`.

    **Raises:** `ConfigError`, one sentence with row and column, for what cannot be right.
    """
    table, method = Table(reading.sha256), reading.method
    where, local = table.where, bool(reading.estimated) and method.name == "savgol"
    if local and (method.window < SHORTEST_WINDOW or method.window % 2 == 0):
        raise ConfigError(
            f"data.window={method.window} is not allowed: it should be odd and at least "
            f"{SHORTEST_WINDOW} points"
        )
    D, scale = len(coordinates), _scale(reading, coordinates, whose)
    times = table.numbers(reading.columns.time, "data.columns.time")
    columns = {"t": times}
    named = {"q": reading.columns.q or tuple(name for name, _ in coordinates)}
    for name, names in (
        named | {"qdot": reading.columns.qdot, "qddot": reading.columns.qddot}
    ).items():
        if names is not None:
            columns[name] = scale * table.side_by_side(names, f"data.columns.{name}", D, whose)
    labelled = {}
    if reading.columns.trajectory is not None:
        labelled["trajectory"] = table.labels(reading.columns.trajectory, "data.columns.trajectory")
    if times.ndim != 1:
        raise ConfigError(f"{where}: {reading.columns.time} has shape {times.shape}: one a row")
    labels = labelled.get("trajectory", np.full(table.n_rows(columns | labelled), ""))
    trajectories = []
    for label in dict.fromkeys(labels.tolist()):  # in the order in which they begin
        rows = np.flatnonzero(labels == label)
        _check_times(times[rows], rows, label, reading, where)
        trajectories.append((label, {name: values[rows] for name, values in columns.items()}))
    training, held_out = (
        tuple(_motion(values, label, angles, reading, where) for label, values in side)
        for side in _split(trajectories, reading.held_out)
    )
    recording = Recording(training, held_out, angles)
    for (name, _), moved in zip(coordinates, np.ptp(recording.points.q, axis=0), strict=True):
        if not moved:
            raise ConfigError(
                f"{where}: {name} never changes in what is trained on: leave it out of the "
                "coordinates"
            )
    return recording


def _scale(reading: Reading, coordinates: tuple[tuple[str, str], ...], whose: str) -> Array:
    """The size of each coordinate's unit in SI units. **Raises:** `ConfigError`."""
    given = reading.columns.units
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


def _check_times(times: Array, rows: Array, label: str, reading: Reading, where: str) -> None:
    """Refuse times that repeat, go back, or leave a gap. **Raises:** `ConfigError`."""
    steps = np.diff(times)
    usual = float(np.median(steps)) if len(steps) else 0.0

    def refuse(k: int, problem: str) -> NoReturn:
        of = f" (trajectory {label})" if label else ""
        row = f"{where}, row {rows[k + 1] + 1}, column {reading.columns.time}{of}"
        raise ConfigError(f"{row}: {problem}")

    for k in np.flatnonzero(steps <= 0)[:1]:
        if steps[k] == 0:
            refuse(k, f"the time {times[k]:g} is there twice: leave one row out")
        hint = "name the column that tells trajectories apart, data.columns.trajectory, or "
        refuse(
            k,
            f"time goes back from {times[k]:g} to {times[k + 1]:g}: {'' if label else hint}sort "
            f"the rows{' by time' if label else ''}",
        )
    for k in np.flatnonzero(steps > GAP * usual)[:1]:
        refuse(
            k,
            f"a gap of {steps[k]:g} s, where steps are {usual:g} s: give what comes after it "
            "another name in data.columns.trajectory",
        )
    local = reading.estimated and reading.method.name == "savgol" and len(times) > 2
    if local and (k := uneven_step(times)) is not None:
        refuse(
            k,
            f"a step of {steps[k]:g} s, where others are {usual:g} s: Savitzky-Golay needs even "
            "steps; use data.estimate=spline",
        )


def _split(trajectories: list, share: float) -> tuple[list, list]:
    """Training and held-out trajectories; a single one is cut in time."""
    K = len(trajectories)
    if K == 1:
        label, columns = trajectories[0]
        cut = round(len(columns["t"]) * (1 - share))
        begin, end = ({k: v[s] for k, v in columns.items()} for s in (slice(cut), slice(cut, None)))
        return [(label, begin)], [(label, end)]
    order = np.random.default_rng((HELD_OUT,)).permutation(K)
    held_out = set(order[: min(K - 1, max(1, round(share * K)))].tolist())
    return (
        [one for k, one in enumerate(trajectories) if k not in held_out],
        [one for k, one in enumerate(trajectories) if k in held_out],
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
