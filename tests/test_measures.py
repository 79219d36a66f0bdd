"""The registry of measures: one entry adds a measure to the table, the searches and the page."""

import dataclasses

import numpy as np
import pytest

from study.block import run
from study.config.errors import ConfigError
from study.page.cells import cell_table
from study.sweeping.space import check_objectives
from study.tables import gather
from study.tables.measures import MEASURES, Measure, Predictions
from tests.test_trial import small_cell

KEYS = {"study", "cell", "replicate", "data_seed", "init_seed"}


def largest(predictions: Predictions) -> float:
    return float(np.abs(predictions.accelerations).max())


LARGEST = Measure("largest_acceleration", unit="m/s²", compute=largest)


@dataclasses.dataclass
class Asked:
    objectives: list[str]


def test_one_entry_adds_a_measure(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match="largest_acceleration"):
        check_objectives(Asked([LARGEST.column]))  # type: ignore[arg-type]
    monkeypatch.setitem(MEASURES, LARGEST.column, LARGEST)
    check_objectives(Asked([LARGEST.column]))  # type: ignore[arg-type]
    cell = small_cell("optimizer.steps=5", "diagnostics.error_budget=false")
    block = run.run_block(cell, 0)
    folder = tmp_path / "mine" / "cells" / cell.hash / "block-000"
    folder.mkdir(parents=True)
    run.write_block(block, folder)
    rows, _ = gather.compact(tmp_path / "mine")
    values = rows[LARGEST.column]
    assert (values > 0).all()
    assert values.nunique() == 2
    assert run.medians(block.rows)[LARGEST.column] == values.median()
    numbers, text = cell_table(rows)
    assert numbers[LARGEST.column].tolist() == [values.median()]
    assert "largest acceleration (m/s²)" in text


def test_every_column_that_a_block_measures_is_registered(tmp_path):
    cell = small_cell("optimizer.steps=5", "diagnostics.identifiability=true")
    row = run.run_block(cell, 0).rows[0]
    assert not set(row) - set(cell.factors()) - {*KEYS, "stop_reason"} - set(MEASURES)
