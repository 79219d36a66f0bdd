"""Noisy positions: training through the integrator beside pointwise training, at equal seconds.

    python benchmarks/through_integrator.py         # table; JSON here; 1 minute
    python benchmarks/through_integrator.py --quick # two seeds, few steps

Double pendulum, 10 trajectories of 10 s at 100 Hz, Gaussian noise on the angles alone; structured
LNN of 2 x 16 units, SOAP. `pointwise`: on the accelerations of local polynomials. `through`: a
pointwise start, then the loss through the integrator over 0.4 s; both have the same window,
chosen by one rule (`data.window=auto`). Errors are medians over 4,000 test states of the
normalised squared error of the true accelerations. Pointwise training has 3,000 steps of 512
states, and as many as take the seconds of the other. One thread, seconds of the processor for one
seed.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from reporting import tell, write

from study.block.setup import Setup, set_up
from study.config.cell import make_cell
from study.config.command_line import compose
from study.config.hydra import register
from study.core.measures import metrics
from study.core.training.train import State, train

NOISES = (1e-3, 1e-2)  # rad
SEEDS, DRAWS = 5, 10_000
SHARED = (
    "model=structured_lnn", "model.width=16", "model.depth=2", "optimizer=soap",
    "data.sampling_rate=100", "data.n_trajectories=10", "data.window=auto", "data.n_train=all",
)  # fmt: skip
POINTWISE = ("optimizer.batch_size=512",)
THROUGH = (
    "optimizer.loss=rollout", "optimizer.rollout_steps=10", "optimizer.rollout_stride=4",
    "optimizer.batch_size=128", "optimizer.warm_steps=3000",
)  # fmt: skip


def problem(noise: float, steps: int, seeds: int, *overrides: str) -> Setup:
    own = (f"data.position_noise={noise}", f"optimizer.steps={steps}", f"block_size={seeds}")
    plain = compose([*SHARED, *overrides, *own, f"replicates={seeds}"])
    return set_up(make_cell(plain, compile=True), 0)


def run(setup: Setup) -> dict[str, Any]:
    """Each seed's error, and seconds of one seed."""
    begun, units, test = time.process_time(), setup.units, setup.test
    state = State.fresh(setup.initial_parameters())
    state = train(setup.model, setup.data, setup.stages, state, measure=lambda theta: {})
    seconds = (time.process_time() - begun) / len(state.theta)
    scaled = units.scale(test.points.q, test.points.qdot)
    rows = [torch.tensor(x.T.copy()).expand(len(state.theta), -1, -1) for x in scaled]
    qddot = setup.model.acceleration(state.theta.double(), *rows).mT.numpy()
    errors = [
        float(np.median(metrics.point_errors(x, test.points.qddot, test.variance)))
        for x in units.acceleration_to_physical(qddot)
    ]
    window = setup.cell.data.window
    return {"errors": errors, "seconds": seconds, "window": window}


def ratio(above: list[float], below: list[float]) -> tuple[float, float, float]:
    """Of medians over seeds, with the 95 % interval of drawing seeds anew."""
    pair = np.log([above, below])
    drawn = np.random.default_rng(0).integers(0, pair.shape[1], (DRAWS, pair.shape[1]))
    draws = np.median(pair[0][drawn], 1) - np.median(pair[1][drawn], 1)
    value = np.median(pair[0]) - np.median(pair[1])
    low, high = np.exp([value, *np.quantile(draws, [0.025, 0.975])])[1:]
    return float(np.exp(value)), float(low), float(high)


def cell(values: list[float]) -> str:
    return f"{np.median(values):.2g} [{min(values):.2g}, {max(values):.2g}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two seeds, few steps")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    register()
    seeds, few, many = (2, 10, 100) if quick else (SEEDS, 300, 3000)
    runs = []
    for noise in NOISES:
        through = run(problem(noise, few, seeds, *THROUGH))
        pointwise = run(problem(noise, many, seeds, *POINTWISE))
        steps = round(many * through["seconds"] / pointwise["seconds"])
        longer = run(problem(noise, steps, seeds, *POINTWISE)) | {"steps": steps}
        gain = ratio(longer["errors"], through["errors"])
        one = {"noise": noise, "through": through, "pointwise": pointwise, "longer": longer}
        runs.append(one | {"gain": gain})
        print(runs[-1], flush=True)
    lines = [
        "| noise (rad) | pointwise | pointwise, equal seconds | through the integrator | ratio |",
        "|---" * 5 + "|",
    ]
    for one in runs:
        errors = (cell(one[name]["errors"]) for name in ("pointwise", "longer", "through"))
        value, low, high = one["gain"]
        gain = f"{value:.2g} [{low:.2g}, {high:.2g}]"
        lines.append(f"| {one['noise']:g} | {' | '.join(errors)} | {gain} |")
    print("\n".join(lines))
    if not quick:
        tell("docs/answer.md", "through_integrator", lines)
        write(__file__, {"runs": runs})


if __name__ == "__main__":
    main()
