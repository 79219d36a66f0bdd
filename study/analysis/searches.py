"""The searches of a study, from the tables of trials and of searched keys."""

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from study.analysis.design import POINTS
from study.analysis.statistics.importance import Importance, importances
from study.analysis.statistics.medians import ENOUGH, Estimate
from study.analysis.words import count, level_name, plural
from study.tables.measures import MEASURES, Measure
from study.tables.records import at_edge

HISTORY = "search_history"  # the figure that shows every trial


@dataclass(frozen=True, eq=False)
class SearchResults:
    """What one search tried.

    - `label`: what sets it apart from the study's other searches; empty for the only one.
    - `keys`, `trials`: its rows of the two tables, trials in the order of their numbers.
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

    @functools.cached_property
    def best_trial(self) -> dict[str, Any] | None:
        """The trial with the least of the only objective so far; None if none is finite."""
        name = self.objectives[0].column
        finite = self.complete.loc[np.isfinite(self.complete[name].to_numpy(float))]
        if len(self.objectives) > 1 or finite.empty:
            return None
        return finite.sort_values([name, "number"]).iloc[0].to_dict()

    @property
    def n_trained(self) -> int:
        """How many trials were trained, to the end or until they were pruned."""
        return int(self.trials["state"].isin(["complete", "pruned"]).to_numpy().sum())

    def edges(self, trial: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
        """Keys whose value lies at an end of their range -> (value, range), in words."""
        return {
            key["key"]: (plain(trial[key["key"]]), f"{plain(key['low'])} to {plain(key['high'])}")
            for key in self.keys.loc[self.keys["kind"] != "choice"].to_dict("records")
            if at_edge(key["low"], key["high"], key["log"], trial[key["key"]])
        }

    def settings(self, trial: Mapping[str, Any]) -> str:
        """A trial's settings, as on the command line."""
        return ", ".join(f"{key}={plain(trial[key])}" for key in self.keys["key"])

    def outcomes(self) -> str:
        """How many trials there are, and what became of them."""
        states = self.trials["state"].value_counts()
        values = self.complete[[m.column for m in self.objectives]].to_numpy(float)
        diverged = int((~np.isfinite(values)).any(axis=1).sum())
        parts = [f"{len(values) - diverged} trained to the end"]
        parts += [f"{diverged} diverged"] if diverged else []
        parts += [f"{states[s]} {s}" for s in ("pruned", "failed", "impossible") if s in states]
        trials = plural(len(self.trials), "trial")
        if len(self.trials) < self.n_trials:
            trials = f"{len(self.trials)} of {self.n_trials} trials"
        return f"of {trials} ({', '.join(parts)})"

    @functools.cached_property
    def importances(self) -> dict[str, list[Importance]]:
        """Objective -> the importances of the searched keys; none for too few trials."""
        names = [objective.column for objective in self.objectives]
        return {name: importances(self.trials, self.keys, name) for name in names}

    def reruns(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of the cell that it chose, trained again with new seeds."""
        return rows.loc[(rows["cell"] == self.best) & (rows["role"] == "rerun")]


def searches(trials: pd.DataFrame | None, keys: pd.DataFrame | None) -> list[SearchResults]:
    """The searches in the tables of `gather.load_trials` and `gather.load_searches`, in their
    order; none for a study without."""
    if trials is None or keys is None:
        return []
    results = []
    for name, own in keys.groupby("search", sort=False):
        first = own.iloc[0]
        columns = first["objectives"].split()
        results.append(
            SearchResults(
                name=str(name),
                label=", ".join(
                    f"N = {count(value)}" if key == POINTS else level_name((key,), (value,))
                    for key, value in json.loads(first["point"]).items()
                ),
                keys=own.reset_index(drop=True),
                trials=trials.loc[trials["search"] == name].sort_values("number"),
                objectives=tuple(MEASURES.get(column, Measure(column)) for column in columns),
                sampler=str(first["sampler"]),
                pruner=str(first["pruner"]),
                n_trials=int(first["n_trials"]),
                best=str(first["best"]),
            )
        )
    return results


def spread(rows: pd.DataFrame, cells: Iterable[str], objective: Measure) -> pd.DataFrame:
    """What the replicates of trials say of an objective.

    **Returns:** one row for each of `cells`: `low`, `median`, `high` over the `replicates` that a
    search chose by, those that are not finite as infinite.
    """
    own = rows.loc[rows["role"] == "trial", ["cell", objective.column]]
    values = own[objective.column].to_numpy(float)
    grouped = own.assign(value=np.where(np.isfinite(values), values, np.inf)).groupby("cell")
    table = grouped["value"].agg(low="min", median="median", high="max", replicates="size")
    return table.reindex(list(cells))


def plain(value: Any) -> str:
    """A setting's value: three digits of a number, text as it is."""
    return f"{value:.3g}" if isinstance(value, float | np.floating) else str(value)


def exactly(value: float) -> Estimate:
    """A value that decides without an interval."""
    return Estimate(value, np.nan, np.nan, ENOUGH)
