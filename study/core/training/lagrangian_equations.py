"""The equations of a linear Lagrangian with forces along trajectories: strong and weak form.

Strong: M qddot + c - g = Q at every sample. Weak: for a test function psi of compact support the
integral of psi (d/dt dL/dqdot - dL/dq - Q) along the motion is zero, and by parts

    - int (psi' dL/dqdot + psi dL/dq) dt = int psi Q dt,

which needs no accelerations, and is as linear in the coefficients (weak SINDy: Messenger and Bortz
2021, Multiscale Model. Simul. 19, 1474). The velocity in the forces is integrated by parts too. psi
= (1 - tau^2)^4, tau the time from its centre over its half width: psi and three of its derivatives
vanish at both ends, and the trapezoidal rule is of fourth order at even steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import scipy
import torch
from jaxtyping import Float
from torch import Tensor

from study.core.data.smoothing import local_polynomial
from study.core.data.trajectory import Trajectory
from study.core.models.forced_lagrangian import ForcedLagrangian
from study.core.systems.units import Units
from study.core.training.elimination import Design

Array = np.ndarray

POWER = 4  # of the test functions
OVERLAP = 8  # test functions begin every half width over this
MOST_ROWS = 30_000  # then they begin less often
BLOCK = 2048  # samples whose terms are in memory at once
GAUGE_STATES = 2000
INDEPENDENT = 5.0  # scaled units of time after which equations count as independent, at least


@dataclasses.dataclass(frozen=True)
class Motion:
    """One trajectory in scaled units, all rows inside its ends: (n), (n, D), (n, m)."""

    times: Float[Array, " n"]
    q: Float[Array, "n D"]
    qdot: Float[Array, "n D"]
    qddot: Float[Array, "n D"]
    u: Float[Array, "n m"] | None

    @classmethod
    def smoothed(cls, trajectory: Trajectory, units: Units, window: int) -> Motion | None:
        """By local polynomials, without the one-sided ends; None if too short for two samples."""
        margin, n = window // 2, len(trajectory)
        if n < 2 * margin + 2:
            return None
        times, inside = trajectory.times / units.time, slice(margin, n - margin)
        scaled = (trajectory.q - units.origin) / units.length
        q, qdot, qddot = local_polynomial(times, scaled, window)[:, inside]
        u = None if trajectory.u is None else trajectory.u[inside]
        return cls(times[inside], q, qdot, qddot, u)

    @classmethod
    def measured(cls, trajectory: Trajectory, units: Units) -> Motion:
        """With the velocities and accelerations that were measured."""
        assert trajectory.qdot is not None
        assert trajectory.qddot is not None
        q, qdot = units.scale(trajectory.q, trajectory.qdot)
        qddot = units.acceleration_to_scaled(trajectory.qddot)
        return cls(trajectory.times / units.time, q, qdot, qddot, trajectory.u)

    def every(self, k: int) -> Motion:
        """Each k-th sample."""
        u = None if self.u is None else self.u[::k]
        return Motion(self.times[::k], self.q[::k], self.qdot[::k], self.qddot[::k], u)


def strong_form(
    forced: ForcedLagrangian,
    theta: Float[Tensor, "1 S"],
    motions: Sequence[Motion],
    most_rows: int = MOST_ROWS,
) -> Design:
    """The Euler-Lagrange equations at samples spread evenly, so many that there are `most_rows`."""
    rows = sum(len(motion.times) for motion in motions) * forced.forces.n_dof
    motions = [motion.every(-(-rows // most_rows)) for motion in motions]
    parts, sides, groups = [], [], []
    for motion in motions:
        for begin in range(0, len(motion.times), BLOCK):
            at = slice(begin, begin + BLOCK)
            states = (_states(x[at]) for x in (motion.q, motion.qdot, motion.qddot))
            parts.append(forced.model.rows(theta, *states)[0][0].flatten(0, 1).numpy())
        sides.append(forced.equations(motion.qdot, motion.u))
        groups.append((motion.times, INDEPENDENT))
    return _design(forced, theta, motions, parts, sides, groups)


def weak_form(
    forced: ForcedLagrangian,
    theta: Float[Tensor, "1 S"],
    motions: Sequence[Motion],
    half: float,
) -> Design:
    """The equations of test functions of half width `half`, in scaled units of time.

    **Raises:** `ValueError` if no trajectory is as long as a test function.
    """
    D, parts, sides, groups = forced.forces.n_dof, [], [], []
    long = [motion for motion in motions if motion.times[-1] - motion.times[0] >= 2 * half]
    if not long:
        raise ValueError("no trajectory is as long as a test function")
    spare = sum(motion.times[-1] - motion.times[0] - 2 * half for motion in long)
    spacing = min(max(half / OVERLAP, spare * D / MOST_ROWS), half)
    for motion in long:
        n = int((motion.times[-1] - motion.times[0] - 2 * half) / spacing + 1e-9) + 1
        centres = motion.times[0] + half + spacing * np.arange(n)
        for at, rows, value, slope in _test_functions(motion.times, centres, half):
            slopes = forced.model.slopes(theta, _states(motion.q[rows]), _states(motion.qdot[rows]))
            of_qdot, of_q = (x[0].flatten(1).numpy() for x in (slopes.of_qdot, slopes.of_q))
            weak = -(slope @ of_qdot + value @ of_q)
            parts.append(weak.reshape(len(weak) * D, -1))
            u = None if motion.u is None else value @ motion.u[rows]
            sides.append(forced.equations(-(slope @ motion.q[rows]), u))
            groups.append((centres[at], max(INDEPENDENT, 4 * half)))
    return _design(forced, theta, long, parts, sides, groups)


def _test_functions(
    times: Float[Array, " n"], centres: Float[Array, " K"], half: float
) -> Iterator[tuple[slice, slice, scipy.sparse.csr_matrix, scipy.sparse.csr_matrix]]:
    """Blocks of test functions and samples: psi and psi' times the weights of the quadrature."""
    weights = np.gradient(times)
    weights[[0, -1]] /= 2
    first = np.searchsorted(times, centres - half * (1 + 1e-9))
    last = np.searchsorted(times, centres + half * (1 + 1e-9), side="right")
    begin = 0
    while begin < len(centres):
        room = np.searchsorted(last, max(first[begin] + BLOCK, last[begin]), side="right")
        at = slice(begin, max(begin + 1, int(room)))
        rows = slice(int(first[at.start]), int(last[at.stop - 1]))
        counts = last[at] - first[at]
        row = np.repeat(np.arange(len(counts)), counts)
        starts = np.cumsum(counts) - counts
        sample = np.arange(counts.sum()) - np.repeat(starts - first[at], counts)
        tau = np.clip((times[sample] - centres[at][row]) / half, -1, 1)
        bump = 1 - tau**2
        shape = (len(counts), rows.stop - rows.start)
        place = (row, sample - rows.start)
        value = scipy.sparse.csr_matrix((weights[sample] * bump**POWER, place), shape)
        falling = -2 * POWER / half * tau * bump ** (POWER - 1)
        yield at, rows, value, scipy.sparse.csr_matrix((weights[sample] * falling, place), shape)
        begin = at.stop


def _design(forced, theta, motions, parts, sides, groups) -> Design:
    """Equations of all blocks; the gauge, unless an input of known effect fixes the scale."""
    D = forced.forces.n_dof
    columns, right = (np.concatenate(each) for each in zip(*sides, strict=True))
    labels, n_groups = [], 0
    for times, room in groups:
        labels.append(n_groups + ((times - times[0]) // room).astype(int))
        n_groups = labels[-1].max() + 1
    gauge = None if right.any() else _mean_trace(forced, theta, motions)
    return Design(
        np.concatenate(parts), columns, right, np.repeat(np.concatenate(labels), D), gauge, float(D)
    )


def _mean_trace(forced, theta, motions) -> Float[Array, " P"]:
    q, qdot = (np.concatenate([getattr(m, name) for m in motions]) for name in ("q", "qdot"))
    every = max(1, len(q) // GAUGE_STATES)
    q, qdot = _states(q[::every]), _states(qdot[::every])
    return forced.model.rows(theta, q, qdot, torch.zeros_like(q))[1][0].mean(0).numpy()


def _states(rows: Float[Array, "n D"]) -> Float[Tensor, "1 D n"]:
    return torch.from_numpy(np.ascontiguousarray(rows.T))[None]
