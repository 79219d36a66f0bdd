"""Levenberg-Marquardt beside what else fits the same residuals, and what its Jacobian costs.

    python benchmarks/least_squares.py     # tables; JSON and PNG beside this file; some ten minutes

The problem is the first of `levenberg_marquardt.py`: P = 369 (2 x 16), N = 768 points of
trajectories of the double pendulum, raw angles, softplus of beta 1, mass prior 1, three seeds of
data and initialisation, float64, 12 s a seed for each method. All begin at the same parameters, and
are checked to have the same residuals and Jacobian there. Methods follow each other within a seed;
ratios are taken within a seed. One thread; time is the processor's (`time.process_time`), so that
others on the machine count less. The error is the mean squared one in scaled units, the best a
method has met when its time is up.

- `study`, in C++ and eager: `study.core.training.levenberg_marquardt`.
- `tlm`: the package torch-levenberg-marquardt, set as its README has it (QR, damping by tenths and
  tens from 1e-3); `tlm_tuned`: by Cholesky and with the damping that was best of some tried on the
  first seed (from 0.1, by thirds and twos, at most 40 attempts a step).
- `scipy_lm`, `scipy_trf`: `scipy.optimize.least_squares`, residuals and Jacobian by torch.func as a
  user writes them: vmap of jacrev over the batch. `scipy_lm_ours`: with `study`'s own, in C++.

None but `study` and `tlm` may end before its time: scipy's tolerances are set to 1e-15.

Then iterations a second of `study` in C++ and eager for the three sizes of
`levenberg_marquardt.py`, one network, medians over interleaved rounds.
"""

from __future__ import annotations

import itertools
import logging
import os
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from least_squares_methods import Course, Fit, check, with_scipy, with_study, with_tlm
from levenberg_marquardt import SEEDS, SIZES, begin, problem, train_errors
from reporting import tell, write
from rich.console import Console
from rich.table import Table

from study.config.hydra import register
from study.core.training.levenberg_marquardt import LevenbergMarquardt

SECONDS = 12.0
ROUNDS, ROUND_SECONDS = 5, 1.5  # of the rates, for the slower of the two
POINTS = 200  # of a curve that are kept
STYLES = {
    "study": ("#0072B2", "-", "study, C++"),
    "study_eager": ("#0072B2", "--", "study, eager"),
    "tlm_tuned": ("#D55E00", "-", "torch-levenberg-marquardt, tuned"),
    "tlm": ("#D55E00", "--", "torch-levenberg-marquardt, as in its README"),
    "scipy_lm_ours": ("#009E73", "-", "scipy lm, study's Jacobian"),
    "scipy_lm": ("#009E73", "--", "scipy lm, torch.func"),
    "scipy_trf": ("#CC79A7", "--", "scipy trf, torch.func"),
}
METHODS = ("study", "study_eager", "tlm", "tlm_tuned", "scipy_lm", "scipy_lm_ours", "scipy_trf")


def run(name: str, fit: Fit, eager: Fit, seconds: float) -> dict[str, Any]:
    """One method on one seed."""
    wall, course = time.perf_counter(), Course(seconds)
    match name:
        case "study" | "study_eager":
            with_study(fit if name == "study" else eager, course)
        case "tlm" | "tlm_tuned":
            with_tlm(fit, course, tuned=name == "tlm_tuned")
        case _:
            method = name.split("_")[1]
            with_scipy(fit, course, method, own=name.endswith("ours"))
    spent, wall = course.spent(), time.perf_counter() - wall
    assert course.best is not None
    every = fit.setup.model.initialise(fit.setup.init_seeds, torch.float64)
    every[fit.seed] = course.best
    kept = np.unique(np.geomspace(1, len(course.curve), POINTS).round().astype(int)) - 1
    return {
        "error": train_errors(fit.setup, every)[fit.seed],
        "seconds": spent,
        "wall_seconds": wall,
        "iterations": course.iterations,
        "iterations_per_second": course.iterations / spent,
        "curve": [course.curve[k] for k in kept],
    }


def compare(seconds: float) -> dict[str, Any]:
    """All methods on all seeds."""
    width, depth, n = SIZES[0]
    setup, eager = (problem(width, depth, n, native) for native in (True, False))
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in METHODS}
    for seed in range(SEEDS):
        fit, slow = Fit(setup, seed), Fit(eager, seed)
        check(fit)
        for name in METHODS:
            run(name, fit, slow, 0.2)  # whatever the first call makes once
            rows[name].append(run(name, fit, slow, seconds))
    return {
        "P": setup.model.n_params,
        "N": n,
        "seconds": seconds,
        "rows": {name: summary(each, rows["study"]) for name, each in rows.items()},
    }


def summary(runs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over seeds, and of the ratios within a seed."""
    pairs = list(zip(runs, ours, strict=True))
    return {
        "median_error": statistics.median(each["error"] for each in runs),
        "error_over_study": statistics.median(a["error"] / b["error"] for a, b in pairs),
        "median_iterations_per_second": statistics.median(
            each["iterations_per_second"] for each in runs
        ),
        "study_over_iterations": statistics.median(
            b["iterations_per_second"] / a["iterations_per_second"] for a, b in pairs
        ),
        "seeds": runs,
    }


def rates(width: int, depth: int, n: int) -> dict[str, Any]:
    """Iterations a second of one network, in C++ and eager, which take the same steps."""
    stage = LevenbergMarquardt(10**6)
    steps = {}
    for name, native in (("study", True), ("study_eager", False)):
        setup = problem(width, depth, n, native)
        state = begin(stage, setup, setup.initial_parameters())
        state.reasons = ["", *["aside"] * (SEEDS - 1)]
        step = stage.stepper(setup.model, setup.data)
        step(state)  # whatever the first call makes once
        steps[name] = (step, state)
    step, state = steps["study_eager"]
    begun = time.process_time()
    step(state)
    count = max(1, round(ROUND_SECONDS / (time.process_time() - begun)))
    steps["study"][0](steps["study"][1])
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _, (name, (step, state)) in itertools.product(range(ROUNDS), steps.items()):
        begun = time.process_time()
        for _ in range(count):
            step(state)
        found[name].append(count / (time.process_time() - begun))
        assert state.going()
    pairs = zip(found["study"], found["study_eager"], strict=True)
    return {
        "P": setup.model.n_params,
        "N": n,
        "study_over_eager": statistics.median(a / b for a, b in pairs),
        "iterations_per_second": {
            name: {"median": statistics.median(each), "min": min(each), "max": max(each)}
            for name, each in found.items()
        },
    }


def draw(found: dict[str, Any], path: Path) -> None:
    """Error against seconds for each method; iterations a second against P."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(10, 4.2), layout="constrained", width_ratios=(3, 2)
    )
    comparison = found["comparison"]
    grid = np.geomspace(0.02, comparison["seconds"], 300)
    for name, (colour, line, label) in STYLES.items():
        curves = [each["curve"] for each in comparison["rows"][name]["seeds"]]
        errors = np.array([_at(curve, grid) for curve in curves])
        shown = np.isfinite(errors).all(0)
        low, middle, high = (f(errors[:, shown], 0) for f in (np.min, np.median, np.max))
        left.fill_between(grid[shown], low, high, color=colour, alpha=0.1, lw=0)
        left.plot(grid[shown], middle, color=colour, ls=line, label=label)
    left.set(xscale="log", yscale="log")
    left.set_xlabel("processor time (s), one thread")
    left.set_ylabel("mean squared train error, scaled units")
    left.set_title(
        f"P = {comparison['P']}, N = {comparison['N']}: medians and ranges of n = {SEEDS} seeds",
        fontsize=10,
    )
    left.legend(fontsize=7, loc="lower left")
    for name in ("study", "study_eager"):
        colour, line, label = STYLES[name]
        each = [row["iterations_per_second"][name] for row in found["rates"]]
        right.errorbar(
            [row["P"] for row in found["rates"]],
            [x["median"] for x in each],
            [[x["median"] - x["min"] for x in each], [x["max"] - x["median"] for x in each]],
            color=colour,
            ls=line,
            marker="o",
            capsize=3,
            label=label,
        )
    right.set(xscale="log", yscale="log", xlabel="parameters P")
    right.set_xticks([row["P"] for row in found["rates"]])
    right.set_xticklabels([f"{row['P']}\nN = {row['N']}" for row in found["rates"]])
    right.minorticks_off()
    right.set_ylabel("iterations a second of processor time")
    right.set_title(f"one network: medians and ranges of n = {ROUNDS} rounds", fontsize=10)
    right.legend(fontsize=8)
    figure.savefig(path, dpi=150)


def _at(curve: list[tuple[float, float]], grid: np.ndarray) -> np.ndarray:
    """The best error so far at these seconds; infinite before there is one."""
    seconds, errors = np.array(curve).T
    where = np.searchsorted(seconds, grid, side="right") - 1
    return np.where(where >= 0, errors[where], np.inf)


def report(found: dict[str, Any]) -> None:
    """The tables."""
    console, comparison = Console(width=120), found["comparison"]
    table = Table(
        title=f"P = {comparison['P']}, N = {comparison['N']}, {comparison['seconds']:g} s a seed"
    )
    headings = ("method", *(f"seed {r}" for r in range(SEEDS)), "median", "over study",
                "iterations / s", "study / it", "wall s")  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "method" else "right")
    lines = ["| method | mean squared error reached | iterations a second |", "|---|---|---|"]
    for name, row in comparison["rows"].items():
        errors = [each["error"] for each in row["seeds"]]
        ends = f"{min(errors):.1e}, {max(errors):.1e}"
        rate = f"{row['median_iterations_per_second']:.3g}"
        lines.append(f"| {STYLES[name][2]} | {row['median_error']:.1e} [{ends}] | {rate} |")
        table.add_row(
            name,
            *(f"{each['error']:.2e}" for each in row["seeds"]),
            f"{row['median_error']:.2e}",
            f"{row['error_over_study']:.3g}",
            f"{row['median_iterations_per_second']:.3g}",
            f"{row['study_over_iterations']:.3g}",
            f"{statistics.mean(each['wall_seconds'] for each in row['seeds']):.1f}",
        )
    console.print(table)
    lines += ["", "| P | N | iterations a second, C++ | eager |", "|---|---|---|---|"]
    table = Table(title="iterations a second, one network: median [min, max]")
    for heading in ("P", "N", "C++", "eager", "C++ / eager"):
        table.add_column(heading, justify="right")
    for row in found["rates"]:
        values = [
            "{median:.3g} [{min:.3g}, {max:.3g}]".format(**row["iterations_per_second"][name])
            for name in ("study", "study_eager")
        ]
        lines.append(f"| {row['P']} | {row['N']} | {' | '.join(values)} |")
        table.add_row(str(row["P"]), str(row["N"]), *values, f"{row['study_over_eager']:.3g}")
    console.print(table)
    tell("docs/speed.md", "least squares", lines)


def main() -> None:
    """Measure, print, and write the JSON and the figure."""
    torch.set_num_threads(1)
    logging.getLogger("torch_levenberg_marquardt").setLevel(logging.ERROR)  # a matrix not definite
    register()
    found = {
        "clock": "time.process_time",
        "load": os.getloadavg()[0],
        "rounds": ROUNDS,
        "comparison": compare(SECONDS),
        "rates": [rates(*size) for size in SIZES],
    }
    write(__file__, found)
    draw(found, Path(__file__).with_suffix(".png"))
    report(found)


if __name__ == "__main__":
    main()
