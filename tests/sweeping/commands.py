"""How tests run the commands: in this process for speed, in another to kill it."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose as hydra_compose
from omegaconf import DictConfig

from study import sweep
from study.config import hydra
from study.config.command_line import CommandLine, compose_first, read_flags, read_overrides
from study.sweeping.orders import outputs_folder, write_orders
from study.sweeping.plan import Plan, make_plan
from study.tables import gather

# a block takes less than a second, most of it not training
TINY = (
    "budget=smoke",
    "system=double_pendulum",
    "data=uniform",
    "model.width=4",
    "model.depth=2",
    "data.n_train=32",
    "data.pool_size=500",
    "optimizer.batch_size=16",
    "rollout.n_times=10",
    "rollout.n_trajectories=2",
    "rollout.max_steps=50",
    "rollout.horizon=0.5",
    "diagnostics.error_budget=false",
    "compile=false",
)
# a shell's background job ignores Ctrl-C, and so would its children
HEAR_CTRL_C = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
HERE = ("hydra/launcher=basic", "workers=1")  # the one worker is this process


def last_given(arguments: Iterable[str]) -> list[str]:
    """Overrides with the last of each key alone, so that a test may change what TINY says."""
    by_key = {argument.partition("=")[0]: argument for argument in arguments}
    return list(by_key.values())


def run_here(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """Run the sweep command in this process and current folder; what it would exit with."""
    monkeypatch.setattr(sys, "argv", ["study.sweep", *last_given(arguments)])
    try:
        sweep.main()
    except SystemExit as left:
        return left.code
    return 0


def check(arguments: Sequence[str]) -> DictConfig:
    """Compose a command line of the sweep, which trains nothing. **Raises:** `ConfigError`."""
    flags = read_flags(arguments)
    with hydra.opened(flags.config_dir) as loader:
        return compose_first(read_overrides(flags.overrides, loader), loader)


# Python imports this when it starts, in workers too: it changes study.block.run once that is
# imported
SHIM = """
import importlib.abc, importlib.util, os, sys

class Change(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "study.block.run":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(trial):
            execute(trial)
            exec(os.environ["CHANGE_TRIAL"], {"trial": trial, "os": os})

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Change())
"""


def start(folder: Path, *arguments: str, change: str = "") -> subprocess.Popen[str]:
    """Start the sweep command as a process of its own.

    `change` is code run in each process of it that trains, on the module `trial`.
    """
    paths = [str(Path(sweep.__file__).parents[1])]
    if change:
        shim = folder / "shim"
        shim.mkdir()
        (shim / "sitecustomize.py").write_text(SHIM)
        paths.insert(0, str(shim))
    return subprocess.Popen(
        [sys.executable, "-m", "study.sweep", *last_given(arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CHANGE_TRIAL": change},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=HEAR_CTRL_C,
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until `condition` holds: three minutes at most, and not past `process`'s end."""
    end = time.monotonic() + 180
    while not condition():
        if process is not None and process.poll() is not None:
            output = process.stdout.read() if process.stdout else ""
            raise AssertionError(f"it ended with {process.returncode}: {output}")
        assert time.monotonic() < end, "waited three minutes"
        time.sleep(0.02)


def planned(*arguments: str) -> Plan:
    """The plan of a command line, composed by Hydra as the sweep composes it."""
    hydra.register()
    with hydra.opened() as loader:
        command = read_overrides(tuple(last_given(arguments)), loader)
        return make_plan(command, lambda choices: compose_choices(command, choices))


def compose_choices(command: CommandLine, choices: Mapping[str, Any]) -> dict[str, Any]:
    """The plain config of a command with these choices of groups; Hydra is initialised already."""
    named = [f"{group}={choice}" for group, choice in choices.items()]
    fixed = [str(o.input_line) for o in command.parsed if not o.is_sweep_override()]
    return hydra.plain(hydra_compose(hydra.ROOT, [*fixed, *named]))


def prepare(*arguments: str) -> Path:
    """The folder of a study whose orders are given and of which nothing is done."""
    folder = outputs_folder("mine")
    write_orders(planned(*TINY, "study=mine", *arguments), folder)
    return folder.root


def one_worker(
    study: Path, *options: str, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a worker of a prepared study, as `tests/sweeping/one_worker.py` has it."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.sweeping.one_worker", str(study), *options],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(sweep.__file__).parents[1]),
            **(environment or {}),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that it can be stopped with its trainer
    )


def measures(study: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables, compacted anew, without what a clock put there."""
    rows, curves = gather.compact(study)
    return rows[[c for c in rows.columns if not c.endswith("_seconds")]], curves


def assert_same(one: Path, other: Path) -> None:
    """Equal to the last bit, in the same order; what a study is called apart."""
    for a, b in zip(measures(one), measures(other), strict=True):
        pd.testing.assert_frame_equal(a, b, check_exact=True)
