"""The true accelerations from positions with noise: the weak form beside differentiation.

    python benchmarks/weak_form.py     # a table, and JSON beside this file; a few minutes

Double pendulum, m = l = 1, g = 9.8: 10 trajectories of 10 s at 100 Hz, released from rest within
1.5 rad, Gaussian noise on the angles alone. Errors are medians over states of 30 other trajectories
of |error|^2 / variance of the true accelerations, mean over coordinates. One thread; seconds are
the processor's.

- `weak`: `fit_weak`, which sees the noisy angles and chooses everything by itself.
- `strong`: `fit_strong` with velocities and accelerations by local polynomials, whose window is the
  one that smooths the angles best. `estimated`: the error of these accelerations themselves.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from reporting import write
from rich.console import Console
from rich.table import Table

from study.core.data.datasets import integrate
from study.core.data.smoothing import chosen_window, local_polynomial, noise
from study.core.data.trajectory import Trajectory
from study.core.models.fitted_lagrangian import FittedLagrangian
from study.core.systems import SYSTEMS
from study.core.training.lagrangian_fit import fit_strong, fit_weak

SYSTEM = SYSTEMS["double_pendulum"]
NOISES = (0.0, 1e-4, 1e-3, 1e-2)  # rad
SEEDS = 3
TRAJECTORIES, SECONDS, RATE = 10, 10.0, 100
TESTED = 30  # trajectories
GOALS = {1e-3: 5e-5, 1e-2: 3e-3}  # of the weak form

Array = np.ndarray


def moved(seed: int, n: int, rate: int) -> tuple[Array, Array, Array]:
    """Times, and true angles and rates of n trajectories."""
    start = SYSTEM.initial_conditions(np.random.default_rng(seed), n, SYSTEM.parameters)
    times = np.linspace(0, SECONDS, round(SECONDS * rate) + 1)
    q, qdot = np.split(integrate(SYSTEM, start, times), 2, axis=-1)
    return times, q, qdot


def differentiated(tracks: list[Trajectory]) -> tuple[list[Trajectory], int]:
    """The same with estimated derivatives, without their one-sided ends; and the margin."""
    pairs = [(x.times, x.q) for x in tracks]
    window = chosen_window(pairs, noise(pairs))
    inside = slice(window // 2, len(tracks[0]) - window // 2)
    smoothed = [(x.times, *local_polynomial(x.times, x.q, window)) for x in tracks]
    return [Trajectory(*(row[inside] for row in rows)) for rows in smoothed], window // 2


def run(sigma: float, seed: int) -> dict[str, Any]:
    """Both forms on one set of trajectories."""
    times, q, qdot = moved(seed, TRAJECTORIES, RATE)
    rng = np.random.default_rng((seed, 1))
    tracks = [Trajectory(times, x + sigma * rng.standard_normal(x.shape)) for x in q]
    test_q, test_qdot = (x.reshape(-1, 2) for x in moved(1000 + seed, TESTED, 10)[1:])
    true = SYSTEM.acceleration(test_q, test_qdot)

    def error(qddot: Array, expected: Array) -> float:
        return float(np.median(np.square((qddot - expected) / true.std(0)).mean(-1)))

    def tried(fit: Any, given: list[Trajectory]) -> dict[str, Any]:
        begun = time.process_time()
        fitted: FittedLagrangian = fit(given, SYSTEM.angles)
        seconds = time.process_time() - begun
        choices = {key: value for key, value in vars(fitted.choices).items() if value == value}
        return {
            "error": error(fitted.acceleration(test_q, test_qdot), true),
            "seconds": seconds,
            "choices": choices,
        }

    weak = tried(fit_weak, tracks)
    estimates, margin = differentiated(tracks)
    at = slice(margin, len(times) - margin)
    expected = SYSTEM.acceleration(q[:, at], qdot[:, at]).reshape(-1, 2)
    found = np.concatenate([x.qddot for x in estimates if x.qddot is not None])
    return {
        "noise": sigma,
        "seed": seed,
        "weak": weak,
        "strong": tried(fit_strong, estimates),
        "estimated": error(found, expected),
    }


def report(runs: list[dict[str, Any]]) -> None:
    """Medians over seeds, and the least and greatest."""
    table = Table(title=f"median normalised squared error of the accelerations, {SEEDS} seeds")
    for heading in ("noise (rad)", "weak form", "goal", "strong form", "estimated", "weak, s"):
        table.add_column(heading, justify="right")

    def told(values: list[float]) -> str:
        return f"{np.median(values):.1e} [{min(values):.1e}, {max(values):.1e}]"

    for sigma in sorted({each["noise"] for each in runs}):
        rows = [each for each in runs if each["noise"] == sigma]
        table.add_row(
            f"{sigma:g}",
            told([row["weak"]["error"] for row in rows]),
            f"{GOALS[sigma]:.0e}" if sigma in GOALS else "",
            told([row["strong"]["error"] for row in rows]),
            told([row["estimated"] for row in rows]),
            f"{np.median([row['weak']['seconds'] for row in rows]):.1f}",
        )
    Console(width=120).print(table)


def main() -> None:
    """Measure, print, and write the JSON."""
    torch.set_num_threads(1)
    runs = []
    for seed in range(SEEDS):
        for sigma in NOISES:
            runs.append(run(sigma, seed))
            weak, strong = (runs[-1][form]["error"] for form in ("weak", "strong"))
            print(f"seed {seed}, noise {sigma:g}: weak {weak:.1e}, strong {strong:.1e}", flush=True)
    write(str(Path(__file__)), {"clock": "time.process_time", "runs": runs})
    report(runs)


if __name__ == "__main__":
    main()
