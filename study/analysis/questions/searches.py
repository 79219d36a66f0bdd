"""The searches of a study, as answers and figures need them.

Knows: the tables of trials and of searched keys. Does not know: Optuna, how a trial was drawn.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from study.analysis.design import POINTS
from study.analysis.naming import count, level_name
from study.analysis.statistics.importance import Importance, importances
from study.tables.measures import MEASURES, Measure
from study.tables.searches import at_edge


@dataclass(frozen=True, eq=False)
class Search:
    """One search.

    - `label`: what sets it apart from the study's others; empty for the only one.
    - `keys`, `trials`: its rows of the two tables, trials in the order they were asked for.
    - `objectives`: what it minimises; several make a front.
    - `n_trials`: how many were asked for; `best`: its best cell once it is done, empty before.
    """

    name: str
    label: str
    keys: pd.DataFrame
    trials: pd.DataFrame
    objectives: tuple[Measure, ...]
    sampler: str
    pruner: str
    n_trials: int
    best: str

    @property
    def where(self) -> str:
        """The beginning of a sentence about it."""
        return f"At {self.label}: " if self.label else ""

    @functools.cached_property
    def complete(self) -> pd.DataFrame:
        """Trials with a value for each objective, diverged ones (infinite) among them."""
        return self.trials.loc[self.trials["state"] == "complete"]

    def best_trial(self) -> dict[str, Any] | None:
        """The trial with the least of the only objective so far; None where none is finite."""
        name = self.objectives[0].column
        finite = self.complete.loc[np.isfinite(self.complete[name].to_numpy(float))]
        if len(self.objectives) > 1 or finite.empty:
            return None
        return _record(finite.sort_values([name, "number"]).iloc[0])

    def edges(self, trial: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
        """Keys whose value lies at an end of their range -> (value, the range in words)."""
        found = {}
        for key in self.keys.loc[self.keys["kind"] != "choice"].to_dict("records"):
            value = trial[key["key"]]
            if at_edge(key["low"], key["high"], key["log"], value):
                found[key["key"]] = value, f"{plain(key['low'])} to {plain(key['high'])}"
        return found

    def trial_of(self, cell: str) -> dict[str, Any]:
        """The first complete trial of a cell."""
        return _record(self.complete.loc[self.complete["cell"] == cell].iloc[0])

    @property
    def n_trained(self) -> int:
        """How many trials were trained, to the end or until they were pruned."""
        return int(self.trials["state"].isin(["complete", "pruned"]).to_numpy().sum())

    def settings(self, trial: Mapping[str, Any]) -> str:
        """A trial's settings, as on the command line."""
        return ", ".join(f"{key}={plain(trial[key])}" for key in self.keys["key"])

    def importances(self, objective: Measure) -> list[Importance]:
        """Of the searched keys; empty for too few trials."""
        return self._importances[objective.column]

    @functools.cached_property
    def _importances(self) -> dict[str, list[Importance]]:
        names = [objective.column for objective in self.objectives]
        return {name: importances(self.trials, self.keys, name) for name in names}


def searches(trials: pd.DataFrame | None, keys: pd.DataFrame | None) -> list[Search]:
    """The searches in two tables, in the order of the table; none for a study without.

    **Arguments:**

    - `trials`, `keys`: `searched.load_trials(...)`, `searched.load_searches(...)`.
    """
    if trials is None or keys is None:
        return []
    found = []
    for name, own in keys.groupby("search", sort=False):
        first = own.iloc[0]
        found.append(
            Search(
                name=str(name),
                label=_label(json.loads(first["point"])),
                keys=own.reset_index(drop=True),
                trials=trials.loc[trials["search"] == name].sort_values("number"),
                objectives=tuple(_measure(column) for column in first["objectives"].split()),
                sampler=str(first["sampler"]),
                pruner=str(first["pruner"]),
                n_trials=int(first["n_trials"]),
                best=str(first["best"]),
            )
        )
    return found


def spread(rows: pd.DataFrame, cells: Sequence[str], objective: Measure) -> pd.DataFrame:
    """What the replicates of trials say of an objective.

    **Returns:** one row for each of `cells`: `low`, `median`, `high` over the `replicates` that a
    search chose by, not finite ones as infinite.
    """
    own = rows.loc[rows["role"] == "trial", ["cell", objective.column]]
    values = own[objective.column].to_numpy(float)
    own = own.assign(value=np.where(np.isfinite(values), values, np.inf))
    found = own.groupby("cell")["value"].agg(
        low="min", median="median", high="max", replicates="size"
    )
    return found.reindex(list(cells))


def plain(value: Any) -> str:
    """A setting's value: three digits of a number, text as it is."""
    if isinstance(value, float | np.floating):
        return f"{value:.3g}"
    return str(value)


def _record(row: pd.Series) -> dict[str, Any]:
    return {str(name): value for name, value in row.items()}


def _label(point: Mapping[str, Any]) -> str:
    return ", ".join(
        f"N = {count(value)}" if key == POINTS else level_name((key,), (value,))
        for key, value in point.items()
    )


def _measure(column: str) -> Measure:
    return MEASURES.get(column, Measure(column))
