"""Measured motion: training points, and held-out trajectories for tests; all in physical units.

If the true system is known, the test labels are its accelerations at the measured states, and
rollouts are compared with its motion from them. If not, both are the measured ones.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import scipy
from jaxtyping import Float, Int

from study.core.data.datasets import (
    POOL,
    Curves,
    DataError,
    Points,
    Reference,
    TestSet,
    TrainingSet,
    Trajectories,
    motion_from,
)
from study.core.systems.mechanics import System

Array = np.ndarray

COVERED = 0.75  # of the held-out time is in pieces that are long
GAP = 3.0  # a step so many times as long as those around it, their median, is a gap
AROUND = 11  # steps
COUNTS = ("n_gaps", "n_short", "n_short_rows", "n_empty")  # of what was cut and left out
LONG = 0.5  # of the shortest of these: the horizon is no shorter


@dataclasses.dataclass(frozen=True)
class Motion:
    """One trajectory: `times` (n) in seconds, ascending; `q`, `qdot`, `qddot`, each (n, D); and
    recorded inputs `u`.
    """

    times: Float[Array, " n"]
    q: Float[Array, "n D"]
    qdot: Float[Array, "n D"]
    qddot: Float[Array, "n D"]
    u: Float[Array, "n m"] | None = None

    @property
    def duration(self) -> float:
        """Seconds from the first point to the last."""
        return float(self.times[-1] - self.times[0])

    def inputs_at(self, times: Float[Array, " t"]) -> Float[Array, "t m"]:
        """Recorded inputs, by straight lines between the samples."""
        assert self.u is not None
        return np.stack([np.interp(times, self.times, column) for column in self.u.T], axis=1)

    def states_at(self, times: Float[Array, " T"]) -> Float[Array, "T two_D"]:
        """(q, qdot) between the points, by the cubic that has the derivatives too."""
        pairs = ((self.q, self.qdot), (self.qdot, self.qddot))
        hermite = scipy.interpolate.CubicHermiteSpline
        return np.concatenate([hermite(self.times, *pair, axis=0)(times) for pair in pairs], axis=1)


@dataclasses.dataclass(frozen=True)
class Recording:
    """What was measured, in pieces without a gap.

    - `training`, `held_out`: pieces of trajectories; `angles`: which coordinates are periodic.
    - `n_gaps`: gaps that cut trajectories into pieces.
    - `n_short`: pieces that were left out because they are too short, and `n_short_rows` in them.
    - `n_empty`: rows that were left out because a number in them is missing.
    """

    training: tuple[Motion, ...]
    held_out: tuple[Motion, ...]
    angles: tuple[bool, ...]
    n_gaps: int = 0
    n_short: int = 0
    n_short_rows: int = 0
    n_empty: int = 0

    @functools.cached_property
    def points(self) -> Points:
        """All training points, trajectory after trajectory, in time."""
        return _joined(self.training)

    @functools.cached_property
    def curves(self) -> Curves:
        """`points`, with their times and trajectories."""
        times = np.concatenate([motion.times for motion in self.training])
        lengths = [len(motion.times) for motion in self.training]
        trajectory = np.repeat(np.arange(len(lengths)), lengths)
        return Curves(self.points, times, trajectory, self.points.states)

    def training_set(self, seed: int, n: int, noise: float, k: int = 0) -> TrainingSet:
        """The first n points of a data seed's shuffle; as `datasets.Source.training_set`."""
        order = np.random.default_rng((POOL, seed)).permutation(len(self.points))
        return self.curves.training_set(order, n, k, seed, noise * self.points.qddot.std(0))

    def ample(self, seed: int, n: int) -> Points:
        """n training points; all of them if there are fewer."""
        return self.training_set(seed, min(n, len(self.points)), 0.0).points

    def reference(self) -> Reference:
        """Units, label scale and range, from all training points, whatever N is."""
        return Reference.of(self.points, self.angles)

    def test_set(self, system: System) -> TestSet:
        """All held-out points, with the labels of the true system if it is known.

        Angles are in range if they are so after any number of turns.
        """
        points, reference = _joined(self.held_out), self.reference()
        if system.known:
            points = dataclasses.replace(points, qddot=system.acceleration(points.q, points.qdot))
        middle = (reference.low + reference.high)[: len(self.angles)] / 2
        turned = np.where(self.angles, points.q - _turns(points.q - middle), points.q)
        nearest = TestSet.of(dataclasses.replace(points, q=turned), reference)
        return dataclasses.replace(nearest, points=points)

    @property
    def step(self) -> float:
        """Seconds from a row to the next, the median of all pieces."""
        return float(np.median(np.concatenate([np.diff(m.times) for m in self._pieces])))

    @property
    def _pieces(self) -> tuple[Motion, ...]:
        return self.training + self.held_out

    @property
    def horizon(self) -> float:
        """Seconds that rollouts are compared over: the shortest piece, short scraps apart.

        The longest pieces that hold three quarters of the held-out time are no scraps, nor are
        those at least half as long.
        """
        durations = np.sort([motion.duration for motion in self.held_out])[::-1]
        covered = np.cumsum(durations) >= COVERED * durations.sum() * (1 - 1e-9)
        return float(durations[durations >= LONG * durations[covered.argmax()]].min())

    def starts(self, n: int, room: float) -> list[tuple[Motion, float]]:
        """n starts of rollouts, each with `room` seconds of measured motion after it.

        Pieces take turns: first their beginnings, then times spread evenly over those that are
        longer than `room`. There are fewer than n if two would be closer than the rows of a piece.

        **Raises:** `DataError` if no held-out piece is so long.
        """
        fit = [motion for motion in self.held_out if motion.duration >= room * (1 - 1e-9)]
        if not fit:
            longest = max(motion.duration for motion in self.held_out)
            raise DataError(
                f"rollout.horizon={room:g} is longer than any held-out trajectory: "
                f"at most {longest:g} s were measured without a gap"
            )
        spare = [max(0.0, motion.duration - room) for motion in fit]
        rows = [s / m.duration * (len(m.times) - 1) for s, m in zip(spare, fit, strict=True)]
        most = [1 + int(rows_after + 1e-6) for rows_after in rows]
        rounds = next((k for k in range(1, max(most)) if sum(np.minimum(most, k)) >= n), max(most))
        begun = [min(own, rounds) for own in most]
        return [
            (motion, float(motion.times[0]) + spare[i] * k / max(1, begun[i] - 1))
            for k in range(rounds)
            for i, motion in enumerate(fit)
            if k < begun[i]
        ][:n]

    def truth(self, system: System, n: int, horizon: float, n_times: int) -> Trajectories:
        """True motion from measured states, or measured motion, to compare rollouts with.

        **Raises:** `DataError` if none is so long, or a solver of the true system fails.
        """
        if system.known:
            starts = self.starts(n, 0.0)
            first = np.concatenate([motion.states_at(np.array([t])) for motion, t in starts])
            return motion_from(system, first, horizon, n_times)
        times = np.linspace(0, horizon, n_times)
        starts = self.starts(n, horizon)
        states = np.stack(
            [motion.states_at(np.minimum(t + times, motion.times[-1])) for motion, t in starts]
        )
        unknown = np.full(len(starts), np.nan)
        trusted = np.full(len(starts), float(times[-1]))

        def inputs(times: Float[Array, "K t"]) -> Float[Array, "K t m"]:
            pairs = zip(starts, times, strict=True)
            return np.stack([motion.inputs_at(begun + since) for (motion, begun), since in pairs])

        driven = self.training[0].u is not None
        return Trajectories(times, states, trusted, unknown, inputs if driven else None)


def pieces(times: Float[Array, " n"], rows: Int[Array, " m"]) -> list[Int[Array, " k"]]:
    """The rows of one trajectory, cut at its gaps."""
    if len(rows) < 2:
        return [rows]
    steps = np.diff(times[rows])
    usual = scipy.ndimage.median_filter(steps, AROUND, mode="mirror")
    return np.split(rows, np.flatnonzero(steps > GAP * usual * (1 + 1e-9)) + 1)


def _joined(motions: tuple[Motion, ...]) -> Points:
    rows = ([getattr(motion, name) for motion in motions] for name in ("q", "qdot", "qddot"))
    driven = [motion.u for motion in motions if motion.u is not None]
    u = np.concatenate(driven) if driven else None
    q, qdot, qddot = map(np.concatenate, rows)
    return Points(q, qdot, qddot, u)


def _turns(angle: Array) -> Array:
    """The whole turns in an angle, as an angle."""
    return 2 * np.pi * np.rint(angle / (2 * np.pi))
