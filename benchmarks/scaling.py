"""How the cost of training grows with parameters, degrees of freedom, batch, replicates, points.

    python benchmarks/scaling.py                  # table; JSON and figure here; 5 minutes

Each panel changes one of them and keeps the rest at the question's network: 4 x 32 hidden units,
D = 2, cos and sin of the angles, R = 8 networks, batches of B = 128, float32, one thread. Rounds
are interleaved; points are medians over rounds, bars their range. The slope is that of a line
through the upper half of the points in log-log.

- Adam: one step, in C++ and eager; `N` does not matter to it.
- Levenberg-Marquardt: one iteration of one network in float64, along N and along P.
- Memory: what a fresh process needs at most, by number of replicates (N = 4096).

What a cell costs the harness as cells grow is in `sweep_overhead.py`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib
import numpy as np
import torch
from reporting import tell, write
from rich.console import Console
from rich.table import Table

from study.core.models import Model, make_model
from study.core.training.adam import Adam
from study.core.training.levenberg_marquardt import LevenbergMarquardt
from study.core.training.train import State, TrainingData

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROUNDS = 5
SECONDS = 0.15  # of one measurement, at least
USUAL = {"width": 32, "depth": 4, "D": 2, "R": 8, "B": 128}
AXES: dict[str, tuple[int, ...]] = {
    "width": (4, 8, 16, 32, 64, 128, 256),
    "depth": (1, 2, 4, 8, 16),
    "D": (1, 2, 3, 4, 6),
    "R": (1, 2, 4, 8, 16, 32),
    "B": (8, 16, 32, 64, 128, 256, 512, 1024),
}
LM_POINTS = (256, 512, 1024, 2048, 4096)
LM_WIDTHS = (8, 16, 24, 32, 48, 64)
REPLICATES = (1, 16, 64)


def model_of(width: int, depth: int, D: int, native: bool) -> Model:
    """The plain Lagrangian network of a size."""
    settings = {
        "name": "lnn", "width": width, "depth": depth, "activation": "softplus", "beta": 2.0,
        "encoding": "trig", "mass_prior": 1.0, "init": "fan_in",
    }  # fmt: skip
    return make_model((True,) * D, settings, native=native)


def data_of(R: int, N: int, D: int) -> TrainingData:
    """Random states: what they are does not change what a step costs."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(R, N, 3 * D, generator=generator, dtype=torch.float64)
    return TrainingData(rows, np.tile(np.arange(N), (R, 1)), "shuffled", list(range(R)))


def stepper(stage: Any, model: Model, data: TrainingData) -> Callable[[], None]:
    """A function that takes one more step each time."""
    state = State.fresh(model.initialise(data.seeds, torch.float64))
    state.memory = stage.begin(model, data, state)
    step = stage.stepper(model, data)

    def once() -> None:
        step(state)
        state.step += 1
        state.reasons = [""] * len(state.reasons)

    return once


def adam_step(native: bool, width: int, depth: int, D: int, R: int, B: int) -> Callable[[], None]:
    """One step of Adam."""
    model, data = model_of(width, depth, D, native), data_of(R, max(1024, B), D)
    return stepper(Adam(10**6, B, 1e-6, "constant", 1.0, compiled=native), model, data)


def lm_step(width: int, depth: int, N: int) -> Callable[[], None]:
    """One iteration of Levenberg-Marquardt on one network."""
    return stepper(LevenbergMarquardt(10**6), model_of(width, depth, 2, True), data_of(1, N, 2))


def seconds_of(step: Callable[[], None]) -> float:
    """One call, from as many as take `SECONDS`."""
    n, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < SECONDS or not n:
        step()
        n += 1
    return (time.perf_counter() - begun) / n


def slope(x: list[float], y: list[float]) -> float:
    """Of a line through the upper half in log-log."""
    half = len(x) // 2
    return float(np.polyfit(np.log(x[half:]), np.log(y[half:]), 1)[0])


def measure(cases: dict[str, list[tuple[float, Callable[[], None]]]]) -> dict[str, Any]:
    """Every case of every line in each round."""
    taken: dict[str, list[list[float]]] = {name: [[] for _ in of] for name, of in cases.items()}
    for _ in range(ROUNDS + 1):
        for name, of in cases.items():
            for k, (_, step) in enumerate(of):
                taken[name][k].append(seconds_of(step))
    found = {}
    for name, of in cases.items():
        x = [at for at, _ in of]
        rounds = [values[1:] for values in taken[name]]  # the first warms up
        middle = [statistics.median(values) for values in rounds]
        found[name] = {
            "x": x,
            "seconds": middle,
            "least": [min(values) for values in rounds],
            "most": [max(values) for values in rounds],
            "slope": slope(x, middle),
        }
    return found


def peak_bytes(R: int) -> int:
    """Of a fresh process that trains R replicates."""
    done = subprocess.run(
        [sys.executable, __file__, "--peak", str(R)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def peak(R: int) -> None:
    """Train for a few steps, and print the most memory that was held."""
    step = stepper(
        Adam(10**6, 128, 1e-6, "constant", 1.0, compiled=True),
        model_of(32, 4, 2, True),
        data_of(R, 4096, 2),
    )
    for _ in range(20):
        step()
    status = Path("/proc/self/status").read_text()  # getrusage tells the parent's, if it was more
    print(1024 * int(status.split("VmHWM:")[1].split()[0]))


def main() -> None:
    """Measure, print, and write JSON and figure."""
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["--peak"]:
        return peak(int(sys.argv[2]))
    panels: dict[str, dict[str, Any]] = {}
    for axis, values in AXES.items():
        cases: dict[str, list[tuple[float, Callable[[], None]]]] = {}
        for native in (True, False):
            for value in values:
                sizes = USUAL | {axis: value}
                at = value
                if axis in ("width", "depth"):
                    at = model_of(sizes["width"], sizes["depth"], sizes["D"], False).n_params
                name = "C++" if native else "eager"
                cases.setdefault(name, []).append((at, adam_step(native, **sizes)))
        panels[axis] = measure(cases)
    panels["LM, N"] = measure({"LM": [(n, lm_step(16, 2, n)) for n in LM_POINTS]})
    panels["LM, P"] = measure(
        {"LM": [(model_of(w, 2, 2, True).n_params, lm_step(w, 2, 2048)) for w in LM_WIDTHS]}
    )
    bytes_of = {R: peak_bytes(R) for R in REPLICATES}
    first, last = REPLICATES[0], REPLICATES[-1]
    each = (bytes_of[last] - bytes_of[first]) / (last - first)
    report(panels, each)
    draw(panels, bytes_of)
    memory = {"peak_bytes": bytes_of, "bytes_a_replicate": each}
    write(__file__, {"rounds": ROUNDS, "usual": USUAL, "panels": panels, "memory": memory})
    return None


LABELS = {
    "width": "P, by width", "depth": "P, by depth", "D": "degrees of freedom D",
    "R": "replicates R", "B": "batch B", "LM, N": "points N (P = 401)",
    "LM, P": "P (N = 2048)",
}  # fmt: skip


def report(panels: dict[str, dict[str, Any]], bytes_a_replicate: float) -> None:
    """Ends and slope of each line."""
    table = Table(title="a step of Adam (8 x 128) or an iteration of Levenberg-Marquardt")
    for heading in ("along", "line", "from", "to", "ms", "slope in log-log"):
        table.add_column(heading)
    shown = ["| along | from, to | ms | slope |", "|---|---|---|---|"]
    for axis, lines in panels.items():
        for name, line in lines.items():
            ms = [f"{1e3 * line['seconds'][k]:.3g}" for k in (0, -1)]
            ends = [f"{line['x'][k]:g}" for k in (0, -1)]
            table.add_row(LABELS[axis], name, *ends, " to ".join(ms), f"{line['slope']:.2f}")
            ends, ms = ", ".join(ends), " to ".join(ms)
            shown.append(f"| {LABELS[axis]}, {name} | {ends} | {ms} | {line['slope']:.2f} |")
    shown += ["", f"A replicate more takes {bytes_a_replicate / 2**20:.2f} MiB."]
    tell("docs/speed.md", "scaling", shown)
    Console().print(table)
    print(f"memory: {bytes_a_replicate / 2**20:.2f} MiB a replicate")


def draw(panels: dict[str, dict[str, Any]], bytes_of: dict[int, int]) -> None:
    """One panel a quantity."""
    figure, grid = plt.subplots(2, 4, figsize=(13, 6), layout="constrained")
    colours = {"C++": "#0077bb", "eager": "#ee7733", "LM": "#009988"}
    for axes, (axis, lines) in zip(grid.flat, panels.items(), strict=False):
        for name, line in lines.items():
            low, middle, high = (1e3 * np.array(line[k]) for k in ("least", "seconds", "most"))
            label = f"{name}, slope {line['slope']:.2f}"
            bars = [middle - low, high - middle]
            axes.errorbar(
                line["x"], middle, bars, marker="o", ms=3, label=label, color=colours[name]
            )
        axes.set(xscale="log", yscale="log", xlabel=LABELS[axis])
        ticks = next(iter(lines.values()))["x"]
        axes.set_xticks(ticks[-1::-2][::-1], [f"{tick:g}" for tick in ticks[-1::-2][::-1]])
        axes.minorticks_off()
        what = "iteration of LM" if axis.startswith("LM") else "step of Adam"
        axes.set_ylabel(f"one {what} / ms")
        axes.legend(fontsize=8)
    axes = grid.flat[len(panels)]
    axes.plot(
        list(bytes_of), [size / 2**20 for size in bytes_of.values()], marker="o", color="black"
    )
    axes.set(xlabel="replicates R (N = 4096)", ylabel="most memory of a process / MiB")
    axes.set_ylim(bottom=0)
    figure.suptitle(f"one thread; medians of {ROUNDS} rounds, bars: their range", fontsize=10)
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=130)


if __name__ == "__main__":
    main()
