"""How much each searched key has to do with being among the best trials, by Optuna's evaluator.

Knows: Optuna's PED-ANOVA (Watanabe, Bansal and Hutter 2023), a study rebuilt in memory from the
tables. Does not know: storages, samplers, pages.

Of each key the evaluator compares where the best quarter of the trials lies with where all lie: the
Pearson divergence between the two densities. Only the order of the trials counts, so that one that
was pruned or diverged has its place, behind those that were trained to the end.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from study.tables.searches import as_text

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

TOP = 0.25  # of the trials are the best ones
ENOUGH = 20  # trials, below which the best quarter is less than the five that Optuna asks for
DRAWS = 100  # of the bootstrap
ORDERS = 40  # random orders of the trials a key, so that each may be told from chance
LEVEL = 0.95
SEED = 3


@dataclasses.dataclass(frozen=True)
class Importance:
    """Of one key.

    - `share`: of the sum of all keys' divergences; `low`, `high`: its 95 % percentile interval over
      bootstrap draws of the trials.
    - `p_value`: how often, over random orders of the trials, its divergence is as large as here,
      times the number of keys (Bonferroni), at most 1.
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

    **Arguments:**

    - `trials`: its rows of the table of trials; those that never began to train are left out.
    - `keys`: its rows of the table of searches.
    - `objective`: a column of `trials`, to be small.
    """
    trials = trials.loc[trials["state"].isin(["complete", "pruned"])]
    if len(trials) < ENOUGH:
        return []
    n, k = len(trials), len(keys)
    rank = ranks(trials, objective)
    rng = np.random.default_rng([SEED, n])
    with _quiet():
        table = _Table(trials, keys, rank)
        found = table.divergences()
        drawn = (table.drawn(rng.integers(0, n, n)) for _ in range(DRAWS))
        shares = np.array([_shares(each.divergences()) for each in drawn])
        chance = [table.divergences(rng.permutation(rank)) for _ in range(ORDERS * k)]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(shares, [tail, 1 - tail], axis=0)
    p = k * (1 + (np.array(chance) >= found).sum(axis=0)) / (1 + len(chance))
    each = zip(table.names, _shares(found), low, high, np.minimum(p, 1), strict=True)
    made = [Importance(name, *map(float, values)) for name, *values in each]
    return sorted(made, key=lambda one: -one.share)


def ranks(trials: pd.DataFrame, objective: str) -> np.ndarray:
    """(n,) the place of each trial, 0 the best: complete ones by the objective, then pruned ones,
    those first that were trained longer, by their error there; infinite last in their kind."""
    complete = (trials["state"] == "complete").to_numpy()
    value = np.where(complete, trials[objective].to_numpy(float), trials["last"].to_numpy(float))
    value = np.where(np.isnan(value), np.inf, value)
    steps = np.where(complete, 0, -trials["steps"].to_numpy(float))
    order = np.lexsort((trials["number"].to_numpy(), value, steps, ~complete))
    rank = np.empty(len(trials))
    rank[order] = np.arange(len(trials))
    return rank


class _Table:
    """The trials of a search as Optuna takes them, in a study in memory, valued by their rank."""

    def __init__(self, trials: pd.DataFrame, keys: pd.DataFrame, rank: np.ndarray):
        import optuna

        self.names = [str(key) for key in keys["key"]]
        allowed = {str(row["key"]): distribution(row) for row in keys.to_dict("records")}
        self._trials = [
            optuna.create_trial(
                params={name: _value(row[name], allowed[name]) for name in self.names},
                distributions=allowed,
                value=float(place),
            )
            for row, place in zip(trials.to_dict("records"), rank, strict=True)
        ]
        self._study = _study_of(self._trials)

    def drawn(self, which: np.ndarray) -> _Table:
        """The same with these trials, of which some may be there more than once."""
        other = copy.copy(self)
        other._study = _study_of([self._trials[k] for k in which])
        return other

    def divergences(self, rank: np.ndarray | None = None) -> np.ndarray:
        """(keys,) by `names`; with another order of the trials, where one is given."""
        from optuna.importance import PedAnovaImportanceEvaluator

        target = None if rank is None else lambda trial: float(rank[trial.number])
        evaluator = PedAnovaImportanceEvaluator(target_quantile=TOP)
        found = evaluator.evaluate(self._study, self.names, target=target)
        return np.array([found[name] for name in self.names])


def _study_of(trials: Sequence[FrozenTrial]) -> Study:
    import optuna

    study = optuna.create_study(storage=optuna.storages.InMemoryStorage(), study_name="table")
    study.add_trials(trials)
    return study


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of Optuna's about studies that nobody sees."""
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
    """What a key may be, from its row of the table of searches."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    step = None if pd.isna(row["step"]) else row["step"]
    match row["kind"]:
        case "number":
            return FloatDistribution(row["low"], row["high"], log=row["log"], step=step)
        case "whole":
            low, high = int(row["low"]), int(row["high"])
            return IntDistribution(low, high, log=row["log"], step=int(step or 1))
    return CategoricalDistribution([as_text(v) for v in _choices(row["choices"])])


def _choices(text: str) -> list:
    """All numbers as numbers of one kind, as a column of the table has them."""
    values = json.loads(text)
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return [float(v) for v in values] if numbers else values


def _value(value, allowed: BaseDistribution):
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(allowed, CategoricalDistribution):
        return as_text(value if isinstance(value, str) else float(value))
    return int(value) if isinstance(allowed, IntDistribution) else float(value)


def _shares(divergences: np.ndarray) -> np.ndarray:
    total = divergences.sum()
    return divergences / total if total > 0 else np.full(len(divergences), 1 / len(divergences))
