"""Which samplers and pruners a search may name, and how a trial's settings are drawn."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from study.config.errors import ConfigError, nearest

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

# not cmaes, which unpickles what it finds in the storage; not grid and brute force, which propose
# twice or for ever if trials are asked for
SAMPLERS = ("tpe", "random", "qmc", "nsga2", "gp")
PRUNERS = ("none", "median", "successive_halving")
FACTOR = 3  # of the trials that reach a rung, one in so many goes on
RUNGS = (1 / 27, 1 / 9, 1 / 3)  # fractions of its training at which a trial is judged


def make_sampler(name: str, seed: int, number: int) -> BaseSampler:
    """A sampler for one trial. With one seed for all, workers would propose the same.

    **Raises:** `ConfigError` for a name that is not known.
    """
    import numpy as np
    import optuna
    from optuna import samplers

    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    own = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    match name:
        case "tpe":
            return samplers.TPESampler(seed=own, constant_liar=True)
        case "random":
            return samplers.RandomSampler(seed=own)
        case "nsga2":
            return samplers.NSGAIISampler(seed=own)
        case "gp":
            return samplers.GPSampler(seed=own)
        case "qmc":  # one sequence for all: the storage counts its elements
            return samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
    raise ConfigError(f"sampler={name} is not known: {nearest(name, SAMPLERS)}")


def make_pruner(name: str) -> BasePruner:
    """**Raises:** `ConfigError` for a name that is not known."""
    from optuna import pruners

    match name:
        case "none":
            return pruners.NopPruner()
        case "median":
            return pruners.MedianPruner(n_startup_trials=8)
        case "successive_halving":
            return successive_halving(FACTOR)
    raise ConfigError(f"pruner={name} is not known: {nearest(name, PRUNERS)}")


def successive_halving(factor: int) -> BasePruner:
    """Asynchronous successive halving (Li et al., 2020, arXiv:1810.05934), without promotions.

    At each step that it reports, a trial goes on if it is among the best 1/`factor` of those that
    have reported there. While fewer than `factor` have, only the best goes on. NaN is worst.

    Optuna's own pruner notes in the storage that a rung is passed before it says whether: asked
    again by the next worker after a death in between, it lets the trial go on. This one depends
    only on the values that were reported before, so it repeats its verdict.
    """
    from optuna.pruners import BasePruner

    class SuccessiveHalving(BasePruner):
        def prune(self, study: Study, trial: FrozenTrial) -> bool:
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
            return math.isnan(value) or better >= max(1, (len(others) + 1) // factor)

    return SuccessiveHalving()


def suggest(trial: Trial, key: str, allowed: BaseDistribution) -> Any:
    """A trial's setting: the one it has, or a new one."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(allowed, CategoricalDistribution):
        return trial.suggest_categorical(key, allowed.choices)
    low, high, log = allowed.low, allowed.high, allowed.log  # type: ignore[attr-defined]
    if isinstance(allowed, FloatDistribution):
        return trial.suggest_float(key, low, high, step=allowed.step, log=log)
    assert isinstance(allowed, IntDistribution)
    return trial.suggest_int(key, low, high, step=allowed.step, log=log)
