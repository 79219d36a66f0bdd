"""A worker's part in the searches of its study: ask, have the cell trained, tell."""

import contextlib
import dataclasses
import functools
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from optuna.trial import FrozenTrial

from study.config import data_files
from study.config.cell import Cell
from study.config.errors import ConfigError
from study.config.run import SearchConfig
from study.sweeping import cost
from study.sweeping.cell_config import write_config
from study.sweeping.folder import Block, Orders, StudyFolder, read_json
from study.sweeping.search import RUNGS, Asked, Search, exact
from study.sweeping.space import SearchSpec, at_edge, choices
from study.sweeping.storage import open_storage, own_name
from study.tables import records
from study.tables.records import NO_CELL, Best, TrialRecord

POLL = 1.0  # seconds between looks while another worker trains the same cell


@dataclasses.dataclass
class Trial:
    """A trial that this worker holds, as the code that trains its block sees it."""

    search: Search
    number: int
    rungs: tuple[float, ...]
    limit: float
    pruned: bool = False  # judged hopeless
    trained: float = 1.0  # the share of its steps after which
    value: float | None = None  # its error as it was last judged

    def verdict(self, rung: int, value: float) -> bool:
        """Whether it is worth going on with; as `Trainer.run` asks."""
        self.value = value
        # rungs in units of the first: 1, 3, 9, as successive halving counts
        step = round(self.rungs[rung] / self.rungs[0])
        self.pruned = self.search.report(self.number, step, value)
        return not self.pruned


class Searcher:
    """What a worker remembers of the searches it takes part in.

    - `attempt`: claims, trains and commits a block; False if another worker has it.
    - `given_up`: whether a block has failed too often.
    - `heed`: called while it waits for a database or other workers; what it raises ends the wait.
    """

    def __init__(
        self,
        folder: StudyFolder,
        orders: Orders,
        attempt: Callable[[Block, Trial], bool],
        given_up: Callable[[Block], bool],
        heed: Callable[[], None],
    ):
        self._folder, self._orders, self._heed = folder, orders, heed
        self._attempt, self._given_up = attempt, given_up
        self._open = [SearchSpec.from_dict(search) for search in orders.searches]
        self._searches: dict[str, Search] = {}

    def step(self) -> bool | None:
        """Run one trial. False if others run all that are left; None if none is left."""
        for spec in list(self._open):
            search = self._search(spec)
            if asked := search.ask():
                try:
                    self._run(spec, search, asked)
                finally:
                    search.release()
                return True
            if not search.left():
                self._finish(spec, search)
                self._open.remove(spec)
        return False if self._open else None

    def beat(self) -> None:
        """Renew the claims of the trials that are held."""
        for search in self._searches.values():
            search.beat()

    @functools.cached_property
    def _settings(self) -> SearchConfig:
        return SearchConfig(**self._orders.search)

    def _search(self, spec: SearchSpec) -> Search:
        if spec.name in self._searches:
            return self._searches[spec.name]
        settings = self._settings
        storage = open_storage(self._orders.storage, self._folder.root / "ledger.log")
        n_objectives = len(settings.objectives)
        name = spec.study_name(self._folder.name)
        if self._orders.storage is not None:
            name = own_name(storage, name, self._folder.owner(), n_objectives)
        self._searches[spec.name] = search = Search(
            storage,
            name,
            records.folder_of(self._folder.root, spec.name),
            spec.distributions(),
            n_trials=settings.n_trials,
            sampler=settings.sampler,
            seed=(spec.seed + settings.seed) % 2**31,
            pruner=settings.pruner,
            n_objectives=n_objectives,
            heed=self._heed,
            options=settings.sampler_options,
            enqueued=settings.enqueue,
        )
        return search

    def _run(self, spec: SearchSpec, search: Search, asked: Asked) -> None:
        record = TrialRecord(asked.number, NO_CELL, dict(asked.params), "running")
        try:
            cell = self._cell(spec, asked.params)
        except ConfigError as error:  # settings that exclude each other
            self._write(spec, record, state="impossible", error=str(error))
            search.fail(asked.number, str(error))
            return
        record = self._write(spec, record, cell=cell.hash, unused=spec.unused(dict(asked.params)))
        block = self._folder.block(cell.hash, 0)
        write_config(block.folder.parent / "config.yaml", cell.as_dict())
        limit = self._orders.limit(cell.hash, cost.block_seconds(cell))
        rungs = RUNGS if self._settings.pruner != "none" else ()
        trial = Trial(search, asked.number, rungs, limit)
        while not (block.done or trial.pruned or self._given_up(block)):
            if not self._attempt(block, trial):
                search.beat()
                time.sleep(POLL * random.uniform(0.5, 1.5))
        # recorded first: if a worker dies in between, the trial is asked for, and told, again
        if trial.pruned:
            self._write(spec, record, **_ended(cell, "pruned", trial.trained), last=trial.value)
            search.prune(asked.number)
        elif block.done:
            measures = (read_json(block.folder / "run.json") or {}).get("measures", {})
            values = tuple(measures.get(name, math.inf) for name in self._settings.objectives)
            ended = _ended(cell, "complete", self._trained(spec, record))
            self._write(spec, record, **ended, values=values)
            search.tell(asked.number, values)
        else:
            failures = block.failures(self._orders.run)  # none if the disk refused them
            error = str(failures[-1].get("error", "")) if failures else "nothing could be written"
            self._write(spec, record, state="failed", error=error)
            search.fail(asked.number, error)

    def _finish(self, spec: SearchSpec, search: Search) -> None:
        """Make the records whole, and note the best cell; every worker writes the same."""
        written = {record.number: record for record in self._records(spec)}
        for told in search.ended():
            if told.number not in written or written[told.number].state == "running":
                self._restore(spec, told)
        done = [record for record in self._records(spec) if record.state == "complete"]
        if len(self._settings.objectives) > 1 or not done:
            return
        best = min(done, key=lambda record: (record.values[0], record.number))
        allowed = spec.distributions()
        used = {k: v for k, v in best.params.items() if k not in best.unused}
        edges = {k: v for k, v in used.items() if at_edge(k, allowed[k], v)}
        best = Best(best.cell, best.number, best.values[0], edges)
        records.write_best(self._folder.root, spec.name, best)

    def _restore(self, spec: SearchSpec, told: FrozenTrial) -> None:
        """Write the record of a finished trial whose own a loss of power tore, or took back."""
        error = str(told.user_attrs.get("error", ""))
        allowed = spec.distributions()
        params = {key: exact(allowed[key], value) for key, value in told.params.items()}
        record = TrialRecord(told.number, NO_CELL, params, "impossible", error=error)
        changes: dict[str, Any] = {}
        with contextlib.suppress(ConfigError, KeyError):
            cell = self._cell(spec, params)
            record = dataclasses.replace(record, cell=cell.hash, unused=spec.unused(params))
            match told.state.name:
                case "COMPLETE":
                    changes = _ended(cell, "complete", self._trained(spec, record))
                    changes["values"] = tuple(told.values or ())
                case "PRUNED":  # at a rung, of which the storage has the number and the value
                    changes = _ended(cell, "pruned", RUNGS[0] * (told.last_step or 0))
                    changes["last"] = told.value
                case _:
                    changes["state"] = "failed"
        self._write(spec, record, **changes)

    def _cell(self, spec: SearchSpec, params: Mapping[str, Any]) -> Cell:
        """The cell with a trial's settings. **Raises:** `ConfigError` if they exclude each other,
        `KeyError` if some are missing."""
        data_files.supply(spec.configs[choices(params)], self._folder.root)
        return spec.cell(params)

    def _records(self, spec: SearchSpec) -> Iterator[TrialRecord]:
        return records.read_trials(self._folder.root, spec.name)

    def _write(self, spec: SearchSpec, record: TrialRecord, **changes: Any) -> TrialRecord:
        record = dataclasses.replace(record, **changes)
        records.write_trial(self._folder.root, spec.name, record)
        return record

    def _trained(self, spec: SearchSpec, record: TrialRecord) -> float:
        """The share of its steps that a complete trial took: none if another trained its cell."""
        before = any(
            other.cell == record.cell
            and other.state == "complete"
            and other.trained > 0
            and other.number != record.number
            for other in self._records(spec)
        )
        return 0.0 if before else 1.0


def _ended(cell: Cell, state: str, trained: float) -> dict[str, Any]:
    steps = round(trained * (cell.optimizer.steps + cell.optimizer.iterations))
    return {"state": state, "trained": trained, "steps": steps}
