"""The monitor: what it makes of a folder, whoever wrote it and whether they live."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from study import results
from study.sweeping import claims
from study.sweeping.folder import StudyError, StudyFolder, write_json, write_yaml
from study.sweeping.monitor import Monitor, describe

CELLS = ("aaaaaaaaaaaa", "bbbbbbbbbbbb")


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """Two cells of two blocks; estimated at 10 and 5 seconds a block."""
    study = StudyFolder(tmp_path)
    write_yaml(
        tmp_path / "study.yaml",
        {
            "cells": list(CELLS),
            "replicates": 10,
            "block_size": 5,
            "retries": 0,
            "storage": None,
            "swept": {},
            "seconds_per_block": {CELLS[0]: 10.0, CELLS[1]: 5.0},
            "provenance": {"run": "this", "started": time.time() - 60},
        },
    )
    for cell in CELLS:
        study.cell(cell).mkdir(parents=True)
    return study


def commit(folder: StudyFolder, cell: str, number: int, seconds: float) -> None:
    block = folder.block(cell, number)
    block.folder.mkdir()
    (block.folder / "replicates.parquet").touch()
    begun = time.time() - seconds
    write_json(block.folder / "run.json", {"run": "this", "started": begun, "seconds": seconds})


def test_an_untouched_study_is_missing(folder: StudyFolder) -> None:
    now = Monitor(folder.root).look()
    assert (now.total, now.done, now.missing, now.running, now.failed) == (4, 0, 4, (), ())
    assert now.seconds_left is None
    assert not now.finished


def test_time_left_follows_what_blocks_took(folder: StudyFolder) -> None:
    commit(folder, CELLS[0], 0, seconds=20.0)  # twice the estimate
    block = folder.block(CELLS[0], 1)
    with claims.take(block.lock):
        write_json(block.progress, {"started": time.time() - 5, "fraction": 0.25})
        now = Monitor(folder.root).look()
    assert (now.done, len(now.running), now.missing) == (1, 1, 2)
    assert now.running[0].fraction == 0.25
    # half as fast as estimated: 0.75 x 10 s and twice 5 s left, by one worker
    assert now.seconds_left == pytest.approx(2 * (7.5 + 5 + 5))
    assert now.blocks_per_minute == pytest.approx(1, rel=0.05)


def test_who_lost_its_claim_does_not_run(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = folder.block(CELLS[0], 0)
    with claims.take(block.lock):
        monkeypatch.setattr(claims, "LIFETIME", 0.1)
        time.sleep(0.2)
        assert Monitor(folder.root).look().running == ()


def test_failures_count_in_the_command_they_happened_in(folder: StudyFolder) -> None:
    block = folder.block(CELLS[1], 1)
    block.add_failure({"run": "before", "error": "then", "time": 1})
    assert Monitor(folder.root).look().failed == ()
    block.add_failure({"run": "this", "error": "now", "time": 2})
    (failed,) = Monitor(folder.root).look().failed
    assert (failed.cell, failed.block, failed.attempts, failed.error) == (CELLS[1], 1, 1, "now")
    assert sorted(p.name for p in folder.cell(CELLS[1]).iterdir()) == [
        "block-001.failed-1.json",
        "block-001.failed-2.json",
    ]


def test_all_done(folder: StudyFolder) -> None:
    for cell in CELLS:
        for number in range(2):
            commit(folder, cell, number, seconds=1.0)
    now = Monitor(folder.root).look()
    assert now.finished
    assert now.seconds_left == 0


def test_a_folder_without_replicates_is_not_done(folder: StudyFolder) -> None:
    commit(folder, CELLS[0], 0, seconds=1.0)
    (folder.block(CELLS[0], 0).folder / "replicates.parquet").unlink()
    now = Monitor(folder.root).look()
    assert (now.done, now.missing) == (0, 4)


def test_no_study(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="it has no study"):
        Monitor(tmp_path)
    (tmp_path / "study.yaml").write_text("cells: []")
    with pytest.raises(StudyError, match="lacks"):
        Monitor(tmp_path)


def test_the_best_is_the_least_median_of_a_finished_block(smoke_study: Path) -> None:
    rows = results.load(smoke_study)
    least = rows.groupby("cell")["test_nmse_median"].median().min()
    now = Monitor(smoke_study).look()
    assert now.best == {"test_nmse_median": pytest.approx(least)}
    assert f"best test_nmse_median {least:.2g}" in describe(now)


def test_measures_that_are_none_are_passed_over(folder: StudyFolder) -> None:
    path = folder.root / "study.yaml"
    asked = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(asked | {"search": {"objectives": ["test_nmse", 3]}}))
    for number, measures in enumerate(({"test_nmse": "0"}, {"test_nmse": 0.5})):
        commit(folder, CELLS[0], number, seconds=1.0)
        record = folder.block(CELLS[0], number).folder / "run.json"
        write_json(record, {"run": "this", "measures": measures})
    commit(folder, CELLS[1], 0, seconds=1.0)
    write_json(folder.block(CELLS[1], 0).folder / "run.json", {"measures": ["test_nmse"]})
    assert Monitor(folder.root).look().best == {"test_nmse": 0.5}
