"""Answers on how the acceleration error propagates into rollouts, and on what went wrong.

Knows: all replicates of a study at once. Does not know: ladders, comparisons.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, make
from study.analysis.design import Design, count
from study.analysis.statistics.ratios import Estimate, LogLogFit, interval, loglog, share
from study.analysis.wording import estimate, number, plural
from study.tables.measures import ROLLOUT, TEST, TEST_MEAN, Measure, diverged

EXPLAINED = 0.5  # R2 above which one 'predicts' the other
SATURATED = 0.5  # a relative rollout error above this no longer grows with its cause


@dataclass(frozen=True)
class Propagation:
    """A fit of log rollout error on log root square acceleration error over all replicates."""

    measure: Measure
    words: str
    figure: str
    fit: LogLogFit


def fits(rows: pd.DataFrame) -> list[Propagation]:
    """For the median and the mean of the squared error, where there are cells enough."""
    found = []
    for measure, words, figure in (
        (TEST, "root median square acceleration error", "rollout_by_median_error"),
        (TEST_MEAN, "root mean square acceleration error", "rollout_by_mean_error"),
    ):
        x = np.sqrt(rows[measure.column].to_numpy(float))
        fit = loglog(x, rows[ROLLOUT.column].to_numpy(float), rows["cell"].to_list())
        if fit is not None:
            found.append(Propagation(measure, words, figure, fit))
    return found


def propagation(rows: pd.DataFrame, design: Design) -> Iterator[Answer]:
    """Does the acceleration error predict the rollout error, and which one of the two does?"""
    cells = tuple(design.cells.index)
    found = fits(rows)
    blind = _saturated_share(rows) > 0.5  # most rollouts have failed: there is little to predict
    for each in found:
        fit = each.fit
        sentence = (
            f"Over {plural(fit.slope.n, 'replicate')} of {plural(len(cells), 'cell')}, log rollout "
            f"error against log {each.words} has slope {estimate(fit.slope)} and "
            f"R² = {estimate(fit.r2)}; it counts as predicting above R² = {EXPLAINED:g}."
            f"{_left_out(fit)}{_saturated(rows)}"
        )
        yield make(
            each.figure,
            f"Does the {each.words} predict the rollout error?",
            "undecided" if blind else fit.r2.verdict(EXPLAINED),
            sentence,
            fit.r2,
            rows,
            cells,
            each.figure,
        )
    if len(found) == 2 and found[0].fit.left_out == found[1].fit.left_out:
        median, mean = (each.fit for each in found)
        low, high = interval(median.r2_draws - mean.r2_draws)
        gain = Estimate(median.r2.value - mean.r2.value, float(low), float(high), median.r2.n)
        sentence = (
            f"R² against the rollout error is {number(median.r2.value)} for the root median and "
            f"{number(mean.r2.value)} for the root mean square acceleration error, a difference of "
            f"{estimate(gain)}."
        )
        yield make(
            "median_or_mean",
            "Does the median error predict rollouts better than the mean error?",
            "undecided" if blind else gain.verdict(0.0),
            sentence,
            gain,
            rows,
            cells,
            found[0].figure,
        )


def shares(rows: pd.DataFrame) -> Iterator[Answer]:
    """What part of the replicates diverged, did not converge, or had a singular mass matrix."""
    cells = tuple(dict.fromkeys(rows["cell"]))
    n = len(rows)
    dead = share(int(diverged(rows).to_numpy().sum()), n)
    converged = share(int(rows["converged"].to_numpy(bool).sum()), n)
    singular = rows["singular_fraction"].to_numpy(float)
    lost = rows["diverged_fraction"].to_numpy(float)
    # missing where a model has no mass matrix, or the true system is not known
    judged = np.isfinite(singular) | diverged(rows).to_numpy()
    ill = int((np.nan_to_num(singular, nan=1.0)[judged] > 0.01).sum())
    mass = (
        f"{count(ill)} have a near-singular or indefinite mass matrix on more than 1 % of the test "
        f"points (median share {_median_percent(singular)})"
        if judged.any()
        else "no mass matrix could be judged"
    )
    sentence = (
        f"Of {plural(n, 'replicate')}, {_percent(dead)} have no finite test error and "
        f"{_percent(converged)} met the convergence rule; {mass}, and "
        f"{_median_percent(lost)} of the rollouts of the median replicate diverge."
    )
    yield make(
        "trust",
        "Did the training of every replicate end in finite numbers?",
        "yes" if dead.value == 0 else "no",
        sentence,
        Estimate(1 - dead.value, 1 - dead.high, 1 - dead.low, max(n, 5)),
        rows,
        cells,
        "training",
    )


def _percent(e: Estimate) -> str:
    return f"{number(100 * e.value)} % [{number(100 * e.low)}, {number(100 * e.high)}]"


def _median_percent(values: np.ndarray) -> str:
    finite = values[np.isfinite(values)]
    return f"{number(100 * float(np.median(finite)))} %" if len(finite) else "unknown"


def _left_out(fit: LogLogFit) -> str:
    if not fit.left_out:
        return ""
    return f" {plural(fit.left_out, 'replicate')} without a positive finite value left out."


def _saturated_share(rows: pd.DataFrame) -> float:
    return float((rows[ROLLOUT.column].to_numpy(float) > SATURATED).mean())


def _saturated(rows: pd.DataFrame) -> str:
    part = _saturated_share(rows)
    if part < 0.05:
        return ""
    return (
        f" {number(100 * part)} % of the replicates have a rollout error above {SATURATED:g}, near "
        "its ceiling of 1, which flattens the slope."
    )
