"""Seconds until a network's accelerations are right to 1e-2, 1e-3 and 1e-4.

    python benchmarks/time_to_accuracy.py         # table; JSON and figure here; 17 minutes
    python benchmarks/time_to_accuracy.py --quick # one seed, short schedules

Double pendulum, N = 4096, 4 x 32 hidden units, one network at a time, batches of 128, one thread;
accuracy is the median over test points of the normalised squared error. Three seeds of data and
initialisation. Measuring does not count.

- `question`: the question's network and settings (P = 3361: raw angles, beta 0.5, PyTorch's
  initialisation, physical units, constant rate 1e-3, no clipping), its gradient sample by sample.
- `question_method`: the same gradient, with the settings of `adam`.
- `adam`: this project's Adam and defaults (P = 3425), cosine schedules of several lengths.
- `adam_lm`: the shortest of them that counts, then Levenberg-Marquardt in float64.

A gradient is the same however it is computed, so steps are counted once, with this project's; the
question's take as many, each 128 times what a sample costs by its method, measured in this run.
A time to an accuracy is the shortest over schedules of when a record first lies below it: each
schedule knows its end, as a user's does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib
import numpy as np
import torch
from reporting import tell, write
from rich.console import Console
from rich.table import Table
from training_step import question, user_step

from study.block.measures import curve_measure
from study.block.setup import Setup, set_up
from study.config.cell import make_cell
from study.config.command_line import compose
from study.config.hydra import register
from study.core.training.train import Stage, State, TrainingData

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ACCURACIES = (1e-2, 1e-3, 1e-4)
SCHEDULES = (500, 1000, 2000, 4000, 16_000, 64_000)
BEFORE_LM = (1000, 4000)
LM_ITERATIONS = 40
QUESTION_STEPS = 64_000
RECORDS = 60
BATCH = 128
ASKED = (
    "model.encoding=raw", "model.beta=0.5", "model.mass_prior=0", "model.init=torch_default",
    "data.units=physical", "optimizer.schedule=constant", "optimizer.lr=1e-3",
    "optimizer.clip=null",
)  # fmt: skip

NAMES = {
    "question": "the question's network, settings and gradient",
    "question_method": "its gradient, the settings of `study`",
    "adam": "`study`, Adam",
    "adam_lm": "`study`, Adam, then Levenberg-Marquardt",
}

Curve = list[tuple[int, float, float]]  # steps of Adam, seconds here, median test error


def problem(seed: int, *overrides: str) -> Setup:
    """One network, set up as a sweep would."""
    settings = ("model.width=32", "model.depth=4", "data.n_train=4096", f"seed={seed}")
    ensemble = ("replicates=1", "block_size=1", f"optimizer.batch_size={BATCH}")
    plain = compose([*settings, *ensemble, *overrides])
    return set_up(make_cell(plain, compile=True), 0)


def train(setup: Setup) -> Curve:
    """The error along the stages, by the clock of the steps alone."""
    state, measure = State.fresh(setup.initial_parameters()), curve_measure(setup)
    curve, seconds, adam = [], 0.0, 0
    for number, stage in enumerate(setup.stages):
        state.reasons, state.stage, state.step = [""], number, 0
        begun = time.perf_counter()
        state.memory = stage.begin(setup.model, setup.data, state)
        step = stage.stepper(setup.model, setup.data)
        due = records(setup.data, stage)
        seconds += time.perf_counter() - begun
        while state.step < stage.steps and state.going():
            begun = time.perf_counter()
            step(state)
            state.step += 1
            seconds += time.perf_counter() - begun
            adam += number == 0
            if state.step in due:
                (error,) = measure(state.theta)["test_nmse_median"]
                curve.append((adam, seconds, error))
    return curve


def records(data: TrainingData, stage: Stage) -> set[int]:
    """After which steps the error is measured."""
    return set(np.geomspace(1, stage.steps, RECORDS).round().astype(int).tolist())


def question_seconds() -> list[float]:
    """A sample and step by the question's method, several times."""
    generator = torch.Generator().manual_seed(0)
    x, target = (torch.randn(BATCH, width, generator=generator) for width in (4, 2))
    step, taken = user_step(question, x, target), []
    step()
    for _ in range(5):
        begun = time.perf_counter()
        step()
        taken.append((time.perf_counter() - begun) / BATCH)
    return taken


def first_below(curve: Curve, accuracy: float) -> tuple[int, float] | None:
    """Steps and seconds of the first record below."""
    return next(((n, s) for n, s, error in curve if error <= accuracy), None)


def shortest(
    curves: dict[str, list[Curve]], accuracy: float, seed: int, which: int
) -> float | None:
    """Over schedules, of one seed: steps (`which` 0) or seconds (1)."""
    found = [first_below(of_seeds[seed], accuracy) for of_seeds in curves.values()]
    return min((each[which] for each in found if each), default=None)


def median(values: list[float | None]) -> float | None:
    """None where most seeds never got there."""
    return (
        None
        if sum(v is None for v in values) > len(values) / 2
        else statistics.median([float("inf") if v is None else v for v in values])
    )


def main() -> None:
    """Measure, print, and write JSON and figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, short schedules")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    register()
    seeds = (0,) if quick else (0, 1, 2)
    schedules = SCHEDULES[:4] if quick else SCHEDULES
    per_sample = question_seconds()
    asked: dict[str, list[Curve]] = {}
    adam: dict[str, list[Curve]] = {}
    adam_lm: dict[str, list[Curve]] = {}
    for seed in seeds:
        n = QUESTION_STEPS // (16 if quick else 1)
        asked.setdefault(str(n), []).append(train(problem(seed, *ASKED, f"optimizer.steps={n}")))
        for n in schedules:
            adam.setdefault(str(n), []).append(train(problem(seed, f"optimizer.steps={n}")))
        for n in BEFORE_LM[: 1 if quick else None]:
            lm = ("optimizer=adam_lm", f"optimizer.steps={n}")
            setup = problem(seed, *lm, f"optimizer.iterations={5 if quick else LM_ITERATIONS}")
            adam_lm.setdefault(str(n), []).append(train(setup))
    per_step = BATCH * statistics.median(per_sample)
    times: dict[str, dict[str, list[float | None]]] = {}
    for name, curves, which, scale in (
        ("question", asked, 0, per_step),
        ("question_method", adam, 0, per_step),
        ("adam", adam, 1, 1.0),
        ("adam_lm", adam_lm, 1, 1.0),
    ):
        times[name] = {}
        for accuracy in ACCURACIES:
            found = [shortest(curves, accuracy, seed, which) for seed in range(len(seeds))]
            times[name][f"{accuracy:g}"] = [None if v is None else scale * v for v in found]
    lines = report(times, per_sample, asked)
    found = {
        "question_us_a_sample": [1e6 * s for s in per_sample],
        "seconds": times,
        "curves": {"question": asked, "adam": adam, "adam_lm": adam_lm},
    }
    if not quick:
        tell("docs/speed.md", "accuracy", lines)
        draw(found["curves"], per_step)
        write(__file__, found)


def report(times: dict, per_sample: list[float], asked: dict[str, list[Curve]]) -> list[str]:
    """Medians over seeds, and how many times longer than `adam`, seed by seed; as a page has it."""
    console, n = Console(), len(times["adam"])
    lines = [
        f"| method | {' | '.join(f's to {a}' for a in times['adam'])} |",
        "|---" * (n + 1) + "|",
    ]
    table = Table(title="seconds to a median test nmse, one network, one thread (median of seeds)")
    table.add_column("method")
    for accuracy in times["adam"]:
        table.add_column(accuracy, justify="right")
        table.add_column("over adam", justify="right")
    for name, found in times.items():
        cells, told = [], []
        for accuracy, values in found.items():
            middle = median(values)
            pairs = zip(values, times["adam"][accuracy], strict=True)
            ratio = median([None if None in pair else pair[0] / pair[1] for pair in pairs])
            cells += ["never" if middle is None else f"{middle:,.3g}"]
            cells += ["" if ratio is None else f"{ratio:,.3g}"]
            beside = "" if ratio is None or name == "adam" else f" ({ratio:,.3g} times)"
            told.append(spread(values) + beside)
        lines.append(f"| {NAMES[name]} | {' | '.join(told)} |")
        table.add_row(name, *cells)
    console.print(table)
    console.print(f"question: {1e6 * statistics.median(per_sample):,.0f} us a sample and step")
    last = [curves[-1][2] for of_seeds in asked.values() for curves in [*of_seeds]]
    steps = next(iter(asked))
    console.print(f"question, after {steps} steps: {', '.join(f'{e:.2g}' for e in last)}")
    return lines


def spread(values: list[float | None]) -> str:
    """Median and range over seeds, or how few got there."""
    there = sorted(value for value in values if value is not None)
    middle = median(values)
    if middle is None:
        few = f" ({len(there)} seed of {len(values)}: {there[0]:,.3g})" if there else ""
        return f"never{few}"
    return f"{middle:,.3g} [{there[0]:,.3g}, {there[-1]:,.3g}]"


def draw(curves: dict[str, dict[str, list[Curve]]], per_step: float) -> None:
    """Error against time, a line a seed and schedule."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    styles = {
        "question": ("question", "#777777", per_step),
        "question_method": ("adam", "#cc3311", per_step),
        "adam": ("adam", "#0077bb", None),
        "adam_lm": ("adam_lm", "#ee9900", None),
    }
    for name, (source, colour, scale) in styles.items():
        label = NAMES[name].replace("`", "")
        for of_seeds in curves[source].values():
            for curve in of_seeds:
                x = [n * scale if scale else s for n, s, _ in curve]
                y = [error for *_, error in curve]
                axes.plot(x, y, color=colour, lw=0.8, alpha=0.7, label=label)
                label = None
    axes.set(xscale="log", yscale="log", xlabel="time on one thread / s")
    axes.set_ylabel("median normalised squared error on test points")
    n_seeds = len(next(iter(curves["adam"].values())))
    axes.set_title(f"double pendulum, N = 4096, 4 x 32; {n_seeds} seeds, a line each", fontsize=10)
    for accuracy in ACCURACIES:
        axes.axhline(accuracy, color="black", lw=0.5, ls=":")
    axes.legend(title="question's: extrapolated", fontsize=8)
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=150)


if __name__ == "__main__":
    main()
