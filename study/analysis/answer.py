"""What a question is, what it reads, and what its answer consists of."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from study.analysis import floors
from study.analysis.design import Design, counted, curves_of, replicate_groups, replicate_table
from study.analysis.statistics.limits import CONVERGED, EQUIVALENT, Turn, bounded
from study.analysis.statistics.medians import ENOUGH, Estimate, Medians, medians
from study.analysis.words import duration, plural
from study.tables.measures import Measure

if TYPE_CHECKING:
    from study.analysis.searches import SearchResults
    from study.analysis.style import Plot

MOST_REPLICATES = 100  # times as many as there are: beyond, a value sits on its threshold


class Tables:
    """The tables of one study, as questions read them.

    - `every`: one row a replicate, the trials of searches among them.
    - `rows`: those of them that count, see `counted`; may be empty.
    - `curves`: the curves of `rows`; None if nobody has them.
    - `searches`: what the study searched.
    """

    def __init__(
        self,
        every: pd.DataFrame,
        curves: pd.DataFrame | None = None,
        searches: Sequence[SearchResults] = (),
    ):
        every = bounded(every)
        curves = None if curves is None else bounded(curves)
        self.every, self.rows, self.searches = every, counted(every), searches
        self.curves = curves
        if curves is not None and self.rows is not every:
            self.curves = curves_of(self.rows, curves)

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
class Verdict:
    """What a question comes to.

    - `id`: stable within a study; `question`: as a reader would ask it.
    - `verdict`: yes, no or undecided; `sentence`: with figure and interval.
    - `value`, `interval`: the figure that decides, with its 95 % interval.
    - `n_cells`, `n_replicates`: what it rests on; `converged`: the share of them whose training
      ended because it had converged.
    - `p`: how likely data without what a yes or no says show as much; NaN if it was not computed.
    """

    id: str
    question: str
    verdict: str
    sentence: str
    value: float
    interval: tuple[float, float]
    n_cells: int
    n_replicates: int
    converged: float
    p: float = field(default=math.nan, kw_only=True)


@dataclass(frozen=True)
class Answer(Verdict):
    """One verdict of one study.

    - `rows`: the hashes of its cells; `figure`: the id of the figure that shows it.
    - `independent`: how many replicates a cell share no data.
    - `remedy`: the end of the sentence of an undecided one, what would decide it; may be empty.
    """

    rows: tuple[str, ...]
    figure: str
    independent: int = field(kw_only=True)
    remedy: str = field(default="", kw_only=True)

    @property
    def deciding(self) -> Estimate:
        """The figure that decides."""
        return Estimate(self.value, *self.interval, n=self.independent)


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
    turn: Turn | None = None,
    p: float = math.nan,
    trained: bool = True,
    errors: bool = True,
    remedy: str = "",
) -> Answer:
    """An answer about the given cells; the sentence ends in what limits it.

    `turn`: where the verdict on `deciding`, a ratio, turns. With it an undecided answer says how
    many replicates would decide it, and how long they take; without it, `remedy`. `p` is that of
    `Verdict`. `trained`: whether it is about networks as they are after training; `errors`: whether
    it rests on acceleration errors. On measured data errors at the noise of their labels do not say
    'no', and labels that contradict the system, or models no better than a constant, nothing.
    """
    cells, limited = tuple(dict.fromkeys(cells)), False
    if not deciding.enough:
        few = plural(deciding.n, "replicate")
        if deciding.draws is not None:
            few = plural(deciding.draws, "data seed")
        sentence += f" {few.capitalize()} a cell: the brackets are a range, too few for a verdict."
        verdict = "undecided"
    own = rows.loc[rows["cell"].isin(cells)]
    if trained and errors and (at_floor := floors.remark(own)):
        sentence += at_floor
        # noise brings a ratio nearer to one, so that one which is clearly below it is below it
        below = turn is not None and not turn.below and deciding.high < 1 / EQUIVALENT
        limited = verdict == "no" and not below
        verdict = "undecided" if limited else verdict
    if trained and (why := floors.no_verdict(own)):
        sentence, verdict, limited = why, "undecided", True
    if verdict != "undecided" or limited:
        remedy = ""
    elif trained:
        remedy = _remedy(deciding, turn, seconds_of_one(own), remedy)
    sentence += remedy
    converged = float(own["converged"].to_numpy(bool).mean())
    if trained and converged < CONVERGED:
        sentence += f" {_percent(converged)} of its runs had converged."
    value, interval = deciding.value, (deciding.low, deciding.high)
    independent = deciding.n if deciding.draws is None else deciding.draws
    sizes = len(cells), len(own), converged
    return Answer(
        id,
        question,
        verdict,
        sentence,
        value,
        interval,
        *sizes,
        cells,
        figure,
        p=p,
        independent=independent,
        remedy=remedy.strip(),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share else "None"


def seconds_of_one(rows: pd.DataFrame) -> float:
    """Seconds of one core that one replicate of each cell takes."""
    spent = rows.groupby("cell").agg({"train_seconds": "mean", "rollout_seconds": "mean"})
    return float(np.sum(spent.to_numpy(float)))


def _remedy(deciding: Estimate, turn: Turn | None, seconds: float, given: str) -> str:
    """What would decide an undecided answer, in a sentence; `given` if no ratio says more."""
    if not deciding.enough:
        few = deciding.n if deciding.draws is None else deciding.draws
        return f" {ENOUGH} would allow one, {duration((ENOUGH - few) * seconds)} more of one core."
    more = more_replicates(deciding, turn, seconds) if turn else ""
    if more or given:
        return more or given
    again = duration(deciding.n * seconds)
    return (
        " How many replicates would decide it cannot be told from this interval; as many again "
        f"take {again} of one core."
    )


def more_replicates(ratio: Estimate, turn: Turn, seconds: float) -> str:
    """A sentence on how many replicates would decide a ratio; empty if its interval is not one of
    positive numbers around the limit of the verdict that is farther from it.

    An interval is about 1 / sqrt(n) as wide with n replicates, here in logarithms, because a ratio
    is as likely to be too large by a factor as too small by it. `seconds` are those of a replicate
    of all cells.
    """
    if not (0 < ratio.low <= ratio.value <= ratio.high < math.inf):
        return ""
    distance, limit = max((abs(math.log(ratio.value / x)), x) for x in (turn.yes, turn.no))
    if not ratio.low <= limit <= ratio.high:
        return ""
    towards = ratio.value / ratio.low if ratio.value > limit else ratio.high / ratio.value
    width, most = math.log(towards), MOST_REPLICATES
    if width >= distance * math.sqrt(most):
        return (
            f" It is at the limit of {limit:g} itself: to decide it more than {most} times as many "
            "replicates would be needed."
        )
    needed = max(math.ceil(ratio.n * (width / distance) ** 2), ratio.n + 1)
    more = duration((needed - ratio.n) * seconds)
    return f" About {plural(needed, 'replicate')} a cell would decide it, {more} more of one core."


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
    return f" {plural(n, 'diverged replicate')} counted as the worst value." if n else ""
