"""Which samplers and pruners a search may name, and how a trial's settings are drawn from one.

Knows: Optuna's samplers, and which of them may be asked by many workers. Does not know: storages.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from study.config.errors import ConfigError, nearest

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

# cmaes is left out, since it unpickles what it finds in the storage; grid and brute force, since
# they propose twice or for ever where trials are asked for
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
        case "qmc":  # one sequence, whose next element the storage counts
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
            from study.sweeping.pruners import SuccessiveHalving

            return SuccessiveHalving(FACTOR)
    raise ConfigError(f"pruner={name} is not known: {nearest(name, PRUNERS)}")


def suggest(trial: Trial, key: str, allowed: BaseDistribution) -> Any:
    """A trial's setting: the one it has, or a new one."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match allowed:
        case FloatDistribution():
            return trial.suggest_float(
                key, allowed.low, allowed.high, step=allowed.step, log=allowed.log
            )
        case IntDistribution():
            return trial.suggest_int(
                key, allowed.low, allowed.high, step=allowed.step, log=allowed.log
            )
        case CategoricalDistribution():
            return trial.suggest_categorical(key, allowed.choices)
    raise TypeError(f"{key}: {allowed} is none of Optuna's distributions")
