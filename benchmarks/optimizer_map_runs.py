"""The methods of `optimizer_map.py`, and one run of one of them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import torch
from levenberg_marquardt import TimedAdam, Watch

from study.block.measures import curve_measure
from study.block.setup import Setup, set_up
from study.config.cell import make_cell
from study.config.command_line import compose
from study.config.hydra import register
from study.core.training.adam import Adam
from study.core.training.soap import Soap
from study.core.training.train import State

SIZES = {401: (16, 2), 1313: (32, 2), 3425: (32, 4)}  # P: width, depth
RATIOS = (2, 10)  # N D / P
D = 2
SOLVED = 0.0  # stands for the budget of what is solved once

LNN, STRUCTURED = "model=lnn", "model=structured_lnn"
LINEAR = ("model=linear_lagrangian", "optimizer=least_squares")
SHARES = (1 / 5, 1 / 3)


@dataclasses.dataclass(frozen=True)
class Method:
    """A line of the figure: a model, an optimiser, and the values its settings take.

    **Arguments:**

    - `batches`, `rates`: empty for the project's default.
    - `shares`: parts of the time that minibatches have before Levenberg-Marquardt.
    """

    label: str
    colour: str  # of Okabe and Ito (2008), one an optimiser
    overrides: tuple[str, ...]
    batches: tuple[int, ...] = ()
    rates: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()

    @property
    def model(self) -> str:
        return self.overrides[0].removeprefix("model=")

    @property
    def solved(self) -> bool:
        return self.model == "linear_lagrangian"

    def settings(self) -> dict[str, tuple[float, tuple[str, ...]]]:
        """All combinations of the values, by label: share of the minibatches, and overrides."""
        settings = {}
        values = (self.batches or (None,), self.rates or (None,), self.shares or (None,))
        for batch, lr, share in itertools.product(*values):
            named = {"batch": batch, "rate": lr, "share": share and round(share, 2)}
            label = ", ".join(f"{name} {value:g}" for name, value in named.items() if value)
            own = {"optimizer.batch_size": batch, "optimizer.lr": lr}
            changed = [f"{key}={value}" for key, value in own.items() if value]
            settings[label or "default"] = (share or 1.0, (*self.overrides, *changed))
        return settings


METHODS = {
    "adam": Method(
        "Adam", "#0072B2", (LNN, "optimizer=adam"), batches=(128, 512), rates=(1e-3, 3e-3, 1e-2)
    ),
    "soap": Method(
        "SOAP", "#009E73", (LNN, "optimizer=soap"),
        batches=(128, 512, 2048), rates=(3e-3, 1e-2, 2e-2),
    ),
    "adam_lm": Method("Adam, then LM", "#E69F00", (LNN, "optimizer=adam_lm"), shares=SHARES),
    "soap_lm": Method("SOAP, then LM", "#D55E00", (LNN, "optimizer=soap_lm"), shares=SHARES),
    "lm": Method("LM", "#CC79A7", (LNN, "optimizer=levenberg_marquardt")),
    "structured_adam": Method("structured, Adam", "#0072B2", (STRUCTURED, "optimizer=adam")),
    "structured_soap": Method("structured, SOAP", "#009E73", (STRUCTURED, "optimizer=soap")),
    "structured_soap_lm": Method(
        "structured, SOAP, then LM", "#D55E00", (STRUCTURED, "optimizer=soap_lm"), shares=SHARES
    ),
    "linear": Method("linear, structured", "#000000", (*LINEAR, "model.features=structured")),
    "linear_random": Method("linear, random", "#999999", (*LINEAR, "model.features=random")),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class TimedSoap(TimedAdam, Soap):
    """SOAP whose cosine follows the clock."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One network and the seconds it is trained for."""

    P: int
    ratio: int
    method: str
    setting: str
    budget: float
    seed: int


def measure(run: Run) -> dict[str, Any]:
    """Train and measure: a line of the cache."""
    method, (width, depth) = METHODS[run.method], SIZES[run.P]
    share, overrides = method.settings()[run.setting]
    size = () if method.solved else (f"model.width={width}", f"model.depth={depth}")
    alone = (f"seed={run.seed}", "replicates=1", "block_size=1")
    n_train = f"data.n_train={math.ceil(run.ratio * run.P / D)}"
    plain = compose([*alone, n_train, *overrides, *size])
    setup = set_up(make_cell(plain, compile=True), 0)
    budget = math.inf if run.budget == SOLVED else run.budget
    theta, seconds, steps = train(setup, share, budget)
    errors = curve_measure(setup)(theta.double())
    error = {"median": errors["test_nmse_median"][0], "mean": errors["test_nmse"][0]}
    return {
        **dataclasses.asdict(run),
        "N": setup.cell.n_train,
        "n_params": setup.model.n_params,
        "seconds": seconds,
        "steps": steps,
        **{name: value if math.isfinite(value) else None for name, value in error.items()},
    }


def train(setup: Setup, share: float, budget: float) -> tuple[torch.Tensor, float, list[int]]:
    """The parameters at the end of the budget, the seconds it took, and the steps of each stage."""
    state, watch, steps = State.fresh(setup.initial_parameters()), Watch(), []
    for stage in setup.stages:
        end = budget
        if isinstance(stage, Adam):
            end = share * budget
            kind = TimedSoap if isinstance(stage, Soap) else TimedAdam
            stage = kind(**vars(stage) | {"steps": 10**9, "watch": watch, "seconds": end})
        state.reasons, state.step = [""], 0
        state.memory = stage.begin(setup.model, setup.data, state)
        step = stage.stepper(setup.model, setup.data)
        while watch.seconds() < end and state.going():
            before = state.theta.clone()
            step(state)
            if watch.seconds() > budget:
                state.theta = before
                break
            state.step += 1
        steps.append(state.step)
    return state.theta, watch.seconds(), steps


def begin_worker() -> None:
    """Do what is done once a process: compile, and call everything a first time."""
    torch.set_num_threads(1)
    register()
    for name, method in METHODS.items():
        measure(Run(401, 2, name, next(iter(method.settings())), 0.05, 0))
