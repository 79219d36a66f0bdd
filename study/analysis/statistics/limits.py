"""Where a verdict turns: the factors and shares that `yes` and `no` are said by, in one place.

Each is a choice that the page states beside the figure; none is derived from the data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from study.analysis.statistics.medians import Estimate

EQUIVALENT = 1.25  # two errors within this factor count as equal: no change is an answer
NEEDED = 2.0  # 'needed', 'flat' and 'holds'
BOUNDS = 2.0  # a lever bounds the squared error from this factor on
PEAKS = 1.2  # a smaller peak is not called one
NO_PEAK = 2.0  # and where none of this factor can be, there is none
PEAK_REPLICATES = 20  # with fewer the peak test finds little, or too often what is not there
PEAK_RUNGS = 11  # and so it does on a coarser ladder
BETA = 1.5  # a smaller spread over beta is not called an effect
NO_BETA = 2.0  # and where none of this factor can be, there is none
FITTED = 1 / EQUIVALENT  # N*D = P counts as fitted from so many equations a parameter on
EXPLAINED = 0.5  # R2 above which one error 'predicts' the other
EXPLAINS = 2.0  # a control within this factor of the model explains its error
INTEGRATOR = 1.5  # the same for the solver alone
SATURATED = 0.5  # a relative rollout error above this no longer grows with its cause
# The true motion counts as chaotic if it multiplies a small error by this many times the horizon
# in seconds: an integrable one multiplies it in proportion to time (Kepler: by 2 to 3 a second).
CHAOTIC = 10.0
MULTIPLIED = math.log(10)  # Lyapunov times in which chaos makes an error ten times as large
LYAPUNOV = 0.5, 2.0  # Lyapunov times that an e-fold of accuracy buys, where it buys 'one'
AT_CAP = 0.5  # of the horizon: beyond, a mean of valid times says how long was looked
AT_END = 1 - 1e-6  # of the horizon: a valid time from here on is at its cap
CONVERGED = 0.9  # an answer says so if a smaller share of its runs have converged
NEAR_FLOOR = 3.0  # an error within this factor of the noise of its labels is a third noise or more
CONTRADICTS = 0.1  # of the variance: labels off by more are another system's, or another unit's
CONSTANT = 0.5  # of a constant's error: a model with more has learnt nothing worth comparing
LARGEST = 1e100  # a larger number counts as infinite, one below its inverse as zero


def bounded(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose numbers can be squared, divided by and drawn: none beyond `LARGEST`."""
    numbers = table.select_dtypes("float")
    size = np.abs(numbers.to_numpy(float))
    large, small = (size > LARGEST) & (size < np.inf), (size < 1 / LARGEST) & (size > 0)
    if not (large | small).any():
        return table
    kept = np.where(large, np.copysign(np.inf, numbers), np.where(small, 0.0, numbers))
    return table.assign(**dict(zip(numbers.columns, kept.T, strict=True)))


@dataclass(frozen=True)
class Turn:
    """Where a verdict turns: 'yes' if a whole interval is above `yes`, 'no' if it is below `no`,
    which comes first; with `below` the answer to the opposite."""

    yes: float
    no: float
    below: bool = False

    @classmethod
    def at(cls, limit: float, *, below: bool = False) -> Turn:
        return cls(limit, limit, below)

    def verdict(self, value: Estimate) -> str:
        """'yes', 'no' or 'undecided'."""
        if not value.enough:
            return "undecided"
        if value.high < self.no:
            return "yes" if self.below else "no"
        if value.low > self.yes:
            return "no" if self.below else "yes"
        return "undecided"


# Is a ratio above 1? Not if its whole interval is below what counts as equal.
CHANGED = Turn(1.0, EQUIVALENT)
