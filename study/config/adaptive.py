"""`replicates=auto`: how well a cell is known, and which cells are to have another block.

Knows: replicates of one cell, the settings, the rule. Does not know: folders, workers, tables.

The rule is the greedy one, the widest interval first, made such that many workers may follow it.
One block more leaves an interval of k blocks about sqrt(k / (k + 1)) as wide, so all cells that are
wider than what that leaves of the widest would each come before the widest comes again: they are
asked for together. Nothing is asked for while blocks are missing that could have changed the
choice, so what is asked for depends on the blocks alone and not on who was faster. Where the budget
covers all that could be asked for, no choice is to be made, and no cell waits for another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from study.analysis.statistics.medians import Estimate, medians, worst_for_nonfinite
from study.config.errors import ConfigError
from study.config.schema import STRICT, Positive

# measures whose medians a page shows; what a replicate without a number counts as
WORST = {
    "test_nmse_median": math.inf,
    "test_nmse": math.inf,
    "test_nmse_in_range": math.inf,
    "train_nmse": math.inf,
    "rollout_error": math.inf,
    "valid_time": 0.0,
    "energy_drift": math.inf,
}


@dataclass(frozen=True, config=STRICT)
class AutoConfig:
    """What `replicates=auto` aims at.

    - `measure`: whose median over a cell's replicates is to be known.
    - `precision`: how well: both ends of its interval within a factor 1 + precision of it.
    - `budget`: blocks to add in all, after each cell's first; None for as many as that takes.
    - `most`: blocks that one cell may have, so that a hopeless one does not take all.
    """

    measure: Literal[
        "test_nmse_median",
        "test_nmse",
        "test_nmse_in_range",
        "train_nmse",
        "rollout_error",
        "valid_time",
        "energy_drift",
    ]
    precision: Positive
    budget: int | None
    most: Annotated[int, Field(ge=2)]

    def __post_init__(self) -> None:
        if self.budget is not None and self.budget < 1:
            raise ConfigError(
                f"auto.budget={self.budget} is less than one block: give the number of blocks to "
                "add in all, or null for as many as auto.precision takes"
            )


class Standing(NamedTuple):
    """How a cell stands: blocks that are done, the half-width of its interval.

    - `waiting`: a block of it has been asked for and is not done yet.
    - `failed`: a block of it was given up.
    """

    blocks: int
    half_width: float
    waiting: bool = False
    failed: bool = False

    def stopped(self, settings: AutoConfig) -> str:
        """Why it is to have no more, or nothing; what is left of the budget apart."""
        if self.failed:
            return "a block failed"
        if self.half_width <= settings.precision:
            return "precision reached"
        return "most blocks" if self.blocks >= settings.most else ""


def estimate(values: np.ndarray, data_seeds: np.ndarray, measure: str) -> Estimate:
    """The median over a cell's replicates, with the interval that pages show.

    **Arguments:**

    - `values`: (n,) the measure of each replicate, in their order.
    - `data_seeds`: (n,) of each; where some are equal, data seeds are what is drawn.
    """
    table = worst_for_nonfinite(values, np.inf)[:, None]
    shared = len(np.unique(data_seeds)) < len(data_seeds)
    return medians(table, WORST[measure], data_seeds if shared else None).estimate(0)


def half_width(known: Estimate) -> float:
    """The precision p of a median: both ends of its interval lie within a factor 1 + p of it.

    Infinite below `ENOUGH` replicates, for an end that is, and where there is no factor.
    """
    if not known.enough:
        return math.inf
    if known.low == known.high:  # all replicates alike, or all diverged
        return 0.0
    if not (known.low > 0 and math.isfinite(known.high)):
        return math.inf
    return max(known.high / known.value, known.value / known.low) - 1


def next_cells(
    standings: Mapping[str, Standing], settings: AutoConfig, left: int | None
) -> list[str]:
    """The cells that are to have one more block now, the widest first.

    **Arguments:**

    - `left`: blocks left of the budget; None without one.

    Empty where nothing is to be asked for: for good, unless some are `waiting`.
    """
    waiting = [each for each in standings.values() if each.waiting and not each.failed]
    wanting = {
        cell: each
        for cell, each in standings.items()
        if not each.waiting and not each.stopped(settings)
    }
    # the fewest blocks first among intervals without an end; the names decide between equals
    order = sorted(
        wanting, key=lambda cell: (-wanting[cell].half_width, wanting[cell].blocks, cell)
    )
    possible = sum(settings.most - each.blocks for each in (*wanting.values(), *waiting))
    if left is None or left >= possible:
        return order
    if waiting or not order:
        return []
    widest = wanting[order[0]]
    bar = widest.half_width * math.sqrt(widest.blocks / (widest.blocks + 1))
    return [cell for cell in order if wanting[cell].half_width >= bar][:left]
