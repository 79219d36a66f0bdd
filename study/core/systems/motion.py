"""States and times as users give them, and motion from one state after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy  # its submodules are loaded on first use
from jaxtyping import Float

Array = np.ndarray


def checked_states(q: Any, qdot: Any, D: int) -> tuple[Float[Array, "*n D"], Float[Array, "*n D"]]:
    """Coordinates and velocities as float64. **Raises:** `ValueError` for other shapes."""
    q, qdot = np.asarray(q, float), np.asarray(qdot, float)
    check_width(q, qdot, D)
    return q, qdot


def check_width(q: Array, qdot: Array, D: int) -> None:
    """Refuse arrays that are not D wide, or not of one shape. **Raises:** `ValueError`."""
    if q.shape != qdot.shape or q.shape[-1:] != (D,):
        raise ValueError(
            f"q has the shape {q.shape} and qdot {qdot.shape}: both should be (..., {D}), "
            f"{'one coordinate' if D == 1 else f'the {D} coordinates'} of each state last"
        )


def checked_times(t: Any) -> Float[Array, " T"]:
    """Times as float64. **Raises:** `ValueError` if they are not a rising row of numbers."""
    t = np.asarray(t, float)
    if t.ndim != 1 or not len(t) or not np.isfinite(t).all() or (np.diff(t) <= 0).any():
        raise ValueError(
            f"t has the shape {t.shape}: it should be a row of rising times in seconds, that of "
            "the start first, np.linspace(0, 10, 101) for instance"
        )
    return t


def motion(
    field: Callable[[float, Array], Array],
    start: Float[Array, "K two_D"],
    times: Float[Array, " T"],
    tolerance: float,
    room: Callable[[Array], float] | None = None,
) -> Float[Array, "K T two_D"]:
    """Motion from each start, which is the state at the first time, by DOP853.

    - `field`: d(state)/dt of one state (2 D) at a time in seconds.
    - `room`: how far a state is from where it counts as diverged; from there on it is NaN.
    """
    rolled = np.full((len(start), len(times), start.shape[1]), np.nan)

    def left(_: float, state: Array) -> float:
        return 1.0 if room is None else room(state)

    left.terminal = True  # type: ignore[attr-defined]
    for states, begin in zip(rolled, start, strict=True):
        solved = scipy.integrate.solve_ivp(
            field,
            (times[0], times[-1]),
            begin,
            method="DOP853",
            t_eval=times,
            rtol=tolerance,
            atol=tolerance,
            events=left,
        )
        states[: solved.y.shape[1]] = solved.y.T
    return rolled
