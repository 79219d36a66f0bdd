"""What a block will cost, before and while a study runs.

Knows: a formula and its constants, measured on one core. Does not know: when or where a block
runs. Good to a factor of two; finished blocks of the study correct it.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from study.config import Cell
from study.sweeping.folder import Orders, StudyFolder, read_json

FLOPS_PER_SECOND = 8e9  # eager, one thread, matrix products of these sizes
COMPILED_SPEEDUP = 1.8
COMPILE_SECONDS = 40.0  # once for each depth and encoding, in each worker
STEP_SECONDS = 2.5e-3  # a training step of a network of no size, eager
ROLLOUT_STEP_SECONDS = 4e-3  # one step of the solver for all trajectories of a block
ROLLOUT_STEPS_PER_TIME = 1.5
DATA_SECONDS = 1.0  # read from the cache


def block_seconds(cell: Cell) -> float:
    """Estimated seconds of one block on one core."""
    return DATA_SECONDS + training_seconds(cell) + _rollout_seconds(cell)


def training_seconds(cell: Cell) -> float:
    """The part of `block_seconds` that compilation can shorten."""
    samples = cell.block_size * min(cell.optimizer.batch_size, cell.n_train)
    step = STEP_SECONDS + samples * _sample_flops(cell) / FLOPS_PER_SECOND
    return cell.optimizer.steps * step / (COMPILED_SPEEDUP if cell.compile else 1.0)


def _sample_flops(cell: Cell) -> float:
    """Forward, adjoint and gradient: about D + 11 columns through every weight."""
    precision = 2.0 if cell.precision == "float64" else 1.0
    return 2.0 * cell.n_params * (cell.mechanics.n_dof + 11) * precision


def _rollout_seconds(cell: Cell) -> float:
    steps = min(cell.rollout.max_steps, ROLLOUT_STEPS_PER_TIME * cell.rollout.n_times)
    trajectories = cell.block_size * cell.rollout.n_trajectories
    flops = 6 * trajectories * _sample_flops(cell) / 3
    return steps * (ROLLOUT_STEP_SECONDS + flops / FLOPS_PER_SECOND)


def worth_compiling(cells: Iterable[Cell], n_blocks: int, workers: int) -> bool:
    """Whether compiled training saves clearly more than compiling costs: what `auto` means.

    Each worker compiles each network shape it meets, so the saving is counted for one worker's
    share. Without a C++ compiler there is nothing to ask.
    """
    cells = list(cells)
    if not _has_cpp_compiler() or not cells:
        return False
    eager = sum(training_seconds(cell) for cell in cells) * n_blocks / workers
    saved = eager * (1 - 1 / COMPILED_SPEEDUP)
    shapes = {(cell.model.name, cell.model.depth, cell.model.encoding) for cell in cells}
    return saved > 3 * COMPILE_SECONDS * len(shapes)


def measured_scale(folder: StudyFolder, orders: Orders, at_most: int = 50) -> float:
    """Measured over estimated seconds of finished blocks; 1 where there are none."""
    measured = estimated = 0.0
    for block in folder.blocks(orders):
        done = read_json(block.folder / "run.json") if at_most else None
        if done and block.cell in orders.seconds:
            at_most -= 1
            measured += done["seconds"]
            estimated += orders.seconds[block.cell]
    return measured / estimated if measured and estimated else 1.0


@functools.cache
def _has_cpp_compiler() -> bool:
    chosen = os.environ.get("CXX")
    names = (chosen,) if chosen else ("g++", "clang++", "c++")
    return any(shutil.which(name) or Path(name).is_file() for name in names)
