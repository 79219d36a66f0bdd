"""How much each searched key has to do with being among the best trials, by Optuna's PED-ANOVA.

For each key the evaluator (Watanabe, Bansal and Hutter 2023) gives the Pearson divergence between
the density of the best quarter of the trials and that of all. Only the order of the trials counts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from study.tables.records import as_text

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

TOP = 0.25  # share of the trials that are the best ones
ENOUGH = 20  # trials: the best quarter of fewer is less than the five that Optuna asks for
DRAWS = 100  # of the bootstrap
ORDERS = 40  # random orders of the trials for each key, against which its divergence is tested
LEVEL = 0.95
SEED = 3


@dataclasses.dataclass(frozen=True)
class Importance:
    """The importance of one key.

    - `share`: its part of the sum of all keys' divergences; `low`, `high`: the 95 % percentile
      interval over bootstrap draws of the trials.
    - `p_value`: how often random orders of the trials give as large a divergence, times the number
      of keys (Bonferroni), at most 1.
    """

    key: str
    share: float
    low: float
    high: float
    p_value: float

    @property
    def sure(self) -> bool:
        """Whether it is more than chance gives."""
        return self.p_value < 1 - LEVEL


def importances(trials: pd.DataFrame, keys: pd.DataFrame, objective: str) -> list[Importance]:
    """The searched keys of one search, the most important first; none for too few trials.

    - `trials`, `keys`: its rows of the tables of trials and of searches; trials that never began to
      train are left out.
    - `objective`: a column of `trials` that is minimised.
    """
    trials = trials.loc[trials["state"].isin(["complete", "pruned"])]
    if len(trials) < ENOUGH:
        return []
    n, k = len(trials), len(keys)
    rank = ranks(trials, objective)
    rng = np.random.default_rng([SEED, n])
    names = [str(key) for key in keys["key"]]
    with _quiet():
        frozen = _frozen(trials, keys, rank)
        study = _study_of(frozen)
        divergences = _divergences(study, names)
        drawn = (_study_of([frozen[i] for i in rng.integers(0, n, n)]) for _ in range(DRAWS))
        shares = np.array([_shares(_divergences(draw, names)) for draw in drawn])
        chance = [_divergences(study, names, rng.permutation(rank)) for _ in range(ORDERS * k)]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(shares, [tail, 1 - tail], axis=0)
    p = k * (1 + (np.array(chance) >= divergences).sum(axis=0)) / (1 + len(chance))
    columns = zip(names, _shares(divergences), low, high, np.minimum(p, 1), strict=True)
    of_keys = [Importance(name, *map(float, values)) for name, *values in columns]
    return sorted(of_keys, key=lambda importance: -importance.share)


def ranks(trials: pd.DataFrame, objective: str) -> np.ndarray:
    """(n,) the place of each trial, 0 is the best: complete trials by the objective, then pruned
    ones by how long they were trained and their error then; infinite values last of each kind."""
    complete = (trials["state"] == "complete").to_numpy()
    value = np.where(complete, trials[objective].to_numpy(float), trials["last"].to_numpy(float))
    value = np.where(np.isnan(value), np.inf, value)
    steps = np.where(complete, 0, -trials["steps"].to_numpy(float))
    order = np.lexsort((trials["number"].to_numpy(), value, steps, ~complete))
    return np.argsort(order).astype(float)


def _frozen(trials: pd.DataFrame, keys: pd.DataFrame, rank: np.ndarray) -> list[FrozenTrial]:
    """The trials of a search as Optuna's, whose values are their ranks."""
    import optuna

    allowed = {str(row["key"]): distribution(row) for row in keys.to_dict("records")}
    return [
        optuna.create_trial(
            params={name: _value(row[name], kind) for name, kind in allowed.items()},
            distributions=allowed,
            value=float(place),
        )
        for row, place in zip(trials.to_dict("records"), rank, strict=True)
    ]


def _divergences(study: Study, names: list[str], rank: np.ndarray | None = None) -> np.ndarray:
    """(keys,) the divergence of each of `names`; for another order of the trials if given."""
    from optuna.importance import PedAnovaImportanceEvaluator

    target = None if rank is None else lambda trial: float(rank[trial.number])
    evaluator = PedAnovaImportanceEvaluator(target_quantile=TOP)
    importance = evaluator.evaluate(study, names, target=target)
    return np.array([importance[name] for name in names])


def _study_of(trials: Sequence[FrozenTrial]) -> Study:
    import optuna

    study = optuna.create_study(storage=optuna.storages.InMemoryStorage(), study_name="table")
    study.add_trials(trials)
    return study


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's messages and warnings."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


def distribution(row: dict) -> BaseDistribution:
    """Optuna's distribution of a key, from its row of the table of searches."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    step = None if pd.isna(row["step"]) else row["step"]
    match row["kind"]:
        case "number":
            return FloatDistribution(row["low"], row["high"], log=row["log"], step=step)
        case "whole":
            low, high = int(row["low"]), int(row["high"])
            return IntDistribution(low, high, log=row["log"], step=int(step or 1))
    values = json.loads(row["choices"])
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        values = [float(v) for v in values]  # as a column of the table has them
    return CategoricalDistribution([as_text(v) for v in values])


def _value(value, allowed: BaseDistribution):
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(allowed, CategoricalDistribution):
        return as_text(value if isinstance(value, str) else float(value))
    return int(value) if isinstance(allowed, IntDistribution) else float(value)


def _shares(divergences: np.ndarray) -> np.ndarray:
    total = divergences.sum()
    return divergences / total if total > 0 else np.full(len(divergences), 1 / len(divergences))
