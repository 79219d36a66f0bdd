"""What it costs to integrate learned dynamics, beside other solvers.

    python benchmarks/rollout.py        # table; JSON and PNG beside this file; some minutes

One ensemble of R = 5 Lagrangian networks (4 x 32, trigonometric encoding) is trained on the double
pendulum, long enough that none of its rollouts diverges; then it is integrated from the K = 32
held-out initial states over the system's horizon, in float64, with relative and absolute tolerance
1e-6 and 200 times given out. One thread; rounds are interleaved, figures are medians over rounds,
ratios are taken within a round. Time is the processor's (`time.process_time`), so that others on
the machine count less.

- `study`, in C++ and eager: `study.core.measures.rollout.rollout`, all R x K at once.
- `torchdiffeq_loop`: dopri5, the field by torch.func at one state, a loop over trajectories. It is
  measured on a few, evenly spread over networks and trajectories; what it costs one is their mean.
- `torchdiffeq_batch`: the same field by vmap, the K trajectories of one network as one system,
  which has one step size, and one error: the root of the mean square over all of them.
- `scipy_rk45`, `scipy_dop853`: `solve_ivp` a trajectory, of the TRUE field (in SI units), which is
  the price of integrating when there is nothing to learn.

That all integrate the same thing is seen at a short time: the largest difference of a state from
`study`'s, in scaled units.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import torchdiffeq  # type: ignore
from plain_lagrangian import PlainLagrangian
from reporting import tell, write
from rich.console import Console
from rich.table import Table
from scipy.integrate import solve_ivp
from torch import Tensor

from study.block.measures import curve_measure
from study.block.setup import Setup, set_up
from study.config.cell import make_cell
from study.config.command_line import compose
from study.config.hydra import register
from study.core.measures.rollout import rollout
from study.core.training.train import State, train

ROUNDS = 5
LOOPED = 3  # trajectories of the loop
SHORT = 1.0  # seconds at which the solvers are compared
SETTINGS = (
    "system=double_pendulum",
    "model.width=32",
    "model.depth=4",
    "model.encoding=trig",
    "model.mass_prior=1",
    "model.beta=2",
    "data.n_train=4096",
    "optimizer.steps=1000",
    "replicates=5",
    "block_size=5",
    "rollout.n_trajectories=32",
)
LABELS = {
    "study": "study: all 160 trajectories at once, C++",
    "study_eager": "study: all 160 trajectories at once, eager",
    "torchdiffeq_batch": "torchdiffeq: the 32 of one network as one system",
    "torchdiffeq_loop": "torchdiffeq: one trajectory after the other",
    "scipy_rk45": "TRUE field, scipy RK45, one after the other",
    "scipy_dop853": "TRUE field, scipy DOP853, one after the other",
}


@dataclasses.dataclass(frozen=True)
class Run:
    """`states` (n, T, 2 D) of the n trajectories `which` among R K, and how it came about."""

    which: list[int]
    states: Tensor
    calls: int  # of the field
    at_once: int  # trajectories a call
    diverged: int = 0


@dataclasses.dataclass(frozen=True)
class Problem:
    """The trained ensemble, and what it is integrated from: in scaled units."""

    setup: Setup
    theta: Tensor
    start: Tensor  # (K, 2 D)
    times: Tensor
    test_error: float

    @property
    def tolerance(self) -> float:
        return self.setup.cell.rollout.rtol

    def plain(self, network: int) -> PlainLagrangian:
        """One of the networks as a module."""
        made = PlainLagrangian(self.setup.model.mlp, self.theta[network])  # type: ignore
        return made.requires_grad_(False)


def problem() -> Problem:
    """Train the ensemble."""
    setup = set_up(make_cell(compose(list(SETTINGS)), compile=True), 0)
    begun = State.fresh(setup.initial_parameters())
    state = train(setup.model, setup.data, setup.stages, begun, measure=curve_measure(setup))
    units, truth = setup.units, setup.truth
    start = np.concatenate(units.scale(*np.split(truth.states[:, 0], 2, axis=1)), axis=1)
    return Problem(
        setup,
        state.theta.double(),
        torch.tensor(start),
        torch.tensor(truth.times / units.time),
        statistics.median(state.records[-1]["test_nmse_median"]),
    )


def ours(p: Problem, native: bool) -> Run:
    """All trajectories of all networks."""
    model = dataclasses.replace(p.setup.model, native=native)  # type: ignore
    R, K = len(p.theta), len(p.start)
    rolled = rollout(
        model,
        p.theta,
        p.start,
        p.times,
        p.setup.system.angles,
        rtol=p.tolerance,
        max_steps=p.setup.cell.rollout.max_steps,
    )
    # six a step, and two for the first step's length; in C++ network by network
    calls = 6 * rolled.steps.amax(1) + 2
    made, at_once = (int(calls.sum()), K) if native else (int(calls.max()), R * K)
    states = rolled.states.flatten(0, 1)
    return Run(list(range(R * K)), states, made, at_once, int(rolled.diverged.sum()))


def with_torchdiffeq(p: Problem, network: int, start: Tensor, batched: bool) -> tuple[Tensor, int]:
    """States (T, ..., 2 D) of one network from `start` (..., 2 D), and calls of the field."""
    acceleration, calls = p.plain(network).acceleration, 0
    if batched:
        acceleration = torch.func.vmap(acceleration)

    def field(_: Tensor, state: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.cat([state[..., start.shape[-1] // 2 :], acceleration(state)], -1)

    with torch.no_grad():
        states = torchdiffeq.odeint(
            field, start, p.times, rtol=p.tolerance, atol=p.tolerance, method="dopri5"
        )
    assert isinstance(states, Tensor)
    return states, calls


def torchdiffeq_loop(p: Problem) -> Run:
    """Some trajectories, one after the other."""
    K = len(p.start)
    which = np.linspace(0, len(p.theta) * K - 1, LOOPED).round().astype(int).tolist()
    runs = [with_torchdiffeq(p, i // K, p.start[i % K], batched=False) for i in which]
    return Run(which, torch.stack([states for states, _ in runs]), sum(n for _, n in runs), 1)


def torchdiffeq_batch(p: Problem) -> Run:
    """All trajectories of the first network."""
    states, calls = with_torchdiffeq(p, 0, p.start, batched=True)
    return Run(list(range(len(p.start))), states.transpose(0, 1), calls, len(p.start))


def true_field(p: Problem, method: Any) -> Run:
    """The true system's trajectories, in SI units."""
    system, truth, calls, found = p.setup.system, p.setup.truth, 0, []
    for start in truth.states[:, 0]:
        solved = solve_ivp(
            lambda _, state: system.rhs(state),
            (truth.times[0], truth.times[-1]),
            start,
            method=method,
            t_eval=truth.times,
            rtol=p.tolerance,
            atol=p.tolerance,
        )
        assert solved.success
        calls += solved.nfev
        found.append(torch.tensor(solved.y.T))
    return Run(list(range(len(found))), torch.stack(found), calls, 1)


def measure(p: Problem) -> dict[str, dict[str, Any]]:
    """Milliseconds a trajectory, round by round, and what each did."""
    runs: dict[str, Callable[[], Run]] = {
        "study": lambda: ours(p, native=True),
        "study_eager": lambda: ours(p, native=False),
        "torchdiffeq_batch": lambda: torchdiffeq_batch(p),
        "torchdiffeq_loop": lambda: torchdiffeq_loop(p),
        "scipy_rk45": lambda: true_field(p, "RK45"),
        "scipy_dop853": lambda: true_field(p, "DOP853"),
    }
    for name in ("study", "study_eager", "scipy_rk45"):  # the others have nothing to warm up
        runs[name]()
    done: dict[str, Run] = {}
    ms: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            begun = time.process_time()
            done[name] = run()
            ms[name].append(1e3 * (time.process_time() - begun) / len(done[name].which))
    return {name: summary(p, name, ms, done) for name in runs}


def summary(p: Problem, name: str, ms: dict[str, list[float]], done: dict[str, Run]) -> dict:
    """The row of one method."""
    run = done[name]
    row = {
        "median_ms": statistics.median(ms[name]),
        "min_ms": min(ms[name]),
        "max_ms": max(ms[name]),
        "over_study": statistics.median(a / b for a, b in zip(ms[name], ms["study"], strict=True)),
        "trajectories": len(run.which),
        "field_calls": run.calls,
        "trajectories_a_call": run.at_once,
        "calls_a_trajectory": run.calls * run.at_once / len(run.which),
        "diverged": run.diverged,
    }
    if not name.startswith("scipy"):
        short = int(np.abs(p.setup.truth.times - SHORT).argmin())
        apart = (run.states - done["study"].states[run.which])[:, short].abs().amax()
        row["apart_at_short_time"] = float(apart)
    return row


def draw(found: dict[str, Any], path: Path) -> None:
    """A bar a method, on a logarithmic axis, with the range over rounds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8.6, 3.8), layout="constrained")
    rows = found["rows"]
    names = list(rows)[::-1]
    middle = [rows[name]["median_ms"] for name in names]
    errors = [
        [rows[name]["median_ms"] - rows[name]["min_ms"] for name in names],
        [rows[name]["max_ms"] - rows[name]["median_ms"] for name in names],
    ]
    colours = {"study": "#0072B2", "torchdiffeq": "#D55E00", "scipy": "#999999"}
    axes.barh(
        [LABELS[name] for name in names],
        middle,
        xerr=errors,
        capsize=3,
        color=[colours[name.partition("_")[0]] for name in names],
    )
    for k, name in enumerate(names):
        row = rows[name]
        text = f"  {row['median_ms']:,.{0 if row['median_ms'] >= 100 else 1}f} ms"
        if name != "study":
            text += f", {row['over_study']:.3g} times"
        axes.text(row["max_ms"], k, text, va="center", fontsize=8)
    axes.set(xscale="log", xlim=(1, 300 * max(row["max_ms"] for row in rows.values())))
    axes.set_xlabel("processor time a trajectory (ms), one thread")
    figure.suptitle(
        f"double pendulum over {found['horizon']:g} s, rtol {found['rtol']:g}, P = {found['P']}, "
        f"float64:\nmedians and ranges of n = {found['rounds']} rounds; beside them, how many "
        "times that of study in C++",
        fontsize=9,
    )
    figure.savefig(path, dpi=150)


def report(found: dict[str, Any]) -> None:
    """The table."""
    console = Console(width=120)
    title = f"ms a trajectory, P = {found['P']}, horizon {found['horizon']:g} s, one thread"
    table = Table(title=title)
    headings = ("method", "median", "min", "max", "over study", "field calls", "states a call",
                f"apart at {SHORT:g} s")  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "method" else "right")
    lines = ["| method | ms a trajectory | times C++ |", "|---|---|---|"]
    for name, row in found["rows"].items():
        lines.append(
            "| {} | {median_ms:,.3g} [{min_ms:,.3g}, {max_ms:,.3g}] | {over_study:.3g} |".format(
                LABELS[name], **row
            )
        )
        apart = row.get("apart_at_short_time")
        table.add_row(
            name,
            *(f"{row[key]:.4g}" for key in ("median_ms", "min_ms", "max_ms")),
            f"{row['over_study']:.3g}",
            f"{row['field_calls'] / (row['trajectories'] / row['trajectories_a_call']):.0f}",
            str(row["trajectories_a_call"]),
            "" if apart is None else f"{apart:.1e}",
        )
    console.print(table)
    tell("docs/speed.md", "rollout", lines)
    console.print(
        f"torchdiffeq_loop: {found['rows']['torchdiffeq_loop']['trajectories']} trajectories of "
        f"{found['R'] * found['K']}; median test error of the networks {found['test_error']:.2e}; "
        f"{found['rows']['study']['diverged']} rollouts diverged"
    )


def main() -> None:
    """Train, measure, print, and write the JSON and the figure."""
    torch.set_num_threads(1)
    register()
    p = problem()
    found = {
        "clock": "time.process_time",
        "load": os.getloadavg()[0],
        "rounds": ROUNDS,
        "P": p.setup.model.n_params,
        "R": len(p.theta),
        "K": len(p.start),
        "horizon": float(p.setup.truth.times[-1]),
        "rtol": p.tolerance,
        "n_times": len(p.times),
        "test_error": p.test_error,
        "short_time": SHORT,
        "rows": measure(p),
    }
    write(__file__, found)
    draw(found, Path(__file__).with_suffix(".png"))
    report(found)


if __name__ == "__main__":
    main()
