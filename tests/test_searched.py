"""The tables of a search are what its records say, and every row of the results has its role."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from study.config.schema import bounds
from study.tables import gather
from study.tables.records import TableError, at_edge

RANGES = {
    "optimizer.lr": {"kind": "number", "low": 1e-4, "high": 0.1, "step": None, "log": True},
    "model.depth": {"kind": "whole", "low": 1, "high": 4, "step": 1, "log": False},
    "model.mass_prior": {"kind": "choice", "choices": [0.0, 0.1, 1]},
    "model.clip": {"kind": "choice", "choices": [None, 1.0]},
}
PARAMS = {"optimizer.lr": 0.01, "model.depth": 2, "model.mass_prior": 1, "model.clip": None}


def spec(name: str, **fixed: Any) -> dict[str, Any]:
    return {"name": name, "fixed": fixed, "space": dict.fromkeys(RANGES, ""), "ranges": RANGES}


def study(*specs: dict[str, Any]) -> dict[str, Any]:
    search = {"sampler": "tpe", "pruner": "successive_halving", "n_trials": 4}
    search["objectives"] = ["test_nmse_median"]
    return {"cells": [], "block_size": 2, "search": search, "searches": list(specs)}


def record(folder: Path, search: str, number: int, cell: str, state: str, **more: Any) -> None:
    place = folder / "searches" / search
    place.mkdir(parents=True, exist_ok=True)
    data = {"number": number, "cell": cell, "params": PARAMS, "state": state, **more}
    (place / f"trial-{number:05d}.json").write_text(json.dumps(data))


ONE, TWO = "0123456789ab", "ba9876543210"
A, B, C = "a" * 12, "b" * 12, "c" * 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record(tmp_path, ONE, 0, A, "complete", values=[0.5], steps=2000)
    record(tmp_path, ONE, 1, B, "pruned", steps=79, last=3.0)
    record(tmp_path, ONE, 2, C, "complete", values=[float("inf")], steps=2000)
    record(tmp_path, ONE, 3, "none", "impossible", error="they exclude each other")
    record(tmp_path, TWO, 0, A, "complete", values=[9.0])  # of another command
    (tmp_path / "searches" / ONE / "trial-00009.json").write_text('{"number": 9, ')
    return tmp_path


def test_a_row_is_what_became_of_a_trial(folder: Path) -> None:
    made = gather.compact_searches(folder, study(spec(ONE)))
    assert made is not None
    trials, keys = gather.load_trials(folder), gather.load_searches(folder)
    assert trials is not None
    assert keys is not None
    for table, read in zip(made, (trials, keys), strict=True):
        pd.testing.assert_frame_equal(table, read)
    assert list(trials["state"]) == ["complete", "pruned", "complete", "impossible"]
    assert list(trials["steps"]) == [2000, 79, 2000, 0]
    np.testing.assert_array_equal(trials["test_nmse_median"], [0.5, np.nan, np.inf, np.nan])
    np.testing.assert_array_equal(trials["last"], [np.nan, 3.0, np.nan, np.nan])
    assert list(trials["error"])[-1] == "they exclude each other"
    assert trials["optimizer.lr"].dtype == float
    assert set(trials["model.clip"]) == {"null"}, "not all choices are numbers"
    by_key = keys.set_index("key")
    assert list(by_key.index) == list(RANGES)
    assert by_key.loc["optimizer.lr", ["low", "high", "log"]].tolist() == [1e-4, 0.1, True]
    assert json.loads(str(by_key.loc["model.mass_prior", "choices"])) == [0.0, 0.1, 1]


def test_a_point_is_what_sets_its_search_apart(folder: Path) -> None:
    specs = (
        spec(ONE, **{"data.n_train": 64, "optimizer.steps": 100}),
        spec(TWO, **{"data.n_train": 128, "optimizer.steps": 100}),
    )
    trials, keys = gather.compact_searches(folder, study(*specs)) or (None, None)
    assert trials is not None
    assert keys is not None
    assert [json.loads(p) for p in dict.fromkeys(keys["point"])] == [
        {"data.n_train": 64},
        {"data.n_train": 128},
    ]
    assert (trials["search"] == TWO).sum() == 1


def test_what_a_later_command_does_not_search_is_gone(folder: Path) -> None:
    gather.compact_searches(folder, study(spec(ONE)))
    assert gather.compact_searches(folder, {"cells": [A]}) is None
    assert gather.load_trials(folder) is None
    assert gather.load_searches(folder) is None


def test_a_study_that_does_not_say_what_it_searched_is_one_sentence(folder: Path) -> None:
    torn = study({k: v for k, v in spec(ONE).items() if k != "ranges"})
    with pytest.raises(TableError, match="does not say what was searched"):
        gather.compact_searches(folder, torn)


def test_roles(folder: Path) -> None:
    # A is the best of a finished search; C was, before it went on; D is of a grid
    best = {"cell": A, "number": 0, "value": 0.5, "at_edge": {}}
    (folder / "searches" / ONE / "best.json").write_text(json.dumps(best))
    tables = gather.compact_searches(folder, study(spec(ONE)))
    rows = pd.DataFrame([(cell, k) for cell in (A, C, "d" * 12) for k in range(4)])
    rows.columns = ["cell", "replicate"]
    found = gather.with_roles(rows, tables, 2)
    roles = {cell: list(part["role"]) for cell, part in found.groupby("cell")}
    assert roles == {
        A: ["trial", "trial", "rerun", "rerun"],
        C: ["trial", "trial", "former", "former"],
        "d" * 12: ["grid"] * 4,
    }
    assert set(found.loc[found["cell"] == A, "tuned"]) == {" ".join(RANGES)}
    assert set(found.loc[found["role"] == "grid", "tuned"]) == {""}
    assert set(gather.with_roles(rows, None, 2)["role"]) == {"grid"}


@pytest.mark.parametrize(("value", "edge"), [(1, False), (4, True), (2, False)])
def test_an_end_beyond_which_a_key_cannot_be_is_no_edge(value: float, edge: bool) -> None:
    assert at_edge(1, 4, False, value, bounds("model.depth")) is edge


@pytest.mark.parametrize(
    ("low", "high", "log", "value", "edge"),
    [
        (8, 64, True, 64, True),
        (8, 64, True, 62, True),  # 98.5 % of the way in logarithms
        (8, 64, True, 60, False),
        (8, 64, False, 60, False),
        (1e-4, 1e-1, True, 1.1e-4, True),
        (0.0, 1.0, False, 0.5, False),
        (4, 4, False, 4, False),  # nothing was searched
    ],
)
def test_edge(low: float, high: float, log: bool, value: float, edge: bool) -> None:
    assert at_edge(low, high, log, value) is edge


def test_hostile_orders_name_no_file_elsewhere(folder: Path) -> None:
    orders = yaml.safe_load(yaml.safe_dump(study(spec("../../secret"))))
    assert gather.complete_cells(folder, orders) == []
    assert gather.complete_cells(folder, {"searches": "all"}) == []
