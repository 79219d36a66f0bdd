"""Measured motion: training points, and held-out trajectories for tests; all in physical units.

If the true system is known, the test labels are its accelerations at the measured states, and
rollouts are compared with its motion from them. If not, both are the measured ones.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import scipy
from jaxtyping import Float

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


@dataclasses.dataclass(frozen=True)
class Motion:
    """One trajectory: `times` (n) in seconds, ascending; `q`, `qdot`, `qddot`, each (n, D)."""

    times: Float[Array, " n"]
    q: Float[Array, "n D"]
    qdot: Float[Array, "n D"]
    qddot: Float[Array, "n D"]

    @property
    def duration(self) -> float:
        """Seconds from the first point to the last."""
        return float(self.times[-1] - self.times[0])

    def states_at(self, times: Float[Array, " T"]) -> Float[Array, "T two_D"]:
        """(q, qdot) between the points, by the cubic that has the derivatives too."""
        pairs = ((self.q, self.qdot), (self.qdot, self.qddot))
        hermite = scipy.interpolate.CubicHermiteSpline
        return np.concatenate([hermite(self.times, *pair, axis=0)(times) for pair in pairs], axis=1)


@dataclasses.dataclass(frozen=True)
class Recording:
    """`training` and `held_out` trajectories; `angles`: which coordinates are periodic."""

    training: tuple[Motion, ...]
    held_out: tuple[Motion, ...]
    angles: tuple[bool, ...]

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
        """All held-out points, with the labels of the true system if it is known."""
        points = _joined(self.held_out)
        if system.known:
            points = dataclasses.replace(points, qddot=system.acceleration(points.q, points.qdot))
        return TestSet.of(points, self.reference())

    @property
    def shortest(self) -> float:
        """Seconds of the shortest held-out trajectory."""
        return min(motion.duration for motion in self.held_out)

    def starts(self, n: int, room: float) -> list[tuple[Motion, float]]:
        """n starts of rollouts, each with `room` seconds of measured motion after it.

        Trajectories take turns: first their beginnings, then times spread evenly over those that
        are longer than `room`. If none is longer, there are at most as many starts as trajectories.

        **Raises:** `DataError` if no held-out trajectory is so long.
        """
        fit = [motion for motion in self.held_out if motion.duration >= room * (1 - 1e-9)]
        if not fit:
            longest = max(motion.duration for motion in self.held_out)
            raise DataError(
                f"rollout.horizon={room:g} is longer than any held-out trajectory: "
                f"at most {longest:g} s were measured"
            )
        longer = [motion for motion in fit if motion.duration > room * (1 + 1e-9)]
        starts = [(motion, float(motion.times[0])) for motion in fit]
        later = -(-(n - len(fit)) // len(longer)) if longer else 0  # starts after the first of each
        for k in range(1, later + 1):
            for motion in longer:
                spare = motion.duration - room
                starts.append((motion, float(motion.times[0]) + spare * k / later))
        return starts[:n]

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
        return Trajectories(times, states, np.full(len(starts), float(times[-1])), unknown)


def _joined(motions: tuple[Motion, ...]) -> Points:
    rows = ([getattr(motion, name) for motion in motions] for name in ("q", "qdot", "qddot"))
    return Points(*map(np.concatenate, rows))
