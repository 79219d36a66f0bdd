"""The columns of a study's four tables: their types and what they must hold."""

import warnings
from typing import get_args

from study.config.factors import FACTORS, Factor
from study.core.data.recording import COUNTS
from study.tables.measures import MEASURES, Measure
from study.tables.records import State

with warnings.catch_warnings():
    # torchode holds typeguard at a version that pandera warns about; it uses neither here
    warnings.filterwarnings("ignore", "Using typeguard < 3")
    import pandera.pandas as pa

ROLES = ("grid", "trial", "rerun", "former")


def _number(low: float | None = None, high: float | None = None, **more):
    checks = [pa.Check.ge(low)] if low is not None else []
    checks += [pa.Check.le(high)] if high is not None else []
    return pa.Column(float, checks, coerce=True, **more)


def _count(low: int = 0, **more):
    return pa.Column("int64", pa.Check.ge(low), coerce=True, **more)


def _text(**more):
    return pa.Column(str, coerce=True, **more)


def _one_of(*values: str, **more):
    return pa.Column(str, pa.Check.isin(values), **more)


def _factor(factor: Factor):
    required = not factor.later
    if factor.kind is str:
        return pa.Column(
            str, nullable=factor.nullable, coerce=not factor.nullable, required=required
        )
    if factor.kind is int and not factor.nullable:  # whole numbers have no NaN
        return _count(int(factor.least or 0), required=required)
    return _number(factor.least, factor.most, nullable=factor.nullable, required=required)


def _measure(measure: Measure):
    if measure.column == "converged":
        return pa.Column(bool, coerce=True)
    return _number(measure.low, measure.high, nullable=True, required=measure.required)


_hash = pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{12}$"))

RESULTS = pa.DataFrameSchema(
    {
        "study": _text(),
        "cell": _hash,
        "replicate": _count(),
        "data_seed": _count(),
        "init_seed": _count(),
        # whether it was trained to choose by, and what was chosen: `gather.with_roles`
        "role": _one_of(*ROLES, required=False),
        "tuned": pa.Column(str, required=False),
        **{name: _factor(factor) for name, factor in FACTORS.items()},
        "coordinates": _text(required=False),
        # of measured data
        "time_step": _number(0, nullable=True, required=False),
        **{name: _number(0, nullable=True, required=False) for name in COUNTS},
        "n_params": _count(1),
        "n_equations": _count(1),
        "n_over_p": _number(0),
        "equations_per_param": _number(0),
        **{measure.column: _measure(measure) for measure in MEASURES.values()},
        "stop_reason": _text(),
    },
    unique=["cell", "replicate"],
    strict=False,  # tables of later versions may have more measures
)

CURVES = pa.DataFrameSchema(
    {
        "cell": _hash,
        "replicate": _count(),
        "curve": _one_of("training", "rollout", "spectrum"),
        "x": _number(),
        "metric": _text(),
        "value": _number(nullable=True),
    },
    strict=True,
)

TRIALS = pa.DataFrameSchema(
    {
        "study": _text(),
        "search": _hash,
        "number": _count(),  # in the order in which they were asked for, from 0
        "state": _one_of(*get_args(State)),
        "cell": _text(),  # its block 0 is trained; 'none' for settings that exclude each other
        "steps": _count(),  # of its training that it took
        "last": _number(nullable=True),  # median test error there, of a pruned one
        "error": _text(),  # why it failed, or is impossible
    },
    unique=["search", "number"],
    # and, under their own names, the objectives (missing unless complete; inf if diverged) and
    # the searched keys
    strict=False,
)

SEARCHES = pa.DataFrameSchema(
    {
        "study": _text(),
        "search": _hash,
        "point": _text(),  # its point of the grid, as JSON: the settings that set it apart
        "key": _text(),
        "kind": _one_of("number", "whole", "choice"),
        "low": _number(nullable=True),
        "high": _number(nullable=True),
        "step": _number(nullable=True),
        "log": pa.Column(bool, coerce=True),
        "choices": _text(),  # as JSON; empty for a range
        "sampler": _text(),
        "pruner": _text(),
        "n_trials": _count(),  # how many were asked for
        "objectives": _text(),  # measures of the results, all minimised; separated by spaces
        "best": _text(),  # cell of a finished search; empty before, and with two objectives
    },
    unique=["search", "key"],
    strict=True,
)
