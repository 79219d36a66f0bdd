"""What an answer is.

Knows: its parts. Does not know: how any one is found.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from study.analysis.design import replicate_groups, replicate_table
from study.analysis.statistics.ratios import Estimate, Medians, medians
from study.analysis.wording import plural
from study.tables.measures import Measure


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
) -> Answer:
    """An answer about the given cells; the sentence ends in what limits it."""
    cells = tuple(dict.fromkeys(cells))
    chosen = rows[rows["cell"].isin(cells)]
    if not deciding.enough:
        few = plural(deciding.n, "replicate")
        if deciding.draws is not None:
            few = plural(deciding.draws, "data seed")
        sentence += f" {few.capitalize()} a cell: the brackets are a range, too few for a verdict."
        verdict = "undecided"
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


def curve(rows: pd.DataFrame, cells: tuple[str, ...], measure: Measure) -> Medians:
    """Medians over replicates of one measure along some cells."""
    table = replicate_table(rows, cells, measure)
    return medians(table, measure.worst, replicate_groups(rows, cells))


def diverged_remark(*curves: Medians) -> str:
    """A sentence on the replicates that count as infinite; empty without any."""
    n = sum(c.replaced for c in curves)
    if not n:
        return ""
    return f" {plural(n, 'diverged replicate')} counted as the worst value."
