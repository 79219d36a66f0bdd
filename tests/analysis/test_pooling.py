"""Means over systems: their intervals hold what they claim, and so does the correction for many."""

import numpy as np
import pytest
from scipy import stats

from study.analysis.statistics.limits import CHANGED, EQUIVALENT, Turn
from study.analysis.statistics.medians import Estimate, medians
from study.analysis.statistics.pooling import Pool, averaged, holm, opposed, pool

Z = 1.959963984540054


def estimates(log_effects, errors):
    logs = np.asarray(log_effects), Z * np.asarray(errors)
    return [Estimate(*np.exp([m, m - half, m + half]), n=5) for m, half in zip(*logs, strict=True)]


@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("systems", [6, 11])
def test_the_interval_of_a_mean_over_systems_holds_what_it_claims(spread, systems):
    rng, truth, n = np.random.default_rng(0), 0.7, 2000
    hit = 0
    for _ in range(n):
        errors = rng.uniform(0.1, 0.4, systems)
        effects = truth + spread * rng.normal(size=systems) + errors * rng.normal(size=systems)
        mean = pool(estimates(effects, errors)).estimate()
        hit += mean.low <= np.exp(truth) <= mean.high
    assert 0.93 <= hit / n <= 0.97


@pytest.mark.parametrize(("truth", "share"), [([0.5] * 11, 0.03), ([0.5] * 6 + [-0.5] * 5, 1.0)])
def test_systems_that_differ_are_told_from_some_that_scatter(truth, share):
    rng, n, errors = np.random.default_rng(0), 1000, np.full(11, 0.1)
    turn = Turn.at(np.exp(0.5))  # the hardest: all effects lie where the verdict turns
    turn = turn if len(set(truth)) == 1 else CHANGED
    p = [opposed(estimates(truth + errors * rng.normal(size=11), errors), turn) for _ in range(n)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(share, abs=0.03)


def test_with_equal_errors_it_is_the_t_interval_of_the_effects():
    effects = np.array([0.1, 0.9, 0.4, 1.6, -0.3])
    mean = pool(estimates(effects, np.full(5, 1e-3)))
    interval = stats.t.interval(0.95, 4, effects.mean(), stats.sem(effects))
    found = mean.estimate()
    assert np.log([found.value, found.low, found.high]) == pytest.approx(
        [effects.mean(), *interval], rel=1e-4
    )
    assert mean.spread == pytest.approx(effects.std(ddof=1), rel=1e-3)


def test_one_system_keeps_its_own_interval_and_none_has_no_mean():
    (alone,) = estimates([0.5], [0.2])
    mean = pool([alone]).estimate()
    assert (mean.value, mean.low, mean.high) == pytest.approx((alone.value, alone.low, alone.high))
    endless = [Estimate(2.0, 0.0, np.inf, 1), Estimate(2.0, 0.5, np.inf, 5)]
    assert pool(endless) is None
    assert pool([alone, *endless]).n == 1


def test_ratios_of_one_system_do_not_narrow_each_other_and_widen_where_they_differ():
    alike, apart = (averaged(estimates([0.5 - d, 0.5 + d], [0.2, 0.4])) for d in (0.0, 1.0))
    assert np.log([alike.value, apart.value]) == pytest.approx([0.5, 0.5])
    assert np.log(alike.high / alike.low) == pytest.approx(2 * Z * 0.3)
    assert np.log(apart.high / apart.low) == pytest.approx(2 * Z * np.hypot(0.3, 1.0))


@pytest.mark.parametrize(
    ("low", "high", "turn", "verdict"),
    [
        (1.1, 1.5, CHANGED, "yes"),
        (1.1, 1.2, CHANGED, "no"),
        (0.2, 0.4, CHANGED, "no"),
        (0.9, 1.3, CHANGED, "undecided"),
        (1.9, 2.5, Turn.at(2.0), "undecided"),
        (2.1, 2.5, Turn.at(2.0), "yes"),
        (2.1, 2.5, Turn.at(2.0, below=True), "no"),
        (1.1, 1.5, Turn.at(2.0, below=True), "yes"),
    ],
)
def test_where_a_verdict_turns(low, high, turn, verdict):
    value = Estimate(np.sqrt(low * high), low, high, 5)
    assert turn.verdict(value) == verdict
    assert turn.verdict(Estimate(value.value, low, high, 4)) == "undecided"


def test_p_is_the_level_at_which_the_verdict_turns():
    mean = Pool(value=0.5, error=0.2, freedom=6.0, spread=0.0, n=7)
    for turn in (CHANGED, Turn.at(2.0), Turn.at(1.1)):
        p = mean.p(turn)
        decided = [turn.verdict(mean.estimate(1 - p + by)) != "undecided" for by in (-1e-6, 1e-6)]
        assert decided == [True, False]


def test_holms_correction():
    assert holm([0.01, 0.04, 0.03, np.nan]) == pytest.approx([0.04, 0.09, 0.09, 1.0])
    rng = np.random.default_rng(1)
    false_alarms = [min(holm(rng.uniform(size=10))) <= 0.05 for _ in range(2000)]
    assert np.mean(false_alarms) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("n", [15, 30])
def test_coverage_of_the_bootstrap_of_a_ratio_of_medians(n):
    """Independent log-normal replicates of two cells, of one system."""
    rng, times = np.random.default_rng(5), 1500
    hit = 0
    for _ in range(times):
        ratio = medians(np.exp(rng.normal(size=(n, 2)))).ratio(0, 1)
        hit += ratio.low <= 1 <= ratio.high
    assert 0.93 <= hit / times <= 0.97


def test_no_change_needs_a_narrow_interval():
    assert EQUIVALENT == 1.25
    rng = np.random.default_rng(3)

    def verdict(n):
        return CHANGED.verdict(medians(np.exp(0.3 * rng.normal(size=(n, 2)))).ratio(0, 1))

    few, many = ([verdict(n) for _ in range(40)] for n in (5, 200))
    assert few.count("no") < 20
    assert many.count("no") > 30
