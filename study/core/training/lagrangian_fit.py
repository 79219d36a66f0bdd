"""A Lagrangian and its forces from measured trajectories, with everything chosen by the data.

    fitted = fit_weak([Trajectory(times, q), ...], angles=(True, True), friction="diagonal")
    fitted.acceleration(q, qdot); fitted.friction.interval()

`fit_weak` needs positions alone, `fit_strong` measured velocities and accelerations too. For each
choice of test functions, smoothing window, scale and number of features, and ridge, the fit is one
linear least-squares problem. Pieces that were held out judge the choices, one kind after the other,
and the best is then fitted to everything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from study.core.data.smoothing import WINDOWS, chosen_window, local_polynomial, noise
from study.core.data.trajectory import Trajectory, split
from study.core.models import make_model
from study.core.models.fitted_lagrangian import Choices, FittedLagrangian
from study.core.models.forced_lagrangian import ForcedLagrangian
from study.core.models.forces import LinearForces
from study.core.models.linear_lagrangian import LinearLagrangian
from study.core.systems.mechanics import DataError, System
from study.core.systems.units import Units
from study.core.threads import one_thread
from study.core.training.elimination import Eliminated
from study.core.training.lagrangian_forms import Candidate, Form, StrongForm, WeakForm

Array = np.ndarray

RIDGES = (0.0, *(10.0**k for k in range(-18, -3, 2)))
SCALES = (0.5, 0.25, 1.0)  # inverse lengths of drawn features, scaled units
COUNTS = (60, 30, 120)  # of drawn features
FEWEST = 4 * WINDOWS[0]  # samples of a trajectory that is used
AS_GOOD = 10.0  # an indefinite M is taken if its held-out error is so many times lower, squares
FEATURES = ("structured", "random", "library")


@dataclasses.dataclass(frozen=True)
class Task:
    """What is asked for.

    **Arguments:**

    - `features`: `structured`, L = qdot^T M(q) qdot / 2 - V(q); `random`, any L; or `library`, the
      terms of `system`. With one coordinate friction is told from L by the first alone: a damped
      motion has a Lagrangian too (Bateman 1931, Phys. Rev. 38, 815).
    - `friction`: as `LinearForces.of` takes it; if `non_negative`, no coefficient is negative.
    - `input_matrix`: B (D, m) of recorded inputs if it is known; it is fitted if not.
    - `seed`: of the drawn features.
    - `quick`: choose among few candidates, enough to compare two fits.
    """

    angles: tuple[bool, ...]
    features: str = "structured"
    friction: str | Float[Array, "k D"] | None = None
    input_matrix: Float[Array, "D m"] | None = None
    non_negative: bool = False
    seed: int = 0
    system: System | None = None
    quick: bool = False

    def forces(self, trajectories: Sequence[Trajectory]) -> LinearForces:
        """**Raises:** `DataError` for what the trajectories do not fit."""
        if self.features not in FEATURES:
            raise DataError(f"features={self.features!r} should be one of {', '.join(FEATURES)}")
        D = len(self.angles)
        if any(x.q.shape[1] != D for x in trajectories):
            raise DataError(f"angles tells of {D} coordinates, and the trajectories have others")
        widths = {0 if x.u is None else x.u.shape[1] for x in trajectories}
        if len(widths) > 1:
            raise DataError("trajectories have different inputs: all should have the same")
        (m,) = widths
        try:
            return LinearForces.of(D, self.friction, m, self.input_matrix, self.non_negative)
        except ValueError as error:
            raise DataError(str(error)) from None

    def model(
        self, candidate: Candidate, units: Units
    ) -> tuple[LinearLagrangian, Float[Tensor, "1 S"]]:
        """The terms of a candidate, and their draws."""
        settings = {
            "name": "linear_lagrangian",
            "features": self.features,
            "width": candidate.n_features,
            "scale": candidate.scale,
            "encoding": "trig",
            "mass_prior": 0.0,
        }
        model = make_model(self.angles, settings, system=self.system, units=units)
        assert isinstance(model, LinearLagrangian)
        return model, model.initialise([self.seed], torch.float64)


def fit_weak(
    trajectories: Sequence[Trajectory],
    angles: tuple[bool, ...],
    units: Units | None = None,
    **options,
) -> FittedLagrangian:
    """The Lagrangian and its forces by the weak form, from positions and recorded inputs alone.

    The options are those of `Task`. Trajectories too short for the smoothing window are left out.

    - `units`: that it is fitted in; if not given, those of the smoothed motion.

    **Raises:** `DataError` if none is long enough, or the options do not fit.
    """
    task = Task(angles, **options)
    forces = task.forces(trajectories)
    long = tuple(x for x in trajectories if len(x) >= FEWEST)
    if not long:
        raise DataError(f"no trajectory has {FEWEST} samples, which a fit by the weak form needs")
    tracks = [(x.times, x.q) for x in long]
    sigma = noise(tracks)
    window = _fitting(chosen_window(tracks, sigma), long)
    long = tuple(x for x in long if len(x) > 2 * window)
    if units is None:
        qddot = np.concatenate([local_polynomial(x.times, x.q, window)[2] for x in long])
        units = Units.of(np.concatenate([x.q for x in long]), qddot, angles)
    return _fit(task, forces, WeakForm(long, units, window), units, sigma)


def _fitting(window: int, trajectories: Sequence[Trajectory]) -> int:
    """The window, or the longest below it that fits into a trajectory and into a held-out piece."""
    whole = max(map(len, trajectories))
    room = min((whole - 1) // 2, max(map(len, split(trajectories)[1])) - 4)
    return max((w for w in WINDOWS if w <= min(window, room)), default=WINDOWS[0])


def fit_strong(
    trajectories: Sequence[Trajectory], angles: tuple[bool, ...], **options
) -> FittedLagrangian:
    """As `fit_weak`, from measured velocities and accelerations too, sample by sample.

    **Raises:** `DataError` if they are missing, or the options do not fit.
    """
    task = Task(angles, **options)
    forces, measured = task.forces(trajectories), [x.qddot for x in trajectories]
    accelerations = [x for x in measured if x is not None]
    if not trajectories or len(accelerations) < len(measured):
        raise DataError("the strong form needs qddot of every trajectory: use the weak form")
    if any(x.qdot is None for x in trajectories):
        raise DataError("the strong form needs qdot of every trajectory: use the weak form")
    q, qddot = np.concatenate([x.q for x in trajectories]), np.concatenate(accelerations)
    units = Units.of(q, qddot, angles)
    sigma = noise([(x.times, x.q) for x in trajectories])
    return _fit(task, forces, StrongForm(tuple(trajectories), units), units, sigma)


@one_thread()
def _fit(
    task: Task, forces: LinearForces, form: Form, units: Units, sigma: Float[Array, " D"]
) -> FittedLagrangian:
    """The best candidate, fitted to everything."""
    bounded = forces.n_friction if task.non_negative else 0

    def forced(candidate: Candidate) -> tuple[ForcedLagrangian, Tensor]:
        model, theta = task.model(candidate, units)
        return ForcedLagrangian(model, forces, units), theta

    def judge(candidate: Candidate) -> tuple[float, float, float]:
        """Of the best ridge: its score, with what an indefinite M costs and without, and itself."""
        lagrangian, theta = forced(candidate)
        design = form.design(lagrangian, theta, candidate, everything=False)
        parts = Eliminated.of(design, lagrangian.model.equilibrated)
        solutions = [parts.solve(ridge, bounded) for ridge in RIDGES]
        thetas = theta.repeat(len(RIDGES), 1)
        thetas[:, : len(parts.offset)] = torch.from_numpy(np.stack([x.c for x in solutions]))
        scores = form.scores(lagrangian, thetas, np.stack([x.f for x in solutions]))
        bad = form.indefinite(lagrangian, thetas) > 0
        judged = scores + np.log(AS_GOOD) * bad
        return min(zip(judged.tolist(), scores.tolist(), RIDGES, strict=True))

    best, (_, score, ridge) = _search(judge, form, task)
    lagrangian, theta = forced(best)
    design = form.design(lagrangian, theta, best, everything=True)
    solution = Eliminated.of(design, lagrangian.model.equilibrated).with_covariance(
        design, ridge, bounded
    )
    theta[:, : len(solution.c)] = torch.from_numpy(solution.c)
    absolute = design.gauge is None
    unit = 1.0 if absolute else units.time**-2
    fitted = FittedLagrangian(
        lagrangian,
        theta,
        unit,
        f=unit * solution.f,
        covariance=unit**2 * solution.covariance,
        noise=sigma,
        choices=Choices(
            form=form.name,
            window=best.window,
            half_width=best.half * units.time,
            n_features=best.n_features,
            scale=best.scale,
            n_params=len(solution.c),
            ridge=ridge,
            held_out=float(np.exp(score)),
            indefinite=float(form.indefinite(lagrangian, theta)[0]),
        ),
        absolute=absolute,
        mean_mass=np.eye(len(task.angles)),
    )
    return fitted.with_mean_mass(np.concatenate([x.q for x in form.trajectories]))


def _search(judge, form: Form, task: Task) -> tuple[Candidate, tuple[float, float, float]]:
    """The candidate that is judged best, one axis after the other; and the judgement."""
    drawn = {} if task.features == "library" else {"scale": SCALES, "n_features": COUNTS}
    axes = form.axes() | drawn
    if task.quick:
        axes |= {"scale": (min(SCALES),), "n_features": (min(COUNTS),)}
        axes |= {name: axes[name][:2] for name in form.axes()}
    none = {"n_features": 0, "scale": 1.0}  # of a library
    best = Candidate(**none | {name: values[0] for name, values in axes.items()})
    judged = {best: judge(best)}
    for name, values in axes.items():
        for value in values:
            candidate = dataclasses.replace(best, **{name: value})
            if candidate not in judged:
                judged[candidate] = judge(candidate)
        best = min(judged, key=lambda candidate: judged[candidate])
    return best, judged[best]
