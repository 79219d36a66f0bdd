"""`python -m study.status` where tables are left and cells are not."""

import json
import sys

import pytest

from study import status
from study.tables import gather
from tests.analysis import synthetic
from tests.analysis.synthetic import Law


@pytest.fixture
def tables(tmp_path):
    """A study's two tables and its study.yaml, as they are committed."""
    made = synthetic.write_study(tmp_path / "made", synthetic.rows([{}], Law()))
    gather.compact(made)
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("results.parquet", "curves.parquet", "study.yaml"):
        (made / name).rename(folder / name)
    return folder


def test_says_that_tables_are_there_and_cells_are_not(tables, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["status", str(tables)])
    status.main()
    said = capsys.readouterr().out
    assert said.startswith("mine: finished tables (results.parquet, curves.parquet) without")
    assert "missing" not in said


def test_json(tables, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["status", str(tables), "--json"])
    status.main()
    found = json.loads(capsys.readouterr().out)
    assert found == {
        "study": "mine",
        "tables": ["results.parquet", "curves.parquet"],
        "cells": False,
    }


def test_no_tables_is_an_error_still(tables, monkeypatch):
    for name in ("results.parquet", "curves.parquet", "study.yaml"):
        (tables / name).unlink()
    monkeypatch.setattr(sys, "argv", ["status", str(tables)])
    with pytest.raises(SystemExit, match=r"no study\.yaml"):
        status.main()
