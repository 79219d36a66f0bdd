"""A worker's part in the searches of its study: ask, have the cell trained, tell.

Knows: the searches, their records. Does not know: how a block is claimed, trained and committed:
the worker, which hands in its `attempt`, does.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import random
import time
from collections.abc import Callable
from pathlib import Path

from study.config import inputs
from study.config.cell import SearchConfig
from study.config.errors import ConfigError
from study.sweeping import cost, trials
from study.sweeping.files import read_json, write_config
from study.sweeping.folder import Block, Orders, StudyFolder
from study.sweeping.samplers import RUNGS
from study.sweeping.search import Asked, Search
from study.sweeping.searches import SearchSpec, choices
from study.sweeping.space import at_edge
from study.sweeping.storage import Direction, open_storage, own_name
from study.sweeping.trials import NO_CELL, Best, TrialRecord

POLL = 1.0  # seconds between looks while another trains the same cell


@dataclasses.dataclass
class Trial:
    """A trial in hand, as whoever trains its block sees it.

    - `pruned`: once it is judged hopeless.
    - `trained`: the share of its steps after which it was.
    - `value`: its error as it was last judged.
    """

    search: Search
    number: int
    rungs: tuple[float, ...]
    limit: float
    pruned: bool = False
    trained: float = 1.0
    value: float | None = None

    def verdict(self, rung: int, value: float) -> bool:
        """Whether it is worth going on with; as `Trainer.run` asks."""
        self.value = value
        # rungs in units of the first: 1, 3, 9, as successive halving counts
        self.pruned = self.search.report(
            self.number, round(self.rungs[rung] / self.rungs[0]), value
        )
        return not self.pruned


Attempt = Callable[[Block, Trial], bool]


class Searcher:
    """What a worker remembers of the searches it takes part in.

    `heed` is called while a database or others are waited for; it raises where that is to end.
    """

    def __init__(self, folder: StudyFolder, orders: Orders, heed: Callable[[], None]):
        self._folder, self._orders, self._heed = folder, orders, heed
        self._open = [SearchSpec.from_dict(search) for search in orders.searches]
        self._searches: dict[str, Search] = {}

    def step(self, attempt: Attempt, given_up: Callable[[Block], bool]) -> bool | None:
        """Run one trial. False where others run all that are left; None where none is left.

        **Raises:** what `attempt` raises; the trial is then free.
        """
        for spec in list(self._open):
            search = self._search(spec)
            asked = search.ask()
            if asked is not None:
                try:
                    self._run(spec, search, asked, attempt, given_up)
                finally:
                    search.release()
                return True
            if not search.left():
                self._finish(spec)
                self._open.remove(spec)
        return False if self._open else None

    def beat(self) -> None:
        """Renew the claims of trials in hand."""
        for search in self._searches.values():
            search.beat()

    @functools.cached_property
    def _settings(self) -> SearchConfig:
        return SearchConfig(**self._orders.search)

    def _search(self, spec: SearchSpec) -> Search:
        if spec.name not in self._searches:
            settings = self._settings
            storage = open_storage(self._orders.storage, self._folder.root / "ledger.log")
            directions: list[Direction] = ["minimize"] * len(settings.objectives)
            name = f"{self._folder.name}: {spec.label}"
            if self._orders.storage is not None:
                name = own_name(storage, name, self._folder.owner(), directions)
            self._searches[spec.name] = Search(
                storage,
                name,
                trials.folder_of(self._folder, spec.name),
                spec.distributions(),
                n_trials=settings.n_trials,
                sampler=settings.sampler,
                seed=(spec.seed + settings.seed) % 2**31,
                pruner=settings.pruner,
                directions=directions,
                heed=self._heed,
            )
        return self._searches[spec.name]

    def _run(
        self,
        spec: SearchSpec,
        search: Search,
        asked: Asked,
        attempt: Attempt,
        given_up: Callable[[Block], bool],
    ) -> None:
        folder = trials.folder_of(self._folder, spec.name)
        try:
            inputs.supply(spec.configs[choices(asked.params)], self._folder.root)
            cell = spec.cell(asked.params)
        except ConfigError as error:  # settings that exclude each other
            record = TrialRecord(asked.number, NO_CELL, dict(asked.params), "impossible")
            trials.write_trial(folder, dataclasses.replace(record, error=str(error)))
            search.fail(asked.number, str(error))
            return
        record = TrialRecord(asked.number, cell.hash, dict(asked.params), "running")
        trials.write_trial(folder, record)
        block = self._folder.block(cell.hash, 0)
        write_config(block.folder.parent / "config.yaml", cell.as_dict())
        limit = self._orders.limit(cell.hash, cost.block_seconds(cell))
        rungs = RUNGS if self._settings.pruner != "none" else ()
        trial = Trial(search, asked.number, rungs, limit)
        all_steps = cell.optimizer.steps + cell.optimizer.iterations
        while not (block.done or trial.pruned or given_up(block)):
            if not attempt(block, trial):
                search.beat()
                time.sleep(POLL * random.uniform(0.5, 1.5))
        # recorded first: who dies in between leaves a trial that is asked for, and told, again
        if trial.pruned:
            ended = dataclasses.replace(record, state="pruned", trained=trial.trained)
            steps = round(trial.trained * all_steps)
            trials.write_trial(folder, dataclasses.replace(ended, steps=steps, last=trial.value))
            search.prune(asked.number)
        elif block.done:
            measures = (read_json(block.folder / "run.json") or {}).get("measures", {})
            values = tuple(measures.get(name, math.inf) for name in self._settings.objectives)
            trained = 0.0 if _trained_before(folder, record) else 1.0
            ended = dataclasses.replace(record, state="complete", values=values, trained=trained)
            steps = round(trained * all_steps)
            trials.write_trial(folder, dataclasses.replace(ended, steps=steps))
            search.tell(asked.number, values)
        else:
            failures = block.failures(self._orders.run)  # none where the disk refused them
            error = str(failures[-1].get("error", "")) if failures else "nothing could be written"
            trials.write_trial(folder, dataclasses.replace(record, state="failed", error=error))
            search.fail(asked.number, error)

    def _finish(self, spec: SearchSpec) -> None:
        """Note the best cell; whoever sees the end writes the same."""
        folder = trials.folder_of(self._folder, spec.name)
        done = [r for r in trials.read_trials(folder) if r.state == "complete"]
        if len(self._settings.objectives) > 1 or not done:
            return
        best = min(done, key=lambda record: (record.values[0], record.number))
        allowed = spec.distributions()
        edges = {k: v for k, v in best.params.items() if at_edge(allowed[k], v)}
        trials.write_best(folder, Best(best.cell, best.number, best.values[0], edges))


def _trained_before(folder: Path, record: TrialRecord) -> bool:
    """Whether another trial of a search had the same cell, and so has trained it."""
    return any(
        other.cell == record.cell and other.state == "complete" and other.number != record.number
        for other in trials.read_trials(folder)
    )
