"""The error budget: the rollout error of controls, to be set beside that of a trained model.

Knows: the true system, its held-out motion, how large a model's acceleration error is, the solver
its rollouts are made with. Does not know: the model itself, training, tables.

Each control changes one thing about the true system and measures what a model's rollouts are
measured by (`rollout_error` of `metrics.py`), on the same trajectories, times and units:

- `budget_integrator`: nothing but the rollout's own solver and tolerance;
- `budget_reference`: a second tight solver, which tells how far the truth itself can be trusted;
- `budget_initial`: initial conditions off by 1e-4, after Finzi et al. (2020), arXiv 2010.13581;
- `budget_white`, `budget_smooth`, `budget_conservative`: the accelerations, off by as much as the
  model's typically are (`perturbations.py`).

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
from study.core.data.datasets import TestSet, Trajectories
from study.core.measures import metrics
from study.core.measures.perturbations import (
    INITIAL,
    Conservative,
    Perturbation,
    Seeds,
    Smooth,
    White,
    solved,
)
from study.core.measures.rollout import LIMIT, rollout_field
from study.core.systems import System
from study.core.systems.units import Units

Array = np.ndarray

OFFSET = 1e-4  # standard deviation of the initial offset, each component, scaled units
STEP = 0.1  # longest step of the perturbed motion, scaled units of time
SECOND = ("LSODA", 1e-11)  # the solver and tolerance that DOP853 at 1e-12 is compared with


def error_budget(
    system: System,
    truth: Trajectories,
    test: TestSet,
    predicted: Float[Array, "R n D"],
    *,
    units: Units,
    rtol: float,
    max_steps: int,
    seeds: Seeds,
) -> list[dict[str, float]]:
    """The table's columns of each of R replicates: the six controls, and `lyapunov`.

    **Arguments:**

    - `truth`, `test`: what the models' rollouts and accelerations are measured on.
    - `predicted`: the models' accelerations at the test points, physical units.
    - `units`, `rtol`, `max_steps`: those of the models' rollouts.
    - `seeds`: one tuple a replicate; a replicate's numbers depend on its own alone.

    `lyapunov` is the median finite-time exponent of the trajectories, 1/s.

    **Raises:** `DataError` if a tight solver fails.
    """
    K, horizon = len(truth.states), float(truth.times[-1])

    def error(states: Float[Array, "K T two_D"]) -> float:
        diverged = np.isnan(states[:, -1, 0])
        measured = metrics.rollout_measures(states, diverged, truth, system, test.units)
        return measured.measures["rollout_error"]

    with np.errstate(all="ignore"):  # a control may leave the domain: it is then NaN
        moved = perturbed_motion(
            system,
            truth,
            test.units,
            {
                "white": White.draw(test, predicted, seeds, K, horizon),
                "smooth": Smooth.draw(system, test, predicted, seeds, K),
                "conservative": Conservative.draw(system, test, predicted, seeds, K),
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
        start = np.concatenate(units.scale(*np.split(truth.states[:, 0], 2, axis=1)), axis=1)
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

    key = [
        "integrator",
        rtol,
        max_steps,
        units.time,
        *units.length.tolist(),
        *units.origin.tolist(),
    ]
    return _cached_motion(system, truth, key, make)


def second_solution(system: System, truth: Trajectories) -> Float[Array, "K T two_D"]:
    """The truth by another tight solver. **Raises:** `DataError` if the solver fails."""
    method, tolerance = SECOND

    def make() -> Array:
        return datasets.integrate(system, truth.states[:, 0], truth.times, tolerance, method)

    return _cached_motion(system, truth, ["second_solution", method, tolerance], make)


def _cached_motion(
    system: System, truth: Trajectories, key: list, make: Callable[[], Array]
) -> Float[Array, "K T two_D"]:
    """What does not depend on a model is made once for all of them; NaN is kept apart, for the
    cache holds finite numbers only."""
    asked = np.concatenate([truth.states[:, 0].ravel(), truth.times])
    digest = hashlib.sha256(asked.tobytes()).hexdigest()

    def finite() -> dict[str, Array]:
        states = make()
        return {"states": np.nan_to_num(states), "lost": np.isnan(states)}

    made = datasets.cached(system, [*key, digest], finite)
    return np.where(made["lost"], np.nan, made["states"])


def initial_offset(units: Units, k: int, width: int) -> Float[Array, "K two_D"]:
    """Gaussian offsets of the initial conditions in physical units, the same for every model; the
    first k of more are those of k."""
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

    All in one call of the classical Runge-Kutta method, none feeling another, with steps of at most
    `step` scaled units of time. What is returned is the truth plus the difference to the
    unperturbed motion by the same steps: most of their own error drops out, and the effect of
    perturbations far below it is still told. NaN from where a trajectory passes `rollout.LIMIT`.
    """
    start, D = truth.states[:, 0], system.n_dof
    K, width = start.shape
    bounded = np.array([not angle for angle in system.angles] + [True] * D)
    kinds = {
        kind: slice((2 + i * n_replicates) * K, (2 + (i + 1) * n_replicates) * K)
        for i, kind in enumerate(perturbations)
    }

    def field(states: Array, time: float) -> Array:
        mass, force = system.mass_and_force(*np.split(states, 2, axis=1))
        change = np.concatenate([states[:, D:], solved(mass, force)], axis=1)
        for kind, rows in kinds.items():
            grouped = states[rows].reshape(n_replicates, K, width)
            known = mass[rows].reshape(n_replicates, K, D, D)
            change[rows, D:] += perturbations[kind](grouped, time, known).reshape(-1, D)
        return change

    def inside(states: Array) -> Array:
        scaled = np.concatenate(units.scale(states[:, :D], states[:, D:]), axis=1)
        return np.all(np.isfinite(scaled) & (~bounded | (np.abs(scaled) < LIMIT)), axis=1)

    everything = np.concatenate(
        [start, start + offset, np.tile(start, (n_replicates * len(kinds), 1))]
    )
    moved = _runge_kutta(field, inside, everything, truth.times, step * units.time)
    moved = moved.reshape(-1, K, *moved.shape[1:])
    moved = truth.states + (moved - moved[0])
    return {"initial": moved[1:2]} | {
        kind: moved[rows.start // K : rows.stop // K] for kind, rows in kinds.items()
    }


def _runge_kutta(
    field: Callable[[Array, float], Array],
    inside: Callable[[Array], Array],
    start: Float[Array, "B W"],
    times: Float[Array, " T"],
    longest: float,
) -> Float[Array, "B T W"]:
    """Order 4, equal steps of at most `longest` from each time to the next; the field is given the
    middle of the step as its time throughout it. A row that is no longer inside rests where it
    last was, and is NaN from then on."""
    states, moving = start, inside(start)
    out = np.full((len(times), *start.shape), np.nan)
    out[0] = np.where(moving[:, None], states, np.nan)
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
            states = np.where(moving[:, None], after, states)
        out[i] = np.where(moving[:, None], states, np.nan)
    return out.transpose(1, 0, 2)
