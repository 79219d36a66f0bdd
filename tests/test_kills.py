"""Processes killed at random cost nothing: each block is there once, and is what it would be."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import random_kills
from study import results
from tests.sweeping.commands import assert_same


# the first seed's four kills are those of a worker, a trainer, the head and a worker
@pytest.mark.parametrize(
    ("kills", "replicates", "seed"),
    [(4, 2, 2618), pytest.param(30, 8, 0, marks=pytest.mark.slow)],
)
def test_kills_of_head_workers_and_trainers_lose_nothing(
    kills: int, replicates: int, seed: int, tmp_path: Path
) -> None:
    homes = [tmp_path / "calm", tmp_path / "killed"]
    for home in homes:
        home.mkdir()
    right = random_kills.undisturbed(homes[0], replicates)
    report = random_kills.disturbed(homes[1], kills, seed, right, replicates)
    assert sum(report.hits.values()) == kills
    assert set(report.hits) == {"head", "worker", "trainer"}
    assert (report.missing, report.changed, report.different, report.left) == (0, 0, 0, 0), report
    study = homes[1] / "outputs" / "killed"
    rows = results.load(study)
    assert len(rows) == random_kills.CELLS * replicates
    assert not rows.duplicated(["cell", "replicate"]).any()
    assert_same(study, right)
