"""A cell that is read back from its config.yaml is the cell that was planned, with its hash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from study.config.cell import Cell, make_cell
from study.config.command_line import CommandLine, compose
from study.config.hydra import register
from study.sweeping import cost
from study.sweeping.cell_config import read_config, write_config
from study.sweeping.plan import make_plan

CONF = Path(__file__).parents[1] / "conf"
MEASURED = ("data=file", "data.path=measured.csv", "data.columns.trajectory=run")
DATA = {
    "trajectories": ("data=trajectories",),
    "uniform": ("data=uniform",),
    "file": (*MEASURED, "system=unknown", "data.columns.q=[x]", "data.columns.units=[m]"),
    "file of a known system": (*MEASURED, "system=oscillator", "data.columns.q=[x]"),
}


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Trajectories of unequal lengths: from some of those held out only one rollout can start."""
    rng, tables = np.random.default_rng(0), []
    for run, n in enumerate((40, 45, 50, 40, 60, 55, 40, 45, 70, 50, 40, 45, 40, 52, 61)):
        t = 0.02 * np.arange(n)
        x = np.sin(t + rng.uniform())
        tables.append(pd.DataFrame({"run": run, "t": t, "x": x}))
    pd.concat(tables).to_csv(tmp_path / "measured.csv", index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "cpp_trouble", lambda: None)  # as if there were a compiler
    register()
    return tmp_path


def planned(plain: dict[str, Any], compile: bool) -> Cell:
    """The cell of a config, planned as the sweep plans it."""
    command = CommandLine({}, {}, {}, frozenset())
    (cell,) = make_plan(command, lambda _: plain, decided=compile).cells
    return cell


def read_back(cell: Cell, path: Path) -> Cell:
    write_config(path, cell.as_dict())
    config = read_config(path)
    return make_cell(config, compile=config["compile"])


def possible(model: str, optimizer: str) -> bool:
    """Whether there are such cells with the settings that both are shipped with."""
    if model == "random_features":
        return not optimizer.startswith("soap")
    return (model == "linear_lagrangian") == (optimizer == "least_squares")


@pytest.mark.parametrize("budget", options("budget"))
@pytest.mark.parametrize("optimizer", options("optimizer"))
def test_every_cell_keeps_its_hash_when_it_is_read_back(
    optimizer: str, budget: str, folder: Path
) -> None:
    base = compose([f"optimizer={optimizer}", f"budget={budget}"])
    n_cells = 0
    for overrides in DATA.values():
        sources = compose(overrides)
        for model in options("model"):
            settings = yaml.safe_load((CONF / "model" / f"{model}.yaml").read_text())
            groups = {key: sources[key] for key in ("system", "data")} | {"model": settings}
            for compile in (True, False):
                if not possible(model, optimizer):
                    continue
                cell = planned({**base, **groups}, compile)
                again = read_back(cell, folder / f"{n_cells}.yaml")
                assert again == cell, (model, overrides, compile)
                assert again.hash == cell.hash
                n_cells += 1
    assert n_cells >= 2 * len(DATA)


def test_cells_keep_the_hashes_that_they_had() -> None:
    """Of studies that are trained already."""
    hashes = {
        ("lnn", "adam", True): "a38dc307995f",
        ("lnn", "adam", False): "29079c09ef65",
        ("structured_lnn", "adam_lm", True): "8fc02d376faa",
        ("acceleration_mlp", "adam_lbfgs", True): "6703cffa493b",
        ("lnn", "levenberg_marquardt", False): "6f99801f2c83",
    }
    ends = {"adam_lm": 100, "levenberg_marquardt": 300}  # iterations that were the default
    for (model, optimizer, compile), known in hashes.items():
        chosen = [f"model={model}", f"optimizer={optimizer}"]
        if optimizer in ends:
            chosen += [f"optimizer.iterations={ends[optimizer]}", "optimizer.seconds=null"]
        plain = compose(chosen)
        assert planned(plain, compile).hash == known
