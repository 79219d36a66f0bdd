"""Columns of the tables `results` and `curves`: their types and what they must hold."""

from __future__ import annotations

from study.config.factors import FACTORS, Factor
from study.tables import searches
from study.tables.files import pa
from study.tables.measures import BUDGET, IDENTIFIABILITY, MEASURES, THRESHOLDS, Measure  # noqa: F401

KEYS = ["study", "cell", "replicate", "data_seed", "init_seed"]


def _number(low: float | None = None, high: float | None = None, **more):
    checks = [pa.Check.ge(low)] if low is not None else []
    checks += [pa.Check.le(high)] if high is not None else []
    return pa.Column(float, checks, coerce=True, **more)


def _count(low: int = 0, **more):
    return pa.Column("int64", pa.Check.ge(low), coerce=True, **more)


def _text(**more):
    return pa.Column(str, coerce=True, **more)


def _factor(factor: Factor):
    required = not factor.later
    if factor.kind is str and factor.nullable:
        return pa.Column(str, nullable=True, required=required)
    if factor.kind is str:
        return _text(required=required)
    if factor.kind is int:
        return _count(int(factor.least or 0), required=required)
    return _number(factor.least, factor.most, nullable=factor.nullable, required=required)


def _measure(measure: Measure):
    if measure.column == "converged":
        return pa.Column(bool, coerce=True)
    return _number(measure.low, measure.high, nullable=True, required=measure.required)


_cell = pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{12}$"))

RESULTS = pa.DataFrameSchema(
    {
        "study": _text(),
        "cell": _cell,
        "replicate": _count(),
        "data_seed": _count(),
        "init_seed": _count(),
        # whether it was trained to choose by, and what was chosen: `searches.with_roles`
        "role": pa.Column(str, pa.Check.isin(searches.ROLES), required=False),
        "tuned": pa.Column(str, required=False),
        **{name: _factor(factor) for name, factor in FACTORS.items()},
        "coordinates": _text(required=False),
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
        "cell": _cell,
        "replicate": _count(),
        "curve": pa.Column(str, pa.Check.isin(["training", "rollout", "spectrum"])),
        "x": _number(),
        "metric": _text(),
        "value": _number(nullable=True),
    },
    strict=True,
)
