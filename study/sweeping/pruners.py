"""Successive halving, with verdicts that a search which was killed repeats.

Knows: the values that trials had at each rung. Does not know: what a trial trains, or where its
rungs lie in its training.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from optuna.pruners import BasePruner

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial


class SuccessiveHalving(BasePruner):
    """Asynchronous successive halving (Li et al., 2020, arXiv:1810.05934), without promotions.

    At each step that it reports, a trial goes on if it is among the best 1/`factor` of those that
    have reported there. While fewer than `factor` have, only the best goes on. No number is worst.

    Optuna's pruner notes in the storage that a rung is passed before it says whether: asked again
    by the next worker after a death in between, it lets the trial go on. This one looks at nothing
    but the reported values, and at those of later trials only if they were there first.

    **Arguments:**

    - `factor`: one in so many goes on.
    """

    def __init__(self, factor: int):
        self.factor = factor

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to end it."""
        step = trial.last_step
        if step is None:
            return False
        value = trial.intermediate_values[step]
        others = [
            other.intermediate_values[step]
            for other in study.get_trials(deepcopy=False)
            if step in other.intermediate_values and other.number != trial.number
        ]
        if math.isnan(value):
            return True
        better = sum(other < value for other in others)
        return better >= max(1, (len(others) + 1) // self.factor)
