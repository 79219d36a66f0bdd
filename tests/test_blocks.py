"""A block's tables: what is written is what is read, from rows that need not be alike."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pytest

from study.tables import blocks

ROWS = [
    {"cell": "a" * 12, "replicate": 0, "error": 0.1, "rank": math.nan, "clip": None, "done": True},
    {"cell": "a" * 12, "replicate": 1, "error": math.inf, "rank": 3.0, "clip": None, "label": "x"},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / ("a" * 12) / "block-000"
    path.mkdir(parents=True)
    return path


def test_rows_are_read_as_they_were_written(folder: Path) -> None:
    blocks.write(blocks.from_rows(ROWS), folder / "rows.parquet")
    tables, damaged = blocks.gather([folder], {"rows.parquet": ["cell", "error"]})
    assert not damaged
    read = tables["rows.parquet"]
    for name in {name for row in ROWS for name in row}:
        for row, value in zip(ROWS, read[name], strict=True):
            wanted = row.get(name)
            missing = wanted is None or wanted != wanted
            assert (value is None or value != value) if missing else value == wanted, name


def test_what_is_missing_in_one_block_is_a_number_in_the_next(folder: Path) -> None:
    """Of a block all of whose replicates lack a measure, its column is of the same type."""
    nan = blocks.from_rows([{"cell": "a" * 12, "rank": math.nan}])
    assert nan.schema.field("rank").type == pa.float64()
    other = folder.with_name("block-001")
    other.mkdir()
    blocks.write(nan, folder / "rows.parquet")
    blocks.write(blocks.from_rows([{"cell": "a" * 12, "rank": 2.0}]), other / "rows.parquet")
    tables, _ = blocks.gather([folder, other], {"rows.parquet": ["cell"]})
    assert tables["rows.parquet"]["rank"].dtype == float
