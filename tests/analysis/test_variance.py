"""Variance components: those put in are recovered, and agree with another way to find them."""

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from study.analysis.statistics import variance
from study.tables.measures import TEST


def logs_of(rng, a, b, data, init, rest):
    return (
        data * rng.normal(size=(a, 1)) + init * rng.normal(size=b) + rest * rng.normal(size=(a, b))
    )


def cell(rng, a, b, data, init, rest):
    logs = logs_of(rng, a, b, data, init, rest)
    return pd.DataFrame(
        {
            "replicate": np.arange(a * b),
            "data_seed": np.repeat(np.arange(a), b),
            "init_seed": np.tile(np.arange(b), a),
            TEST.column: np.exp(logs.ravel()),
        }
    )


def components(rows):
    return variance.pooled([variance.crossed(rows, TEST)])


@pytest.mark.parametrize(
    ("data", "init", "rest"), [(0.5, 0.2, 0.1), (0.1, 0.5, 0.2), (0.0, 0.4, 0.3)]
)
def test_moments_are_unbiased_and_intervals_cover(data, init, rest):
    rng, found = np.random.default_rng([2, int(10 * data)]), []
    for _ in range(500):
        logs = logs_of(rng, 5, 4, data, init, rest)
        found.append(variance.pooled([logs]))
    assert np.mean([f.rest.value**2 for f in found]) == pytest.approx(rest**2, rel=0.1)
    for name, put_in in (("data", data), ("init", init), ("rest", rest)):
        each = [getattr(f, name) for f in found]
        assert np.mean([e.low <= put_in <= e.high for e in each]) >= 0.91
        if put_in > rest:
            assert np.mean([e.value**2 for e in each]) == pytest.approx(put_in**2, rel=0.2)


def test_agrees_with_restricted_likelihood():
    """On balanced data without truncation, moments and REML are the same."""
    rows = cell(np.random.default_rng(2), 6, 4, 0.6, 0.5, 0.2)
    logs = np.log(rows[TEST.column].to_numpy())
    data = rows["data_seed"].to_numpy()[:, None] == np.arange(6)
    init = rows["init_seed"].to_numpy()[:, None] == np.arange(4)
    ones = np.ones((24, 1))

    def minus_likelihood(log_sd):
        v = np.exp(2 * log_sd)
        cov = v[0] * data @ data.T + v[1] * init @ init.T + v[2] * np.eye(24)
        inverse = np.linalg.inv(cov)
        within = ones.T @ inverse @ ones
        rest = logs - (ones.T @ inverse @ logs / within[0])[0]
        return np.linalg.slogdet(cov)[1] + np.log(within[0, 0]) + rest @ inverse @ rest

    best = optimize.minimize(
        minus_likelihood, np.log([0.5, 0.5, 0.5]), method="Nelder-Mead", options={"xatol": 1e-8}
    )
    found = components(rows)
    ours = [found.data.value, found.init.value, found.rest.value]
    assert ours == pytest.approx(np.exp(best.x), rel=1e-3)


def test_the_larger_part_is_named():
    rng = np.random.default_rng(3)
    assert components(cell(rng, 8, 8, 1.0, 0.05, 0.2)).ratio.verdict() == "yes"
    assert components(cell(rng, 8, 8, 0.05, 1.0, 0.2)).ratio.verdict() == "no"
    equal = [components(cell(rng, 5, 2, 0.3, 0.3, 0.3)).ratio.verdict() for _ in range(100)]
    assert equal.count("undecided") >= 90


def test_paired_seeds_are_not_told_apart():
    rows = cell(np.random.default_rng(4), 5, 1, 1, 1, 1)
    paired = rows.assign(init_seed=rows["data_seed"])
    for each in (rows, paired):
        assert variance.crossed(each, TEST) is None


def test_diverged_and_missing_replicates():
    rows = cell(np.random.default_rng(5), 5, 3, 0.5, 0.3, 0.1)
    whole = components(rows[rows["data_seed"] < 4])
    partial = components(rows.drop(index=14))  # the last pair is not there
    assert partial == whole
    rows.loc[3, TEST.column] = np.inf
    assert variance.crossed(rows, TEST) is None
    rows.loc[3, TEST.column] = np.nan
    assert variance.crossed(rows, TEST) is None


def test_cells_of_the_same_seeds_are_pooled_by_their_mean_squares():
    rng = np.random.default_rng(6)
    tables = [variance.crossed(cell(rng, 5, 4, 0.4, 0.2, 0.1), TEST) for _ in range(3)]
    together = variance.pooled(tables)
    rest = [variance.pooled([t]).rest.value ** 2 for t in tables]
    assert together.rest.value**2 == pytest.approx(np.mean(rest))
    assert together.rest.draws == 5
