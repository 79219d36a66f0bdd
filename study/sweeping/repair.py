"""A journal that cannot be read is made anew: its searches from the records of their trials.

A blank line, two records in one line or half a record in the middle are enough for Optuna to read
nothing of a journal. The records of trials (`searches/<search>/trial-00007.json`) say the same.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from study.config.errors import ConfigError
from study.config.run import SearchConfig
from study.sweeping.folder import Orders, StudyFolder
from study.sweeping.search import RUNGS
from study.sweeping.space import SearchSpec
from study.sweeping.storage import open_storage
from study.tables.records import TrialRecord, read_trials

STATES = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "impossible": TrialState.FAIL,
}


def repair(folder: StudyFolder, orders: Orders) -> str:
    """Make a study's journal anew if it cannot be read; what was done, empty if nothing was.

    The old file is kept. Of blocks, `ledger.reconcile` then records those that are done. Of the
    errors on the way of a trial, which a pruner compares, only those of pruned ones are known.
    """
    path = folder.root / "ledger.log"
    if orders.storage is not None or not path.exists():
        return ""
    try:
        open_storage(None, path)
        return ""
    except ConfigError as error:
        reason = str(error).partition(": remove it")[0]
    kept = path.rename(path.with_name("ledger.damaged.log"))
    storage = open_storage(None, path)
    for spec in map(SearchSpec.from_dict, orders.searches):
        settings = SearchConfig(**orders.search)
        study = optuna.create_study(
            storage=storage,
            study_name=spec.study_name(folder.name),
            directions=[StudyDirection.MINIMIZE] * len(settings.objectives),
        )
        records = {record.number: record for record in read_trials(folder.root, spec.name)}
        for number in range(max(records, default=-1) + 1):
            study.add_trial(_trial(records.get(number), spec.distributions()))
    return f"{reason}: it is made anew from the study's own records, and the old one is {kept.name}"


def _trial(record: TrialRecord | None, allowed: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """A trial as its record has it; one that the next worker takes up if the record is lost."""
    if record is None:
        return create_trial(state=TrialState.RUNNING)
    about = dict(_about(record))
    params = {key: value for key, value in record.params.items() if key in allowed}
    return create_trial(
        state=STATES[record.state],
        params=params,
        distributions={key: allowed[key] for key in params},
        **about,
    )


def _about(record: TrialRecord) -> Iterator[tuple[str, Any]]:
    if record.state == "complete":
        yield "values", list(record.values)
    if record.state == "pruned" and record.last is not None:
        rung = min(RUNGS, key=lambda share: abs(share - record.trained))
        yield "intermediate_values", {round(rung / RUNGS[0]): record.last}
    if record.error:
        yield "user_attrs", {"error": record.error}
