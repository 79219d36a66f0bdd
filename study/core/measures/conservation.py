"""Is a measured motion conservative? Lagrangians with viscous friction and without are compared.

That is quick, before anything trains: few samples, few choices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from study.core.data.recording import Motion
from study.core.data.trajectory import Trajectory
from study.core.measures.metrics import point_errors
from study.core.models.fitted_lagrangian import FittedLagrangian
from study.core.systems.mechanics import DataError
from study.core.training.lagrangian_fit import FEWEST, fit_strong, fit_weak

MOST = 2000  # samples that are fitted
CLEARER = 1.25  # friction is clear if it lowers the held-out error by so much, and is surely there
SURE = 2.0  # or if it is so many times as large as half its interval
LOST = 0.5  # of a constant's error: with more, no Lagrangian explains the motion
PERIOD = 30  # samples in a unit of the motion's own time are enough


def remark(
    trajectories: Sequence[Trajectory],
    held_out: Sequence[Motion],
    angles: tuple[bool, ...],
    floor: float = 0.0,
) -> str:
    """One sentence with its figure; empty if there are too few samples to tell.

    - `floor`: what noise leaves in the held-out accelerations, median normalised square.
    """
    few = thinned(trajectories, held_out)
    strong = all(x.qdot is not None and x.qddot is not None for x in few)
    method = fit_strong if strong else fit_weak
    try:
        without = method(few, angles, quick=True)
        damped = method(few, angles, quick=True, friction="diagonal")
    except (DataError, ValueError, np.linalg.LinAlgError):  # too short for what is chosen
        return ""
    q, qdot, qddot = (
        np.concatenate([getattr(m, name) for m in held_out]) for name in ("q", "qdot", "qddot")
    )
    variance = qddot.var(0)

    def error(predicted: np.ndarray) -> float:
        return float(np.median(point_errors(predicted, qddot, variance)))

    own, cured = (error(fitted.acceleration(q, qdot)) for fitted in (without, damped))
    constant = error(np.broadcast_to(qddot.mean(0), qddot.shape))
    errors = f"{own:.2g} of the variance without, {cured:.2g} with"
    if min(own, cured) > max(LOST * constant, 2 * floor):
        return (
            "no Lagrangian explains the motion, with viscous friction or without: the error of "
            f"held-out accelerations is {errors}, and {constant:.2g} of a constant; look for a "
            "force that is not in the file (a motor, dry friction), or a coordinate that is missing"
        )
    of, gain = "accelerations", own / cured
    if gain < CLEARER:
        of, gain = "predicted motion", without.choices.held_out / damped.choices.held_out
    sure = _sureness(damped)
    if abs(sure) < (1 if gain > CLEARER else SURE):
        return (
            "the motion is conservative within its noise: friction changes the error of held-out "
            f"accelerations by a factor of {own / cured:.2g} ({errors})"
        )
    cause = "friction" if sure > 0 else "a force along the velocity"
    shown = f"{cause} lowers the error of held-out {of} {gain:.2g}-fold (accelerations: {errors})"
    if gain < CLEARER:
        shown = f"{cause} is {abs(sure):.2g} times as large as its 95 % margin, in noise ({errors})"
    return (
        f"the motion {'loses' if sure > 0 else 'gains'} energy: {shown}; conservative models will "
        "be wrong by about that: add model.friction=diagonal, or use study.fit or "
        "model=acceleration_mlp"
    )


def _sureness(damped: FittedLagrangian) -> float:
    """The surest coefficient of friction over half its 95 % interval."""
    middle, (low, high) = damped.friction.mean, damped.friction.interval()
    over = (middle / np.maximum((high - low) / 2, np.finfo(float).tiny)).ravel()
    return float(over[np.abs(over).argmax()])


def thinned(trajectories: Sequence[Trajectory], motions: Sequence[Motion]) -> list[Trajectory]:
    """At most about `MOST` samples: fewer a second as far as the motion allows, then less of each.

    - `motions`: of the same system, with accelerations, which say how fast it is.
    """
    speed = np.concatenate([m.qddot for m in motions]).std(0)
    size = np.concatenate([m.q for m in motions]).std(0)
    step = float(np.median(np.concatenate([np.diff(x.times) for x in trajectories])))
    fastest = float(np.sqrt(size / speed).min())
    n = sum(map(len, trajectories))
    stride = max(1, min(n // MOST, int(fastest / PERIOD / step)))
    coarse = [x[::stride] for x in trajectories]
    each, left, kept = max(MOST // len(coarse), 3 * FEWEST), MOST, []
    for x in coarse:
        if left >= FEWEST:
            kept.append(x[: min(each, left)])
            left -= len(kept[-1])
    return kept
