"""What the harness costs a cell: plan, claim, run and commit a trial that does nothing.

    python benchmarks/sweep_overhead.py            # JSON and figure beside this file, half an hour
    python benchmarks/sweep_overhead.py --rounds 1 --cells 1000 --workers 2 --no-write

The command is `python -m study.sweep` as a user gives it, on a grid of N cells of one block; all is
real (Hydra, processes, claims, fsync, ledger, tables, page) but `trial.run_block`, which hands back
a block made once. Beside it Hydra's own BasicSweeper on 200 jobs of a task that does nothing, with
the same config tree, and what reads a study of 10,000 cells. Rounds are interleaved, so that the
machine's noise meets all alike.

- `harness_ms`: wall-clock a cell from the start of the command until all is committed and taken
  stock of; imports and the start of workers are in it.
- `command_ms`: the same until the command ends, tables, answers and page included.
- `cpu_ms`: of all processes, in the whole command.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

HERE = Path(__file__).resolve()
CELLS = (1000, 3000, 10_000)
WORKERS = (1, 2, 8)
BASIC_JOBS = 200
# a block of these takes a second to train: it is trained once, and handed back for every cell
TINY = (
    "budget=smoke",
    "replicates=1",
    "block_size=1",
    "data=uniform",
    "model.width=4",
    "model.depth=2",
    "data.n_train=32",
    "data.pool_size=20000",
    "optimizer.steps=20",
    "optimizer.batch_size=16",
    "rollout.n_times=10",
    "rollout.n_trajectories=2",
    "rollout.max_steps=50",
    "compile=false",
)

# Python imports this when it starts, in workers too
SHIM = '''
import importlib.abc, importlib.util, os, sys, time

def at_once(trial):
    """`run_block` hands back a block made once, under the cell's name and factors."""
    import copy, pathlib, pandas as pd, torch

    made = pathlib.Path(os.environ["MADE_BLOCK"])
    held = []
    differ = ("data.n_train", "model.width", "n_params", "n_equations", "n_over_p",
              "equations_per_param")

    def run_block(cell, block, **_):
        if not held:
            names = ("replicates.parquet", "curves.parquet")
            held.extend(pd.read_parquet(made / name) for name in names)
            held.append(torch.load(made / "weights.pt", weights_only=True))
        rows, curves, weights = (copy.copy(part) for part in held)
        factors = cell.factors()
        for key in differ:
            rows[key] = factors[key]
        rows["cell"] = curves["cell"] = cell.hash
        return trial.BlockResult(rows, curves, weights)

    trial.run_block = run_block

def stopwatch(report):
    """When the sweep is over and its tables begin."""
    write = report.write

    def told(folder):
        with open(os.environ["STOPWATCH"], "w") as file:
            file.write(str(time.time()))
        return write(folder)

    report.write = told

CHANGES = {"study.trial": at_once, "study.report": stopwatch}

class Change(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        change = CHANGES.pop(name, None)
        if change is None:
            return None
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            change(module)

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Change())
'''

BASIC = """
import hydra
from study import compose

compose.register()

@hydra.main(version_base="1.3", config_path=str(compose.CONF), config_name=compose.ROOT)
def task(config):
    pass

task()
"""


def environment(scratch: Path) -> dict[str, str]:
    """That of a command whose trial does nothing."""
    paths = [str(scratch / "shim"), str(HERE.parents[1])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "MADE_BLOCK": str(scratch / "made"),
        "STOPWATCH": str(scratch / "stopwatch"),
    }


def prepare(scratch: Path) -> None:
    """The shim, and one block trained for real."""
    (scratch / "shim").mkdir()
    subprocess.run(
        [sys.executable, "-m", "study.trial", "study=made", *TINY],
        cwd=scratch,
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
    )
    (block,) = scratch.glob("outputs/made/cells/*/block-000")
    block.rename(scratch / "made")
    shutil.rmtree(scratch / "outputs")
    (scratch / "shim" / "sitecustomize.py").write_text(SHIM)


def timed(command: Sequence[str], **settings: Any) -> dict[str, float]:
    """Wall-clock and processor time of a command with all its children, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began, clock = time.time(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, **settings)
    seconds = time.perf_counter() - clock
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"began": began, "seconds": seconds, "cpu": cpu}


def grid(cells: int) -> list[str]:
    """So many cells: a hundred sizes of the training set, and as many widths as that takes."""
    return [
        "data.n_train=range(100,10100,100)",
        f"model.width=range(2,{2 + cells // 100})",
    ]


def sweep(scratch: Path, cells: int, workers: int) -> dict[str, float]:
    """One sweep in a new folder; what it costs a cell, in ms."""
    study = f"n{cells}w{workers}"
    shutil.rmtree(scratch / "outputs" / study, ignore_errors=True)
    overrides = [*TINY, *grid(cells), f"study={study}", f"workers={workers}"]
    command = [sys.executable, "-m", "study.sweep", *overrides]
    found = timed(command, cwd=scratch, env=environment(scratch))
    swept = float((scratch / "stopwatch").read_text()) - found["began"]
    done = len(list((scratch / "outputs" / study / "cells").glob("*/block-000/replicates.parquet")))
    assert done == cells, f"{done} of {cells} blocks are done"
    per_cell = 1000 / cells
    return {
        "harness_ms": swept * per_cell,
        "command_ms": found["seconds"] * per_cell,
        "cpu_ms": found["cpu"] * per_cell,
    }
