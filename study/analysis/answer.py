"""What a question is, what it reads, and what its answer consists of."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from study.analysis.design import Design, counted, curves_of, replicate_groups, replicate_table
from study.analysis.statistics.medians import Estimate, Medians, medians
from study.analysis.words import plural
from study.tables.measures import Measure

if TYPE_CHECKING:
    from study.analysis.searches import SearchResults
    from study.analysis.style import Plot

MOST_REPLICATES = 100  # times as many as there are: beyond, a value sits on its threshold


@dataclass(frozen=True)
class Tables:
    """The tables of one study, as questions read them.

    - `every`: one row a replicate, the trials of searches among them.
    - `rows`: those of them that count, a grid's and what was trained again with new seeds; see
      `roles`. May be empty.
    - `curves`: the curves of `rows`; None if nobody has them.
    - `searches`: what the study searched.
    """

    every: pd.DataFrame
    rows: pd.DataFrame
    curves: pd.DataFrame | None
    searches: Sequence[SearchResults]

    @classmethod
    def of(
        cls,
        every: pd.DataFrame,
        curves: pd.DataFrame | None = None,
        searches: Sequence[SearchResults] = (),
    ) -> Tables:
        """From `results.load(...)`, `results.load_curves(...)` and the searches."""
        rows = counted(every)
        if rows is not every and curves is not None:
            curves = curves_of(rows, curves)
        return cls(every, rows, curves, searches)

    @functools.cached_property
    def design(self) -> Design:
        """The cells of `rows` by their factors."""
        return Design(self.rows)


@dataclass(frozen=True)
class Question:
    """One entry of the registry: each file of `questions/` has one (`QUESTION`).

    - `answers`, `plots`: from the tables; nothing if what was swept does not support any.
    - `place`: on the page, ascending.
    - `about_searches`: whether it is about what a search did, not about the cells that count. Only
      such a question is asked if no row counts.
    - `replaces`: ids of the answers of other questions that are left out if this one has answers.
    """

    answers: Callable[[Tables], Iterable[Answer]]
    plots: Callable[[Tables], Iterable[Plot]]
    place: float
    about_searches: bool = False
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """One verdict.

    - `id`: stable within a study; `question`: as a reader would ask it.
    - `verdict`: yes, no or undecided.
    - `sentence`: with figure and interval.
    - `value`, `interval`: the figure that decides, with its 95 % interval.
    - `n_cells`, `n_replicates`: what it rests on; `rows`: the hashes of those cells.
    - `figure`: id of the figure that shows it.
    """

    id: str
    question: str
    verdict: str
    sentence: str
    value: float
    interval: tuple[float, float]
    n_cells: int
    n_replicates: int
    rows: tuple[str, ...]
    figure: str


def make(
    id: str,
    question: str,
    verdict: str,
    sentence: str,
    deciding: Estimate,
    rows: pd.DataFrame,
    cells: tuple[str, ...],
    figure: str,
    *,
    threshold: float | None = None,
) -> Answer:
    """An answer about the given cells; the sentence ends in what limits it.

    **Arguments:**

    - `threshold`: of `deciding`, a ratio, if an undecided verdict may say how many replicates would
      decide it.
    """
    cells = tuple(dict.fromkeys(cells))
    chosen = rows[rows["cell"].isin(cells)]
    if not deciding.enough:
        few = plural(deciding.n, "replicate")
        if deciding.draws is not None:
            few = plural(deciding.draws, "data seed")
        sentence += f" {few.capitalize()} a cell: the brackets are a range, too few for a verdict."
        verdict = "undecided"
    elif verdict == "undecided" and threshold is not None:
        sentence += more_replicates(deciding, threshold)
    return Answer(
        id=id,
        question=question,
        verdict=verdict,
        sentence=sentence,
        value=deciding.value,
        interval=(deciding.low, deciding.high),
        n_cells=len(cells),
        n_replicates=len(chosen),
        rows=cells,
        figure=figure,
    )


def more_replicates(ratio: Estimate, threshold: float) -> str:
    """A sentence on how many replicates would decide whether a ratio is above a threshold; empty if
    its interval is not one of positive numbers around the threshold.

    An interval is about 1 / sqrt(n) as wide with n replicates, here in logarithms, because a ratio
    is as likely to be too large by a factor as too small by it.
    """
    inside = ratio.low <= threshold <= ratio.high and ratio.low <= ratio.value <= ratio.high
    if not (inside and ratio.low > 0 and ratio.high < math.inf):
        return ""
    distance = math.log(ratio.value / threshold)
    width = (
        math.log(ratio.value / ratio.low) if distance > 0 else math.log(ratio.high / ratio.value)
    )
    if width >= abs(distance) * math.sqrt(MOST_REPLICATES):
        return (
            f" More than {MOST_REPLICATES} times as many replicates would be needed to decide it."
        )
    needed = math.ceil(ratio.n * (width / distance) ** 2)
    return f" About {plural(max(needed, ratio.n + 1), 'replicate')} a cell would decide it."


def curve(rows: pd.DataFrame, cells: tuple[str, ...], measure: Measure) -> Medians:
    """Medians over replicates of one measure along some cells."""
    table = replicate_table(rows, cells, measure)
    return medians(table, measure.worst, replicate_groups(rows, cells))


def medians_of(
    rows: pd.DataFrame, cells: Sequence[str], measure: Measure, /, **columns: Any
) -> pd.DataFrame:
    """A table of medians, one row a cell: `columns`, `cell`, `median`, `low`, `high` (its 95 %
    interval), `replicates`."""
    return medians_table(curve(rows, tuple(cells), measure), cells, **columns)


def medians_table(medians: Medians, cells: Sequence[str], /, **columns: Any) -> pd.DataFrame:
    """The table of `medians_of`, from medians that were computed before."""
    estimates = [medians.estimate(k) for k in range(len(cells))]
    return pd.DataFrame(
        {
            **columns,
            "cell": list(cells),
            "median": [e.value for e in estimates],
            "low": [e.low for e in estimates],
            "high": [e.high for e in estimates],
            "replicates": [e.n for e in estimates],
        }
    )


def diverged_remark(*curves: Medians) -> str:
    """A sentence on the replicates that count as infinite; empty without any."""
    n = sum(c.replaced for c in curves)
    if not n:
        return ""
    return f" {plural(n, 'diverged replicate')} counted as the worst value."
