"""THE list of factors: the settings of a cell that the tables hold, under their config keys.

`Cell.factors` fills them, the table's schema checks them, an analysis compares cells by them.
"""

from __future__ import annotations

from typing import NamedTuple


class Factor(NamedTuple):
    """What a factor's column may hold.

    - `kind`: str, int or float; `least` and `most` of its numbers.
    - `nullable`: whether a cell may be without it.
    - `later`: whether tables of earlier versions lack the column.
    """

    kind: type
    least: float | None = None
    most: float | None = None
    nullable: bool = False
    later: bool = False


_NAME, _LATER_NAME = Factor(str), Factor(str, nullable=True, later=True)
_NUMBER, _COUNT, _INDEX = Factor(float, 0), Factor(int, 1), Factor(int, 0)

FACTORS: dict[str, Factor] = {
    "system": _NAME,
    "system.constants": _NAME,  # those that differ from the system's own
    "data.n_train": _COUNT,
    "data.noise": _NUMBER,
    "data.sampler": _NAME,
    "data.order": _NAME,
    "data.n_trajectories": _COUNT,
    "data.units": _NAME,
    "data.pool_size": _COUNT,
    "data.position_noise": Factor(float, 0, nullable=True, later=True),
    "model": _NAME,
    "model.width": _COUNT,
    "model.depth": _COUNT,
    "model.activation": _NAME,
    "model.beta": _NUMBER,
    "model.encoding": _NAME,
    "model.mass_prior": _NUMBER,
    "model.init": _NAME,
    "model.features": _LATER_NAME,
    "model.scale": _LATER_NAME,
    "model.friction": _LATER_NAME,
    "optimizer": _NAME,
    "optimizer.lr": _NUMBER,
    "optimizer.steps": _INDEX,
    "optimizer.batch_size": _INDEX,
    "optimizer.schedule": _NAME,
    "optimizer.clip": Factor(float, 0, nullable=True),
    "optimizer.loss": Factor(str, later=True),
    "optimizer.iterations": Factor(int, 0, later=True),
    "optimizer.rollout_steps": Factor(int, 1, nullable=True, later=True),
    "optimizer.rollout_stride": Factor(int, 1, nullable=True, later=True),
    "optimizer.warm_steps": Factor(int, 0, nullable=True, later=True),
    "optimizer.validation": Factor(float, 0, 1, nullable=True, later=True),
    "optimizer.ridge": _LATER_NAME,
    "rollout.horizon": _NUMBER,
    "rollout.n_trajectories": Factor(int, 1, later=True),
    "rollout.n_times": Factor(int, 1, later=True),
    "rollout.rtol": Factor(float, 0, later=True),
    "rollout.max_steps": Factor(int, 1, later=True),
    # of cells that are made from a user's files: hashes of their content, what was estimated
    "system.file": _LATER_NAME,
    "data.file": _LATER_NAME,
    "data.estimate": _LATER_NAME,
    "data.held_out": Factor(float, 0, 1, nullable=True, later=True),
    "data.inputs": _LATER_NAME,
    "precision": _NAME,
}

# columns that follow from the factors
DERIVED = ("n_params", "n_equations", "n_over_p", "equations_per_param")


def short_name(factor: str) -> str:
    """What a sentence calls a factor: `data.n_train` is N, `model.mass_prior` mass prior."""
    return factor.split(".")[-1].replace("n_train", "N").replace("_", " ")
