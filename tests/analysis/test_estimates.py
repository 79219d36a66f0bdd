"""Intervals cover at the stated rate, +inf is never dropped, known lines are recovered."""

import numpy as np
import pytest
from scipy import stats

from study.analysis.statistics import medians as md
from study.analysis.statistics import ratios


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.mark.parametrize(("n", "least"), [(5, 0.88), (10, 0.90), (20, 0.90)])
def test_median_interval_covers_the_true_median(rng, n, least):
    cells = np.exp(rng.normal(size=(n, 600)))  # 600 experiments; the median is 1
    found = md.medians(cells)
    low, high = md.interval(found.draws)
    assert least <= np.mean((low <= 1) & (high >= 1)) <= 0.99


def test_median_interval_agrees_with_scipy(rng):
    values = np.exp(rng.normal(size=(15, 1)))
    ours = md.medians(values).estimate(0)
    theirs = stats.bootstrap(
        (values[:, 0],), np.median, method="percentile", n_resamples=4000, rng=3
    ).confidence_interval
    assert ours.value == np.median(values)
    assert ours.low == pytest.approx(theirs.low, rel=0.1)
    assert ours.high == pytest.approx(theirs.high, rel=0.1)


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_ratio_interval_covers_with_and_without_shared_seeds(rng, n, shared):
    covered = []
    for _ in range(150):
        both = shared * rng.normal(size=(n, 1)) + 0.5 * rng.normal(size=(n, 2))
        ratio = md.medians(np.exp(both) * [3.0, 1.0]).ratio(0, 1)
        covered.append(ratio.low <= 3 <= ratio.high)
    assert 0.86 <= np.mean(covered) <= 1


def test_shared_seeds_make_a_ratio_sharper(rng):
    common = rng.normal(size=(20, 1))
    table = np.exp(common + 0.01 * rng.normal(size=(20, 2)))
    found = md.medians(table)
    assert found.ratio(0, 1).high < 1.1
    assert found.estimate(0).high > 1.2 * found.estimate(0).low


def test_infinite_replicates_count_as_infinite_and_are_reported():
    found = md.medians(np.array([[1.0, 1], [2, np.inf], [3, np.inf], [4, np.inf], [5, 2]]))
    assert found.replaced == 3
    assert found.middle.tolist() == [3.0, np.inf]
    assert found.estimate(1).high == np.inf
    assert found.ratio(1, 0).high == np.inf


def test_ratio_of_two_infinite_medians_is_unknown():
    ratio = md.medians(np.full((5, 2), np.inf)).ratio(0, 1)
    assert np.isnan(ratio.value)
    assert (ratio.low, ratio.high) == (0.0, np.inf)
    assert ratio.verdict() == "undecided"


def test_a_measure_for_which_more_is_better_takes_its_own_worst():
    found = md.medians(np.array([[1.0], [2.0], [np.inf]]), worst=0.0)
    assert found.middle.tolist() == [1.0]


def test_cells_with_missing_replicates_use_those_they_have():
    table = np.array([[1.0, 10], [2, 20], [3, np.nan], [4, np.nan], [5, np.nan]])
    found = md.medians(table)
    assert found.counts.tolist() == [5, 2]
    assert found.middle.tolist() == [3.0, 15.0]
    assert not found.estimate(1).enough


def test_one_replicate_has_no_interval_and_no_verdict():
    one = md.medians(np.array([[2.0, 1.0]]))
    assert (one.estimate(0).low, one.estimate(0).high) == (0.0, np.inf)
    assert one.ratio(0, 1).verdict() == "undecided"


def test_flat_curves_seldom_rise_and_real_rises_are_found(rng):
    flat = [
        any(r.sure for r in ratios.rises(md.medians(np.exp(rng.normal(size=(8, 6))))))
        for _ in range(150)
    ]
    assert np.mean(flat) <= 0.08
    bump = np.array([4.0, 2, 1, 3, 1, 0.5])
    found = ratios.rises(md.medians(bump * np.exp(0.1 * rng.normal(size=(5, 6)))))
    assert [(r.at, r.above) for r in found if r.sure] == [(3, 2)]


def test_replicates_on_the_same_data_are_drawn_together(rng):
    """Ten replicates on five data seeds, nearly all scatter the data's: the interval covers as that
    of five independent replicates does, and that of ten taken as independent does not."""
    groups, covered = np.repeat(np.arange(5), 2), {True: [], False: []}
    for _ in range(200):
        data = np.repeat(rng.normal(size=(5, 1)), 2, axis=0)
        table = np.exp(data + 0.1 * rng.normal(size=(10, 1)))
        for grouped in covered:
            found = md.medians(table, groups=groups if grouped else None).estimate(0)
            covered[grouped].append(found.low <= 1 <= found.high)
            assert found.n == 10
            assert found.draws == (5 if grouped else None)
    assert np.mean(covered[True]) >= 0.88
    assert np.mean(covered[False]) < np.mean(covered[True]) - 0.05


def test_few_data_seeds_are_too_few_however_many_initialisations(rng):
    table = np.exp(0.01 * rng.normal(size=(12, 2))) * [10.0, 1.0]
    apart = md.medians(table).ratio(0, 1)
    together = md.medians(table, groups=np.repeat(np.arange(3), 4)).ratio(0, 1)
    assert apart.verdict() == "yes"
    assert not together.enough
    assert together.verdict() == "undecided"


def test_groups_of_unequal_size_or_with_gaps_are_not_drawn_together(rng):
    table = np.exp(rng.normal(size=(6, 2)))
    assert md.medians(table, groups=np.array([0, 0, 0, 0, 1, 1])).groups is None
    table[0, 0] = np.nan
    assert md.medians(table, groups=np.repeat([0, 1, 2], 2)).groups is None


def test_flattening_point(rng):
    x = np.array([1.0, 2, 4, 8, 16])
    curve = md.medians([100, 10, 1.5, 1.0, 1.1] * np.exp(0.05 * rng.normal(size=(5, 5))))
    assert ratios.flattens_at(curve, x).value == 4


def test_slope_and_r2_are_those_of_scipy_and_the_interval_covers(rng):
    cells = np.repeat(np.arange(12), 5)
    covered = []
    for _ in range(60):
        x = rng.normal(size=12)[cells] + 0.2 * rng.normal(size=60)
        y = 0.7 * x + 0.2 * rng.normal(size=12)[cells] + 0.2 * rng.normal(size=60)
        fit = ratios.loglog(10**x, 10**y, cells.astype(str).tolist())
        assert fit is not None
        covered.append(fit.slope.low <= 0.7 <= fit.slope.high)
    line = stats.linregress(x, y)
    assert fit.slope.value == pytest.approx(line.slope)
    assert fit.r2.value == pytest.approx(line.rvalue**2)
    assert fit.intercept == pytest.approx(line.intercept)
    assert np.mean(covered) >= 0.82


def test_what_no_logarithm_shows_is_left_out_and_counted():
    x = np.array([1.0, 2, 4, 8, 16, np.inf, 1, np.nan])
    y = np.array([1.0, 2, 4, 8, 16, 1, 0, 1])
    fit = ratios.loglog(x, y, list("abcdefgh"))
    assert fit is not None
    assert fit.left_out == 3
    assert fit.slope.value == pytest.approx(1)
    assert ratios.loglog(x, y, list("aabbaabb")) is None


def test_hierarchical_weights_draw_whole_cells():
    weights = ratios.hierarchical_weights(np.array([0, 0, 0, 1, 1, 2]))
    assert weights.shape == (md.DRAWS, 6)
    assert (weights[:, :3].sum(axis=1) % 3 == 0).all()  # 3 rows for each time the cell is drawn
    assert weights.mean() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(("count", "total"), [(0, 12), (3, 60), (60, 60)])
def test_share_is_the_wilson_interval_of_scipy(count, total):
    ours = ratios.share(count, total)
    theirs = stats.binomtest(count, total).proportion_ci(0.95, method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_draws_are_the_same_every_time(rng):
    table = rng.random((5, 3))
    assert (md.medians(table).draws == md.medians(table).draws).all()
