"""The searches of a study, from the tables of trials and of searched keys."""

import functools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from study.analysis.design import POINTS
from study.analysis.statistics.importance import Importance, importances
from study.analysis.statistics.limits import bounded
from study.analysis.statistics.medians import ENOUGH, Estimate
from study.analysis.words import count, level_name, plural
from study.config.schema import bounds
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
    def all_diverged(self) -> bool:
        """Whether no trial that was trained to the end has a finite value."""
        values = self.complete[[m.column for m in self.objectives]].to_numpy(float)
        return len(values) > 0 and not np.isfinite(values).all(axis=1).any()

    @functools.cached_property
    def trained(self) -> pd.DataFrame:
        """Trials that were trained, to the end or until they were pruned; of one cell the first."""
        trained = self.trials.loc[self.trials["state"].isin(["complete", "pruned"])]
        first = trained.sort_values(["state", "number"]).drop_duplicates("cell")
        return first.sort_values("number")

    @property
    def n_trained(self) -> int:
        """How many cells were trained, to the end or until they were pruned."""
        return len(self.trained)

    @property
    def n_points(self) -> float:
        """How many settings there are; infinite if a key is a range without steps."""
        return math.prod(_n_values(key) for key in self.keys.to_dict("records"))

    def used(self, trial: Mapping[str, Any] | None) -> pd.DataFrame:
        """The searched keys without those that a trial's cell does not use; all without a trial."""
        unused = str((trial or {}).get("unused", "")).split()
        return self.keys.loc[~self.keys["key"].isin(unused)]

    def edges(self, trial: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
        """Keys whose value lies at an end of their range -> (value, range), in words."""
        return {
            key["key"]: (plain(trial[key["key"]]), f"{plain(key['low'])} to {plain(key['high'])}")
            for key in self.used(trial).query("kind != 'choice'").to_dict("records")
            if at_edge(key["low"], key["high"], key["log"], trial[key["key"]], bounds(key["key"]))
        }

    def settings(self, trial: Mapping[str, Any]) -> str:
        """A trial's settings, as on the command line."""
        return ", ".join(f"{key}={plain(trial[key])}" for key in self.used(trial)["key"])

    def outcomes(self) -> str:
        """How many trials there are, and what became of them."""
        states = self.trials["state"].value_counts()
        first = self.complete.drop_duplicates("cell")
        values, again = first[[m.column for m in self.objectives]], len(self.complete) - len(first)
        diverged = int((~np.isfinite(values.to_numpy(float))).any(axis=1).sum())
        parts = [f"{len(first) - diverged} trained to the end"]
        parts += [f"{diverged} diverged"] if diverged else []
        parts += [f"{again} of cells that earlier ones had trained"] if again else []
        parts += [f"{states[s]} {s}" for s in ("pruned", "failed", "impossible") if s in states]
        trials = plural(len(self.trials), "trial")
        if len(self.trials) < self.n_trials:
            trials = f"{len(self.trials)} of {self.n_trials} trials"
        if self.n_points < self.n_trials:
            trials += f" in a space of {plural(int(self.n_points), 'point')}"
        return f"of {trials} ({', '.join(parts)})"

    @functools.cached_property
    def importances(self) -> dict[str, list[Importance]]:
        """Objective -> the importances of the searched keys that the best cell uses; none for too
        few cells, or if all diverged."""
        names = [objective.column for objective in self.objectives]
        keys = self.used(self.best_trial)
        return {
            name: importances(self.trained, keys, name)
            if np.isfinite(self.complete[name].to_numpy(float)).any()
            else []
            for name in names
        }

    def reruns(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of the cell that it chose, trained again with new seeds."""
        return rows.loc[(rows["cell"] == self.best) & (rows["role"] == "rerun")]


def _n_values(key: Mapping[str, Any]) -> float:
    """How many values a searched key may have, from its row of the table."""
    if key["kind"] == "choice":
        return len(json.loads(key["choices"]))
    step = key["step"] if key["step"] > 0 else 1.0 if key["kind"] == "whole" else 0.0
    return round((key["high"] - key["low"]) / step) + 1 if step else math.inf


def searches(trials: pd.DataFrame | None, keys: pd.DataFrame | None) -> list[SearchResults]:
    """The searches in the tables of `gather.load_trials` and `gather.load_searches`, in their
    order; none for a study without."""
    if trials is None or keys is None:
        return []
    results, trials = [], bounded(trials)
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
