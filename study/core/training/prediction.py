"""How well equations of motion predict measured positions over a short horizon.

It compares fits by what was measured, without accelerations: motion from smoothed held-out states,
by the classical Runge-Kutta method, against the positions as they were recorded. The horizon is a
few units of the motion's own time, over which an error of the acceleration has grown above the
noise, and the error of the start has not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from study.core.data.trajectory import Trajectory
from study.core.models.mlp import States
from study.core.systems.units import Units
from study.core.training.lagrangian_equations import Motion

Array = np.ndarray
Field = Callable[[States, States, Tensor | None], States]

HORIZON = 3.0  # scaled units of time
STEP = 0.1  # at most, of the solver, in the same; samples closer than this are not all compared
STARTS = 30  # in all
STEEPEST = 1e4  # accelerations are clamped here


@dataclasses.dataclass(frozen=True)
class Judge:
    """Held-out starts (D, B), and the positions measured after them.

    - `positions` (K, D, B); `steps` (K, B), the time from each to the next, taken in `parts`.
    - `inputs` (K parts, 3, m, B): at the begin, the middle and the end of each part.
    """

    q: Float[Tensor, "D B"]
    qdot: Float[Tensor, "D B"]
    positions: Float[Tensor, "K D B"]
    steps: Float[Tensor, "K B"]
    parts: int
    inputs: Float[Tensor, "Kp 3 m B"] | None

    @classmethod
    def of(cls, held_out: Sequence[Trajectory], units: Units, window: int) -> Judge:
        """Starts spread evenly over the trajectories, smoothed by this window.

        **Raises:** `ValueError` if all trajectories are too short.
        """
        margin = window // 2
        pieces = [x for x in held_out if len(x) >= 2 * margin + 4]
        if not pieces:
            raise ValueError("the held-out trajectories are shorter than the smoothing window")
        step = float(np.median(np.concatenate([np.diff(x.times) for x in pieces]))) / units.time
        stride, parts = max(1, int(STEP / step)), max(1, int(np.ceil(step / STEP)))
        room = sorted(len(x) - 2 * margin - 1 for x in pieces)[len(pieces) // 2]
        wanted = max(1, round(HORIZON / (step * stride)))
        K = min(wanted, max(1, room // (2 * stride)))
        stride = min(stride, max(1, room))
        pieces = [x for x in pieces if len(x) > 2 * margin + K * stride]
        each = -(-STARTS // len(pieces))
        rows = [_piece(piece, units, window, each, K, stride, parts) for piece in pieces]
        q, qdot, positions, steps, inputs = zip(*rows, strict=True)
        driven = None if inputs[0] is None else torch.cat(inputs, -1)
        joined = [torch.cat(each, -1) for each in (q, qdot, positions, steps)]
        return cls(joined[0], joined[1], joined[2], joined[3], parts, driven)

    def errors(self, field: Field, n_fits: int) -> Float[Tensor, "R B"]:
        """The mean square over coordinates and times, in scaled units, of each fit and start."""
        q, qdot = (x.expand(n_fits, -1, -1) for x in (self.q, self.qdot))
        total = q.new_zeros(n_fits, q.shape[2])

        def acceleration(q: Tensor, qdot: Tensor, u: Tensor | None) -> Tensor:
            u = None if u is None else u.expand(n_fits, -1, -1)
            qddot = torch.nan_to_num(field(q, qdot, u), nan=STEEPEST)
            return qddot.clamp(-STEEPEST, STEEPEST)

        for k, there in enumerate(self.positions):
            h = self.steps[k] / self.parts
            for part in range(k * self.parts, (k + 1) * self.parts):
                u = (None,) * 3 if self.inputs is None else self.inputs[part]
                a = acceleration(q, qdot, u[0])
                b = acceleration(q + h / 2 * qdot, qdot + h / 2 * a, u[1])
                c = acceleration(q + h / 2 * qdot + h * h / 4 * a, qdot + h / 2 * b, u[1])
                d = acceleration(q + h * qdot + h * h / 2 * b, qdot + h * c, u[2])
                q = q + h * qdot + h * h / 6 * (a + b + c)
                qdot = qdot + h / 6 * (a + 2 * b + 2 * c + d)
            total += (q - there).square().mean(1) / len(self.positions)
        return torch.nan_to_num(total, nan=torch.inf)

    def scores(self, field: Field, n_fits: int) -> Float[Array, " R"]:
        """The mean over starts of the logarithm of the error: no single start decides."""
        errors = self.errors(field, n_fits)
        return errors.clamp(min=torch.finfo(errors.dtype).tiny).log().mean(1).numpy()


def _piece(
    piece: Trajectory, units: Units, window: int, n: int, K: int, stride: int, parts: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """n starts of one trajectory: q, qdot (D, n), positions (K, D, n), steps (K, n), inputs."""
    margin, motion = window // 2, Motion.smoothed(piece, units, window)
    assert motion is not None
    last = min(len(motion.times) - 1, len(piece) - 1 - margin - K * stride)
    starts = np.unique(np.linspace(0, max(0, last), n).astype(int))
    after = margin + starts + stride * np.arange(K + 1)[:, None]  # rows of the piece
    times = piece.times[after] / units.time
    positions = (piece.q[after[1:]] - units.origin) / units.length
    inputs = None
    if piece.u is not None:
        fractions = (np.arange(parts)[:, None] + np.array([0.0, 0.5, 1.0])) / parts
        steps = np.diff(times, axis=0)
        at = times[:-1, None, None] + fractions[:, :, None] * steps[:, None, None]
        at = at.reshape(K * parts, 3, -1)
        columns = [np.interp(at, piece.times / units.time, column) for column in piece.u.T]
        inputs = torch.from_numpy(np.stack(columns, axis=2))
    return (
        torch.from_numpy(motion.q[starts].T.copy()),
        torch.from_numpy(motion.qdot[starts].T.copy()),
        torch.from_numpy(positions.transpose(0, 2, 1).copy()),
        torch.from_numpy(np.diff(times, axis=0)),
        inputs,
    )
