"""Optuna as the ledger of a study: what ran, for dashboards, importance and later searches.

The cells' folders are the truth; whatever is lost here is put right by `reconcile`.
"""

import contextlib
import itertools
import logging
import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_type_hints

import optuna
from optuna import distributions
from optuna.storages import BaseStorage, JournalStorage
from optuna.trial import TrialState, create_trial

from study.config import data_files
from study.config.cell import make_cell
from study.config.schema import GROUPS
from study.core.models import ACTIVATIONS, INITS, MODELS
from study.core.systems import SYSTEMS
from study.sweeping.cell_config import read_config
from study.sweeping.claims import holder
from study.sweeping.folder import Block, Orders, StudyFolder, Survey, read_json
from study.sweeping.storage import Journal, open_storage, own_name, patiently
from study.tables.measures import MEASURES

log = logging.getLogger("study.ledger")

BATCH = 1.0  # seconds of which the records go into a journal together
PEACE = 60.0  # seconds in which a storage that did not answer is not asked again
PATIENCE = 5.0  # seconds to wait for a server; few, because no block is to wait for its record
OBJECTIVE = "test_nmse_median"
_NAMES = {
    "system": SYSTEMS,
    "model": MODELS,
    "model.activation": ACTIVATIONS,
    "model.init": INITS,
    "precision": ("float32", "float64"),
    "optimizer": ("adam",),
}


def open_ledger(
    folder: StudyFolder, storage: str | None, patience: float = PATIENCE
) -> optuna.Study:
    """The study's ledger, made if there is none; `storage` as in `study.yaml`.

    **Raises:** `ConfigError` if the storage cannot be opened within `patience` seconds.
    """
    opened = open_storage(storage, folder.root / "ledger.log", patience)
    return patiently(lambda: _study(opened, folder, storage), patience)


def _study(opened: BaseStorage, folder: StudyFolder, storage: str | None) -> optuna.Study:
    name = folder.name if storage is None else own_name(opened, folder.name, folder.owner())
    return optuna.create_study(storage=opened, study_name=name, load_if_exists=True)


class Book:
    """An open ledger to write to. Its methods raise whatever the storage raises."""

    def __init__(self, ledger: optuna.Study, folder: StudyFolder, orders: Orders):
        self._ledger, self._folder = ledger, folder
        self._distributions = {k: _distribution(k, v) for k, v in orders.swept.items()}

    def done(self, block: Block, about: Mapping[str, Any]) -> None:
        """One committed block as one completed trial: its value is the median over replicates."""
        known = about.get("measures") or {}
        shown = [measure.column for measure in MEASURES.values() if measure.shown]
        measures = {name: known[name] for name in [*shown, "train_seconds"] if name in known}
        value = measures.get(OBJECTIVE, math.nan)
        # a block all of whose replicates diverged is done, but has no value to complete with
        self._add(block, about.get("factors"), value, {**measures, "diverged": math.isnan(value)})

    def failed(self, block: Block, error: str) -> None:
        """One failed attempt at a block as one failed trial."""
        self._add(block, None, math.nan, {"error": error, "diverged": False})

    def _add(
        self,
        block: Block,
        factors: Mapping[str, Any] | None,
        value: float,
        attributes: Mapping[str, Any],
    ) -> None:
        if factors is None:
            config = read_config(self._folder.cell(block.cell) / "config.yaml")
            data_files.supply(config, self._folder.root)
            factors = make_cell(config, compile=config["compile"]).factors()
        params = {k: factors[k] for k in self._distributions if factors.get(k) is not None}
        complete = not math.isnan(value)
        attrs = {"record": uuid.uuid4().hex, "cell": block.cell, "block": block.number}
        # JSON has no NaN
        attrs |= {
            k: None if isinstance(v, float) and not math.isfinite(v) else v
            for k, v in attributes.items()
        }
        trial = create_trial(
            state=TrialState.COMPLETE if complete else TrialState.FAIL,
            value=value if complete else None,
            params=params,
            distributions={key: self._distributions[key] for key in params},
            user_attrs=attrs,
        )
        tries = itertools.count()

        def add() -> None:
            # a connection may be lost when the trial is in, and only the answer is not
            if next(tries):
                trials = self._ledger.get_trials(deepcopy=False)
                if any(t.user_attrs.get("record") == attrs["record"] for t in trials):
                    return
            self._ledger.add_trial(trial)

        patiently(add, PATIENCE)


class Recorder:
    """Writes what a worker did into the ledger; no error of the ledger costs a block.

    What cannot be recorded is left to `reconcile`. A storage that did not answer is not asked for a
    while. A journal takes the records of about a second together: `flush` it now and then.
    """

    def __init__(self, folder: StudyFolder, orders: Orders):
        self._folder, self._orders = folder, orders
        self._book: Book | None = None
        self._journal: Journal | None = None
        self._flushed = self._not_before = 0.0

    def done(self, block: Block, about: Mapping[str, Any]) -> None:
        """A committed block; `about` is what its `run.json` says."""
        self._write(lambda book: book.done(block, about))

    def failed(self, block: Block, error: str) -> None:
        """A failed attempt at a block."""
        self._write(lambda book: book.failed(block, error))

    def flush(self, *, at_once: bool = False) -> None:
        """Append the records that are held back, after a second or with `at_once`."""
        now = time.monotonic()
        if self._journal is not None and (at_once or now - self._flushed >= BATCH):
            self._flushed = now
            with self._harmless():
                self._journal.flush()

    def _write(self, entry: Callable[[Book], None]) -> None:
        if time.monotonic() >= self._not_before:
            with self._harmless():
                entry(self._book or self._open())
            self.flush()

    def _open(self) -> Book:
        if self._orders.storage is None:
            self._journal = Journal(self._folder.root / "ledger.log")
            ledger = _study(JournalStorage(self._journal), self._folder, None)
            self._journal.holding = True
        else:
            ledger = open_ledger(self._folder, self._orders.storage)
        self._book = Book(ledger, self._folder, self._orders)
        return self._book

    @contextlib.contextmanager
    def _harmless(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._book = self._journal = None
            self._not_before = time.monotonic() + PEACE
            log.warning("not recorded in the ledger: %s", error)


def reconcile(ledger: optuna.Study, folder: StudyFolder, orders: Orders) -> int:
    """Record blocks whose worker died between commit and record; returns how many.

    A block whose claim is held, or that was done just now while others run, is left to its worker.
    """
    seen = list(Survey(folder, orders).look())
    # a live worker may not have flushed its last records yet
    working = any(s.locked and not s.done for s in seen)
    settled = time.time() - 10 * BATCH if working else math.inf
    ripe = [
        s.block
        for s in seen
        if s.done
        and not (s.locked and (by := holder(s.block.lock)) and by.alive)
        and s.block.folder.stat().st_ctime < settled
    ]
    known = {
        (trial.user_attrs.get("cell"), trial.user_attrs.get("block"))
        for trial in patiently(lambda: ledger.get_trials(deepcopy=False), PATIENCE)
        if trial.state == TrialState.COMPLETE or trial.user_attrs.get("diverged")
    }
    book = Book(ledger, folder, orders)
    missing = [block for block in ripe if (block.cell, block.number) not in known]
    for block in missing:
        book.done(block, _about(block))
    return len(missing)


def _about(block: Block) -> dict[str, Any]:
    """What a block's `run.json` says; its measures from the table if it does not say them."""
    about = read_json(block.folder / "run.json") or {}
    if "measures" not in about:
        from pyarrow import parquet

        from study.block.run import medians

        rows = parquet.read_table(block.folder / "replicates.parquet").to_pylist()
        about["measures"] = medians(rows)
    return about


def _distribution(key: str, values: Sequence[Any]) -> distributions.BaseDistribution:
    """The range of a factor in this study; of names all there are, which Optuna wants fixed."""
    given = [value for value in values if value is not None]
    if any(isinstance(value, (bool, str)) for value in given):
        group, _, field = key.partition(".")
        hints = get_type_hints(GROUPS[group]) if group in GROUPS else {}
        known = _NAMES.get(key) or [n for n in get_args(hints.get(field)) if isinstance(n, str)]
        return distributions.CategoricalDistribution(sorted({*known, *given}, key=str))
    if all(isinstance(value, int) for value in given):
        return distributions.IntDistribution(min(given), max(given))
    return distributions.FloatDistribution(min(given), max(given))
