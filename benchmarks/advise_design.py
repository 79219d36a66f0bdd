"""Draws the settings of `conf/experiment/advise.yaml`: python benchmarks/advise_design.py

Twelve sets of data fill log N, noise and log trajectories by a Sobol sequence (scipy.stats.qmc).
Two linear Lagrangians and five networks are trained on each, so that models are compared on equal
data; size and training time of each network fill their ranges by a second sequence. The seed is
fixed: the same file comes out each time.
"""

from pathlib import Path

import numpy as np
from scipy.stats import qmc

from study.analysis.advice.table import PILOTS, width

HERE = Path(__file__).resolve()
SETS = 12
CLEAN = 0.3  # share of the sets without noise
POINTS, NOISES, TRAJECTORIES = (32, 8192), (0.001, 0.3), (1, 100)
LINEAR = "model: linear_lagrangian, optimizer: least_squares, model.features: {}, model.width: {}"
# model and optimiser: widths, and the key and range of the steps that it trains
NETWORKS = {
    "model: lnn, optimizer: adam": ((8, 48), "optimizer.steps", (500, 6000)),
    "model: lnn, optimizer: soap": ((8, 48), "optimizer.steps", (200, 2000)),
    "model: lnn, optimizer: soap_lm, optimizer.steps: 300, optimizer.seconds: 2": (
        (8, 20),
        "optimizer.iterations",
        (10, 200),
    ),
    "model: structured_lnn, optimizer: soap": ((8, 48), "optimizer.steps", (200, 2000)),
    "model: acceleration_mlp, optimizer: soap": ((8, 48), "optimizer.steps", (200, 2000)),
}
SYSTEMS = (
    "double_pendulum, double_pendulum_wide, triple_pendulum, spring_pendulum, cart_pole, "
    "oscillator, coupled_oscillators, kepler, magnetic_trap, henon_heiles, relativistic_particle"
)
HEAD = """\
# @package _global_
# What `study.advise` rests on: eleven systems times a space-filling design over points, noise,
# trajectories, model, size and training time, which benchmarks/advise_design.py draws and writes.
# `python benchmarks/advise_checks.py outputs/advise` makes the table of the advice of it.
study: advise
question: Which model, of what size, by which optimiser, for which data and time?
replicates: 2
block_size: 2
rollout: {horizon: 10, n_trajectories: 4, n_times: 51, max_steps: 500}
diagnostics: {error_budget: false}
model:
  depth: 2
grid:
"""


SMOKE = (
    LINEAR.format("[structured, random]", "auto"),
    "model: lnn, optimizer: soap, optimizer.steps: 20, model.width: 8",
)


def between(span: tuple[float, float], share: float) -> float:
    """The number at this share of the way through a range, in logarithms."""
    low, high = span
    return float(low * (high / low) ** share)


def points(share: np.ndarray) -> int:
    """N of one set of data."""
    return round(between(POINTS, share[0]))


def data(share: np.ndarray) -> str:
    """The keys of one set of data."""
    noise = 0.0 if share[1] < CLEAN else between(NOISES, (share[1] - CLEAN) / (1 - CLEAN))
    return (
        f"data.n_train: {points(share)}, data.noise: {float(f'{noise:.2g}')}, "
        f"data.n_trajectories: {between(TRAJECTORIES, share[2]):.0f}"
    )


def network(name: str, share: np.ndarray) -> str:
    """The keys of one network, its size and its training time."""
    widths, key, span = NETWORKS[name]
    units, steps = between(widths, share[0]), between(span, share[1])
    return f"{name}, model.width: {units:.0f}, {key}: {steps:.0f}"


def arms() -> list[str]:
    """The arms of the grid."""
    shares, lines = iter(qmc.Sobol(2, rng=1).random(128)), []
    for k, share in enumerate(qmc.Sobol(3, rng=0).random(16)[:SETS]):
        systems = f"&every [{SYSTEMS}]" if k == 0 else "*every"
        first, *others = (network(name, next(shares)) for name in NETWORKS)
        linear = (LINEAR.format(kind, width(kind, points(share))) for kind in PILOTS)
        lines.append(f"- &data{k} {{system: {systems}, {data(share)}, {first}}}")
        lines += [f"- {{<<: *data{k}, {keys}}}" for keys in (*linear, *others)]
    return lines


def main() -> None:
    smoke = [f"- {{system: [double_pendulum, oscillator], data.n_train: 64, {k}}}" for k in SMOKE]
    grid = {"smoke": smoke, "laptop": arms()}
    text = "".join(
        f"  {budget}:\n" + "".join(f"    {line}\n" for line in lines)
        for budget, lines in grid.items()
    )
    target = HERE.parents[1] / "conf" / "experiment" / "advise.yaml"
    target.write_text(HEAD + text)


if __name__ == "__main__":
    main()
