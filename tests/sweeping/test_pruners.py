"""Successive halving by many trials: how many pass, as Optuna's own; asked again after a death."""

from __future__ import annotations

import math
import random
from pathlib import Path

import optuna
import pytest
from optuna.pruners import BasePruner, SuccessiveHalvingPruner

from study.sweeping.search import FACTOR, Search, SuccessiveHalving
from tests.sweeping.test_search import make

STEPS = (1, 3, 9)


def ends(pruner: BasePruner, curves: list[list[float]]) -> list[int]:
    """How many rungs each of these trials passes, one after another."""
    study = optuna.create_study(pruner=pruner)
    passed = []
    for values in curves:
        trial = study.ask()
        for rung, (step, value) in enumerate(zip(STEPS, values, strict=True)):
            trial.report(value, step)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                passed.append(rung)
                break
        else:
            study.tell(trial, values[-1])
            passed.append(len(STEPS))
    return passed


def random_curves(n: int) -> list[list[float]]:
    draw = random.Random(0)
    return [[draw.random() for _ in STEPS] for _ in range(n)]


def test_about_one_in_three_passes_each_rung() -> None:
    passed = ends(SuccessiveHalving(), random_curves(900))
    for rung in range(len(STEPS)):
        came, went = (sum(p >= r for p in passed) for r in (rung, rung + 1))
        # values without a trend: the k-th to come is equally likely to be of any rank
        chances = [max(1, k // FACTOR) / k for k in range(1, came + 1)]
        spread = math.sqrt(sum(p * (1 - p) for p in chances))
        assert abs(went - sum(chances)) < 3 * spread
        assert 0.2 < went / came < 0.5, "about one in three"


def test_it_judges_as_optunas_own() -> None:
    curves = random_curves(200)
    theirs = SuccessiveHalvingPruner(min_resource=1, reduction_factor=FACTOR)
    assert ends(SuccessiveHalving(), curves) == ends(theirs, curves)


def held(folder: Path) -> tuple[Search, int]:
    """A search in which two trials have passed and a third is in hand."""
    search = make(folder, pruner="successive_halving", n_trials=4)
    for value in (2.0, 1.0):
        asked = search.ask()
        assert asked is not None
        assert not search.report(asked.number, 1, value)
        search.tell(asked.number, value)
    asked = search.ask()
    assert asked is not None
    return search, asked.number


@pytest.mark.parametrize(("value", "verdict"), [(3.0, True), (0.5, False)])
def test_a_verdict_that_nobody_heard_is_given_again(
    tmp_path: Path, value: float, verdict: bool
) -> None:
    search, number = held(tmp_path)
    assert search.report(number, 1, value) is verdict
    search.release()  # as by a death before the trial was told
    again = make(tmp_path, pruner="successive_halving", n_trials=4)
    asked = again.ask()
    assert asked is not None
    assert (asked.number, asked.resumed) == (number, True)
    assert again.report(number, 1, value) is verdict


def test_a_rung_that_is_passed_is_not_judged_again(tmp_path: Path) -> None:
    search, number = held(tmp_path)
    assert not search.report(number, 1, 0.5)
    assert not search.report(number, 3, 0.5)
    other = make(tmp_path, pruner="successive_halving", n_trials=4)
    asked = other.ask()
    assert asked is not None
    assert not other.report(asked.number, 1, 0.1)
    assert not other.report(asked.number, 3, 0.1)
    other.tell(asked.number, 0.1)
    search.release()
    again = make(tmp_path, pruner="successive_halving", n_trials=4)
    asked = again.ask()
    assert asked is not None
    assert asked.number == number
    assert not again.report(number, 1, 0.5)  # retrained from the start, on its way to step 3
    assert again.report(number, 3, 0.5)


def test_nan_is_worst() -> None:
    nan, inf = math.nan, math.inf
    curves = [[nan, 1, 1], [inf, 1, 1], [1, 1, 1], [nan, 1, 1]]
    assert ends(SuccessiveHalving(), [[float(v) for v in c] for c in curves]) == [0, 3, 3, 0]
