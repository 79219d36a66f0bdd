"""What a cell refuses: settings each right by itself, of which together nothing could come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from study.config.errors import ConfigError
from study.config.named import inputs_of, model_of, points_of

if TYPE_CHECKING:
    from study.config.cell import Cell
    from study.core.models import Model  # with torch, which help spares

FREE_START = 3  # positions that a motion from an unknown state does not all fit, at least


def check(cell: Cell) -> None:
    """Refuse a cell of which nothing could come. **Raises:** `ConfigError`, one sentence."""
    data = cell.data
    if cell.n_train > data.pool_size:
        raise ConfigError(
            f"data.n_train={cell.n_train} is larger than the pool: "
            f"give at most data.pool_size={data.pool_size} points, or a larger pool"
        )
    share = cell.optimizer.validation
    if share and not 0 < cell.n_validation < cell.n_train:
        raise ConfigError(
            f"optimizer.validation={share:g} holds out {cell.n_validation} of "
            f"data.n_train={cell.n_train} points: it should hold out one or more, and leave one"
        )
    if data.sampler == "trajectories" and data.n_trajectories >= data.pool_size:
        raise ConfigError(
            f"data.n_trajectories={data.n_trajectories} leaves each no point but its start: "
            f"give fewer than data.pool_size={data.pool_size}"
        )
    from study.core.models import LinearModel

    if data.sampler == "file" and cell.system.name != "unknown":
        if cell.n_driven:
            raise ConfigError(
                f"data.columns.inputs drives the motion, and that of system={cell.system.name} is "
                "made without: use system=unknown"
            )
        if cell.mechanics.drive:
            raise ConfigError(
                f"system={cell.system.name} draws its own inputs, and data.path was recorded with "
                "others: use system=unknown, and name them in data.columns.inputs"
            )
    model = model_of(cell.mechanics, cell.model, cell.n_driven)
    solved = cell.optimizer.name == "least_squares"
    if solved and not isinstance(model, LinearModel):
        raise ConfigError(
            f"optimizer=least_squares solves linear models, and model={cell.model.name} is "
            "none: use model=linear_lagrangian or random_features, or another optimizer"
        )
    if cell.optimizer.first == "soap" and isinstance(model, LinearModel):
        raise ConfigError(
            f"optimizer={cell.optimizer.name} turns the layers of a network, and "
            f"model={cell.model.name} is none: use optimizer=adam or least_squares, or "
            "model=lnn"
        )
    if cell.model.name == "linear_lagrangian" and cell.model.scale == "auto" and not solved:
        raise ConfigError(
            f"model.scale=auto is chosen by optimizer=least_squares: {cell.optimizer.name} "
            "needs a number, such as model.scale=0.5"
        )
    if cell.model.name == "linear_lagrangian" and cell.model.friction == "varying":
        raise ConfigError(
            "model.friction=varying is not linear in what is fitted, as model=linear_lagrangian "
            "needs it: use model=structured_lnn or lnn, or model.friction=matrix"
        )
    if cell.model.name == "linear_lagrangian" and cell.model.friction != "none" and not solved:
        raise ConfigError(
            f"model.friction={cell.model.friction} of model=linear_lagrangian is kept from "
            f"being negative by optimizer=least_squares, and {cell.optimizer.name} does not: "
            "use that, or model=structured_lnn"
        )
    if cell.optimizer.followed:
        _check_segments(cell, model)
    if cell.optimizer.weak:
        _check_weak(cell)
    if data.sampler == "trajectories" and (data.position_noise or cell.optimizer.followed):
        _check_samples(cell)


def _check_segments(cell: Cell, model: Model) -> None:
    """Whether learned motion can be compared with the samples that follow a point.

    **Raises:** `ConfigError`.
    """
    data = cell.data
    from study.core.models import NetworkModel

    if not isinstance(model, NetworkModel):
        raise ConfigError(
            "optimizer.loss=rollout needs the accelerations' gradient in the states, which "
            f"model={cell.model.name} has not: use lnn, structured_lnn or acceleration_mlp"
        )
    if data.sampler == "uniform":
        raise ConfigError(
            "optimizer.loss=rollout follows the samples of a trajectory, and data.sampler="
            "uniform has no trajectories: use data=trajectories"
        )
    if cell.n_driven:
        raise ConfigError(
            "optimizer.loss=rollout knows no inputs between the samples, and "
            f"{_inputs(cell)} drives the motion: use optimizer.loss=squared"
        )
    _check_noise(cell)
    steps = cell.optimizer.rollout_steps
    if data.position_noise and steps < FREE_START:
        raise ConfigError(
            f"optimizer.rollout_steps={steps} positions with data.position_noise="
            f"{data.position_noise:g} lie on a straight line, which is no motion: it should "
            f"be at least {FREE_START}"
        )


def _check_weak(cell: Cell) -> None:
    """Whether there are positions for the weak form. **Raises:** `ConfigError`."""
    from study.core.training.lagrangian_fit import FEWEST

    data, name = cell.data, cell.model.name
    if name != "linear_lagrangian":
        raise ConfigError(
            f"optimizer.loss=weak fits a Lagrangian, and model={name} is none: use "
            "model=linear_lagrangian"
        )
    if cell.model.friction != "none" or cell.n_driven:
        raise ConfigError(
            "optimizer.loss=weak fits no forces in a sweep, and "
            f"{_inputs(cell) or f'model.friction={cell.model.friction}'} is one: "
            "use study.fit of a recording, or optimizer.loss=squared"
        )
    if data.sampler == "uniform":
        raise ConfigError(
            "optimizer.loss=weak integrates along trajectories, and data.sampler=uniform has "
            "none: use data=trajectories"
        )
    _check_noise(cell)
    recording = cell.recording
    longest = (
        data.pool_size // data.n_trajectories
        if recording is None
        else max(len(motion.times) for motion in recording.training)
    )
    if longest < FEWEST:
        raise ConfigError(
            f"optimizer.loss=weak needs a trajectory of {FEWEST} samples, and the longest has "
            f"{longest}: use longer ones, or optimizer.loss=squared"
        )


def _inputs(cell: Cell) -> str:
    """The key and the names of what drives the motion; empty if nothing does."""
    names = ", ".join(inputs_of(cell.data, cell.mechanics))
    key = "data.columns.inputs" if cell.data.sampler == "file" else f"system={cell.system.name}"
    return f"{key} ({names})" if names else ""


def _check_noise(cell: Cell) -> None:
    """**Raises:** `ConfigError` for noise that the loss does not see."""
    if noise := cell.data.noise:
        raise ConfigError(
            f"data.noise={noise:g} is noise of the accelerations, which "
            f"optimizer.loss={cell.optimizer.loss} does not see: use data.position_noise"
        )


def _check_samples(cell: Cell) -> None:
    """Whether each trajectory of the pool has samples enough. **Raises:** `ConfigError`."""
    data, k = cell.data, cell.optimizer.followed
    samples, rest = divmod(data.pool_size, data.n_trajectories)
    if rest:
        raise ConfigError(
            f"data.pool_size={data.pool_size} gives data.n_trajectories={data.n_trajectories} "
            "trajectories unequal numbers of samples: use a multiple, or data.sampling_rate"
        )
    points = points_of(data, k)
    if cell.n_train > points:
        short = f" that {k} samples follow" if k else ""
        raise ConfigError(
            f"data.n_train={cell.n_train} is more than the {points} points{short} of "
            f"{data.n_trajectories} trajectories of {samples} samples: give fewer, or a larger "
            "data.pool_size or data.sampling_rate"
        )
