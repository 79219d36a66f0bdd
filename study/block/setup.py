"""What a block needs before its first step: data, units, the model and its optimisers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from study.config import measured
from study.config.cell import Cell
from study.core.data.datasets import (
    Source,
    TestSet,
    TrainingSet,
    Trajectories,
    held_out,
    test_set,
)
from study.core.data.recording import Recording
from study.core.models import Model, make_model
from study.core.systems import System
from study.core.systems.units import Units
from study.core.training.adam import Adam
from study.core.training.lbfgs import LBFGS
from study.core.training.least_squares import SCALES, SHARES, LeastSquares
from study.core.training.levenberg_marquardt import LevenbergMarquardt
from study.core.training.soap import Soap
from study.core.training.train import Stage, State, TrainingData, train
from study.core.training.weak import Weak


@dataclasses.dataclass(frozen=True)
class Training:
    """One block, ready to train; lists run over its replicates."""

    cell: Cell
    replicates: list[int]
    data_seeds: list[int]
    init_seeds: list[int]
    system: System
    source: Source | Recording
    units: Units  # that the networks are trained in
    model: Model
    stages: list[Stage]
    data: TrainingData
    validation: TrainingData | None  # of the same N points

    def initial_parameters(self) -> Float[Tensor, "R S"]:
        """Where training begins, float64."""
        return self.model.initialise(self.init_seeds, torch.float64).to(self.cell.device)

    def trained(self, progress: Callable[[float], None] = lambda fraction: None) -> State:
        """The block after its training, of which nothing is measured."""
        begun = State.fresh(self.initial_parameters())
        more = {"validation": self.validation, "measure": lambda theta: {}, "progress": progress}
        return train(self.model, self.data, self.stages, begun, **more)

    def saved(self, state: State) -> dict[str, Any]:
        """The trained block as plain data and tensors, which `LearnedModel` is made from."""
        return {
            "cell": self.cell.hash,
            "replicates": self.replicates,
            "angles": list(self.system.angles),
            "model": dataclasses.asdict(self.cell.model),
            "system": dataclasses.asdict(self.cell.system),
            "time": self.units.time,
            "length": self.units.length.tolist(),
            "origin": self.units.origin.tolist(),
            "inputs": self.units.inputs.tolist(),
            "theta": state.theta.cpu(),
        }


@dataclasses.dataclass(frozen=True)
class Setup(Training):
    """One block, ready to train and to be tested."""

    test: TestSet
    truth: Trajectories


def set_up(cell: Cell, block: int) -> Setup:
    """Make or load all data and build the model. **Raises:** `DataError`."""
    training = ready(cell, block)
    system, source = training.system, training.source
    horizon = cell.rollout.horizon or system.horizon  # a cell made by hand may have none
    starts = (cell.rollout.n_trajectories, horizon, cell.rollout.n_times)
    if isinstance(source, Recording):
        test, truth = source.test_set(system), source.truth(system, *starts)
    else:
        test, truth = test_set(system), held_out(system, *starts)
    return Setup(**vars(training), test=test, truth=truth)


def ready(cell: Cell, block: int) -> Training:
    """Make or load what the training needs, and build the model. **Raises:** `DataError`."""
    system = cell.mechanics
    replicates, data_seeds, init_seeds = map(list, zip(*cell.block_seeds(block), strict=True))
    data = cell.data
    made = (system, data.sampler, data.pool_size, data.n_trajectories)
    source = cell.recording or Source(*made, data.position_noise, data.method)
    n_driven, scaled = cell.n_driven, data.units == "scaled"
    units = source.reference().units if scaled else Units.physical(system.n_dof, n_driven)
    k = cell.optimizer.followed
    subsets = [source.training_set(seed, cell.n_train, data.noise, k) for seed in data_seeds]
    rows = [
        np.concatenate(
            [
                *units.scale_driven(points.q, points.qdot, points.u),
                units.acceleration_to_scaled(points.qddot),
            ],
            axis=1,
        )
        for points in (subset.points for subset in subsets)
    ]
    every = TrainingData(
        torch.tensor(np.stack(rows), device=cell.device, dtype=torch.float64),
        np.stack([s.along for s in subsets]),
        data.order,
        init_seeds,
        _following(cell, units, subsets),
        n_driven,
    )
    n_seen = cell.n_train - cell.n_validation
    return Training(
        cell,
        replicates,
        data_seeds,
        init_seeds,
        system,
        source,
        units,
        make_model(
            system.angles,
            dataclasses.asdict(cell.model),
            native=cell.compile,
            system=system,
            units=units,
            n_driven=n_driven,
        ),
        [_weak(cell, source, system, units, data_seeds, init_seeds)]
        if cell.optimizer.weak
        else _stages(cell),
        every.part(slice(n_seen)),
        every.part(slice(n_seen, None)) if cell.n_validation else None,
    )


def _following(cell: Cell, units: Units, subsets: list[TrainingSet]) -> Tensor | None:
    """The samples that each point is compared with in scaled units, if the loss needs them."""
    if not cell.optimizer.followed:
        return None
    each = cell.optimizer.rollout_stride
    following = [subset.following for subset in subsets if subset.following is not None]
    samples = np.stack([samples[:, each - 1 :: each] for samples in following])
    since, states = samples[..., :1] / units.time, units.to_scaled(samples[..., 1:])
    return torch.tensor(np.concatenate([since, states], axis=-1), device=cell.device)


def _weak(
    cell: Cell,
    source: Source | Recording,
    system: System,
    units: Units,
    data_seeds: list[int],
    init_seeds: list[int],
) -> Weak:
    """The weak form of the positions as they were sampled."""
    if isinstance(source, Source):
        tracks = [source.sampled(seed) for seed in data_seeds]
    else:
        assert cell.reading is not None
        about = (system.coordinates, system.angles, system.name)
        tracks = [measured.trajectories(cell.reading, *about)[0]] * len(data_seeds)
    return Weak(len(tracks), tracks, init_seeds, cell.model.features, system, units)


def _stages(cell: Cell) -> list[Stage]:
    """The cell's optimisers in their order."""
    o, dtype = cell.optimizer, getattr(torch, cell.precision)
    first: list[Stage] = []
    if o.first:
        kind = Soap if o.first == "soap" else Adam
        first = [
            kind(steps, o.batch_size, o.lr, o.schedule, o.clip, loss, dtype, cell.compile)
            for steps, loss in ((o.warm_steps, "squared"), (o.steps, o.loss))
            if steps
        ]
    match o.second or o.name:
        case "levenberg_marquardt":
            return [*first, LevenbergMarquardt(o.iterations, o.seconds)]
        case "lbfgs":
            return [*first, LBFGS(cell.block_size, o.iterations)]
        case "least_squares":
            auto, linear = o.ridge == "auto", cell.model.name == "linear_lagrangian"
            scales = SCALES if linear and cell.model.scale == "auto" else ()
            ridge = None if auto else float(o.ridge)
            return [LeastSquares(cell.block_size, ridge, scales, SHARES if auto and linear else ())]
    return first
