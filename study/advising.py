"""`study.advise`: which model, of what size, by which optimiser, for a system or a recording.

Two pilots are trained on the data at hand, the linear Lagrangian with structured and with random
features, a second or so each; the study `advise` says what their errors mean for all else.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from study.analysis.advice import choice
from study.analysis.advice.table import DATA, HORIZON, PILOTS, measured, read, width
from study.analysis.words import count, name_of, number
from study.config.errors import ConfigError
from study.core.systems import System

DEPTH, LM_SECONDS = 2, 2  # of the study's networks; at most, of Levenberg-Marquardt
SECONDS = 10.0
# as the study's networks are measured
MEASURED = (
    "replicates=1", "block_size=1", "diagnostics.error_budget=false", "rollout.n_trajectories=4",
    "rollout.n_times=51", "rollout.max_steps=500",
)  # fmt: skip


@dataclass(frozen=True)
class Advice:
    """A recommended setting, and what to expect of it on a fresh draw of such data.

    - `n`, `noise`, `trajectories`: of the data; noise relative to the accelerations.
    - `features`: of a linear Lagrangian, else ''; `width`: 'auto' if the data choose it.
    - `seconds`: of training, on one core of the machine of the study.
    - `error`: median squared acceleration error over the variance, with its 90 % interval;
      `valid_time` in s, at most `horizon`.
    - `command`: trains it. `remarks`: what to know beside it, a sentence each.
    """

    system: str
    n: int
    noise: float
    trajectories: int
    model: str
    features: str
    optimizer: str
    width: int | str
    n_params: int
    seconds: float
    error: tuple[float, float, float]
    valid_time: tuple[float, float, float]
    horizon: float
    command: str
    remarks: tuple[str, ...]

    def __str__(self) -> str:
        features = f", {self.features} features" if self.features else ""
        runs = (
            "1 trajectory" if self.trajectories == 1 else f"{count(self.trajectories)} trajectories"
        )
        error, low, high = map(number, self.error)
        time, least, most = (f"{value:.2g}" for value in self.valid_time)
        longer = " (longer was not looked at)" if self.valid_time[2] >= self.horizon else ""
        lines = [
            f"{self.system}, N = {count(self.n)} of {runs}, noise {self.noise:.2g}",
            f"take          {name_of(self.model)}{features}, by {name_of(self.optimizer)}, "
            f"P = {count(self.n_params)}",
            f"trains        {self.seconds:.2g} s",
            f"error         {error} [{low}, {high}]",
            f"valid time    {time} s [{least}, {most}]{longer}",
            f"command       {self.command}",
            *self.remarks,
        ]
        return "\n".join(lines)


def advise(
    system: str | Path | System,
    *,
    n: int | None = None,
    noise: float | None = None,
    seconds: float = SECONDS,
    trajectories: int | None = None,
    overrides: Sequence[str] = (),
    **settings: Any,
) -> Advice:
    """Which model, size and optimiser to take, and the error and valid time to expect.

        print(study.advise("double_pendulum", n=256, noise=0.01, seconds=5))
        study.advise("measured.csv", q="theta", units="deg", trajectory="run")

    - `system`: as of `study.fit`.
    - `n`: training points; 1024, or all that a file has, if not given.
    - `noise`: standard deviation of the accelerations' noise over theirs; 0 if not given, or what
      the noise of a file's positions leaves in them.
    - `seconds`: of training, at most.
    - `trajectories`: that the points are of; 100 if not given. Those of a file are counted.
    - `overrides`, `settings`: as of `study.fit`; of a file its columns.

    **Raises:** `ConfigError` for a setting that cannot be right, `DataError` for data that cannot
    be used: one sentence.
    """
    from study import library
    from study.config.hydra import register
    from study.core.threads import one_thread

    register()
    _check(n=n, noise=noise, seconds=seconds, trajectories=trajectories)
    named, own = library.names_of(system)
    given = [*named, *overrides, *library.typed(settings)]
    if named[:1] == ["data=file"]:
        for key, value in (("noise", noise), ("trajectories", trajectories)):
            if value is not None:
                raise ConfigError(f"{key}={value}: a recording has its own: leave {key} out")
        given += [] if any(text.startswith("system=") for text in given) else ["system=unknown"]
        given += [] if n is None else [f"data.n_train={n}"]
    else:
        noise = noise or 0.0
        given += [f"data.n_train={n or 1024}", f"data.noise={noise:g}"]
        given.append(f"data.n_trajectories={trajectories or 100}")
    with one_thread():  # as a block has
        known, sizes = _pilots(given, own, noise)
        chosen = choice.choose(known, seconds)
        keys = _keys(chosen, int(known["n"]))
        size = sizes.get(chosen.features) or library.cell_of([*given, *keys], own).n_params
    return Advice(
        system=str(getattr(system, "name", system)),
        n=int(known["n"]),
        noise=known["noise"],
        trajectories=int(known["trajectories"]),
        model=chosen.model,
        features=chosen.features,
        optimizer=chosen.optimizer,
        width=chosen.width or width(chosen.features, int(known["n"])),
        n_params=size,
        seconds=chosen.seconds,
        error=chosen.error,
        valid_time=chosen.time,
        horizon=HORIZON,
        command=_command([*given, *keys], own),
        remarks=tuple(_remarks(known, chosen.seconds, seconds)),
    )


def _check(**values: float | None) -> None:
    """**Raises:** `ConfigError` for a number that no data or training can have."""
    for key, value in values.items():
        whole, least = key in ("n", "trajectories"), 0 if key == "noise" else 1
        wants = "0 or more" if key == "noise" else "more than 0"
        wants = "a whole number, 1 or more" if whole else f"a number, {wants}"
        if value is None:
            continue
        good = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
        if not good or not math.isfinite(value) or value < 0 or (least and not value):
            raise ConfigError(f"{key}={value} is not allowed: it should be {wants}")


def _pilots(
    given: list[str], own: System | None, noise: float | None
) -> tuple[dict[str, float], dict[str, int]]:
    """What the data are and what the pilots find on them, and the size of each pilot."""
    from study.block.run import run_block
    from study.library import cell_of

    recorded = noise is None
    lines = MEASURED if recorded else (*MEASURED, f"rollout.horizon={HORIZON:g}")
    known, sizes = dict[str, float](), dict[str, int]()
    for kind in PILOTS:
        linear = ["model=linear_lagrangian", f"model.features={kind}", "optimizer=least_squares"]
        cell = cell_of([*given, *linear, *lines], own)
        if isinstance(size := width(kind, cell.n_train), int):
            cell = cell_of([*given, *linear, *lines, f"model.width={size}"], own)
        (row,) = run_block(cell, 0).rows
        sizes[kind] = cell.n_params
        floor = row.get("noise_floor", math.nan) if recorded else noise**2
        known |= {
            "dof": cell.mechanics.n_dof,
            "n": cell.n_train,
            "noise": math.sqrt(floor) if math.isfinite(floor) else 0.0,
            "trajectories": int(row["data.n_trajectories"]),
            **measured(kind, row["test_nmse_median"], row["valid_time"]),
        }
    return known, sizes


def _keys(chosen: choice.Choice, n: int) -> list[str]:
    """The setting as overrides."""
    keys = [f"model={chosen.model}", f"optimizer={chosen.optimizer}"]
    if chosen.features:
        size = width(chosen.features, n)
        return [*keys, f"model.features={chosen.features}", f"model.width={size}"]
    keys += [f"model.width={chosen.width}", f"model.depth={DEPTH}"]
    keys.append(f"optimizer.steps={chosen.steps}")
    if chosen.iterations:
        keys += [f"optimizer.iterations={chosen.iterations}", f"optimizer.seconds={LM_SECONDS}"]
    return keys


def _command(line: Sequence[str], own: System | None) -> str:
    """What trains and measures the setting; of a system made by hand, what Python would say."""
    if own is None:
        return f"python -m study.trial {shlex.join(line)}"
    settings = dict(text.split("=", 1) for text in line if text != "system=file")
    model, optimizer = settings.pop("model"), settings.pop("optimizer")
    rest = [f"{key}={value}" for key, value in settings.items()]
    return f"study.fit(system, model={model!r}, optimizer={optimizer!r}, overrides={rest})"


def _remarks(known: Mapping[str, float], taken: float, seconds: float) -> list[str]:
    """What of the question lies outside of the study."""
    table = read()
    lowest, highest = table[DATA].to_numpy(float).min(0), table[DATA].to_numpy(float).max(0)
    remarks = [
        f"{key}={known[key]:.3g} is outside of the study, which has {low:.3g} to {high:.3g}."
        for key, low, high in zip(DATA, lowest, highest, strict=True)
        if not low <= known[key] <= high
    ]
    if taken > seconds:
        remarks.append(f"Nothing in the study takes as little as {seconds:g} s: this is quickest.")
    longest = table["seconds"].to_numpy(float).max()
    if seconds > longest:
        remarks.append(f"No network of the study trained for more than {longest:.2g} s.")
    return remarks
