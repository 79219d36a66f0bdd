"""Train error against time: Adam, Levenberg-Marquardt, and the one after the other.

    python benchmarks/levenberg_marquardt.py      # tables; JSON beside this file; 6 minutes

All in one run, one thread, on trajectories of the double pendulum: raw angles, softplus of beta 1,
mass prior 1; three seeds of data and initialisation, medians and their ratios.

- P = 369 (2 x 16), N = 768, 12 s a seed: `adam`, and `levenberg_marquardt` from the start.
- P = 1249 (2 x 32), N = 1024, 35 s a seed: `adam`, and `adam_lm`, Adam for a third of the time.

The error is the mean squared one over all training points in scaled units (where accelerations have
a variance of about one), in float64. Adam is this project's: single precision, batches of 128, rate
3e-3 falling to zero as a cosine of the time, the three seeds in one batch, which is the faster way;
it has three times a seed's time for all of them. All in C++ where there is a compiler. Time is the
processor's (`time.process_time`), so that others on the machine count less; measuring does not
count. `least_squares.py` has other implementations of Levenberg-Marquardt.
"""

from __future__ import annotations

import dataclasses
import math
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from reporting import write
from rich.console import Console
from rich.table import Table

from study.block.setup import Setup, set_up
from study.config.cell import make_cell
from study.config.command_line import compose
from study.config.hydra import register
from study.core import native as cpp
from study.core.training.adam import Adam
from study.core.training.levenberg_marquardt import LevenbergMarquardt
from study.core.training.train import Stage, State, loss_and_gradient, record_steps

SEEDS = 3
ADAM_SHARE = 1 / 3  # of the time of `adam_lm`
SIZES = ((16, 2, 768), (32, 2, 1024), (32, 4, 1024))  # width, depth, N


class Watch:
    """Seconds since it was made, without those spent in `pause`."""

    def __init__(self) -> None:
        self.begun = time.process_time()

    def seconds(self) -> float:
        return time.process_time() - self.begun

    def pause(self, work: Callable[[], Any]) -> Any:
        begun = time.process_time()
        result = work()
        self.begun += time.process_time() - begun
        return result


def problem(width: int, depth: int, n: int, native: bool | None = None) -> Setup:
    """The cell as a sweep would set it up, all seeds in one block; `native` as told, else if C++
    can be compiled here."""
    settings = {
        "model.width": width,
        "model.depth": depth,
        "model.encoding": "raw",
        "model.beta": 1.0,
        "data.n_train": n,
        "replicates": SEEDS,
        "block_size": SEEDS,
    }
    plain = compose([f"{key}={value}" for key, value in settings.items()])
    wanted = cpp.trouble() is None if native is None else native
    return set_up(make_cell(plain, compile=wanted), 0)


def begin(stage: Stage, setup: Setup, theta: torch.Tensor) -> State:
    """The state before the stage's first step."""
    state = State.fresh(theta)
    state.memory = stage.begin(setup.model, setup.data, state)
    return state


def train_errors(setup: Setup, theta: torch.Tensor) -> list[float]:
    """Of each seed, on all its training points."""
    return loss_and_gradient(setup.model, setup.data, theta)[0].tolist()


@dataclasses.dataclass(frozen=True)
class TimedAdam(Adam):
    """Adam whose cosine follows the clock, so that it ends when the time does."""

    watch: Watch = dataclasses.field(default_factory=Watch)
    seconds: float = 1.0

    def rate(self, step: int) -> float:
        done = min(1.0, self.watch.seconds() / self.seconds)
        return self.lr * (1 + math.cos(math.pi * done)) / 2


def run_adam(setup: Setup, seconds: float) -> tuple[State, dict[str, Any]]:
    """All seeds together, for `seconds` each."""
    whole = seconds * SEEDS

    def take(seconds: float) -> tuple[State, Watch, list[Any]]:
        state, watch, curve = State.fresh(setup.initial_parameters()), Watch(), []
        shape = (10**6, 128, 3e-3, "cosine", 1.0, "squared", torch.float32, setup.cell.compile)
        stage = TimedAdam(*shape, watch, seconds)
        state.memory = stage.begin(setup.model, setup.data, state)
        step = stage.stepper(setup.model, setup.data)
        due = record_steps(stage.steps)
        while watch.seconds() < seconds:
            if state.step in due:
                errors = watch.pause(lambda: train_errors(setup, state.theta))
                curve.append((watch.seconds() / SEEDS, errors))
            step(state)
            state.step += 1
        return state, watch, curve

    take(0.1)  # compiles
    state, watch, curve = take(whole)
    taken = watch.seconds() / SEEDS
    curve.append((taken, train_errors(setup, state.theta)))
    return state, {"steps": state.step, "seconds": [taken] * SEEDS, "curve": curve}


def run_lm(setup: Setup, theta: torch.Tensor, seconds: float) -> tuple[list[float], dict[str, Any]]:
    """Each seed by itself for at most `seconds`; final errors and what it took."""
    stage = LevenbergMarquardt(10**6)
    errors, found = [], {"iterations": [], "seconds": [], "stop_reasons": [], "curves": []}
    for r in range(SEEDS):
        watch = Watch()
        state = begin(stage, setup, theta)
        state.reasons = ["" if k == r else "aside" for k in range(SEEDS)]
        step, curve, iterations = stage.stepper(setup.model, setup.data), [], 0
        curve.append((0.0, float(state.memory["loss"][r])))
        while watch.seconds() < seconds and state.going():
            step(state)
            iterations += 1
            curve.append((watch.seconds(), float(state.memory["loss"][r])))
        found["seconds"].append(watch.seconds())
        found["iterations"].append(iterations)
        found["stop_reasons"].append(state.reasons[r] or "time")
        kept = record_steps(max(1, iterations)) | {iterations}
        found["curves"].append([point for k, point in enumerate(curve) if k in kept])
        errors.append(train_errors(setup, state.theta)[r])
    return errors, found


def rate(width: int, depth: int, n: int) -> dict[str, Any]:
    """Seconds of an iteration of Levenberg-Marquardt, one network, and of its parts."""
    setup = problem(width, depth, n)
    stage = LevenbergMarquardt(10**6)
    state = begin(stage, setup, setup.initial_parameters())
    state.reasons = ["", *["aside"] * (SEEDS - 1)]
    step = stage.stepper(setup.model, setup.data)
    step(state)
    taken, end = [], time.process_time() + 6
    while time.process_time() < end and state.going():
        begun = time.process_time()
        step(state)
        taken.append(time.process_time() - begun)
    return {
        "P": setup.model.n_params,
        "N": n,
        "iterations_per_second": 1 / statistics.median(taken),
    }


def compare(console: Console, width: int, depth: int, n: int, seconds: float, first: bool) -> dict:
    """Adam beside the other method, at equal time."""
    setup = problem(width, depth, n)
    adam_state, adam = run_adam(setup, seconds)
    errors = {"adam": train_errors(setup, adam_state.theta)}
    name, start, before, part = "levenberg_marquardt", setup.initial_parameters(), 0.0, {}
    if not first:
        name = "adam_lm"
        begun, part = run_adam(setup, ADAM_SHARE * seconds)
        start, before = begun.theta, part["seconds"][0]
    errors[name], lm = run_lm(setup, start, seconds - before)
    lm["seconds"] = [before + s for s in lm["seconds"]]
    result = {
        "P": setup.model.n_params, "N": n, "seconds": seconds,
        "errors": errors,
        "median": {key: statistics.median(values) for key, values in errors.items()},
        "ratio_each": [a / b for a, b in zip(errors["adam"], errors[name], strict=True)],
        "adam": adam, name: lm | {"begun_by_adam": part},
    }  # fmt: skip
    result["ratio_of_medians"] = result["median"]["adam"] / result["median"][name]
    table = Table(title=f"P = {result['P']}, N = {n}, {seconds:g} s a seed, one thread")
    for heading in ("method", *(f"seed {r}" for r in range(SEEDS)), "median", "seconds", "steps"):
        table.add_column(heading, justify="left" if heading == "method" else "right", no_wrap=True)
    for key, took, steps in (
        ("adam", adam["seconds"], [adam["steps"]]),
        (name, lm["seconds"], lm["iterations"]),
    ):
        table.add_row(
            key,
            *(f"{e:.2e}" for e in errors[key]),
            f"{result['median'][key]:.2e}",
            f"{statistics.mean(took):.1f}",
            " ".join(map(str, steps)),
        )
    table.add_row("ratio", *(f"{x:.3g}" for x in result["ratio_each"]),
                  f"{result['ratio_of_medians']:.3g}")  # fmt: skip
    console.print(table)
    return result


def main() -> None:
    """Measure, print, and write the JSON."""
    torch.set_num_threads(1)
    register()
    console = Console()
    rates = [rate(*size) for size in SIZES]
    for row in rates:
        console.print(
            "P = {P}, N = {N}: {iterations_per_second:.3g} iterations a second".format(**row)
        )
    comparisons = [
        compare(console, 16, 2, 768, 12.0, first=True),
        compare(console, 32, 2, 1024, 35.0, first=False),
    ]
    for result, least in zip(comparisons, (100, 10), strict=True):
        ratio = result["ratio_of_medians"]
        verdict = "holds" if ratio >= least else "does not hold"
        console.print(
            f"P = {result['P']}: {ratio:.3g} times below Adam; at least {least}: {verdict}"
        )
    about = {"compiled": cpp.trouble() is None, "clock": "time.process_time"}
    write(__file__, about | {"rates": rates, "comparisons": comparisons})


if __name__ == "__main__":
    main()
