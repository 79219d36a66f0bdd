"""Our models on the chain of two pendulums of Finzi et al. (2020), arXiv 2010.13581.

    python benchmarks/finzi.py                      # table; JSON here; 12 minutes
    python benchmarks/finzi.py --quick              # one seed, 10 and 40 trajectories
    python benchmarks/finzi.py --only "states alone" # those; the others from the JSON

Their protocol: masses and lengths .6 + .8 u (theirs), g = 9.81; angles and rates of a start
N(0, 1);
steps of .03 s; each of n training trajectories of 3 s gives one random chunk of five points; 100
test trajectories of 3 s; |z - z'| / |z + z'| of positions and velocities in the plane, geometric
mean over time and trajectories. Theirs are trained through a solver over the chunk, from states
alone. So are ours that say `states alone`: through the integrator from a chunk's first state to its
others, or, for the linear Lagrangian, on the accelerations of the polynomial of degree 9 that has
the five positions and velocities of a chunk. The rest are trained pointwise on the true
accelerations of its 5 n points, which is more than theirs are told. The weak form of noisy
recordings is of no use here: its test functions span more than .12 s.
Ours: five seeds of data and initialisation; theirs is one. `floor`: the true motion from starts off
by 1e-4.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import scipy
import torch
from reporting import tell, write

from study.block.setup import Setup, set_up
from study.config.cell import make_cell
from study.config.command_line import compose
from study.config.hydra import register
from study.core.data.datasets import Points, integrate
from study.core.measures.rollout import rollout
from study.core.systems import System
from study.core.systems.units import Units
from study.core.training.train import State, TrainingData, train

CONSTANTS = {"m1": 1.039, "m2": 1.172, "l1": 1.082, "l2": 1.036, "g": 9.81}
STEP, HORIZON, CHUNK, TESTED = 0.03, 3.0, 5, 100
TIMES = np.arange(0, HORIZON + STEP / 2, STEP)
SEEDS = 5
SIZES = (10, 40, 100, 800)
# the geometric mean errors that the paper's data-efficiency figure shows
THEIRS = {
    "DeLaN, theirs": (0.395, 0.089, 0.0168, 0.00131),
    "constrained Hamiltonian, theirs": (0.016, None, None, None),
}
THEIR_FLOOR = 5.9e-5
MODELS = {
    "plain LNN, SOAP": ("optimizer=soap",),
    "structured LNN, SOAP": ("model=structured_lnn", "optimizer=soap"),
    "acceleration MLP, SOAP": ("model=acceleration_mlp", "optimizer=soap"),
    "linear Lagrangian, structured": ("model=linear_lagrangian", "optimizer=least_squares"),
    "linear Lagrangian, states alone": ("model=linear_lagrangian", "optimizer=least_squares"),
    "structured LNN, states alone": (
        "model=structured_lnn",
        "optimizer=soap",
        "optimizer.batch_size=128",
        "optimizer.steps=1500",
        "optimizer.loss=rollout",
        f"optimizer.rollout_steps={CHUNK - 1}",
    ),
}
ALONE = "states alone"  # what is told in a name
TRAIN, TEST, SCALE, OFF = range(4)  # purposes of random streams


def starts(purpose: int, seed: int, n: int) -> np.ndarray:
    return np.random.default_rng((purpose, seed)).standard_normal((n, 4))


def chunks(system: System, n: int, seed: int, purpose: int = TRAIN) -> Points:
    """Five successive points of each of n trajectories."""
    states = integrate(system, starts(purpose, seed, n), TIMES)
    begins = np.random.default_rng((purpose, seed, 1)).integers(0, len(TIMES) - CHUNK + 1, n)
    own = np.concatenate([s[b : b + CHUNK] for s, b in zip(states, begins, strict=True)])
    return Points(own[:, :2], own[:, 2:], system.rhs(own)[:, 2:])


def estimated(states: np.ndarray) -> np.ndarray:
    """Accelerations (n, CHUNK, 2) of the polynomial of degree 2 CHUNK - 1 (Hermite) through the
    positions and velocities of each chunk (n, CHUNK, 4)."""
    times = STEP * np.arange(CHUNK)
    q, v = np.split(states.swapaxes(0, 1), 2, axis=-1)
    both = np.stack([q, v], 1).reshape(2 * CHUNK, *q.shape[1:])  # value, slope, value, ...
    curves = scipy.interpolate.KroghInterpolator(np.repeat(times, 2), both)
    return curves.derivative(times, 2).swapaxes(0, 1)


def planar(states: np.ndarray) -> np.ndarray:
    """Positions and velocities (..., 8) of both bobs in the plane."""
    q, v = np.split(states, 2, axis=-1)
    length = np.array([CONSTANTS["l1"], CONSTANTS["l2"]])
    x, y = length * np.sin(q), -length * np.cos(q)
    parts = (x, y, -y * v, x * v)
    return np.concatenate([np.cumsum(part, axis=-1) for part in parts], axis=-1)


def error(states: np.ndarray, true: np.ndarray) -> float:
    """The geometric mean relative error, t > 0; a lost trajectory counts as 1."""
    z, other = planar(states)[:, 1:], planar(true)[:, 1:]
    distance, total = (np.linalg.norm(x, axis=-1) for x in (z - other, z + other))
    relative = np.where(np.isfinite(distance), distance / total, 1.0)
    return float(np.exp(np.log(np.clip(relative, 1e-12, 1.0)).mean()))


def problem(system: System, units: Units, n: int, seed: int, name: str) -> Setup:
    """One model with the points of its chunks, or the segments from their first points."""
    overrides = MODELS[name]
    through = "optimizer.loss=rollout" in overrides
    count = n if through else CHUNK * n
    constants = (f"system.{name}={value}" for name, value in CONSTANTS.items())
    settings = (
        f"data.n_train={count}",
        f"data.pool_size={CHUNK * n}",
        f"data.n_trajectories={n}",
    )
    alone = (f"seed={seed}", "replicates=1", "block_size=1")
    shape = () if "optimizer=least_squares" in overrides else ("model.width=32", "model.depth=3")
    plain = compose([*alone, *constants, *settings, *shape, *overrides])
    setup = set_up(make_cell(plain, compile=True), 0)
    points = chunks(system, n, seed)
    states = points.states.reshape(n, CHUNK, 4)
    qddot = estimated(states).reshape(-1, 2) if ALONE in name else points.qddot
    scaled = (*units.scale(points.q, points.qdot), units.acceleration_to_scaled(qddot))
    rows, following = np.concatenate(scaled, axis=1), None
    if through:
        since = np.broadcast_to(STEP * np.arange(1, CHUNK)[:, None], (n, CHUNK - 1, 1))
        after = np.concatenate([since / units.time, units.to_scaled(states[:, 1:])], axis=2)
        rows, following = rows[::CHUNK], torch.tensor(after[None])
    else:
        rows = rows[np.random.default_rng(seed).permutation(len(rows))]
    along = np.arange(len(rows))[None]
    data = TrainingData(torch.tensor(rows[None]), along, "shuffled", [seed], following)
    return dataclasses.replace(setup, units=units, data=data)


def run(setup: Setup, true: np.ndarray) -> tuple[float, float]:
    """Rollout error, and seconds of training."""
    begun, units = time.perf_counter(), setup.units
    state = State.fresh(setup.initial_parameters())
    state = train(setup.model, setup.data, setup.stages, state, measure=lambda theta: {})
    seconds = time.perf_counter() - begun
    rolled = rollout(
        setup.model,
        state.theta.double(),
        torch.tensor(units.to_scaled(true[:, 0])),
        torch.tensor(TIMES / units.time),
        setup.system.angles,
        rtol=1e-8,
        max_steps=5000,
    )
    return error(units.to_physical(rolled.states[0].numpy()), true), seconds


def cell(values: list[float]) -> str:
    middle = float(np.median(values))
    return f"{middle:.2g} [{min(values):.2g}, {max(values):.2g}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, few trajectories")
    parser.add_argument("--only", default="", help="part of the names of the models to run")
    quick, only = (getattr(parser.parse_args(), name) for name in ("quick", "only"))
    register()
    sizes, seeds = (SIZES[:2], 1) if quick else (SIZES, SEEDS)
    setup = set_up(
        make_cell(compose([f"system.{k}={v}" for k, v in CONSTANTS.items()]), compile=True), 0
    )
    system = setup.system
    pool = chunks(system, 1000, 0, SCALE)
    units = Units.of(pool.q, pool.qddot, system.angles)
    begin = starts(TEST, 0, TESTED)
    true = integrate(system, begin, TIMES)
    floor = error(integrate(system, begin + 1e-4 * starts(OFF, 0, TESTED), TIMES), true)
    kept = Path(__file__).with_suffix(".json")
    earlier = json.loads(kept.read_text()) if only and not quick else {}
    errors: dict[str, dict[str, list[float]]] = earlier.get("errors", {})
    seconds: dict[str, dict[str, list[float]]] = earlier.get("seconds", {})
    for name in (name for name in MODELS if only in name):
        for n in sizes:
            runs = [run(problem(system, units, n, s, name), true) for s in range(seeds)]
            errors.setdefault(name, {})[str(n)] = [e for e, _ in runs]
            seconds.setdefault(name, {})[str(n)] = [s for _, s in runs]
            print(name, n, cell(errors[name][str(n)]), cell(seconds[name][str(n)]), "s", flush=True)
    heads = " | ".join(f"n = {n:,}" for n in sizes)
    lines = [f"| | {heads} |", "|---" * (1 + len(sizes)) + "|"]
    for name, values in THEIRS.items():
        own = (f"{v:.2g}" if v else "-" for v, _ in zip(values, sizes, strict=False))
        lines.append(f"| {name} | {' | '.join(own)} |")
    for name, of in errors.items():
        lines.append(f"| {name} | {' | '.join(cell(v) for v in of.values())} |")
    lines.append("")
    lines.append("Theirs at n = 10,000: DeLaN 1.9e-4, constrained Hamiltonian 2.7e-5.")
    lines.append(
        f"The true motion from starts off by 1e-4: {floor:.2g} (theirs: {THEIR_FLOOR:.2g})."
    )
    print("\n".join(lines))
    if not quick:
        tell("docs/answer.md", "finzi", lines)
        write(__file__, {"errors": errors, "seconds": seconds, "floor": floor})


if __name__ == "__main__":
    main()
