"""`Trajectory`: what was measured along one motion, in physical units; positions may be all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from study.core.systems.mechanics import DataError

Array = np.ndarray

HELD_OUT = 5  # every fifth trajectory, or the last fifth of each if they are few
FEW = 15  # trajectories: of fewer, the one or two held out whole need not be like the others


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """`times` (n) in seconds, ascending; `q` (n, D) with unwrapped angles; what else is known.

    **Arguments:**

    - `qdot`, `qddot`: measured velocities and accelerations (n, D).
    - `u`: recorded inputs (n, m).

    **Raises:** `DataError` for shapes that do not fit, numbers that are not finite, or times that
    do not ascend.
    """

    times: Float[Array, " n"]
    q: Float[Array, "n D"]
    qdot: Float[Array, "n D"] | None = None
    qddot: Float[Array, "n D"] | None = None
    u: Float[Array, "n m"] | None = None

    def __post_init__(self) -> None:
        n = len(self.times)
        for name in ("times", "q", "qdot", "qddot", "u"):
            values = getattr(self, name)
            if values is None:
                continue
            if len(values) != n or values.ndim != (1 if name == "times" else 2):
                raise DataError(f"{name} has the shape {values.shape}: it should have {n} rows")
            if not np.isfinite(values).all():
                raise DataError(f"{name} holds numbers that are not finite: leave their rows out")
        if not (np.diff(self.times) > 0).all():
            raise DataError("times do not ascend: sort the rows, and give each time once")

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, chosen: slice) -> Trajectory:
        others = (None if x is None else x[chosen] for x in (self.qdot, self.qddot, self.u))
        return Trajectory(self.times[chosen], self.q[chosen], *others)


def split(
    trajectories: Sequence[Trajectory],
) -> tuple[list[Trajectory], list[Trajectory]]:
    """What is fitted and what is held out: every fifth trajectory, or the last fifth of each."""
    if len(trajectories) >= FEW:
        held = list(trajectories[HELD_OUT - 1 :: HELD_OUT])
        return [x for i, x in enumerate(trajectories) if i % HELD_OUT != HELD_OUT - 1], held
    ends = [len(x) - len(x) // HELD_OUT for x in trajectories]
    both = list(zip(trajectories, ends, strict=True))
    return [x[:end] for x, end in both], [x[end:] for x, end in both]
