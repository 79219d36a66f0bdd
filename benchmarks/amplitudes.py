"""How the amplitude of a double pendulum decides how long a learned trajectory stays right.

    python benchmarks/amplitudes.py         # table into docs/answer.md, JSON here; 10 minutes
    python benchmarks/amplitudes.py --quick # two amplitudes, one seed, 10 s

Released from rest within an amplitude, from 0.5 rad to pi, where the pendulum goes over the top:
regular motion first, then chaos. Three models of P about 400 learn N = 1024 points, five seeds, and
are rolled out over 100 s: from 16 held-out starts within the amplitude, and from 16 starts of 1.5
times the largest energy of a start in training, if there are such starts at rest.

- own: rollout error over that of the true field pushed by the model's own error along the true
  motion; 1 if errors propagate linearly, whatever the motion.
- valid: seconds until the error passes half a standard deviation, and the same in Lyapunov times
  (finite-time exponents over 100 s; those of regular motion are small and fall with the horizon).
- regime: solver if the rollout error is that of the true field by the same solver, within a factor
  of 1.5; chaotic if the motion multiplies a small error by more than ten times the horizon in
  seconds and the trajectory ends after ln 10 Lyapunov times or more; else linear. "To the end":
  the trajectory stays right so long.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch
from reporting import tell, write
from scipy.optimize import brentq

from study.analysis.statistics.limits import CHAOTIC, INTEGRATOR, MULTIPLIED
from study.block.run import run_block
from study.block.setup import Setup, set_up
from study.config.cell import Cell, make_cell
from study.config.command_line import compose
from study.config.hydra import register
from study.core.data.datasets import motion_from
from study.core.measures import metrics
from study.core.measures.rollout import rollout
from study.core.systems import System

AMPLITUDES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.14)
MODELS = {
    "plain LNN, SOAP": ("optimizer=soap", "model.width=16", "model.depth=2"),
    "structured LNN, SOAP": (
        "model=structured_lnn",
        "optimizer=soap",
        "model.width=16",
        "model.depth=2",
    ),
    "linear Lagrangian": ("model=linear_lagrangian", "optimizer=least_squares", "model.width=100"),
}
SEEDS, STARTS, HORIZON, BEYOND = 5, 16, 100.0, 1.5
SOURCE = """
import dataclasses
from study.core.systems import SYSTEMS
from study.core.systems.pendulums import at_rest

pendulum = dataclasses.replace(
    SYSTEMS["double_pendulum"], name="double_pendulum_to_{name}",
    initial_conditions=at_rest({amplitude}, {amplitude}),
)
"""


def energetic(system: System, amplitude: float, n: int) -> np.ndarray:
    """Starts at rest (n, 4), each with 1.5 times the largest energy of one within the amplitude;
    fewer or none if the potential does not reach so high in a direction."""

    def above(q: np.ndarray) -> float:
        still = np.zeros((1, 2))
        return float((system.energy(q[None], still) - system.energy(still, still))[0])

    wanted, rng, found = BEYOND * above(np.full(2, amplitude)), np.random.default_rng(0), []
    for _ in range(100 * n):
        way = rng.uniform(-1, 1, 2)
        way /= np.abs(way).max()
        if above(np.pi * way) > wanted:
            scale = brentq(lambda s, way=way: above(s * way) - wanted, 0, np.pi)
            found.append([*(scale * way), 0.0, 0.0])
        if len(found) == n:
            break
    return np.array(found)


def beyond(setup: Setup, theta: torch.Tensor, amplitude: float, horizon: float) -> list[float]:
    """Valid time of each network from energetic starts; NaN if there are none."""
    start = energetic(setup.system, amplitude, STARTS)
    if len(start) < STARTS:
        return [np.nan] * len(theta)
    truth = motion_from(setup.system, start, horizon, len(setup.truth.times))
    units, settings = setup.units, setup.cell.rollout
    rolled = rollout(
        setup.model,
        theta.double(),
        torch.tensor(units.to_scaled(start)),
        torch.tensor(truth.times / units.time),
        setup.system.angles,
        rtol=settings.rtol,
        max_steps=settings.max_steps,
    )
    learned = units.to_physical(rolled.states.numpy())
    return [
        metrics.rollout_measures(
            learned[r], rolled.diverged[r].numpy(), truth, setup.system, setup.test.units
        )[0]["valid_time"]
        for r in range(len(theta))
    ]


def cell_of(folder: Path, amplitude: float, overrides: tuple[str, ...], horizon: float) -> Cell:
    name = f"{100 * amplitude:.0f}"
    path = folder / f"to_{name}.py"
    path.write_text(SOURCE.format(name=name, amplitude=amplitude))
    plain = compose(
        [
            "system=file",
            f"system.path={path}",
            "data.n_train=1024",
            f"replicates={SEEDS}",
            f"block_size={SEEDS}",
            f"rollout.horizon={horizon}",
            f"rollout.n_trajectories={STARTS}",
            "rollout.n_times=501",
            "rollout.rtol=1e-7",
            "rollout.max_steps=20000",
            *overrides,
        ]
    )
    return make_cell(plain, compile=True)


def line(model: str, amplitude: float, rows: pd.DataFrame, horizon: float) -> str:
    """A row of the table: medians over seeds with their range."""

    def of(values) -> str:
        values = np.asarray(values, float)
        if np.isnan(values).all():
            return "-"
        return f"{np.median(values):.2g} [{values.min():.2g}, {values.max():.2g}]"

    lyapunov = float(np.median(rows["lyapunov"]))
    times = rows["valid_time"].to_numpy(float)
    chaotic = np.exp(lyapunov * horizon) > CHAOTIC * horizon
    regime = "chaotic" if chaotic and np.median(times) * lyapunov > MULTIPLIED else "linear"
    if np.median(rows["rollout_error"] / rows["budget_integrator"]) < INTEGRATOR:
        regime = "solver"
    if np.median(times) > 0.99 * horizon:
        regime += ", to the end"
    cells = (
        f"{amplitude:g}",
        f"{1 / lyapunov:.3g}",
        model,
        of(np.sqrt(rows["test_nmse_median"])),
        of(rows["rollout_error"] / rows["budget_own"]),
        of(times),
        of(times * lyapunov),
        regime,
        of(rows["beyond"]),
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two amplitudes, 10 s")
    quick = parser.parse_args().quick
    register()
    amplitudes, horizon = (AMPLITUDES[:2], 10.0) if quick else (AMPLITUDES, HORIZON)
    heads = (
        "amplitude / rad", "Lyapunov time / s", "model", "acceleration error, amplitude",
        "own", "valid / s", "in Lyapunov times", "regime", "beyond: valid / s",
    )  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for amplitude in amplitudes:
            for model, overrides in MODELS.items():
                cell = cell_of(Path(folder), amplitude, overrides, horizon)
                result = run_block(cell, 0)
                rows, setup = result.replicates, set_up(cell, 0)
                rows["beyond"] = beyond(setup, result.weights["theta"], amplitude, horizon)
                lines.append(line(model, amplitude, rows, horizon))
                print(lines[-1], flush=True)
                names = ["test_nmse_median", "rollout_error", "budget_own", "valid_time", "beyond"]
                measured = {name: rows[name].tolist() for name in names}
                lyapunov = float(np.median(rows["lyapunov"]))
                about = {"amplitude": amplitude, "model": model, "lyapunov": lyapunov}
                results.append(about | measured)
    if not quick:
        tell("docs/answer.md", "amplitudes", lines)
        write(__file__, {"runs": results})


if __name__ == "__main__":
    main()
