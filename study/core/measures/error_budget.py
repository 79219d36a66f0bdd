"""The error budget: the rollout error of controls, to be set beside that of a trained model.

Each control changes one thing about the true system and has the `rollout_error` of `metrics.py`, on
the same trajectories, times and units as a model's rollouts:

- `budget_integrator`: nothing but the rollout's own solver and tolerance;
- `budget_reference`: a second tight solver, which shows how far the truth can be trusted;
- `budget_initial`: initial conditions off by 1e-4, after Finzi et al. (2020), arXiv 2010.13581;
- `budget_white`, `budget_smooth`, `budget_conservative`: the accelerations, off by the typical
  error of the model's (`perturbations.py`);
- `budget_own`: the accelerations, off by what the model's own are off along the true trajectory, as
  a force that depends on time alone. For small errors this is the variational equation of the true
  motion, forced by the model's error.

Errors do not add: compare their logarithms.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from study.core.data import datasets
from study.core.data.cache import cached
from study.core.data.datasets import TestSet, Trajectories
from study.core.measures import metrics
from study.core.measures.perturbations import (
    INITIAL,
    Perturbation,
    Predicted,
    Seeds,
    conservative,
    own,
    smooth,
    solved,
    white,
)
from study.core.measures.rollout import LIMIT, rollout_field
from study.core.systems.mechanics import System
from study.core.systems.units import Units

Array = np.ndarray

OFFSET = 1e-4  # standard deviation of the initial offset, each component, scaled units
STEP = 0.1  # longest step of the perturbed motion, scaled units of time


def error_budget(
    system: System,
    truth: Trajectories,
    test: TestSet,
    predicted: Predicted,
    *,
    units: Units,
    rtol: float,
    max_steps: int,
    seeds: Seeds,
    along: Float[Array, "R K T D"] | None = None,
) -> list[dict[str, float]]:
    """The table's columns of each of R replicates: the controls, and `lyapunov`.

    **Arguments:**

    - `truth`, `test`: the trajectories and points that the models are measured on.
    - `predicted`: the models' accelerations at the test points, physical units.
    - `units`, `rtol`, `max_steps`: those of the models' rollouts.
    - `seeds`: one tuple a replicate; a replicate's numbers depend on its own alone.
    - `along`: the models' accelerations at the states of `truth`, physical units; None leaves
      `budget_own` out.

    `lyapunov` is the median finite-time exponent of the trajectories, 1/s.

    **Raises:** `DataError` if a tight solver fails.
    """
    K, horizon = len(truth.states), float(truth.times[-1])

    def error(states: Float[Array, "K T two_D"]) -> float:
        diverged = np.isnan(states[:, -1, 0])
        measured, _ = metrics.rollout_measures(states, diverged, truth, system, test.units)
        return measured["rollout_error"]

    with np.errstate(all="ignore"):  # a control may leave the domain: it is then NaN
        moved = perturbed_motion(
            system,
            truth,
            test.units,
            {
                "white": white(test, predicted, seeds, K, horizon),
                "smooth": smooth(system, test, predicted, seeds, K),
                "conservative": conservative(system, test, predicted, seeds, K),
                **({} if along is None else {"own": own(system, truth, along)}),
            },
            len(seeds),
            initial_offset(test.units, *truth.states[:, 0].shape),
        )
        shared = {
            "budget_integrator": error(
                integrated_as_rollout(system, truth, units, rtol=rtol, max_steps=max_steps)
            ),
            "budget_reference": error(second_solution(system, truth)),
            "budget_initial": error(moved.pop("initial")[0]),
            "lyapunov": float(np.median(truth.lyapunov)),
        }
        return [
            shared | {f"budget_{kind}": error(states[r]) for kind, states in moved.items()}
            for r in range(len(seeds))
        ]


def integrated_as_rollout(
    system: System, truth: Trajectories, units: Units, *, rtol: float, max_steps: int
) -> Float[Array, "K T two_D"]:
    """The true field by the models' solver in the models' units; NaN once diverged."""
    D = system.n_dof

    def acceleration(q: Tensor, qdot: Tensor) -> Tensor:
        scaled = np.concatenate([q[0].numpy(), qdot[0].numpy()]).T
        qddot = system.rhs(units.to_physical(scaled))[:, D:]
        return torch.from_numpy(units.acceleration_to_scaled(qddot)).mT.unsqueeze(0)

    def make() -> Array:
        start = units.to_scaled(truth.states[:, 0])
        rolled = rollout_field(
            acceleration,
            1,
            torch.tensor(start),
            torch.tensor(truth.times / units.time),
            system.angles,
            rtol=rtol,
            max_steps=max_steps,
        )
        return units.to_physical(rolled.states[0].numpy())

    scales = [units.time, *units.length.tolist(), *units.origin.tolist()]
    return _cached_motion(system, truth, ["integrator", rtol, max_steps, *scales], make)


def second_solution(system: System, truth: Trajectories) -> Float[Array, "K T two_D"]:
    """The truth by another tight solver. **Raises:** `DataError` if the solver fails."""
    tolerance, method = datasets.SECOND

    def make() -> Array:
        return datasets.integrate(system, truth.states[:, 0], truth.times, tolerance, method)

    return _cached_motion(system, truth, ["second_solution", method, tolerance], make)


def _cached_motion(
    system: System, truth: Trajectories, key: list, make: Callable[[], Array]
) -> Float[Array, "K T two_D"]:
    """Motion that depends on no model, from the cache; NaN is stored apart, because the cache
    holds finite numbers only."""
    start_and_times = np.concatenate([truth.states[:, 0].ravel(), truth.times])
    digest = hashlib.sha256(start_and_times.tobytes()).hexdigest()

    def finite() -> dict[str, Array]:
        states = make()
        return {"states": np.nan_to_num(states), "lost": np.isnan(states)}

    made = cached(system, [*key, digest], finite)
    return np.where(made["lost"], np.nan, made["states"])


def initial_offset(units: Units, k: int, width: int) -> Float[Array, "K two_D"]:
    """Gaussian offsets of the initial conditions in physical units, the same for every model; the
    first k do not depend on how many there are."""
    rng = np.random.default_rng(INITIAL)
    return units.change_to_physical(OFFSET * rng.standard_normal((k, width)))


def perturbed_motion(
    system: System,
    truth: Trajectories,
    units: Units,
    perturbations: dict[str, Perturbation],
    n_replicates: int,
    offset: Float[Array, "K two_D"],
    step: float = STEP,
) -> dict[str, Float[Array, "_ K T two_D"]]:
    """Motion with each perturbation, (R, K, ...), and from the offset start, `initial` (1, K, ...).

    One call of the classical Runge-Kutta method integrates all of them, with steps of at most
    `step` scaled units of time. The result is the truth plus the difference to the unperturbed
    motion by the same steps: most of the error of the steps cancels, so that perturbations far
    below it still show. NaN once a trajectory passes `rollout.LIMIT`.
    """
    start, D = truth.states[:, 0], system.n_dof
    bounded = np.array([not angle for angle in system.angles] + [True] * D)
    kinds = {
        kind: slice(2 + i * n_replicates, 2 + (i + 1) * n_replicates)
        for i, kind in enumerate(perturbations)
    }

    def field(states: Array, time: float) -> Array:
        mass, force = system.mass_and_force(*np.split(states, 2, axis=-1))
        change = np.concatenate([states[..., D:], solved(mass, force)], axis=-1)
        for kind, rows in kinds.items():
            change[rows, :, D:] += perturbations[kind](states[rows], time, mass[rows])
        return change

    def inside(states: Array) -> Array:
        scaled = units.to_scaled(states)
        return np.all(np.isfinite(scaled) & (~bounded | (np.abs(scaled) < LIMIT)), axis=-1)

    starts = np.stack([start, start + offset, *[start] * (n_replicates * len(kinds))])
    moved = _runge_kutta(field, inside, starts, truth.times, step * units.time)
    moved = truth.states + (moved - moved[0])
    return {"initial": moved[1:2]} | {kind: moved[rows] for kind, rows in kinds.items()}


def _runge_kutta(
    field: Callable[[Array, float], Array],
    inside: Callable[[Array], Array],
    start: Float[Array, "G K W"],
    times: Float[Array, " T"],
    longest: float,
) -> Float[Array, "G K T W"]:
    """Motion by order 4, with equal steps of at most `longest` from each time to the next. The
    time of the field is the middle of each step. A state that leaves `inside` stays where it
    last was, and is NaN from then on."""
    states, moving = start, inside(start)
    out = np.full((len(times), *start.shape), np.nan)
    out[0] = np.where(moving[..., None], states, np.nan)
    for i, (begin, end) in enumerate(itertools.pairwise(times), start=1):
        n_steps = max(1, math.ceil((end - begin) / longest - 1e-9))
        h = (end - begin) / n_steps
        for j in range(n_steps):
            middle = begin + (j + 0.5) * h
            k1 = field(states, middle)
            k2 = field(states + h / 2 * k1, middle)
            k3 = field(states + h / 2 * k2, middle)
            k4 = field(states + h * k3, middle)
            after = states + h / 6 * (k1 + 2 * (k2 + k3) + k4)
            moving &= inside(after)
            states = np.where(moving[..., None], after, states)
        out[i] = np.where(moving[..., None], states, np.nan)
    return np.moveaxis(out, 0, 2)
