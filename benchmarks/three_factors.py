"""The three causes of double descent (Schaeffer et al. 2023, arXiv 2303.14151), one off at a time.

    python benchmarks/three_factors.py         # table into docs/answer.md; 2 minutes
    python benchmarks/three_factors.py --quick # two seeds

They say that the minimum-norm solution of linear equations peaks at the threshold only if all three
are there: small singular values of the training equations, test equations along their directions,
and a residual of the best solution there is. Two models of this project are linear in what is
trained, random features of the acceleration (positive control, P = 200) and the Lagrangian (random
features, P = 100, its gauge fixed). Double pendulum, 10 % label noise, and then without

- small singular values: those below a share of the largest are left out;
- test directions: test equations are projected on the ten leading directions of the training ones;
- a residual: the labels are the accelerations of the best solution itself, without noise.

Error: squared residual of 1,000 clean test states' equations over the square of their right sides.
Peak: the median error over seeds at N*D = P over the larger of the least errors on either side.
"""

from __future__ import annotations

import argparse
import dataclasses
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from reporting import tell, write

from study.block.setup import Setup, set_up
from study.config.cell import make_cell
from study.config.command_line import compose
from study.config.hydra import register
from study.core.models.model import LinearModel

MODELS = {
    "random features": ("model=random_features", "model.beta=4"),
    "linear Lagrangian": ("model=linear_lagrangian", "model.features=random", "model.scale=0.5"),
}
FEATURES, NOISE, SEEDS, TESTED, AMPLE = 100, 0.1, 40, 1000, 4000
RATIOS = np.array([0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 4.0])
LEADING, CUTOFF, ROUNDING = 10, 0.03, 1e-12
VARIANTS = ("all three", "no small singular values", "no test directions", "no residual")
DRAWS = 2000


@dataclasses.dataclass(frozen=True)
class Problem:
    """One seed: a model with its draws, and its equations, gauge fixed, at any labels."""

    model: LinearModel
    theta: torch.Tensor
    gauge: np.ndarray | None
    level: float

    def equations(self, states: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and right sides for what the gauge leaves free."""
        q, qdot, qddot = (torch.tensor(x.T[None]) for x in (*np.split(states, 2, 1), labels))
        of = self.model.equations(self.theta, q, qdot, qddot)
        rows, right = of.rows[0].flatten(0, 1).numpy(), of.right[0].flatten().numpy()
        if self.gauge is None:
            return rows, right
        return rows @ self.free, right - rows @ self.fixed

    @property
    def fixed(self) -> np.ndarray:
        assert self.gauge is not None
        return self.level * self.gauge / (self.gauge @ self.gauge)

    @property
    def free(self) -> np.ndarray:
        """An orthonormal basis (P, P - 1) of what the gauge does not fix."""
        assert self.gauge is not None
        return np.linalg.svd(self.gauge[None])[2][1:].T

    def acceleration(self, solution: np.ndarray, states: np.ndarray) -> np.ndarray:
        trained = solution if self.gauge is None else self.fixed + self.free @ solution
        theta = self.theta.clone()
        theta[:, : self.model.n_params] = torch.tensor(trained)
        q, qdot = (torch.tensor(x.T[None]) for x in np.split(states, 2, 1))
        return self.model.acceleration(theta, q, qdot)[0].numpy().T


def problem(overrides: tuple[str, ...], seed: int) -> tuple[Setup, Problem, np.ndarray]:
    """The set-up, the problem, and an ample pool of (q, qdot, qddot), scaled units, no noise."""
    settings = (f"data.n_train={AMPLE}", f"data.pool_size={AMPLE}", f"model.width={FEATURES}")
    alone = (f"seed={seed}", "replicates=1", "block_size=1", "optimizer=least_squares")
    setup = set_up(
        make_cell(compose([*alone, *settings, "optimizer.ridge=0", *overrides]), compile=False), 0
    )
    model, theta, pool = setup.model, setup.initial_parameters(), setup.data.rows[0].numpy()
    assert isinstance(model, LinearModel)
    columns = (torch.tensor(x.T[None]) for x in np.split(pool, 3, 1))
    of = model.equations(theta, *columns)
    gauge = None if of.gauge is None else of.gauge[0].numpy() / len(pool)
    return setup, Problem(model, theta, gauge, of.level), pool


def solve(rows: np.ndarray, right: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """The minimum-norm solution, and the directions of the rows, the leading first."""
    U, S, V = np.linalg.svd(rows, full_matrices=False)
    kept = cutoff * S[0] < S
    return V[kept].T @ ((U.T[kept] @ right) / S[kept]), V


def errors(overrides: tuple[str, ...], seed: int) -> np.ndarray:
    """(variants, rungs) of one seed."""
    setup, own, pool = problem(overrides, seed)
    D = setup.system.n_dof
    states, labels = pool[:, : 2 * D], pool[:, 2 * D :]
    units, test = setup.units, setup.test.points
    scaled = np.concatenate(units.scale(test.q, test.qdot), axis=1)[:TESTED]
    of_test = own.equations(scaled, units.acceleration_to_scaled(test.qddot)[:TESTED])
    best, _ = solve(*own.equations(states, labels), ROUNDING)
    noise = NOISE * labels.std(0) * np.random.default_rng(seed).standard_normal(labels.shape)
    given = {"noisy": labels + noise, "own": own.acceleration(best, states)}
    out = np.empty((len(VARIANTS), len(RATIOS)))
    for k, ratio in enumerate(RATIOS):
        N = round(ratio * own.model.n_params / D)
        for v, variant in enumerate(VARIANTS):
            targets = given["own" if variant == "no residual" else "noisy"][:N]
            cutoff = CUTOFF if variant == "no small singular values" else ROUNDING
            solution, directions = solve(*own.equations(states[:N], targets), cutoff)
            rows, right = of_test
            if variant == "no test directions":
                rows = rows @ directions[:LEADING].T @ directions[:LEADING]
            out[v, k] = np.square(rows @ solution - right).mean() / np.square(right).mean()
    return out


def peaks(errors: np.ndarray) -> np.ndarray:
    """Height of the peak (variants,) from (seeds, variants, rungs)."""
    middle, at = np.median(errors, axis=0), int(np.flatnonzero(RATIOS == 1.0)[0])
    return middle[:, at] / np.maximum(middle[:, :at].min(1), middle[:, at + 1 :].min(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two seeds")
    seeds = 2 if parser.parse_args().quick else SEEDS
    register()
    lines = [f"| | {' | '.join(VARIANTS)} |", "|---" * (1 + len(VARIANTS)) + "|"]
    curves = {}
    for name, overrides in MODELS.items():
        every = np.stack([errors(overrides, seed) for seed in range(seeds)])
        random = np.random.default_rng(0)
        drawn = [peaks(every[random.integers(0, seeds, seeds)]) for _ in range(DRAWS)]
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        ends = zip(peaks(every), low, high, strict=True)
        lines.append(f"| {name} | {' | '.join('%.2g [%.2g, %.2g]' % e for e in ends)} |")  # noqa: UP031
        curves[name] = {v: np.median(every[:, k], axis=0).tolist() for k, v in enumerate(VARIANTS)}
        print(name, curves[name], flush=True)
    print("\n".join(lines))
    if seeds == SEEDS:
        tell("docs/answer.md", "three factors", lines)
        write(__file__, {"ratios": RATIOS.tolist(), "median errors": curves, "table": lines})


if __name__ == "__main__":
    main()
