"""Positions alone: discrete Euler-Lagrange equations beside the weak form, on noisy angles.

    python benchmarks/discrete_euler_lagrange.py    # table; JSON here; 3 minutes
    python benchmarks/discrete_euler_lagrange.py --quick # one seed, two noises

The discrete action of the midpoint rule (Marsden and West 2001, Acta Numerica 10, 357, section 2.3)
has the step h = k samples, L_d = h L((q_0 + q_1) / 2, (q_1 - q_0) / h); the equations D_2 L_d(q_0,
q_1) + D_1 L_d(q_1, q_2) = 0 of all triples of positions are linear in the coefficients of a linear
Lagrangian. They are the weak form with hats of half width h as test functions and straight lines
between the samples. Double pendulum, m = l = 1, g = 9.8: 10 trajectories of 10 s at 100 Hz,
Gaussian noise on the angles; structured features, 60 of them. Errors are medians over states of 30
other trajectories of |error|^2 / variance of the true accelerations.

- `weak`: `fit_weak`, which chooses everything by itself.
- `discrete`, from the noisy angles, and `smoothed`, from angles by local polynomials: the best
  step and ridge are picked with the true error, which favours them.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from reporting import tell, write

from study.core.data.datasets import integrate
from study.core.data.smoothing import chosen_window, local_polynomial, noise
from study.core.data.trajectory import Trajectory
from study.core.models import make_model
from study.core.models.linear_lagrangian import StructuredLagrangian
from study.core.systems import SYSTEMS
from study.core.systems.units import Units
from study.core.training.elimination import Design, Eliminated
from study.core.training.lagrangian_fit import RIDGES, fit_weak

Array = np.ndarray

SYSTEM = SYSTEMS["double_pendulum"]
NOISES, SEEDS = (0.0, 1e-4, 1e-3, 1e-2), 3  # rad
STEPS = (1, 2, 4, 8, 12, 16, 24, 32)  # samples
TRAJECTORIES, TESTED, SECONDS, RATE = 10, 30, 10.0, 100
FEATURES = {"name": "linear_lagrangian", "features": "structured", "width": 60, "scale": 0.5}
MOST_ROWS = 30_000


def moved(seed: int, n: int, rate: int) -> tuple[Array, Array, Array]:
    """Times, and true angles and rates of n trajectories."""
    start = SYSTEM.initial_conditions(np.random.default_rng(seed), n, SYSTEM.parameters)
    times = np.linspace(0, SECONDS, round(SECONDS * rate) + 1)
    q, qdot = np.split(integrate(SYSTEM, start, times), 2, axis=-1)
    return times, q, qdot


def discrete(model: StructuredLagrangian, theta: torch.Tensor, angles: Array, h: float) -> Design:
    """The equations of all triples: (trajectories, n, D) scaled, h scaled, samples h apart."""
    middle, velocity = (angles[:, 1:] + angles[:, :-1]) / 2, np.diff(angles, axis=1) / h
    parts, gauges = [], []
    for q, qdot in zip(middle, velocity, strict=True):
        states = [torch.from_numpy(x.T.copy())[None] for x in (q, qdot)]
        slopes = model.slopes(theta, states[0], states[1])
        of_q, of_qdot = slopes.of_q[0].numpy(), slopes.of_qdot[0].numpy()  # (n, D, P)
        parts.append((of_qdot[:-1] - of_qdot[1:]) / h + (of_q[:-1] + of_q[1:]) / 2)
        gauges.append(model.rows(theta, states[0], states[1], 0 * states[0])[1][0].mean(0).numpy())
    rows = np.concatenate(parts)
    rows = rows[:: -(-2 * len(rows) // MOST_ROWS)]
    flat, D = rows.reshape(-1, rows.shape[-1]), rows.shape[1]
    empty = np.zeros((len(flat), 0))
    return Design(flat, empty, np.zeros(len(flat)), np.arange(len(flat)), np.mean(gauges, 0), D)


def run(sigma: float, seed: int) -> dict[str, Any]:
    times, q, _ = moved(seed, TRAJECTORIES, RATE)
    q = q + sigma * np.random.default_rng((seed, 1)).standard_normal(q.shape)
    test_q, test_qdot = (x.reshape(-1, 2) for x in moved(1000 + seed, TESTED, 10)[1:])
    true = SYSTEM.acceleration(test_q, test_qdot)

    def error(qddot: Array) -> float:
        return float(np.median(np.square((qddot - true) / true.std(0)).mean(-1)))

    pairs = [(times, x) for x in q]
    window = chosen_window(pairs, noise(pairs))
    smoothed = np.stack([local_polynomial(times, x, window) for x in q])  # (n, 3, times, D)
    margin = window // 2
    inside = smoothed[:, :, margin : len(times) - margin]
    positions, accelerations = inside[:, 0].reshape(-1, 2), inside[:, 2].reshape(-1, 2)
    units = Units.of(positions, accelerations, SYSTEM.angles)
    settings = FEATURES | {"encoding": "trig", "mass_prior": 0.0}
    model = make_model(SYSTEM.angles, settings, system=SYSTEM, units=units)
    assert isinstance(model, StructuredLagrangian)
    theta = model.initialise([0], torch.float64)
    states = [torch.from_numpy(x.T.copy())[None] for x in units.scale(test_q, test_qdot)]

    def best(angles: Array) -> tuple[float, int]:
        tried = []
        scaled = (angles - units.origin) / units.length
        for step in STEPS:
            paths = np.concatenate([  # all triples: k paths, each beginning a sample later
                scaled[:, offset::step][:, : (scaled.shape[1] - step + 1) // step]
                for offset in range(step)
            ])  # fmt: skip
            design = discrete(model, theta, paths, step / RATE / units.time)
            parts = Eliminated.of(design, model.equilibrated)
            for ridge in RIDGES:
                solved = theta.clone()
                solved[0, : model.n_params] = torch.from_numpy(parts.solve(ridge, 0).c)
                qddot = model.acceleration(solved, states[0], states[1])[0].T.numpy()
                tried.append((error(units.acceleration_to_physical(qddot)), step))
        return min(tried)

    fitted = fit_weak([Trajectory(times, x) for x in q], SYSTEM.angles)
    return {
        "noise": sigma,
        "seed": seed,
        "weak": error(fitted.acceleration(test_q, test_qdot)),
        "discrete": best(q),
        "smoothed": best(inside[:, 0]),
        "window": window,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, two noises")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    seeds, noises = (1, NOISES[1:3]) if quick else (SEEDS, NOISES)
    runs = []
    for sigma in noises:
        for seed in range(seeds):
            runs.append(run(sigma, seed))
            print(runs[-1], flush=True)
    lines = [
        "| noise (rad) | weak form | discrete | h (s) | discrete, smoothed | h (s) |",
        "|---" * 6 + "|",
    ]
    for sigma in noises:
        rows = [each for each in runs if each["noise"] == sigma]
        weak = f"{np.median([row['weak'] for row in rows]):.1e}"
        cells = [f"{sigma:g}", weak]
        for name in ("discrete", "smoothed"):
            errors, steps = zip(*(row[name] for row in rows), strict=True)
            cells += [f"{np.median(errors):.1e}", f"{np.median(steps) / RATE:g}"]
        lines.append(f"| {' | '.join(cells)} |")
    print("\n".join(lines))
    if not quick:
        tell("docs/answer.md", "discrete_euler_lagrange", lines)
        write(__file__, {"runs": runs})


if __name__ == "__main__":
    main()
