"""How many replicates would decide a verdict that is undecided."""

import numpy as np
import pytest

from study.analysis.answer import more_replicates
from study.analysis.statistics.limits import CHANGED, Turn
from study.analysis.statistics.medians import Estimate


@pytest.mark.parametrize(
    ("estimate", "sentence"),
    [
        # twice as narrow on a logarithmic scale: four times as many
        (
            Estimate(2.0, 0.5, 8.0, 5),
            " About 20 replicates a cell would decide it, 30 min more of one core.",
        ),
        (
            Estimate(0.5, 0.125, 2.0, 5),
            " About 20 replicates a cell would decide it, 30 min more of one core.",
        ),
        (
            Estimate(2.0, 1.0, 4.0, 5),
            " About 6 replicates a cell would decide it, 2 min more of one core.",
        ),
        (
            Estimate(1.0, 0.5, 2.0, 5),
            " It is at the limit of 1 itself: to decide it more than 100 times as many replicates "
            "would be needed.",
        ),
        (Estimate(2.0, 0.0, 8.0, 5), ""),
        (Estimate(2.0, 1.5, 8.0, 5), ""),
        (Estimate(np.nan, np.nan, np.nan, 5), ""),
        (Estimate(2.0, 0.5, np.inf, 5), ""),
    ],
)
def test_more_replicates(estimate, sentence):
    assert more_replicates(estimate, Turn.at(1.0), seconds=120) == sentence


def test_of_two_limits_the_one_is_taken_that_is_harder_to_exclude():
    """Between 1 and 1.25 a value near 1.25 will be told from 1, and one near 1 from 1.25."""
    near_one, near_the_other = Estimate(1.0, 0.5, 2.0, 5), Estimate(1.25, 0.5, 3.125, 5)
    assert more_replicates(near_one, CHANGED, 1.0) == more_replicates(near_one, Turn.at(1.25), 1.0)
    both = more_replicates(near_the_other, CHANGED, 1.0)
    assert both == more_replicates(near_the_other, Turn.at(1.0), 1.0) != ""


def test_that_many_replicates_do_decide():
    """Medians of log-normal draws: with that many, about half of the verdicts are decided."""
    rng, scatter, effect = np.random.default_rng(0), 1.0, 0.4

    def interval(n):
        draws = np.exp(rng.normal(effect, scatter, n))
        error = 1.96 * scatter * np.sqrt(np.pi / 2 / n)
        middle = np.median(draws)
        return Estimate(middle, middle * np.exp(-error), middle * np.exp(error), n)

    first = Estimate(np.exp(effect), *np.exp(effect + np.array([-1, 1]) * 1.1), 5)
    needed = int(more_replicates(first, Turn.at(1.0), 1.0).split()[1])
    decided = [interval(needed).verdict() == "yes" for _ in range(400)]
    assert 0.35 < np.mean(decided) < 0.75
