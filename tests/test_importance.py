"""Importance of searched keys: against divergences known in closed form, and Optuna's own way."""

from __future__ import annotations

import json

import numpy as np
import optuna
import pandas as pd
import pytest
from scipy.stats import qmc

from study.analysis.statistics import importance

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "DRAWS", 20)
    monkeypatch.setattr(importance, "ORDERS", 30)


def choice(key: str, choices: list) -> dict:
    ends = dict.fromkeys(["low", "high", "step"], np.nan)
    return {"key": key, "kind": "choice", **ends, "log": False, "choices": json.dumps(choices)}


def interval(key: str, low: float, high: float, log: bool) -> dict:
    ends = {"low": low, "high": high, "step": np.nan}
    return {"key": key, "kind": "number", **ends, "log": log, "choices": ""}


def finished(params: pd.DataFrame, error: np.ndarray) -> pd.DataFrame:
    about = {"number": np.arange(len(params)), "state": "complete", "steps": 10, "last": np.nan}
    return params.assign(**about, error=error)


@pytest.mark.parametrize("width", [0.3, 0.4, 0.5])
def test_shares_of_a_box_are_those_of_the_formula(width: float) -> None:
    # the best quarter of an even design: a < width and b < 1 / (4 width), whatever c is
    sides = {"a": width, "b": 0.25 / width, "c": 1.0}
    params = pd.DataFrame(qmc.Sobol(3, seed=1).random(256), columns=list("abc"))
    error = np.maximum(params["a"] / sides["a"], params["b"] / sides["b"]).to_numpy()
    keys = pd.DataFrame([interval(key, 0, 1, False) for key in "abc"])
    found = {one.key: one for one in importance.importances(finished(params, error), keys, "error")}
    # Pearson divergence of the uniform density on [0, side] from that on [0, 1]
    divergence = {key: 1 / side - 1 for key, side in sides.items()}
    for key, expected in divergence.items():
        assert found[key].share == pytest.approx(expected / sum(divergence.values()), abs=0.05)
        assert found[key].low <= found[key].share + 0.02
        assert found[key].high >= found[key].share - 0.02
        assert found[key].sure == (expected > 0)


def test_it_is_what_optuna_says_of_a_study_of_its_own() -> None:
    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        beta = trial.suggest_float("beta", 0.0, 2.0)
        kind = trial.suggest_categorical("kind", ["m", "n"])
        return (np.log10(lr) + 2) ** 2 + 0.1 * beta + (kind == "m")

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    study.optimize(objective, n_trials=40)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=importance.TOP)
    theirs = optuna.importance.get_param_importances(study, evaluator=evaluator)
    params = pd.DataFrame([trial.params for trial in study.trials])
    values = np.array([trial.value for trial in study.trials])
    keys = pd.DataFrame(
        [
            interval("lr", 1e-4, 1e-1, True),
            interval("beta", 0, 2, False),
            choice("kind", ["m", "n"]),
        ]
    )
    for error in (values, np.exp(3 * values)):  # the order alone counts
        ours = importance.importances(finished(params, error), keys, "error")
        assert {one.key: one.share for one in ours} == pytest.approx(theirs)


def test_pruned_and_diverged_trials_have_their_place() -> None:
    trials = pd.DataFrame(
        {
            "number": range(6),
            "state": ["complete", "pruned", "pruned", "complete", "complete", "pruned"],
            "steps": [100, 10, 30, 100, 100, 30],
            "last": [np.nan, 0.1, 5.0, np.nan, np.nan, 4.0],
            "error": [2.0, np.nan, np.nan, 1.0, np.inf, np.nan],
        }
    )
    assert importance.ranks(trials, "error").tolist() == [1, 5, 4, 0, 2, 3]


def test_too_few_trials_say_nothing() -> None:
    n = importance.ENOUGH
    trials = finished(pd.DataFrame({"a": np.linspace(0, 1, n)}), np.linspace(0, 1, n))
    keys = pd.DataFrame([interval("a", 0, 1, False)])
    assert len(importance.importances(trials, keys, "error")) == 1
    never = trials.assign(state=["failed", *["complete"] * (n - 1)])
    assert importance.importances(never, keys, "error") == []


def test_noise_is_no_importance() -> None:
    rng = np.random.default_rng(5)
    params = pd.DataFrame({key: rng.uniform(size=60) for key in "abc"})
    keys = pd.DataFrame([interval(key, 0, 1, False) for key in "abc"])
    found = importance.importances(finished(params, rng.uniform(size=60)), keys, "error")
    assert sum(one.share for one in found) == pytest.approx(1)
    assert not any(one.sure for one in found)
