"""Adaptive search by many workers on one storage: ask for settings, tell what came of them.

Workers ask in turn, under a claim in the study's folder, so the budget is kept exactly. A trial
that runs without a claim has lost its worker: the next one to ask continues it, as it was set.
Proposals depend on the seed, the trial's number and what was told, not on who asks.
"""

import contextlib
import dataclasses
import functools
import importlib.util
import inspect
import math
import random
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna import distributions, pruners, samplers
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from study.config.errors import ConfigError, first_line, nearest
from study.sweeping import claims
from study.sweeping.storage import patiently


class CmaEs(samplers.CmaEsSampler):
    """CMA-ES (Hansen, 2016, arXiv:1604.00772) whose state is found anew from the trials.

    Optuna's own pickles it into the storage, and unpickles what it finds there.
    """

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> None:
        self._completed = completed_trials

    def _init_optimizer(self, trans: Any, direction: StudyDirection) -> Any:
        optimizer = super()._init_optimizer(trans, direction)
        while True:
            told = self._get_solution_trials(self._completed, optimizer.generation)
            if len(told) < optimizer.population_size:
                return optimizer
            solutions: Any = [
                (
                    np.array(trial.system_attrs["x_for_tell"])
                    if self._with_margin
                    else trans.transform(trial.params),
                    trial.value,
                )
                for trial in told[: optimizer.population_size]
            ]
            optimizer.tell(solutions)


# not grid and brute force, which propose twice or for ever if trials are asked for
SAMPLERS: dict[str, Callable[..., samplers.BaseSampler]] = {
    "tpe": functools.partial(samplers.TPESampler, constant_liar=True),
    "random": samplers.RandomSampler,
    "qmc": functools.partial(samplers.QMCSampler, scramble=True, warn_independent_sampling=False),
    "nsga2": samplers.NSGAIISampler,
    "nsga3": samplers.NSGAIIISampler,
    "gp": samplers.GPSampler,
    "cmaes": functools.partial(CmaEs, warn_independent_sampling=False),
}
FACTOR = 3  # of the trials that reach a rung, one in so many goes on
RUNGS = (1 / 27, 1 / 9, 1 / 3)  # fractions of its training at which a trial is judged


class SuccessiveHalving(pruners.BasePruner):
    """Asynchronous successive halving (Li et al., 2020, arXiv:1810.05934), without promotions.

    At each step that it reports, a trial goes on if it is among the best 1/`FACTOR` of those that
    have reported there. While fewer than `FACTOR` have, only the best goes on. NaN is worst.

    Optuna's own pruner notes in the storage that a rung is passed before it says whether: asked
    again by the next worker after a death in between, it lets the trial go on. This one depends
    only on the values that were reported before, so it repeats its verdict.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        if step is None:
            return False
        value = trial.intermediate_values[step]
        others = [
            other.intermediate_values[step]
            for other in study.get_trials(deepcopy=False)
            if step in other.intermediate_values and other.number != trial.number
        ]
        better = sum(other < value for other in others)
        return math.isnan(value) or better >= max(1, (len(others) + 1) // FACTOR)


PRUNERS = {
    "none": pruners.NopPruner(),
    "median": pruners.MedianPruner(n_startup_trials=8),
    "successive_halving": SuccessiveHalving(),
}


@dataclasses.dataclass(frozen=True)
class Asked:
    """A trial to run: its number, its settings under their config keys, and whether a worker that
    is gone had begun it."""

    number: int
    params: Mapping[str, Any]
    resumed: bool


class Search:
    """One worker's view of a search. Call `beat` every few seconds while a trial is held.

    - `name`: of the Optuna study; made if it is not there.
    - `folder`: for the claims, shared by all workers.
    - `n_trials`: how many trials there are in all, whoever runs them; failed and pruned ones too.
    - `n_objectives`: how many values each trial has; all are minimised.
    - `options`: of the sampler; `enqueued`: settings of the first trials, some keys or all.
    - `heed`: called while it waits for the storage or other workers; what it raises ends the wait.
    """

    def __init__(
        self,
        storage: optuna.storages.BaseStorage,
        name: str,
        folder: Path,
        space: Mapping[str, distributions.BaseDistribution],
        *,
        n_trials: int,
        sampler: str = "tpe",
        seed: int = 0,
        pruner: str = "none",
        n_objectives: int = 1,
        heed: Callable[[], None] = lambda: None,
        options: Mapping[str, Any] | None = None,
        enqueued: Sequence[Mapping[str, Any]] = (),
    ):
        self.n_trials, self._enqueued = n_trials, enqueued
        self._folder, self._heed, self._space = folder, heed, dict(space)
        self._sampler = lambda number: _make_sampler(sampler, seed, number, options or {})
        self._held: dict[int, tuple[optuna.Trial, claims.Claim]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._study = self._patiently(
            lambda: optuna.create_study(
                storage=storage,
                study_name=name,
                sampler=self._sampler(0),
                pruner=PRUNERS[pruner],
                directions=[StudyDirection.MINIMIZE] * n_objectives,
                load_if_exists=True,
            )
        )

    def ask(self) -> Asked | None:
        """The next trial: one whose worker is gone, else a new one; None if the budget is spent."""
        while (turn := claims.take(self._folder / "ask.lock")) is None:  # another worker asks
            self._wait()
            time.sleep(random.uniform(0.005, 0.05))

        def beat() -> None:
            turn.beat()
            self._wait()

        with turn:
            return patiently(self._next, before_again=beat)

    def tell(self, number: int, value: float | Sequence[float]) -> bool:
        """Complete a trial. Returns whether this value counts: only the first that is told does.

        A value that is not finite becomes the worst there can be, because samplers learn nothing
        from trials without a value, and would go on to propose settings at which networks diverge.
        """
        given = [float(v) for v in ([value] if isinstance(value, int | float) else value)]
        values = [v if math.isfinite(v) else math.inf for v in given]
        return self._finish(number, TrialState.COMPLETE, values).values == values

    def fail(self, number: int, error: str) -> None:
        """Give a trial up for good: it counts in the budget, but samplers do not learn from it."""
        self._finish(number, TrialState.FAIL, None, error)

    def prune(self, number: int) -> None:
        """End a trial early; its last reported value is its value."""
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
        """Renew the claims of the trials that are held, if it is time."""
        for _, claim in self._held.values():
            claim.beat()

    def release(self) -> None:
        """Put the held trials back; the next worker that asks continues them."""
        while self._held:
            self._held.popitem()[1][1].release()

    def _patiently(self, operation: Callable[[], Any]) -> Any:
        return patiently(operation, before_again=self._wait)

    def _wait(self) -> None:
        self.beat()
        self._heed()

    def _next(self) -> Asked | None:
        trials = self._study.get_trials(deepcopy=False)
        for trial in trials:
            lost = trial.state == TrialState.RUNNING and trial.number not in self._held
            if lost and (asked := self._begin(trial, resumed=True)):
                return asked
        if len(trials) >= self.n_trials:
            return None
        self._study.sampler = self._sampler(len(trials))
        number = self._study.ask().number
        trial = self._study.get_trials(deepcopy=False)[number]
        # else another took it while this turn was overslept
        return self._begin(trial, resumed=False) or self._next()

    def _begin(self, frozen: FrozenTrial, resumed: bool) -> Asked | None:
        """Hold a trial; None if another worker has it, it is finished, or beyond the budget after
        an overslept turn."""
        claim = claims.take(self._folder / f"trial-{frozen.number}.lock")
        if claim is None:
            return None
        try:
            self._study.sampler = self._sampler(frozen.number)
            if frozen.number < len(self._enqueued) and not frozen.state.is_finished():
                fixed = dict(self._enqueued[frozen.number])  # what Optuna keeps it under, too
                with contextlib.suppress(UpdateFinishedTrialError):
                    storage = self._study._storage
                    storage.set_trial_system_attr(frozen._trial_id, "fixed_params", fixed)
            trial = optuna.Trial(self._study, frozen._trial_id)
            finished = trial.storage.get_trial(frozen._trial_id).state.is_finished()
            if frozen.number >= self.n_trials and not finished:
                self._study.tell(frozen.number, state=TrialState.FAIL)
            elif not finished:
                # what its worker had set before it died stays as it is
                params = {key: suggest(trial, key, self._space[key]) for key in self._space}
                self._held[frozen.number] = (trial, claim)
                return Asked(frozen.number, params, resumed)
        finally:
            if frozen.number not in self._held:
                claim.release()
        return None

    def _finish(
        self, number: int, state: TrialState, values: list[float] | None, error: str | None = None
    ) -> FrozenTrial:
        """Tell a trial once, even if the connection is lost or another worker tells it too."""
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


def suggest(trial: optuna.Trial, key: str, allowed: distributions.BaseDistribution) -> Any:
    """A trial's setting: the one it has, or a new one."""
    match allowed:
        case distributions.CategoricalDistribution():
            return trial.suggest_categorical(key, allowed.choices)
        case distributions.FloatDistribution(low=low, high=high, step=step, log=log):
            return exact(allowed, trial.suggest_float(key, low, high, step=step, log=log))
        case distributions.IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(key, low, high, step=step, log=log)
    raise TypeError(f"{key}: {allowed} is none of Optuna's distributions")


def exact(allowed: distributions.BaseDistribution, value: Any) -> Any:
    """A trial's setting, if its range has a step in decimals: 0.3, not 0.30000000000000004."""
    stepped = isinstance(allowed, distributions.FloatDistribution) and allowed.step
    return float(f"{value:.12g}") if stepped else value


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that a sampler does not take. **Raises:** `ConfigError`."""
    if name == "cmaes" and importlib.util.find_spec("cmaes") is None:
        raise ConfigError(
            "search=cmaes: cmaes is not installed: pip install 'lagrangian-study[cmaes]'"
        )
    known = set(inspect.signature(SAMPLERS[name]).parameters) - {"seed"}
    for key, value in options.items():
        where = f"search.sampler_options.{key}={value}"
        if key == "seed":
            raise ConfigError(f"{where}: a search has its seed from search.seed")
        if key not in known:
            hint = nearest(key, known) if known else "it has none"
            raise ConfigError(f"{where} is no option of search.sampler={name}: {hint}")
    try:
        _make_sampler(name, 0, 0, options)
    except Exception as error:  # whatever a sampler raises for values it does not take
        raise ConfigError(f"search.sampler_options={dict(options)}: {first_line(error)}") from None


def _make_sampler(
    name: str, seed: int, number: int, options: Mapping[str, Any]
) -> samplers.BaseSampler:
    """A sampler for one trial. With one seed for all, workers would propose the same."""
    warnings.filterwarnings("ignore", category=ExperimentalWarning)
    if name != "qmc":  # which is one sequence for all: the storage counts its elements
        seed = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    return SAMPLERS[name](seed=seed, **options)
