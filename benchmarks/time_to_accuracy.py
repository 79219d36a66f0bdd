"""Seconds until a model's accelerations are right to 1e-2, 1e-3, 1e-4 and 1e-6.

    python benchmarks/time_to_accuracy.py         # table; JSON and figure here; 20 minutes
    python benchmarks/time_to_accuracy.py --quick # one seed, few schedules; 1 minute

Double pendulum, one model at a time, one thread; accuracy is the median over test points of the
normalised squared error. Five seeds of data and initialisation. Measuring does not count. Networks:
N = 4096, 4 x 32 hidden units, this project's defaults (P = 3425) but for the first. JAX:
`pip install -e '.[rivals]'`.

- `question`: the question's network and settings (P = 3361: raw angles, beta 0.5, PyTorch's
  initialisation, physical units, constant rate 1e-3, no clipping), its gradient sample by sample.
- `question_method`, `jax`: the settings of `adam`, the gradient by the question's method and by the
  fastest form found in JAX.
- `adam`, `soap`: this project's optimisers, schedules of several lengths.
- `adam_lm`, `soap_lm`: a short one of them, then Levenberg-Marquardt in float64.
- `linear`: the Lagrangian that is linear in its parameters, all settings `auto`, solved by least
  squares for several N of the same pool; choosing settings by held-out points counts.

A gradient is the same however it is computed, so steps of Adam are counted once, with this
project's; those of the question and of JAX last what a step by their method does, measured in this
run for the question's network, 128 states, without what fetching a batch costs. A time to an
accuracy is the shortest over schedules of when a record first lies below it: each schedule knows
its end, as a user's does.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import by_jax
import matplotlib
import numpy as np
import torch
from reporting import tell, write
from training_step import SHAPE, USER_FORMS, make_network, make_states, user_step

from study.block.measures import curve_measure
from study.block.setup import Setup, set_up
from study.config.cell import make_cell
from study.config.command_line import compose
from study.config.hydra import register
from study.core.models import LNN
from study.core.training.train import Stage, State, TrainingData

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ACCURACIES = (1e-2, 1e-3, 1e-4, 1e-6)
SEEDS = 5
RECORDS = 60
LEAST_DRAWN = 1e-12
BATCH = 128
JAX_STEPS = 100  # a call
NETWORK = ("model.width=32", "model.depth=4", "data.n_train=4096")
ASKED = (
    "model.encoding=raw", "model.beta=0.5", "model.mass_prior=0", "model.init=torch_default",
    "data.units=physical", "optimizer.schedule=constant", "optimizer.lr=1e-3",
    "optimizer.clip=null",
)  # fmt: skip
LM = ("optimizer.iterations=1000", "optimizer.seconds=45")
LINEAR = ("model=linear_lagrangian", "optimizer=least_squares")

Schedules = dict[str, tuple[str, ...]]  # overrides by number of steps, or points
Curve = list[tuple[int, float, float]]  # steps of the first stage, seconds, median test error
Timed = dict[str, list[list[tuple[float, float]]]]  # seconds and errors, by schedule and seed


def lengths(*steps: int, overrides: tuple[str, ...] = ()) -> Schedules:
    """The network trained for each number of steps."""
    return {str(n): (*NETWORK, *overrides, f"optimizer.steps={n}") for n in steps}


@dataclasses.dataclass(frozen=True)
class Method:
    """One row of the table.

    **Arguments:**

    - `schedules`: what is trained; empty if the curves are those of the method `like`.
    - `step`: whose measured step each of its steps lasts; empty if its own clock counts.
    """

    label: str
    colour: str  # of Okabe and Ito (2008)
    schedules: Schedules = dataclasses.field(default_factory=dict)
    like: str = ""
    step: str = ""


METHODS = {
    "question": Method(
        "the question's network, settings and gradient", "#999999",
        lengths(64_000, overrides=ASKED), step="question",
    ),
    "question_method": Method(
        "its gradient, the settings of `study`", "#D55E00", like="adam", step="question"
    ),
    "jax": Method(
        "JAX's fastest gradient, the settings of `study`", "#CC79A7", like="adam", step="jax"
    ),
    "adam": Method(
        "`study`, Adam", "#0072B2", lengths(500, 1000, 2000, 4000, 16_000, 64_000)
    ),
    "soap": Method(
        "`study`, SOAP", "#009E73",
        lengths(250, 500, 1000, 2000, 4500, 5000, 16_000, overrides=("optimizer=soap",))
        | lengths(9000, 11_000, overrides=("optimizer=soap", "optimizer.batch_size=1024")),
    ),
    "adam_lm": Method(
        "`study`, Adam, then Levenberg-Marquardt", "#E69F00",
        lengths(1000, overrides=("optimizer=adam_lm", *LM)),
    ),
    "soap_lm": Method(
        "`study`, SOAP, then Levenberg-Marquardt", "#56B4E9",
        lengths(2500, overrides=("optimizer=soap_lm", *LM)),
    ),
    "linear": Method(
        "`study`, Lagrangian linear in its parameters, least squares", "#000000",
        {str(n): (*LINEAR, f"data.n_train={n}") for n in (64, 128, 256, 512, 1024)},
    ),
}  # fmt: skip


def problem(seed: int, overrides: tuple[str, ...]) -> Setup:
    """One model, set up as a sweep would."""
    plain = compose([f"seed={seed}", "replicates=1", "block_size=1", *overrides])
    return set_up(make_cell(plain, compile=True), 0)


def train(setup: Setup) -> Curve:
    """The error along the stages, by the clock of the steps alone."""
    state, measure = State.fresh(setup.initial_parameters()), curve_measure(setup)
    curve, seconds, first = [], 0.0, 0
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
            first += number == 0
            if state.step in due:
                (error,) = measure(state.theta)["test_nmse_median"]
                curve.append((first, seconds, error))
    return curve


def records(data: TrainingData, stage: Stage) -> set[int]:
    """After which steps the error is measured."""
    return set(np.geomspace(1, stage.steps, RECORDS).round().astype(int).tolist())


def step_seconds() -> dict[str, list[float]]:
    """What a step of Adam of the question's network lasts by the methods of others."""
    theta = LNN(SHAPE, "fan_in").initialise([0], torch.float32)
    x, target = (rows[:BATCH] for rows in make_states(theta))
    layers = by_jax.layers_of(theta[0].numpy(), SHAPE.layer_sizes)
    batch = x.numpy(), target.numpy()
    steps = {
        "question": (1, user_step(USER_FORMS["question"], make_network(theta[0]), x, target)),
        "jax": (JAX_STEPS, by_jax.training_step(by_jax.tuned, layers, *batch, JAX_STEPS)),
    }
    return {name: [clock(step) / n for _ in range(6)][1:] for name, (n, step) in steps.items()}


def clock(function: Callable[[], None]) -> float:
    """Seconds of one call."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def main() -> None:
    """Measure, print, and write JSON and figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, few schedules")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    register()
    train(problem(0, METHODS["linear"].schedules["64"]))  # what is done once a process
    steps: dict[str, list[float]] = {"question": [], "jax": []}
    curves: dict[str, dict[str, list[Curve]]] = {}
    for seed in range(1 if quick else SEEDS):
        for name, values in step_seconds().items():
            steps[name] += values
        for name, method in METHODS.items():
            for schedule, overrides in list(method.schedules.items())[: 2 if quick else None]:
                if quick and LM[0] in overrides:
                    kept = (o for o in overrides if o not in LM)
                    overrides = (*kept, "optimizer.iterations=3")
                of_seeds = curves.setdefault(name, {}).setdefault(schedule, [])
                of_seeds.append(train(problem(seed, overrides)))
    timed = {name: timed_curves(method, curves, name, steps) for name, method in METHODS.items()}
    times = {name: shortest(of_method) for name, of_method in timed.items()}
    lines = report(times)
    print("\n".join(lines))
    for name, values in steps.items():
        us = 1e6 * statistics.median(values) / BATCH
        print(f"{name}: {us:,.3g} us a sample and step")
    if not quick:
        draw(timed)
        tell("docs/speed.md", "accuracy", lines)
        write(__file__, {"step_seconds": steps, "seconds": times, "curves": curves})


def timed_curves(
    method: Method, curves: dict[str, dict[str, list[Curve]]], name: str, steps: dict
) -> Timed:
    """Errors against the method's own time."""
    last = statistics.median(steps[method.step]) if method.step else None
    return {
        schedule: [[(n * last if last else s, e) for n, s, e in curve] for curve in of_seeds]
        for schedule, of_seeds in curves[method.like or name].items()
    }


def shortest(timed: Timed) -> dict[str, list[float | None]]:
    """Seconds to each accuracy, a list over seeds: over schedules, the first record below."""
    return {
        f"{accuracy:g}": [
            min((s for curve in of_schedules for s, e in curve if e <= accuracy), default=None)
            for of_schedules in zip(*timed.values(), strict=True)
        ]
        for accuracy in ACCURACIES
    }


def median(values: list[float | None]) -> float | None:
    """None if most seeds never got there."""
    found = statistics.median([float("inf") if v is None else v for v in values])
    return found if found < float("inf") else None


def report(times: dict[str, dict[str, list[float | None]]]) -> list[str]:
    """Medians over seeds, and how many times longer than `adam`, seed by seed; as a page has it."""
    lines = [
        f"| method | {' | '.join(f's to {a}' for a in times['adam'])} |",
        "|---" * (len(ACCURACIES) + 1) + "|",
    ]
    for name, of_method in times.items():
        cells = []
        for accuracy, values in of_method.items():
            pairs = zip(values, times["adam"][accuracy], strict=True)
            ratio = median([a / b if a is not None and b is not None else None for a, b in pairs])
            beside = "" if ratio is None or name == "adam" else f" ({ratio:,.3g} times)"
            cells.append(spread(values) + beside)
        lines.append(f"| {METHODS[name].label} | {' | '.join(cells)} |")
    return lines


def spread(values: list[float | None]) -> str:
    """Median and range over seeds, or how few got there."""
    there = sorted(value for value in values if value is not None)
    middle = median(values)
    if middle is None:
        few = f" ({len(there)} of {len(values)} seeds: {there[0]:,.3g})" if there else ""
        return f"never{few}"
    most = f"{there[-1]:,.3g}" if len(there) == len(values) else "never"
    return f"{middle:,.3g} [{there[0]:,.3g}, {most}]"


def draw(timed: dict[str, Timed]) -> None:
    """Error against time, a line a seed and schedule; a point a seed and N of least squares."""
    figure, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
    for name, of_method in timed.items():
        method, label = METHODS[name], named(METHODS[name])
        for curve in (curve for of_seeds in of_method.values() for curve in of_seeds):
            x, y = [s for s, _ in curve], [max(e, LEAST_DRAWN) for _, e in curve]
            style = "-" if len(curve) > 1 else "o"
            axes.plot(x, y, style, color=method.colour, lw=0.8, ms=4, alpha=0.6, label=label)
            label = None
    axes.set(xscale="log", yscale="log", xlabel="time on one thread / s")
    axes.set_ylabel(f"median normalised squared error\non test points (drawn from {LEAST_DRAWN:g})")
    n_seeds = len(next(iter(timed["adam"].values())))
    axes.set_title(
        f"double pendulum; n = {n_seeds} seeds, a line for each seed and schedule", fontsize=10
    )
    for accuracy in ACCURACIES:
        axes.axhline(accuracy, color="black", lw=0.5, ls=":")
    for handle in figure.legend(loc="outside lower center", ncols=2, fontsize=8).legend_handles:
        if handle:
            handle.set_alpha(1)
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=150)


def named(method: Method) -> str:
    """How the legend calls it."""
    return method.label.replace("`", "") + (" (steps x time a step)" if method.step else "")


if __name__ == "__main__":
    main()
