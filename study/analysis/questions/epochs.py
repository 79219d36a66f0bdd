"""Epoch-wise double descent: does the test error rise and fall again while the train error falls?

Knows: the recorded training curves. Does not know: figures, final errors.

Along the steps of one training the peak test (`peaks.py`) is taken on the test error at those steps
only where the median train error is at a new low, up to a tenth: where both errors rise, training
has been thrown back, and that is no double descent. Replicates whose training ended early keep
their last value. Peaks are counted over cells, and so many may come by the level of the test alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from study.analysis.answer import Answer, make
from study.analysis.design import CONTROL, Design, count, replicate_groups, table_of
from study.analysis.statistics.peaks import TEST_LEVEL, Peak, peak
from study.analysis.statistics.ratios import LEVEL, Estimate, Medians, medians
from study.analysis.wording import estimate, number, plural
from study.tables.measures import TEST

NEW_LOW = 1.1
FEWEST = 5  # steps at a new low


@dataclass(frozen=True)
class Course:
    """One cell's errors along its training, medians over replicates.

    - `steps` (K,): of the optimiser, without the start; `test`, `train`: medians (K,).
    - `kept` (K',): indices of the steps at which the train error is at a new low.
    - `peak`: of the test error along those, `at` an index of them; None if they are too few.
    """

    cell: str
    noise: float
    steps: np.ndarray
    test: Medians
    train: Medians
    kept: np.ndarray
    peak: Peak | None

    @property
    def top(self) -> int | None:
        """Index of the steps of the most prominent point."""
        return None if self.peak is None else int(self.kept[self.peak.at])

    def final_over_best(self) -> Estimate:
        """The last test error over the lowest on the way."""
        return self.test.ratio(-1, int(np.argmin(self.test.middle)))


def courses(rows: pd.DataFrame, curves: pd.DataFrame) -> list[Course]:
    """Of every network's cell with training curves long enough."""
    training = curves.loc[(curves["curve"] == "training") & (curves["x"] > 0)]
    training = training.loc[training["metric"].isin(["train_nmse", TEST.column])]
    networks = rows.loc[rows["model"] != CONTROL]
    of_cell = dict(list(networks.groupby("cell", sort=False)))
    found = []
    for cell, lines in training.groupby("cell", sort=False):
        if str(cell) in of_cell and lines["x"].nunique() >= FEWEST:
            found.append(_course(of_cell[str(cell)], lines, str(cell)))
    return [course for course in found if course.peak is not None]


def _course(rows: pd.DataFrame, lines: pd.DataFrame, cell: str) -> Course:
    tables = {metric: _table(part) for metric, part in lines.groupby("metric")}
    test, train = tables[TEST.column], tables["train_nmse"]
    groups = replicate_groups(rows, [cell])
    if groups is not None and len(groups) != len(test):
        groups = None
    errors = medians(test.to_numpy(), TEST.worst, groups)
    fitted = medians(train.to_numpy(), np.inf, groups)
    steps = test.columns.to_numpy(float)
    kept = np.flatnonzero(fitted.middle <= NEW_LOW * np.minimum.accumulate(fitted.middle))
    found = None
    if len(kept) >= FEWEST:
        found = peak(errors.table[:, kept], steps[kept], groups)
    noise = float(rows["data.noise"].iloc[0])
    return Course(cell, noise, steps, errors, fitted, kept, found)


def _table(lines: pd.DataFrame) -> pd.DataFrame:
    """Replicates by steps; +inf where not finite, the last value kept where training had ended."""
    values = lines["value"].to_numpy(float)
    steps, place = np.unique(lines["x"].to_numpy(float), return_inverse=True)
    table = table_of(
        lines["replicate"].to_numpy(),
        place,
        np.where(np.isfinite(values), values, np.inf),
        len(steps),
    )
    return pd.DataFrame(table, columns=steps).ffill(axis=1)


def answers(rows: pd.DataFrame, curves: pd.DataFrame, design: Design) -> Iterator[Answer]:
    """One for each level of label noise."""
    found = courses(rows, curves)
    for k, noise in enumerate(sorted({course.noise for course in found})):
        arm = [course for course in found if course.noise == noise]
        yield _answer(rows, design, arm, noise if "data.noise" in design.varying else None, k)


def _answer(
    rows: pd.DataFrame, design: Design, arm: list[Course], noise: float | None, k: int
) -> Answer:
    peaks = [(course, course.peak) for course in arm if course.peak is not None]
    sure = [each for each in peaks if each[1].verdict == "yes"]
    course, top = max(sure or peaks, key=lambda each: each[1].prominence.value)
    # more than the level of the test makes of cells without a peak
    chance = float(stats.binom.sf(len(sure) - 1, len(arm), 1 - TEST_LEVEL)) if sure else 1.0
    verdict = "yes" if chance < 1 - LEVEL else "undecided"
    if all(each.verdict == "no" for _, each in peaks):
        verdict = "no"
    longest = max((each.final_over_best() for each in arm), key=lambda e: (e.low, e.value))
    of = f"{len(sure)} of {plural(len(arm), 'cell')}"
    at = f" ({label})" if (label := design.label(course.cell)) else ""
    sentence = (
        (f"With label noise {noise:g}, in {of} " if noise is not None else f"In {of} ")
        + f"the {TEST.words} rises and falls again while the train error falls. "
        + _most(top, at)
        + f" The last step's {TEST.words} is at most {estimate(longest)} times the best on the way."
    )
    return make(
        f"epochs.{k}",
        "Does the test error peak along the training (epoch-wise double descent)?",
        verdict,
        sentence,
        top.prominence,
        rows,
        tuple(course.cell for course in arm),
        "epochs",
    )


def _most(top: Peak, at: str) -> str:
    if top.prominence.value <= 1:
        return (
            "No inner step stands above both sides; a rise by a factor of "
            f"{number(max(1.0, top.prominence.high))} or more is excluded in the nearest case{at}."
        )
    chance = number(top.prominence.value / top.prominence.low)
    return (
        f"The most prominent, at step {count(top.place.value)}{at}, stands out by a factor of "
        f"{number(top.prominence.value)}; noise alone makes {chance} once in "
        f"{1 / (1 - TEST_LEVEL):.0f} times."
    )
