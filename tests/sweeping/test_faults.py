"""A walk over faults, by fixed seeds: nothing is lost, nothing is wrong, and all of it is told.

The command is repeated as it says, until every block is done. Then each is in the table exactly
once, equal to the last bit to what it is undisturbed, and each failure is on record.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from study import results
from study.sweeping.folder import Block, StudyFolder
from study.sweeping.monitor import Monitor
from study.tables import gather
from tests.sweeping import faults
from tests.sweeping.commands import (
    HERE,
    TINY,
    assert_same,
    one_worker,
    prepare,
    run_here,
    start,
)

# training ends in NaN at the second of the learning rates: a row as any other
GRID = (
    "data.n_train=32,48",
    "optimizer.lr=0.003,1e30",
    "optimizer.steps=20",
    "replicates=3",
    "block_size=1",
)
COMMAND = (*TINY, *GRID, "study=mine")
BLOCKS = 12
CHANGE = "from tests.sweeping import faults; faults.install(trial)"
TORN = {
    "checkpoint": lambda block: block.checkpoint,
    "progress": lambda block: block.progress,
    "lock": lambda block: block.lock,
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_here(patch, *COMMAND, *HERE) == 0
    study = folder / "outputs" / "mine"
    reasons = results.load(study).groupby("optimizer.lr")["stop_reason"].unique()
    assert list(reasons[1e30]) == ["diverged"]
    assert "diverged" not in reasons[0.003]
    return study


def draw_plan(blocks: Sequence[Block], seed: int) -> dict[Block, list[str]]:
    """Every fault once, at random blocks, and some twice; some blocks have none."""
    draw = random.Random(seed)
    kinds = [*faults.FAULTS, *TORN]
    chosen = draw.sample(blocks, len(kinds))
    plan = {block: [kind] for block, kind in zip(chosen, kinds, strict=True)}
    again = [kind for kind in faults.FAULTS if kind not in ("hang", "supervisor")]
    for block in draw.sample(blocks, BLOCKS // 2):
        plan.setdefault(block, []).append(draw.choice(again))
    return plan


def tear(path: Path, draw: random.Random) -> None:
    """What a disk may keep of a file: part of it, or nothing, or noise."""
    whole = path.read_bytes() if path.exists() else draw.randbytes(200)
    path.write_bytes(draw.choice((whole[: len(whole) // 2], b"", draw.randbytes(100))))


def check_records(block: Block, kinds: Sequence[str]) -> None:
    """Each fault is on record, and what else there is came of a neighbour's death."""
    records = block.failures()
    for kind in kinds:
        fault = faults.FAULTS[kind]
        found = [r for r in records if fault.error in r["error"]]
        # the launcher ends a dead worker's neighbour, in the middle of what happens there too
        found += [r for r in records if faults.DEATH in r["error"]]
        assert found, f"{kind} is not among {records}"
        if fault.error in found[0]["error"]:
            assert fault.traceback in found[0]["traceback"]
        records.remove(found[0])
    assert all(faults.DEATH in record["error"] for record in records), records


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_walk_over_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Path, seed: int
) -> None:
    monkeypatch.chdir(tmp_path)
    study = prepare(*GRID)
    folder = StudyFolder(study)
    blocks = list(folder.blocks(folder.read_orders()))
    assert len(blocks) == BLOCKS
    draw, planned = random.Random(seed), draw_plan(blocks, seed)
    for block, kinds in planned.items():
        for kind in TORN.keys() & set(kinds):
            tear(TORN[kind](block), draw)
        faults.plan(block, [kind for kind in kinds if kind in faults.FAULTS])
    head = start(tmp_path, *COMMAND, "workers=2", "retries=8", "time_limit=15", change=CHANGE)
    printed, _ = head.communicate(timeout=600)
    assert head.returncode == 0, printed
    assert "Traceback" not in printed
    assert not any(path.read_text() for path in Path("plan").iterdir()), "all of it happened"
    for block in blocks:
        check_records(block, [k for k in planned.get(block, ()) if k in faults.FAULTS])
    check(study, undisturbed)


def check(study: Path, undisturbed: Path) -> None:
    assert len(gather.block_folders(study)) == BLOCKS
    rows = results.load(study)
    assert len(rows) == BLOCKS
    assert not rows.duplicated(["cell", "replicate"]).any()
    assert not list(study.glob("cells/*/.*"))
    assert_same(study, undisturbed)


def test_a_torn_config_fails_its_cell_until_the_command_is_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    study = prepare(*GRID)
    config = random.Random(3).choice(sorted(study.glob("cells/*/config.yaml")))
    config.write_bytes(config.read_bytes()[:60])
    worker = one_worker(study, "--log", str(tmp_path / "log"))
    said, _ = worker.communicate(timeout=300)
    assert worker.returncode == 0, said
    failed = Monitor(study).look().failed
    assert [(f.cell, f.block, f.attempts) for f in failed] == [
        (config.parent.name, number, 3) for number in range(3)
    ]
    for failure in failed:
        assert f"{config} is torn" in failure.error
        assert "the sweep's command, given again, writes it anew" in failure.error
        assert "in read_cell" in failure.traceback
    assert run_here(monkeypatch, *COMMAND, *HERE) == 0, "the command writes it anew"
    check(study, undisturbed)
