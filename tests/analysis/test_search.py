"""Answers and figures of searches: the front, the edges, and that no trial is counted twice."""

from __future__ import annotations

import dataclasses
import json
import zlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from study.analysis import answers
from study.analysis.design import counted
from study.analysis.questions import pareto
from study.analysis.searches import searches
from study.page import notes
from study.tables import schema
from tests.analysis import synthetic
from tests.analysis.synthetic import Law

LR = {"key": "optimizer.lr", "kind": "number", "low": 1e-4, "high": 1e-1, "log": True}
WIDTH = {"key": "model.width", "kind": "whole", "low": 8, "high": 64, "log": True}
ABOUT = {"sampler": "tpe", "pruner": "successive_halving", "choices": "", "step": np.nan}


def tables(
    rows: pd.DataFrame,
    keys: list[dict],
    objectives: str = "test_nmse_median",
    point: dict[str, Any] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of one search whose complete trials are the cells of `rows`, in their order."""
    first = rows.drop_duplicates("cell")
    n = len(first)
    medians = rows.groupby("cell", sort=False)[objectives.split()].median()
    name = f"{zlib.crc32(json.dumps(point).encode()):012x}"
    best = medians.iloc[:, 0].idxmin() if " " not in objectives else ""
    trials = pd.DataFrame(
        {
            "study": "synthetic",
            "search": name,
            "number": range(n),
            "state": "complete",
            "cell": first["cell"].to_numpy(),
            "steps": 4000,
            "last": np.nan,
            "error": "",
            **{each: medians[each].to_numpy() for each in objectives.split()},
            **{key["key"]: first[key["key"]].to_numpy() for key in keys},
        }
    )
    about = {"study": "synthetic", "search": name, "point": json.dumps(point or {}), "n_trials": n}
    about |= {"objectives": objectives, "best": best}
    own = pd.DataFrame([{**ABOUT, **about, **key} for key in keys])
    own = own.astype({"low": float, "high": float})[list(schema.SEARCHES.columns)]
    return schema.TRIALS.validate(trials), schema.SEARCHES.validate(own)


def tried(settings: list[dict], law: Law | None = None, seed: int = 0) -> pd.DataFrame:
    """Rows of trials, in the order of `settings`."""
    table = synthetic.rows(settings, law or Law(), replicates=2, seed=seed)
    lr = [setting["optimizer.lr"] for setting in settings]
    order = table["optimizer.lr"].map({rate: k for k, rate in enumerate(lr)})
    return table.assign(role="trial", tuned="optimizer.lr").iloc[np.argsort(order, kind="stable")]


@given(
    arrays.arrays(
        float, st.tuples(st.integers(1, 12), st.just(2)), elements=st.integers(0, 5).map(float)
    )
)
def test_front_is_that_of_the_definition(values: np.ndarray) -> None:
    beaten = [
        any((other <= one).all() and (other < one).any() for other in values) for one in values
    ]
    assert pareto.undominated(values).tolist() == [not each for each in beaten]


@pytest.mark.parametrize(("width", "edge"), [(64, True), (32, False), (8, True)])
def test_a_best_value_at_the_edge_is_a_warning(width: int, edge: bool) -> None:
    settings = [
        {"model.width": w, "optimizer.lr": 1e-3 * (1 + k)} for k, w in enumerate((16, width, 24))
    ]
    law = Law(factor={("model.width", width): 1e-3})
    rows = tried(settings, law)
    search = searches(*tables(rows, [LR, WIDTH]))
    sentence = (
        f"The best value of model.width, {width}, lies at the edge of its range 8 to 64: widen "
        "the range."
    )
    (inside,) = (a for a in answers.answer(rows, None, search) if a.id == "search_inside.0")
    assert inside.verdict == ("no" if edge else "yes")
    assert (sentence in inside.sentence) == edge
    assert notes.missing_of_searches(rows, search, {}) == ([sentence] if edge else [])


def tuned_study(bias: float = 1.0) -> tuple[pd.DataFrame, list]:
    """Three sizes N, each tuned by two trials and the best trained again with five new seeds.

    `bias`: by what the trials' errors are multiplied, as if by luck.
    """
    parts, found = [], []
    for k, n in enumerate((64, 256, 1024)):
        rates = (1e-3 * (k + 1), 1e-2 * (k + 1))
        trials = tried([{"data.n_train": n, "optimizer.lr": lr} for lr in rates], seed=k)
        errors = [c for c in trials if c.startswith(("test_", "rollout_error"))]
        trials[errors] *= bias
        search = tables(trials, [LR], point={"data.n_train": n})
        best = search[1]["best"].iloc[0]
        (lr,) = trials.loc[trials["cell"] == best, "optimizer.lr"].unique()
        new = synthetic.rows([{"data.n_train": n, "optimizer.lr": float(lr)}], Law(), seed=10 + k)
        assert set(new["cell"]) == {best}
        new["replicate"] += 2
        parts += [trials, new.assign(role="rerun", tuned="optimizer.lr")]
        found.append(search)
    both = [pd.concat(each, ignore_index=True) for each in zip(*found, strict=True)]
    return pd.concat(parts, ignore_index=True), searches(*both)


def test_answers_rest_on_new_seeds_alone() -> None:
    honest, search = tuned_study()
    lucky, lucky_search = tuned_study(bias=1e-6)
    curves = synthetic.curves(honest)

    def others(rows: pd.DataFrame, about: list) -> list:
        found = answers.answer(rows, curves, about)
        return [a for a in found if not a.id.startswith("search")]

    kept = others(honest, search)
    assert kept == others(lucky, lucky_search), "what the trials show changes no such answer"
    assert kept == answers.answer(honest.loc[honest["role"] == "rerun"], curves)
    by_id = {a.id: a for a in kept}
    assert by_id["raise_n.0"].n_cells == 3, "each size at its own rate is one curve along N"
    assert by_id["raise_n.0"].n_replicates == 15
    assert by_id["raise_n.0"].sentence.endswith(answers.OF_TUNED)
    plots = {p.id: p for p in answers.plots(lucky, curves, lucky_search)}
    new = counted(lucky).groupby("cell")["test_nmse_median"].median()
    shown = plots["test_error_by_n"].data.set_index("cell")["median"]
    assert shown.to_dict() == pytest.approx(new.to_dict())
    assert set(plots["training"].data.get("replicate", [2])) <= {2, 3, 4, 5, 6}


def test_luck_shows_when_the_best_is_trained_again() -> None:
    for bias, verdict in ((1.0, "yes"), (1e-3, "no")):
        rows, search = tuned_study(bias)
        found = {a.id: a for a in answers.answer(rows, None, search)}
        best = found["search_best.2"]
        assert best.verdict == verdict
        new = rows.loc[(rows["role"] == "rerun") & rows["cell"].isin(best.rows)]
        chosen = search[2].best_trial
        assert chosen is not None
        expected = new["test_nmse_median"].median() / chosen["test_nmse_median"]
        assert best.value == pytest.approx(expected)


def test_a_searched_size_makes_no_curve() -> None:
    rows, _ = tuned_study()
    sized = rows.assign(tuned="optimizer.lr model.width")
    widths = {64: 16, 256: 32, 1024: 48}
    sized["model.width"] = sized["data.n_train"].map(widths)
    found = answers.answer(sized, synthetic.curves(rows))
    assert not [a for a in found if a.id.startswith("raise_n")]


def test_a_study_of_trials_alone_is_about_its_search() -> None:
    rng = np.random.default_rng(0)
    rates = 10 ** rng.uniform(-4, -1, 30)
    rows = tried([{"optimizer.lr": float(lr)} for lr in rates], Law(scatter=1.0))
    search = searches(*tables(rows, [LR, WIDTH], "test_nmse_median rollout_error"))
    found = answers.answer(rows, synthetic.curves(rows), search)
    assert found
    assert all(a.id.startswith("search") for a in found)
    plots = {p.id: p for p in answers.plots(rows, synthetic.curves(rows), search)}
    of_trials = {"search_slices", "search_parallel"}
    assert set(plots) == {"search_front", "search_history", "search_importance", *of_trials}
    front = plots["search_front"].data
    pair = front[["test_nmse_median", "rollout_error"]].to_numpy(float)
    beaten = [((pair <= one).all(1) & (pair < one).any(1)).any() for one in pair]
    assert front["on_front"].tolist() == [not each for each in beaten]
    assert plots["search_front"].figure.axes[0].get_ylabel() == "rollout error (relative, 0 to 1)"
    importance = plots["search_importance"]
    sure = importance.data.loc[importance.data["p_value"] < 0.05, "share"]
    filled = [
        share
        for line in importance.figure.axes[0].lines
        if line.get_linestyle() == "None" and line.get_markerfacecolor() == line.get_color()
        for share in line.get_xdata()
        if line.get_marker() not in ("|", None)
    ]
    assert sorted(filled) == sorted(sure)
    assert (importance.data["low"] <= importance.data["high"]).all()
    history = plots["search_history"].data
    for _, part in history.groupby("objective"):
        assert np.allclose(part["best_so_far"], part["value"].cummin())


def test_pruned_and_diverged_trials_are_marked() -> None:
    rows = tried([{"optimizer.lr": 1e-3 * (k + 1)} for k in range(4)])
    trials, keys = tables(rows, [LR])
    trials.loc[1, ["state", "last", "steps", "test_nmse_median"]] = ["pruned", 0.7, 79, np.nan]
    trials.loc[2, "test_nmse_median"] = np.inf
    plot = next(iter(answers.plots(rows, synthetic.curves(rows), searches(trials, keys))))
    assert plot.data["state"].tolist() == ["complete", "pruned", "diverged", "complete"]
    assert plot.data["value"].tolist()[1] == 0.7
    assert "2 complete, 1 pruned, 1 diverged" in plot.caption
    crosses = next(line for line in plot.figure.axes[0].lines if line.get_marker() == "x")
    assert list(crosses.get_ydata()) == [0.7]


DEPTH = {"key": "model.depth", "kind": "whole", "low": 1, "high": 4, "log": False, "step": 1.0}


def test_what_a_search_tries_again_is_no_evidence() -> None:
    """Forty trials in a space of four points, of which the first four trained its cells."""
    settings = [
        {"optimizer.lr": lr, "model.depth": depth} for lr in (1e-3, 2e-3) for depth in (1, 2)
    ]
    rows = tried(settings, Law(factor={("model.depth", 1): 1e-3}))
    rates = LR | {"kind": "choice", "low": np.nan, "high": np.nan, "choices": "[0.001, 0.002]"}
    trials, keys = tables(rows, [rates, DEPTH | {"high": 2}])
    trials = pd.concat([trials] * 10, ignore_index=True).assign(number=range(40))
    (search,) = searches(trials, keys.assign(n_trials=40))
    by_id = {a.id: a for a in answers.answer(rows, None, [search])}
    assert by_id["search_best.0"].sentence.startswith(
        "Of 40 trials in a space of 4 points (4 trained to the end, 36 of cells that earlier ones "
        "had trained), number "
    )
    assert (search.n_trained, search.n_points) == (4, 4)
    assert by_id["search_keys.0"].verdict == "undecided"
    assert "4 trials are fewer than the 20" in by_id["search_keys.0"].sentence
    assert by_id["search_inside.0"].verdict == "yes", "no network has fewer than one layer"
    assert "widen" not in " ".join(notes.missing_of_searches(rows, [search], {}))


def test_a_key_that_the_best_cell_does_not_use_is_in_no_answer() -> None:
    rates = np.geomspace(1e-4, 9e-2, 24)
    rows = tried([{"optimizer.lr": lr, "model.width": 8 + k} for k, lr in enumerate(rates)])
    trials, keys = tables(rows, [LR, WIDTH])
    every, best = [], int(trials["test_nmse_median"].argmin())
    for unused in ("", "optimizer.lr"):
        marked = trials.assign(unused=np.where(trials["number"] == best, unused, ""))
        (search,) = searches(marked, keys)
        found = answers.answer(rows, None, [search])
        every.append(" ".join(a.sentence for a in found if a.id.startswith("search")))
        shares = search.importances["test_nmse_median"]
        assert ("optimizer.lr" in {key.key for key in shares}) == (unused == "")
    assert "optimizer.lr" in every[0]
    assert "optimizer.lr" not in every[1]


@pytest.mark.parametrize("value", [np.inf, 1e307, 1e-310])
def test_no_value_keeps_a_page_from_being_made(value: float) -> None:
    rates = (10.0, 100.0, 1000.0)
    rows = tried([{"optimizer.lr": lr} for lr in rates])
    rows[[c for c in rows if c.startswith(("test_", "rollout_error"))]] = value
    found = searches(*tables(rows, [LR | {"low": 10.0, "high": 1e4}]))
    sentences = [a.sentence for a in answers.answer(rows, None, found)]
    for part in answers.PARTS:
        assert all(
            "cannot be drawn" not in d.caption for d in answers.drawn(part, rows, None, found)
        )
    lost = "(0 trained to the end, 3 diverged) all diverged, so there is no best"
    assert any(lost in sentence for sentence in sentences) == (value > 1)


def test_statistics_that_fail_cost_one_answer_and_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Any) -> list:
        raise OverflowError("too large")

    rows, search = tuned_study()
    broken = [dataclasses.replace(answers.QUESTIONS[0], answers=fails, plots=fails)]
    monkeypatch.setattr(answers, "QUESTIONS", broken)
    (answer,) = answers.answer(rows, None, search, strict=False)
    assert "OverflowError: too large" in answer.sentence
    (figure,) = answers.drawn(0, rows, None, search)
    assert "OverflowError: too large" in figure.caption
    with pytest.raises(OverflowError):
        answers.answer(rows, None, search)
