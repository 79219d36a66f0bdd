"""Columns of the tables `results` and `curves`: their types and what they must hold."""

from __future__ import annotations

import copy

from study.tables import searches
from study.tables.files import pa
from study.tables.measures import BUDGET, IDENTIFIABILITY, MEASURES, THRESHOLDS, Measure  # noqa: F401

KEYS = ["study", "cell", "replicate", "data_seed", "init_seed"]


def _number(low: float | None = None, high: float | None = None, nullable: bool = True):
    checks = []
    if low is not None:
        checks.append(pa.Check.ge(low))
    if high is not None:
        checks.append(pa.Check.le(high))
    return pa.Column(float, checks, nullable=nullable, coerce=True)


def _later(column):
    """A column that tables of earlier versions do not have."""
    column = copy.deepcopy(column)
    column.required = False
    return column


def _measured(measure: Measure):
    if measure.column == "converged":
        return pa.Column(bool, coerce=True)
    column = _number(measure.low, measure.high)
    return column if measure.required else _later(column)


_text = pa.Column(str, coerce=True)
_maybe = pa.Column(str, nullable=True)
_count = pa.Column("int64", pa.Check.ge(0), coerce=True)
_positive = pa.Column("int64", pa.Check.ge(1), coerce=True)

RESULTS = pa.DataFrameSchema(
    {
        "study": _text,
        "cell": pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{12}$")),
        "replicate": _count,
        "data_seed": _count,
        "init_seed": _count,
        # whether it was trained to choose by, and what was chosen: `searches.with_roles`
        "role": _later(pa.Column(str, pa.Check.isin(searches.ROLES))),
        "tuned": _later(pa.Column(str)),
        "system": _text,
        "system.constants": _text,
        "data.n_train": _positive,
        "data.noise": _number(0, nullable=False),
        "data.sampler": _text,
        "data.order": _text,
        "data.n_trajectories": _positive,
        "data.units": _text,
        "data.pool_size": _positive,
        "model": _text,
        "model.width": _positive,
        "model.depth": _positive,
        "model.activation": _text,
        "model.beta": _number(0, nullable=False),
        "model.encoding": _text,
        "model.mass_prior": _number(0, nullable=False),
        "model.init": _text,
        "optimizer": _text,
        "optimizer.lr": _number(0, nullable=False),
        "optimizer.steps": _count,
        "optimizer.batch_size": _count,
        "optimizer.schedule": _text,
        "optimizer.clip": _number(0),
        "optimizer.loss": _later(pa.Column(str, coerce=True)),
        "optimizer.iterations": _later(pa.Column("int64", pa.Check.ge(0), coerce=True)),
        "rollout.horizon": _number(0, nullable=False),
        "rollout.n_trajectories": _later(_positive),
        "rollout.n_times": _later(_positive),
        "rollout.rtol": _later(_number(0, nullable=False)),
        "rollout.max_steps": _later(_positive),
        # of cells made from files of the user's: hashes of what is in them, what was estimated
        "system.file": _later(_maybe),
        "data.file": _later(_maybe),
        "data.estimate": _later(_maybe),
        "data.held_out": _later(_number(0, 1)),
        "precision": _text,
        "coordinates": _later(_text),
        "n_params": _positive,
        "n_equations": _positive,
        "n_over_p": _number(0, nullable=False),
        "equations_per_param": _number(0, nullable=False),
        **{measure.column: _measured(measure) for measure in MEASURES.values()},
        "stop_reason": _text,
    },
    unique=["cell", "replicate"],
    strict=False,  # later measures may be added; none is renamed
)

CURVES = pa.DataFrameSchema(
    {
        "cell": pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{12}$")),
        "replicate": _count,
        "curve": pa.Column(str, pa.Check.isin(["training", "rollout", "spectrum"])),
        "x": _number(nullable=False),
        "metric": _text,
        "value": _number(),
    },
    strict=True,
)
