"""Adaptive search by many workers on one storage: ask for settings, tell what came of them.

Workers ask in turn, under a claim in the study's folder, so the budget is kept exactly and each
proposal rests on all earlier ones. The worker of a trial holds a claim on it. A trial that runs
without a claim has lost its worker, and the next worker to ask continues it under its number and
with its settings: Optuna's heartbeat does not do this for ask and tell. Every operation may be
repeated, so a server that restarts costs only the wait.

What is proposed for a trial depends on the seed, its number and what was told, not on who asks
(but for one whose worker died in the milliseconds of its being proposed).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.config.errors import ConfigError
from study.sweeping import claims
from study.sweeping.samplers import make_pruner, make_sampler, suggest
from study.sweeping.storage import Direction, patiently

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, TrialState


@dataclasses.dataclass(frozen=True)
class Asked:
    """A trial to run.

    - `number`: its name, from 0 to the budget.
    - `params`: its settings, under their config keys.
    - `resumed`: whether a worker that is gone had begun it.
    """

    number: int
    params: Mapping[str, Any]
    resumed: bool


class Search:
    """One worker's view of a search. Call `beat` every few seconds while a trial is held.

    **Arguments:**

    - `name`: of the Optuna study; made if it is not there.
    - `folder`: for the claims, shared by all workers.
    - `space`: config key -> what it may be.
    - `n_trials`: how many trials there are in all, whoever runs them; failed and pruned ones too.
    - `directions`: minimize or maximize, for each objective.
    - `heed`: called while it waits for the storage or other workers; what it raises ends the wait.

    **Raises:** `ConfigError` for a sampler or pruner that is not known, or cannot do this.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        folder: Path,
        space: Mapping[str, BaseDistribution],
        *,
        n_trials: int,
        sampler: str = "tpe",
        seed: int = 0,
        pruner: str = "none",
        directions: Sequence[Direction] = ("minimize",),
        heed: Callable[[], None] = lambda: None,
    ):
        import optuna

        if len(directions) > 1 and pruner != "none":
            raise ConfigError(f"pruner={pruner}: a search with several objectives cannot prune")
        self.n_trials = n_trials
        self._folder = folder
        self._heed = heed
        self._space = dict(space)
        self._sampler = lambda number: make_sampler(sampler, seed, number)
        self._held: dict[int, tuple[Trial, claims.Claim]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._study = patiently(
            lambda: optuna.create_study(
                storage=storage,
                study_name=name,
                sampler=self._sampler(0),
                pruner=make_pruner(pruner),
                directions=list(directions),
                load_if_exists=True,
            ),
            before_again=heed,
        )

    def ask(self) -> Asked | None:
        """The next trial: one whose worker is gone, else a new one; None if the budget is spent."""
        with self._turn() as turn:

            def beat() -> None:
                turn.beat()
                self._wait()

            return patiently(self._next, before_again=beat)

    def tell(self, number: int, value: float | Sequence[float]) -> bool:
        """Complete a trial. Returns whether this value counts: only the first that is told does.

        A value that is not finite becomes the worst there can be, because samplers learn nothing
        from trials without a value, and would go on to propose settings at which networks diverge.
        """
        from optuna.trial import TrialState

        directions = self._study.directions
        given = [float(v) for v in ([value] if isinstance(value, int | float) else value)]
        values = [
            v if math.isfinite(v) else (-math.inf if d.name == "MAXIMIZE" else math.inf)
            for v, d in zip(given, directions, strict=True)
        ]
        return self._finish(number, TrialState.COMPLETE, values).values == values

    def fail(self, number: int, error: str) -> None:
        """Give a trial up for good: it counts in the budget, but samplers do not learn from it."""
        from optuna.trial import TrialState

        self._finish(number, TrialState.FAIL, None, error)

    def prune(self, number: int) -> None:
        """End a trial early; its last reported value is its value."""
        from optuna.trial import TrialState

        self._finish(number, TrialState.PRUNED, None)

    def report(self, number: int, step: int, value: float) -> bool:
        """Tell a held trial's value so far. Returns whether it should be pruned.

        A step that was told before, perhaps by a worker that is gone, keeps its first value. A step
        that the trial has passed is not judged again.
        """
        trial, _ = self._held[number]

        def report() -> bool:
            known = trial.storage.get_trial(trial._trial_id).intermediate_values
            if max(known, default=step) > step:
                return False
            if step not in known:
                trial.report(value, step)
            return trial.should_prune()

        return self._patiently(report)

    def ended(self) -> list[FrozenTrial]:
        """The trials of the budget that are finished."""
        trials = self._patiently(lambda: self._study.get_trials(deepcopy=False))
        return [trial for trial in trials[: self.n_trials] if trial.state.is_finished()]

    def left(self) -> int:
        """Trials of the budget that are not finished: a worker stays until there are none."""
        return self.n_trials - len(self.ended())

    def beat(self) -> None:
        """Renew the claims of the trials that are held, where due."""
        for _, claim in self._held.values():
            claim.beat()

    def release(self) -> None:
        """Put the held trials back; the next worker that asks continues them."""
        for number in list(self._held):
            self._held.pop(number)[1].release()

    def _patiently(self, operation: Callable[[], Any]) -> Any:
        return patiently(operation, before_again=self._wait)

    def _wait(self) -> None:
        self.beat()
        self._heed()

    @contextlib.contextmanager
    def _turn(self) -> Iterator[claims.Claim]:
        """Wait until no other worker asks."""
        while (turn := claims.take(self._folder / "ask.lock")) is None:
            self._wait()
            time.sleep(random.uniform(0.005, 0.05))
        with turn:
            yield turn

    def _next(self) -> Asked | None:
        trials = self._study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.state.name == "RUNNING" and trial.number not in self._held:
                claim = claims.take(self._lock(trial.number))
                if claim is not None and (asked := self._begin(trial, claim, resumed=True)):
                    return asked
        if len(trials) >= self.n_trials:
            return None
        self._study.sampler = self._sampler(len(trials))
        number = self._study.ask().number
        trial = self._study.get_trials(deepcopy=False)[number]
        claim = claims.take(self._lock(number))
        asked = None if claim is None else self._begin(trial, claim, resumed=False)
        return asked or self._next()  # another took it while this turn was overslept

    def _begin(self, found: FrozenTrial, claim: claims.Claim, resumed: bool) -> Asked | None:
        """Hold a trial; None if it is finished, or beyond the budget after an overslept turn."""
        import optuna

        try:
            self._study.sampler = self._sampler(found.number)
            trial = optuna.Trial(self._study, found._trial_id)
            finished = trial.storage.get_trial(found._trial_id).state.is_finished()
            if found.number >= self.n_trials and not finished:
                self._study.tell(found.number, state=optuna.trial.TrialState.FAIL)
            elif not finished:
                # what its worker had set before it died stays as it is
                params = {key: suggest(trial, key, self._space[key]) for key in self._space}
                self._held[found.number] = (trial, claim)
                return Asked(found.number, params, resumed)
        finally:
            if found.number not in self._held:
                claim.release()
        return None

    def _finish(
        self,
        number: int,
        state: TrialState,
        values: list[float] | None,
        error: str | None = None,
    ) -> FrozenTrial:
        """Tell a trial once, even if the connection is lost or another worker tells it too."""
        from optuna.exceptions import UpdateFinishedTrialError

        trial, claim = self._held[number]

        def finish() -> FrozenTrial:
            with contextlib.suppress(UpdateFinishedTrialError):  # another was faster
                if error is not None:
                    trial.set_user_attr("error", error)
                self._study.tell(number, values, state, skip_if_finished=True)
            return trial.storage.get_trial(trial._trial_id)

        told = self._patiently(finish)
        del self._held[number]
        claim.release()
        return told

    def _lock(self, number: int) -> Path:
        return self._folder / f"trial-{number}.lock"
