"""Scaled units: one time for the system, one length and origin a coordinate that is no angle.

Scaling accelerations but not velocities would be no change of units: the targets would no longer
be those of any Lagrangian.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class Units:
    """**Arguments:**

    - `time` in seconds, `length` (D) in metres (1 for an angle).
    - `origin` (D): where coordinates are measured from, in metres (0 for an angle).
    - `inputs` (m): of inputs, in the units they are told in.
    """

    time: float
    length: Float[Array, " D"]
    origin: Float[Array, " D"]
    inputs: Float[Array, " m"] = dataclasses.field(default_factory=lambda: np.ones(0))

    @classmethod
    def physical(cls, n_dof: int, n_inputs: int = 0) -> Units:
        """Seconds, metres, radians."""
        return cls(1.0, np.ones(n_dof), np.zeros(n_dof), np.ones(n_inputs))

    @classmethod
    def of(
        cls,
        q: Float[Array, "n D"],
        qddot: Float[Array, "n D"],
        angles: tuple[bool, ...],
        u: Float[Array, "n m"] | None = None,
    ) -> Units:
        """Units in which coordinates that are not angles, and the accelerations, are of order one.

        Lengths are the coordinates' standard deviations; the time makes the mean square of the
        accelerations' standard deviations one. A coordinate that stays further from zero than it
        varies is measured from its mean; others keep their zero, which may have a symmetry. Of an
        input its standard deviation is the unit.
        """
        length = np.where(angles, 1.0, q.std(0))
        away = ~np.asarray(angles) & (np.abs(q.mean(0)) > length)
        time = float(1 / np.sqrt(np.sqrt(np.mean((qddot.std(0) / length) ** 2))))
        sizes = np.ones(0) if u is None else np.where(u.std(0) > 0, u.std(0), 1.0)
        return cls(time, length, np.where(away, q.mean(0), 0.0), sizes)

    def scale(
        self, q: Float[Array, "*n D"], qdot: Float[Array, "*n D"]
    ) -> tuple[Float[Array, "*n D"], Float[Array, "*n D"]]:
        """(q, qdot) from physical to scaled units."""
        return (q - self.origin) / self.length, qdot * self.time / self.length

    def scale_driven(
        self, q: Float[Array, "n D"], qdot: Float[Array, "n D"], u: Float[Array, "n m"] | None
    ) -> tuple[Float[Array, "n D"], Float[Array, "n V"]]:
        """As `scale`, with the inputs beside the velocities."""
        q, qdot = self.scale(q, qdot)
        return q, qdot if u is None else np.concatenate([qdot, u / self.inputs], axis=1)

    def to_scaled(self, states: Float[Array, "*n two_D"]) -> Float[Array, "*n two_D"]:
        """States (q, qdot) side by side from physical to scaled units."""
        return np.concatenate(self.scale(*np.split(states, 2, axis=-1)), axis=-1)

    def to_physical(self, states: Float[Array, "*n two_D"]) -> Float[Array, "*n two_D"]:
        """States (q, qdot) side by side from scaled to physical units."""
        origin = np.concatenate([self.origin, np.zeros_like(self.origin)])
        return origin + self.change_to_physical(states)

    def change_to_physical(self, states: Float[Array, "*n two_D"]) -> Float[Array, "*n two_D"]:
        """Differences of states from scaled to physical units."""
        return states * np.concatenate([self.length, self.length / self.time])

    def acceleration_to_scaled(self, qddot: Float[Array, "*n D"]) -> Float[Array, "*n D"]:
        """qddot from physical to scaled units."""
        return qddot * self.time**2 / self.length

    def acceleration_to_physical(self, qddot: Float[Array, "*n D"]) -> Float[Array, "*n D"]:
        """qddot from scaled to physical units."""
        return qddot * self.length / self.time**2
