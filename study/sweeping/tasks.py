"""What a worker gives its trainer, and how that ends.

Knows: words of the two. Does not know: processes, or what training is.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from study.sweeping.files import sentence
from study.sweeping.folder import Block


@dataclasses.dataclass(frozen=True)
class Task:
    """One block to train.

    - `workspace`: where the block's files go.
    - `about`: what the progress file says besides the fraction done.
    - `swept`: the factors that are asked for.
    - `rungs`: shares of the training at which it is to be judged.
    """

    block: Block
    workspace: Path
    about: Mapping[str, Any]
    swept: tuple[str, ...] = ()
    rungs: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class Trained:
    """The block's files are in the workspace.

    - `measures`: medians over its replicates; `factors`: those asked for, as the table has them.
    """

    measures: Mapping[str, float]
    factors: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Failed:
    """Why it is not trained, in a sentence, and where in the code."""

    error: str
    traceback: str

    @classmethod
    def by(cls, error: BaseException) -> Failed:
        """By this exception."""
        return cls(sentence(error), "".join(traceback.format_exception(error)))


@dataclasses.dataclass(frozen=True)
class Interrupted:
    """It was asked to stop; a checkpoint holds what was trained."""


@dataclasses.dataclass(frozen=True)
class Pruned:
    """It was judged hopeless, after this share of its steps."""

    share: float


@dataclasses.dataclass(frozen=True)
class Reached:
    """The child asks whether to go on: it has reached a rung, counted from 0, with this value."""

    rung: int
    value: float


Ending = Trained | Failed | Interrupted | Pruned

Verdict = Callable[[int, float], bool]
"""(rung, value) -> whether training is worth going on with."""


def go_on(rung: int, value: float) -> bool:
    """Judge nothing."""
    return True
