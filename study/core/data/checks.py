"""Is a recording what it is said to be? Each remark is one sentence with its figure.

Checked are what measurements can contradict: whether velocities are the rates of the positions,
whether accelerations are those of the named system, and whether the coordinates are free.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import scipy  # its submodules are loaded on first use

from study.core.data.recording import Motion
from study.core.systems.mechanics import System

Array = np.ndarray

SPAN = 8  # steps over which a velocity is integrated: noise of single positions then hardly counts
AGREES = 0.98  # squared correlation from which on two changes of position are the same motion
FACTOR = 1.1  # a velocity that is off by less is calibration
LAGS = 30  # frames by which a velocity may be late
CONTRADICTS = 0.1  # of the variance of the accelerations: a larger error is of another system
CURED = 0.1  # of the error: what a change leaves of it, if it is named
ENOUGH = 12  # points to check anything
STATES = 3000  # whose accelerations are compared, spread over the recording
ON_A_CURVE = 1e-3  # relative residual of an equation that all positions obey
MEANINGS = {
    math.degrees(1): "degrees a second beside radians",
    math.radians(1): "radians a second beside degrees",
    60 / (2 * math.pi): "turns a minute beside radians",
    1e-3: "milliseconds beside seconds",
    1e3: "milliseconds beside seconds",
    -1.0: "its sign is the other one",
}


@dataclasses.dataclass(frozen=True)
class Names:
    """What a user calls the columns: of each coordinate, and of its velocity if that was given."""

    q: tuple[str, ...]
    qdot: tuple[str, ...] | None = None


def remarks(
    motions: Sequence[Motion],
    angles: tuple[bool, ...],
    system: System,
    names: Names,
    estimated: bool = False,
) -> list[str]:
    """What contradicts the description of a recording; nothing if all agrees.

    - `motions`: its trajectories, SI units.
    - `system`: the named system, or one whose Lagrangian is not known.
    - `estimated`: whether the accelerations were. What noise may have made of them contradicts
      nothing then; what another constant or zero of an angle cures does.
    """
    return [
        *(_rates(motions, names) if names.qdot else ()),
        *(_accelerations(motions, system, estimated) if system.known else ()),
        *_constraints(motions, angles, names),
    ]


def _rates(motions: Sequence[Motion], names: Names) -> Iterator[str]:
    """Whether each velocity is the rate of its position, by sums: velocity integrated over `SPAN`
    steps beside the change of position."""
    assert names.qdot is not None
    for i, (name, of) in enumerate(zip(names.qdot, names.q, strict=True)):
        own = _likeness(motions, i, i, 0)
        if own is None or (own[0] > AGREES and 1 / FACTOR < own[1] < FACTOR):
            continue
        if own[0] > AGREES:
            yield f"{name} is not the rate of {of}: it is {_factor(own[1])}"
            continue
        D = len(names.q)
        others = ((_likeness(motions, i, j, 0), j, 0) for j in range(D) if j != i)
        late = ((_likeness(motions, i, i, k), i, k) for k in range(-LAGS, LAGS + 1) if k)
        known = [(like, j, k) for like, j, k in (*others, *late) if like is not None]
        (share, factor), j, lag = max(known, key=lambda one: one[0][0], default=((0.0, 1.0), i, 0))
        if share <= AGREES:
            yield (
                f"{name} is not the rate of {of}: integrated, it explains {100 * own[0]:.2g} % of "
                f"the changes of {of}; check the columns"
            )
        elif lag:
            more = "" if 1 / FACTOR < factor < FACTOR else f", and {_factor(factor)}"
            yield f"{name} is the rate of {of} {abs(lag)} frames {_late(lag)}{more}"
        else:
            yield f"{names.qdot[j]} is the rate of {of}, and {name} is not: are columns swapped?"


def _late(lag: int) -> str:
    return "late" if lag > 0 else "early"


def _factor(factor: float) -> str:
    """'57.3 times that (degrees a second beside radians?)'."""
    close = [m for value, m in MEANINGS.items() if abs(factor / value - 1) < FACTOR - 1]
    return f"{factor:.3g} times that" + (f" ({close[0]}?)" if close else "")


def _likeness(motions: Sequence[Motion], i: int, j: int, lag: int) -> tuple[float, float] | None:
    """Squared correlation of velocity j, `lag` frames earlier in its column, integrated, with the
    change of position i; and how many times the rate it is. None with too few points."""
    changes, sums = [], []
    for motion in motions:
        t, q, v = motion.times, motion.q[:, i], motion.qdot[:, j]
        if lag > 0:
            t, q, v = t[:-lag], q[:-lag], v[lag:]
        elif lag < 0:
            t, q, v = t[-lag:], q[-lag:], v[:lag]
        if len(t) <= SPAN:
            continue
        area = scipy.integrate.cumulative_simpson(v, x=t, initial=0)
        changes.append(q[SPAN:] - q[:-SPAN])
        sums.append(area[SPAN:] - area[:-SPAN])
    if sum(map(len, changes)) < ENOUGH:
        return None
    x, y = np.concatenate(changes), np.concatenate(sums)
    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    if not (xx > 0 and yy > 0):
        return None
    # noise of the positions would make the slope of a regression too small
    return xy * xy / (xx * yy), math.copysign(math.sqrt(yy / xx), xy)


def _accelerations(motions: Sequence[Motion], system: System, estimated: bool) -> Iterator[str]:
    """Whether the accelerations are those of the named system; if not, what would cure it."""
    every = max(1, sum(len(motion.times) for motion in motions) // STATES)
    q, qdot, qddot = (
        np.concatenate([getattr(motion, name) for motion in motions])[::every]
        for name in ("q", "qdot", "qddot")
    )
    variance = qddot.var(0)
    if len(q) < ENOUGH or not (variance > 0).all():
        return

    def error(of: System, q: Array, sign: float = 1.0) -> float:
        with np.errstate(all="ignore"):
            off = of.acceleration(sign * q, sign * qdot) * sign - qddot
        share = float((np.square(off).mean(0) / variance).mean())
        return share if math.isfinite(share) else math.inf

    own = error(system, q)
    if own < CONTRADICTS:
        return
    cures = list(_other_zeros(system, q, error))
    if (fitted := _other_constants(system, q, qdot, qddot, variance)) is not None:
        cures.append(fitted)
    least, what = min(cures, default=(math.inf, ""))
    cure = f"; {what} it is {least:.2g}" if least < min(CONTRADICTS, CURED * own) else ""
    if estimated and not cure:
        return
    yield (
        f"the measured accelerations do not agree with {system.name}: their error is {own:.2g} of "
        f"their variance{cure or ', and no other constants or zero of an angle mend it'}"
    )


def _other_zeros(system: System, q: Array, error) -> Iterator[tuple[float, str]]:
    """The errors with angles counted from the other end, or the other way round."""
    places = [i for i, angle in enumerate(system.angles) if angle]
    for turned in itertools.product([0.0, np.pi], repeat=len(places)):
        if any(turned):
            shift = np.zeros(q.shape[1])
            shift[places] = turned
            of = " and ".join(system.coordinates[i][0] for i in places if shift[i])
            yield error(system, q + shift), f"with {of} counted from the opposite direction"
    yield error(system, q, -1.0), "with all signs reversed"


def _other_constants(
    system: System, q: Array, qdot: Array, qddot: Array, variance: Array
) -> tuple[float, str] | None:
    """The error with one constant fitted, the best of all."""
    fits = []
    for name, usual in system.constants.items():
        if not usual:
            continue

        def off(log: Array, name: str = name, usual: float = usual) -> Array:
            changed = system.with_constants(**{name: float(usual * np.exp(log[0]))})
            with np.errstate(all="ignore"):
                difference = (changed.acceleration(q, qdot) - qddot) / np.sqrt(variance)
            return np.nan_to_num(difference, nan=1e3, posinf=1e3, neginf=-1e3).ravel()

        fit = scipy.optimize.least_squares(off, [0.0], bounds=(-5, 5))
        value = usual * math.exp(fit.x[0])
        error = float(np.square(off(fit.x)).mean())
        fits.append((error, f"with {name} = {value:.3g} instead of {usual:.3g}"))
    return min(fits, default=None)


def _constraints(
    motions: Sequence[Motion], angles: tuple[bool, ...], names: Names
) -> Iterator[str]:
    """Whether two lengths lie on one conic on all trajectories, as x and y of a bob on a rod do.

    One orbit of free coordinates may do so, too; the conic of several orbits cannot be the same.
    """
    for i, j in itertools.combinations([k for k, angle in enumerate(angles) if not angle], 2):
        pairs = np.concatenate([motion.q[:, [i, j]] for motion in motions])
        spread = float(pairs.std())
        if len(pairs) < ENOUGH or not spread:
            continue
        x, y = ((pairs - pairs.mean(0)) / spread).T
        columns = np.stack([x * x, x * y, y * y, x, y, np.ones_like(x)], axis=1)
        sizes = np.linalg.svd(columns / np.linalg.norm(columns, axis=0), compute_uv=False)
        if sizes[-1] < ON_A_CURVE * sizes[0]:
            several = len(motions) > 1
            meaning = "are no free coordinates" if several else "may be no free coordinates"
            yield (
                f"{names.q[i]} and {names.q[j]} lie on one curve to {sizes[-1] / sizes[0]:.1g} and "
                f"{meaning}: if a rod or a track holds them, use its angle or length instead"
            )
