"""Optuna as the ledger of a study: what ran, for dashboards, importance and later searches.

Knows: storages, trials, distributions. Does not know: how to train, or what to do next. The
cells' folders are the truth; whatever is lost here is put right by `reconcile`.
"""

from __future__ import annotations

import itertools
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from study.config import make_cell
from study.core.models import ACTIVATIONS, INITS, MODELS
from study.core.systems import SYSTEMS
from study.groups import GROUPS
from study.sweeping.claims import holder
from study.sweeping.folder import Block, Orders, StudyFolder, read_config
from study.sweeping.storage import open_storage, own_name, patiently

if TYPE_CHECKING:  # optuna takes a moment to import, and most commands need none of it
    from optuna import Study
    from optuna.distributions import BaseDistribution

PATIENCE = 5.0  # seconds to wait for a server; few, as no block is to wait for its record
OBJECTIVE = "test_nmse_median"
MEASURES = (
    "train_nmse",
    "test_nmse",
    "test_nmse_median",
    "rollout_error",
    "valid_time",
    "energy_drift",
    "diverged_fraction",
    "train_seconds",
)
_NAMES = {
    "system": SYSTEMS,
    "model": MODELS,
    "model.activation": ACTIVATIONS,
    "model.init": INITS,
    "precision": ("float32", "float64"),
    "optimizer": ("adam",),
}


def open_ledger(folder: StudyFolder, storage: str | None, patience: float = PATIENCE) -> Study:
    """The study's ledger, made where there is none.

    **Arguments:**

    - `storage`: as the config or `study.yaml` has it; None for the journal in the study's folder.
    - `patience`: seconds to wait for a server.

    **Raises:** `ConfigError` if the storage cannot be opened.
    """
    import optuna

    opened = open_storage(storage, folder.root / "ledger.log", patience)

    def open_study() -> Study:
        name = folder.name if storage is None else own_name(opened, folder.name, folder.owner())
        return optuna.create_study(
            storage=opened, study_name=name, direction="minimize", load_if_exists=True
        )

    return patiently(open_study, patience)


def record(ledger: Study, folder: StudyFolder, orders: Orders, block: Block) -> None:
    """One committed block as one completed trial: its value is the median over replicates."""
    import numpy as np
    import pandas as pd

    rows = pd.read_parquet(block.folder / "replicates.parquet")
    measures = {name: float(np.nanmedian(rows[name])) for name in MEASURES if name in rows}
    _add(ledger, folder, orders, block, measures.get(OBJECTIVE, math.nan), measures)


def record_failure(
    ledger: Study, folder: StudyFolder, orders: Orders, block: Block, error: str
) -> None:
    """One failed attempt at a block as one failed trial."""
    _add(ledger, folder, orders, block, None, {"error": error})


def reconcile(ledger: Study, folder: StudyFolder, orders: Orders) -> int:
    """Record what a worker committed but died before recording; returns how many blocks.

    A block whose claim is still held is left to its holder.
    """
    from optuna.trial import TrialState

    known = set()
    for trial in patiently(lambda: ledger.get_trials(deepcopy=False), PATIENCE):
        if trial.state == TrialState.COMPLETE or trial.user_attrs.get("diverged"):
            known.add((trial.user_attrs.get("cell"), trial.user_attrs.get("block")))
    added = 0
    for block in folder.blocks(orders):
        if (block.cell, block.number) in known or not block.done:
            continue
        held = holder(block.lock)
        if held is not None and held.alive:
            continue
        record(ledger, folder, orders, block)
        added += 1
    return added


def _add(
    ledger: Study,
    folder: StudyFolder,
    orders: Orders,
    block: Block,
    value: float | None,
    attributes: Mapping[str, Any],
) -> None:
    from optuna.trial import TrialState, create_trial

    config = read_config(folder.cell(block.cell) / "config.yaml")
    factors = make_cell(config, compile=config["compile"]).factors()
    params = {key: factors[key] for key in orders.swept if factors[key] is not None}
    finite = value is not None and not math.isnan(value)
    record = uuid.uuid4().hex
    # a block all of whose replicates diverged is done, but has no value to complete with
    attrs = {
        "record": record,
        "cell": block.cell,
        "block": block.number,
        "diverged": value is not None and not finite,
    }
    trial = create_trial(
        state=TrialState.COMPLETE if finite else TrialState.FAIL,
        value=value if finite else None,
        params=params,
        distributions={key: _distribution(key, orders.swept[key]) for key in params},
        user_attrs={**attrs, **{k: _plain(v) for k, v in attributes.items()}},
    )
    tries = itertools.count()

    def add() -> None:
        # a connection may be lost when the trial is in, and only the answer is not
        if next(tries) == 0 or not _holds(ledger, record):
            ledger.add_trial(trial)

    patiently(add, PATIENCE)


def _holds(ledger: Study, record: str) -> bool:
    trials = ledger.get_trials(deepcopy=False)
    return any(trial.user_attrs.get("record") == record for trial in trials)


def _distribution(key: str, values: Sequence[Any]) -> BaseDistribution:
    """The range of a factor in this study; for names all there are: Optuna wants those fixed."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    given = [value for value in values if value is not None]
    if any(isinstance(value, (bool, str)) for value in given):
        return CategoricalDistribution(sorted(_choices(key) | set(given), key=str))
    if all(isinstance(value, int) for value in given):
        return IntDistribution(min(given), max(given))
    return FloatDistribution(min(given), max(given))


def _choices(key: str) -> set[Any]:
    if key in _NAMES:
        return set(_NAMES[key])
    group, _, field = key.partition(".")
    hints = get_type_hints(GROUPS[group]) if group in GROUPS else {}
    return {v for v in get_args(hints.get(field)) if isinstance(v, str)}


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
