"""Least squares of two groups of unknowns against one dense problem; its errors by repetition."""

import numpy as np
import pytest
import scipy

from study.core.training.elimination import Design, Eliminated

RNG = np.random.default_rng(2)
P, K, N = 12, 2, 90
A, F = RNG.standard_normal((N, P)), RNG.standard_normal((N, K))
A[:, 3] = A[:, 2] + 1e-3 * A[:, 3]
C, TRUE = RNG.standard_normal(P), np.array([0.7, -0.2])
GAUGE = RNG.standard_normal(P)
GROUPS = np.repeat(np.arange(N // 3), 3)


def design(right, gauge=GAUGE):
    return Design(A, F, right, GROUPS, gauge, 2.0)


def dense(right, ridge, gauge, lower):
    """The same by one bounded problem: the constraint by elimination of c[0], the ridge by rows.

    The ridge is on what is free in an orthonormal basis, as the module has it: |c - c_0|.
    """
    offset, basis = np.zeros(P), np.eye(P)
    if gauge is not None:
        offset, basis = 2.0 * gauge / (gauge @ gauge), scipy.linalg.null_space(gauge[None])
    rows = A @ basis
    size = np.sqrt(ridge) * np.linalg.svd(rows, compute_uv=False)[0]
    extra = size * np.eye(rows.shape[1])
    whole = np.block([[rows, F], [extra, np.zeros((len(extra), K))]])
    target = np.concatenate([right - A @ offset, np.zeros(len(extra))])
    low = np.concatenate([np.full(rows.shape[1], -np.inf), lower])
    x = scipy.optimize.lsq_linear(whole, target, (low, np.inf), method="bvls", tol=1e-14).x
    return offset + basis @ x[:-K], x[-K:]


@pytest.mark.parametrize("gauge", [GAUGE, None], ids=["gauge", "no gauge"])
@pytest.mark.parametrize("ridge", [0.0, 1e-8, 1e-2])
@pytest.mark.parametrize("bounded", [0, 2])
def test_the_solution_is_that_of_the_whole_problem(gauge, ridge, bounded):
    right = A @ C + F @ TRUE + 0.3 * RNG.standard_normal(N)
    found = Eliminated.of(design(right, gauge)).solve(ridge, bounded)
    lower = np.where(np.arange(K) < bounded, 0.0, -np.inf)
    c, f = dense(right, ridge, gauge, lower)
    np.testing.assert_allclose(found.f, f, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.c, c, rtol=1e-4, atol=1e-4)
    if gauge is not None:
        assert gauge @ found.c == pytest.approx(2.0)


def test_units_of_features_do_not_matter_if_they_are_equilibrated():
    right = A @ C + F @ TRUE
    size = 10.0 ** np.arange(-6, 6)
    other = Design(A * size, F, right, GROUPS, GAUGE * size, 2.0)
    one, two = (Eliminated.of(x, equilibrated=True).solve(1e-6) for x in (design(right), other))
    np.testing.assert_allclose(two.c * size, one.c, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(two.f, one.f, rtol=1e-8)


def test_errors_are_those_of_repetitions_even_if_they_are_correlated_within_groups():
    """The same error in all three rows of a group: rows by themselves would tell too small ones."""
    c = C * (2.0 / (GAUGE @ C))
    found, told = [], []
    for _ in range(400):
        error = np.repeat(RNG.standard_normal(N // 3), 3)
        problem = design(A @ c + F @ TRUE + error)
        solution = Eliminated.of(problem).with_covariance(problem, 0.0)
        found.append(solution.f)
        told.append(np.diag(solution.covariance))
    np.testing.assert_allclose(np.mean(found, 0), TRUE, atol=0.05)
    assert np.sqrt(np.mean(told, 0)) == pytest.approx(np.std(found, 0), rel=0.35)


def test_a_coefficient_at_its_bound_has_no_error():
    right = A @ C + F @ TRUE + 0.01 * RNG.standard_normal(N)
    problem = design(right, None)
    solution = Eliminated.of(problem).with_covariance(problem, 0.0, non_negative=2)
    assert solution.f[1] == pytest.approx(0, abs=1e-12)
    assert solution.f[0] > 0
