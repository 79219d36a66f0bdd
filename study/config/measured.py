"""Measured data of the user's own: from the columns of a file to a recording in SI units."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import TYPE_CHECKING

import numpy as np

from study.config import column_units
from study.config.errors import ConfigError
from study.config.physical_units import in_brackets, size
from study.core.data.datasets import HELD_OUT
from study.core.data.derivatives import SHORTEST_WINDOW, Method
from study.core.data.label_noise import Noise
from study.core.data.recording import Motion, Recording, pieces
from study.core.data.trajectory import Trajectory
from study.core.systems.mechanics import System, unknown

if TYPE_CHECKING:
    from study.config.schema import ColumnsConfig

Array = np.ndarray

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

    def _known(self) -> str:
        """The file's columns, for a sentence."""
        from study.config.table import Table

        table = Table(self.sha256)
        return f"{table.name} has the columns {', '.join(table.names)}"

    def unknown_system(self) -> System:
        """The system as its measurements alone describe it. **Raises:** `ConfigError`."""
        q, units = self.columns.q, self.columns.units
        if not q or not units:
            key = "data.columns.units" if q else "data.columns.q"
            what = "its unit (rad and deg are angles)" if q else "a column"
            stated = [in_brackets(name)[1] for name in q or ()]
            example = ",".join(stated) if stated and all(stated) else "rad,m" if q else "theta,x"
            raise ConfigError(
                f"{key} is not given: system=unknown needs {what} for each coordinate, "
                f"{key}=[{example}] for instance{'' if q else f'; {self._known()}'}"
            )
        D = len(units)
        if len(q) not in (1, D):
            raise ConfigError(
                f"data.columns.units=[{','.join(units)}] has {D} entries, and "
                f"data.columns.q=[{','.join(q)}] names {len(q)} columns: give one unit "
                "for each"
            )
        wide = len(q) != D
        names = tuple(f"{q[0]}{i}" for i in range(D)) if wide else q
        for unit in units:
            if close := column_units.close_unit(unit):
                raise ConfigError(
                    f"data.columns.units=[{','.join(units)}]: {unit} is not known: did you mean "
                    f"{close}?"
                )
        si = tuple(_bare(size(unit)[1]) for unit in units)
        angles = tuple(unit == "rad" for unit in si)
        bare = (_bare(name if wide else in_brackets(name)[0]) for name in names)
        return unknown(tuple(zip(bare, si, strict=True)), angles)


def _bare(name: str) -> str:
    """A name without brackets and commas, which tables of coordinates are written with."""
    return " ".join(re.sub(r"[()\[\],]", " ", name).split()) or name


@functools.lru_cache(maxsize=8)
def read(
    reading: Reading, coordinates: tuple[tuple[str, str], ...], angles: tuple[bool, ...], whose: str
) -> Recording:
    """The recording, checked row by row, of the system that is called `whose`.

    Rows without a number are left out, gaps cut trajectories, and pieces that are too short are
    left out too.

    **Raises:** `ConfigError`, one sentence with row and column, for what cannot be right.
    """
    table, sides, n_gaps, short = _pieces(reading, coordinates, angles, whose)
    values, where = table.values, table.where
    motions = [
        [_motion({name: v[rows] for name, v in values.items()}, angles, reading) for rows in side]
        for side in sides
    ]
    training, held_out = _on_one_turn(*motions, angles=angles)
    n_empty = int((table.empty & ~table.blank).sum())
    short_rows = sum(map(len, short))
    recording = Recording(training, held_out, angles, n_gaps, len(short), short_rows, n_empty)
    for (name, _), moved in zip(coordinates, np.ptp(recording.points.q, axis=0), strict=True):
        if not moved:
            raise ConfigError(
                f"{where}: {name} never changes in what is trained on: leave it out of the "
                "coordinates"
            )
    return recording


def trajectories(
    reading: Reading,
    coordinates: tuple[tuple[str, str], ...],
    angles: tuple[bool, ...],
    whose: str,
) -> tuple[list[Trajectory], list[Trajectory]]:
    """The pieces to train on and to test on as they were measured, with nothing estimated.

    **Raises:** `ConfigError`, as `read`.
    """
    table, sides, _, _ = _pieces(reading, coordinates, angles, whose)

    def piece(rows: Array) -> Trajectory:
        own = {name: v[rows] for name, v in table.values.items()}
        q = np.where(angles, np.unwrap(own["q"], axis=0), own["q"])
        rates = (own.get(name) for name in ("qdot", "qddot", "inputs"))
        return Trajectory(own["t"], q, *rates)

    training, held_out = ([piece(rows) for rows in side] for side in sides)
    return training, held_out


@functools.lru_cache(maxsize=8)
def label_noise(
    reading: Reading, coordinates: tuple[tuple[str, str], ...], angles: tuple[bool, ...], whose: str
) -> Noise | None:
    """The noise of the columns, and what it leaves in accelerations; None if all is too short.

    **Raises:** `ConfigError`, as `read`.
    """
    sides = trajectories(reading, coordinates, angles, whose)
    return Noise.of(*sides, reading.method)


def findings(reading: Reading, system: System) -> list[str]:
    """How noisy a recording is, and whether its motion is conservative, a sentence each."""
    from study.core.measures import conservation  # and torch, which help spares

    about = reading, system.coordinates, system.angles, system.name
    recording, noise, floor = read(*about), label_noise(*about), np.nan
    variance, lines = recording.test_set(system).variance, list[str]()
    if noise is not None:
        lines, floor = [noise.remark(system.coordinates, variance)], noise.floors(variance)[1]
    training, _ = trajectories(*about)
    floor = float(np.nan_to_num(floor))
    energy = conservation.remark(training, recording.held_out, system.angles, floor)
    return [*lines, energy] if energy else lines


def _pieces(
    reading: Reading,
    coordinates: tuple[tuple[str, str], ...],
    angles: tuple[bool, ...],
    whose: str,
) -> tuple[_Rows, list[list[Array]], int, list[Array]]:
    """The columns in SI units; the rows of each piece to train on and to test on; the number of
    gaps; pieces left out."""
    table = _columns(reading, coordinates, angles, whose)
    values, whole, where = table.values, ~table.empty, table.where
    rows_of = {
        label: np.flatnonzero((table.labels == label) & whole)
        for label in dict.fromkeys(table.labels[whole].tolist())  # in the order in which they begin
    }
    for label, rows in rows_of.items():
        _check_times(values["t"][rows], rows, label, reading, where)
    values["t"] = values["t"] * column_units.seconds(reading.columns, where)
    return table, *_split(rows_of, values["t"], reading, where)


@dataclasses.dataclass(frozen=True)
class _Rows:
    """What a file's columns hold.

    - `values`: `t` as it stands, `q` and the rates that are there in the system's units.
    - `labels`: of the trajectories. `empty`: rows that lack a number; `blank`: that lack all.
    - `where`: what a sentence about the file begins with.
    """

    values: dict[str, Array]
    labels: Array
    empty: Array
    blank: Array
    where: str


def _columns(
    reading: Reading,
    coordinates: tuple[tuple[str, str], ...],
    angles: tuple[bool, ...],
    whose: str,
) -> _Rows:
    """The columns that the config names. **Raises:** `ConfigError` for what is not there."""
    columns, method, inputs = reading.columns, reading.method, reading.columns.inputs or ()
    local = bool(reading.estimated) and method.name == "savgol"
    if local and (method.window < SHORTEST_WINDOW or method.window % 2 == 0):
        raise ConfigError(
            f"data.window={method.window} is not allowed: it should be odd and at least "
            f"{SHORTEST_WINDOW} points"
        )
    named = {"q": columns.q or tuple(name for name, _ in coordinates)}
    named |= {k: v for k, v in (("qdot", columns.qdot), ("qddot", columns.qddot)) if v is not None}
    wanted = {
        columns.time,
        columns.trajectory or "",
        *(n for names in named.values() for n in names),
        *inputs,
    }
    from study.config.table import Table  # and pyarrow, which help spares

    table = Table(reading.sha256, frozenset(wanted - {""}))
    sizes = column_units.coordinate_sizes(columns, coordinates, angles, whose, table.where)
    values = {"t": table.numbers(columns.time, "data.columns.time")}
    if values["t"].ndim != 1:
        shape = values["t"].shape
        raise ConfigError(f"{table.where}: {columns.time} has shape {shape}: one a row")
    for key, names in named.items():
        one = table.side_by_side(names, f"data.columns.{key}", len(coordinates), whose)
        values[key] = sizes * one
    if inputs:
        one_each = [table.numbers(name, "data.columns.inputs") for name in inputs]
        if wide := [name for name, v in zip(inputs, one_each, strict=True) if v.ndim != 1]:
            raise ConfigError(
                f"data.columns.inputs={wide[0]} holds several numbers a row: give a column for each"
            )
        values["inputs"] = np.stack(one_each, axis=1)
    n = table.n_rows(values)
    absent = np.concatenate([np.isnan(v).reshape(n, -1) for v in values.values()], axis=1)
    blank, empty = np.all(absent, axis=1), np.any(absent, axis=1)
    labels = np.full(n, "")
    if columns.trajectory is not None:
        labels = table.labels(columns.trajectory, "data.columns.trajectory", np.asarray(~blank))
    return _Rows(values, labels, np.asarray(empty), np.asarray(blank), table.where)


def _check_times(times: Array, rows: Array, label: str, reading: Reading, where: str) -> None:
    """Refuse times that repeat or go back. **Raises:** `ConfigError`."""
    steps = np.diff(times)
    for k in np.flatnonzero(steps <= 0)[:1]:
        of = f" (trajectory {label})" if label else ""
        row = f"{where}, row {rows[k + 1] + 1}, column {reading.columns.time}{of}"
        if steps[k] == 0:
            n = np.count_nonzero(steps == 0) - 1
            others = f", as are {n} more: write times with more digits, or" if n else ":"
            one = "one row" if not n else "rows"
            raise ConfigError(
                f"{row}: the time {times[k]:.12g} is there twice{others} leave {one} out"
            )
        hint = "name the column that tells trajectories apart, data.columns.trajectory, or "
        raise ConfigError(
            f"{row}: time goes back from {times[k]:.12g} to {times[k + 1]:.12g}: "
            f"{'' if label else hint}sort the rows{' by time' if label else ''}"
        )


def _split(
    rows_of: dict[str, Array], times: Array, reading: Reading, where: str
) -> tuple[list[list[Array]], int, list[Array]]:
    """The rows of each piece to train on and to test on; the number of gaps; pieces left out.

    Whole trajectories are held out; a single one is cut in time.
    """
    fewest = reading.method.fewest if reading.estimated else 2
    cut = {label: pieces(times, rows) for label, rows in rows_of.items()}
    usable = [label for label in cut if max(map(len, cut[label])) >= fewest]
    n_gaps = sum(len(own) - 1 for own in cut.values())
    left_out = [piece for label in cut if label not in usable for piece in cut[label]]
    if len(usable) == 1 or len(cut) == 1:
        rows = rows_of[next(iter(usable or cut))]
        at = round(len(rows) * (1 - reading.held_out))
        sides = [pieces(times, rows[:at]), pieces(times, rows[at:])]
        left_out = left_out if usable else []
    else:
        K = len(usable)
        order = np.random.default_rng((HELD_OUT,)).permutation(K)
        held_out = set(order[: min(K - 1, max(1, round(reading.held_out * K)))].tolist())
        of_side = [[k for k in range(K) if (k in held_out) == tested] for tested in (False, True)]
        sides = [[piece for k in side for piece in cut[usable[k]]] for side in of_side]
    lengths = {
        what: max(map(len, side), default=0)
        for what, side in zip(("trained", "tested"), sides, strict=True)
    }
    if not usable and len(cut) > 1:
        lengths = {"": max(len(piece) for own in cut.values() for piece in own)}
    what = min(lengths, key=lambda what: lengths[what])
    if lengths[what] < fewest:
        raise ConfigError(f"{where}: {_too_short(what, lengths[what], fewest, reading)}")
    left_out += [piece for side in sides for piece in side if len(piece) < fewest]
    return [[p for p in side if len(p) >= fewest] for side in sides], n_gaps, left_out


def _too_short(what: str, longest: int, fewest: int, reading: Reading) -> str:
    """The end of a sentence on a file of which nothing can be trained, or tested, on."""
    method = reading.method
    subject = f"what is {what} on" if what else "the longest trajectory"
    needs = f"{subject} has {longest} row{'s' * (longest != 1)} without a gap, and needs {fewest}"
    if reading.estimated:
        needs += f" with data.estimate={method.name}"
        if method.name == "savgol":
            needs += f" and data.window={method.window}"
            window = (longest - 2) // 2 * 2 + 1
            if window >= SHORTEST_WINDOW:
                return f"{needs}: use data.window={window}, or more rows"
    return f"{needs}: give more rows" + (" or a larger data.held_out" if what == "tested" else "")


def _motion(columns: dict[str, Array], angles: tuple[bool, ...], reading: Reading) -> Motion:
    """One piece of a trajectory, with estimates of missing rates."""
    times, method, u = columns["t"], reading.method, columns.get("inputs")
    q = np.where(angles, np.unwrap(columns["q"], axis=0), columns["q"])
    if not reading.estimated:
        return Motion(times, q, columns["qdot"], columns["qddot"], u)
    if "qdot" not in columns:
        q, qdot, qddot = method(times, q)
        qddot = columns.get("qddot", qddot)
    else:
        _, qddot, _ = method(times, columns["qdot"])
        qdot = columns["qdot"]
    inner = slice(method.margin, len(times) - method.margin)
    u = None if u is None else u[inner]
    return Motion(times[inner], q[inner], qdot[inner], qddot[inner], u)


def _on_one_turn(
    *sides: list[Motion], angles: tuple[bool, ...]
) -> tuple[tuple[Motion, ...], tuple[Motion, ...]]:
    """Angles that begin whole turns away from the least one are turned back to it."""
    starts = np.array([motion.q[0] for side in sides for motion in side])
    least = np.take_along_axis(starts, np.abs(starts).argmin(axis=0)[None], axis=0)[0]

    def turned(motion: Motion) -> Motion:
        turns = (motion.q[0] - least) / (2 * np.pi)
        turns = np.where(angles & (np.abs(turns) >= 1), np.rint(turns), 0.0)
        return dataclasses.replace(motion, q=motion.q - 2 * np.pi * turns)

    training, held_out = (tuple(map(turned, side)) for side in sides)
    return training, held_out
