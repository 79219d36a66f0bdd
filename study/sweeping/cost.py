"""What a block will cost, to a factor of two: a formula with constants measured on one core."""

import dataclasses
import math
from collections.abc import Iterable

from study.config.cell import Cell
from study.config.errors import first_line
from study.core import native
from study.core.training.lagrangian_equations import MOST_ROWS
from study.core.training.levenberg_marquardt import TYPICAL

# Measured on one core of two busy ones: 4000 eager steps of 5 x 128 states took 6 s at 2 x 4 hidden
# units, 11 s at 2 x 16, 17 s at 2 x 32, 23 s at 4 x 32, 24 s at 2 x 64; in C++ 0.8, 1.2, 2.2, 4.3
# and 5.2 s.
EAGER_STEP_SECONDS, STEP_SECONDS = 1.4e-3, 1.6e-4  # overhead of a training step
EAGER_UNIT_SECONDS, UNIT_SECONDS = 4.4e-8, 3e-9  # elementwise work for each hidden unit and sample
FLOPS_PER_SECOND = 8e10  # matrix products
STAGE_SAMPLES = 5.3  # of loss=rollout: what a step of the integrator costs, in samples
COMPILED_SPEEDUP = 2.0  # of torch.compile on a device that is not the CPU
# Levenberg-Marquardt in float64: rows of the Jacobian, its Gram matrix, the trials of a damping
JACOBIAN_ENTRY_SECONDS = 4e-9
DOUBLE_FLOPS_PER_SECOND = 2.5e10
ITERATION_SECONDS = 5e-3
WEAK_SECONDS, WEAK_SAMPLE_SECONDS = 3.0, 6e-4  # the weak form, with all its choices
COMPILE_SECONDS = 30.0  # for each shape of network but its width, in each worker
# one step of the solver for all trajectories of a block, the error budget's part included
EAGER_ROLLOUT_STEP_SECONDS, ROLLOUT_STEP_SECONDS = 6e-3, 2.5e-3
ROLLOUT_STEPS_PER_TIME = 1.5
DATA_SECONDS = 1.0  # read from the cache


def block_seconds(cell: Cell) -> float:
    """Estimated seconds of one block on one core."""
    first_order = DATA_SECONDS + training_seconds(cell)
    return first_order + _second_order_seconds(cell) + _rollout_seconds(cell)


def _second_order_seconds(cell: Cell) -> float:
    """Of methods that end by themselves, what many take."""
    P, equations = cell.n_params, cell.n_train * cell.mechanics.n_dof
    if cell.optimizer.weak:
        return cell.block_size * (WEAK_SECONDS + WEAK_SAMPLE_SECONDS * min(cell.n_train, MOST_ROWS))
    if cell.optimizer.second == "lbfgs":
        sample = _sample_flops(cell) / FLOPS_PER_SECOND + 4e-7
        return cell.block_size * cell.optimizer.iterations * (2e-3 + cell.n_train * sample)
    small = min(P, equations)
    flops = P * equations * small + small**3
    iteration = equations * P * JACOBIAN_ENTRY_SECONDS + flops / DOUBLE_FLOPS_PER_SECOND
    steps = min(cell.optimizer.iterations, TYPICAL)
    if cell.optimizer.name == "least_squares":
        steps = 1
    seconds = steps * (ITERATION_SECONDS + cell.block_size * iteration)
    return min(seconds, cell.block_size * (cell.optimizer.seconds or math.inf))


def training_seconds(cell: Cell) -> float:
    """The minibatches' part of `block_seconds`, which compilation can shorten."""
    samples, o = cell.block_size * min(cell.optimizer.batch_size, cell.n_train), cell.optimizer
    units = int(cell.model.width) * cell.model.depth  # auto is a number in a cell
    fast = cell.compile and cell.device == "cpu"
    unit = UNIT_SECONDS if fast else EAGER_UNIT_SECONDS
    work = units * unit + _sample_flops(cell) / FLOPS_PER_SECOND
    each = STAGE_SAMPLES * o.rollout_steps if o.followed else 1
    overhead = (o.steps + o.warm_steps) * (STEP_SECONDS if fast else EAGER_STEP_SECONDS)
    seconds = overhead + (o.steps * each + o.warm_steps) * samples * work
    return seconds / (COMPILED_SPEEDUP if cell.compile and not fast else 1.0)


def _sample_flops(cell: Cell) -> float:
    """Forward, adjoint and gradient: about D + 11 columns through every weight."""
    precision = 2.0 if cell.precision == "float64" else 1.0
    return 2.0 * cell.n_params * (cell.mechanics.n_dof + 11) * precision


def _rollout_seconds(cell: Cell) -> float:
    steps = min(cell.rollout.max_steps, ROLLOUT_STEPS_PER_TIME * cell.rollout.n_times)
    trajectories = cell.block_size * cell.rollout.n_trajectories
    flops = 6 * trajectories * _sample_flops(cell) / 3
    fast = cell.compile and cell.device == "cpu"
    step = ROLLOUT_STEP_SECONDS if fast else EAGER_ROLLOUT_STEP_SECONDS
    return steps * (step + flops / FLOPS_PER_SECOND)


def worth_compiling(cells: Iterable[Cell], n_blocks: int, workers: int) -> bool:
    """Whether compiled training saves clearly more than compiling costs: what `auto` means.

    On the CPU it always does, because the C++ library is compiled once a machine, in seconds. On
    other devices each worker compiles each shape of network it meets, once for all widths, so the
    saving is counted for one worker's share. Without a C++ compiler the answer is no.
    """
    cells = list(cells)
    if cpp_trouble() or not cells:
        return False
    if all(cell.device == "cpu" for cell in cells):
        return True
    eager = sum(training_seconds(cell) for cell in cells) * n_blocks / workers
    saved = eager * (1 - 1 / COMPILED_SPEEDUP)
    models = [dataclasses.replace(cell.model, width=1, init="fan_in") for cell in cells]
    shapes = {(c.mechanics.angles, c.precision, m) for c, m in zip(cells, models, strict=True)}
    return saved > 3 * COMPILE_SECONDS * len(shapes)


def cpp_trouble() -> str | None:
    """Why C++ cannot be used here, in a line; None if it can."""
    trouble = native.trouble()
    return trouble and first_line(trouble)
