"""The recorder: every block once in the ledger, whatever becomes of workers and servers."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from study.sweeping import ledger
from study.sweeping.folder import StudyFolder, Survey, read_json
from study.sweeping.monitor import Monitor


@pytest.fixture
def folder(smoke_study: Path, tmp_path: Path) -> StudyFolder:
    """A finished study whose ledger is lost."""
    study = tmp_path / "n_vs_p"
    shutil.copytree(smoke_study, study)
    (study / "ledger.log").unlink()
    return StudyFolder(study)


def recorded(folder: StudyFolder) -> Counter[tuple[str, int]]:
    """How often each block is in the ledger, by whoever opens it now."""
    trials = ledger.open_ledger(folder, None).trials
    return Counter((t.user_attrs["cell"], t.user_attrs["block"]) for t in trials)


def about(block) -> dict:
    found = read_json(block.folder / "run.json")
    assert found is not None
    return found


def in_a_process(work) -> int:
    """What a forked process leaves with; negative for the signal it died of."""
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_what_workers_record_and_what_they_die_with_is_in_it_once(folder: StudyFolder) -> None:
    orders = folder.read_orders()
    blocks = list(folder.blocks(orders))
    half = len(blocks) // 2

    def lives() -> None:
        recorder = ledger.Recorder(folder, orders)
        for block in blocks[:half]:
            recorder.done(block, about(block))
        recorder.flush(at_once=True)

    def dies() -> None:
        recorder = ledger.Recorder(folder, orders)
        for block in blocks[half:]:
            recorder.done(block, about(block))
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_process(lives) == 0
    assert in_a_process(dies) == -signal.SIGKILL
    before = recorded(folder)
    assert half <= len(before) < len(blocks), "what was held back died with its worker"
    ledger.reconcile(ledger.open_ledger(folder, None), folder, orders)
    assert recorded(folder) == {(b.cell, b.number): 1 for b in blocks}
    values = {t.user_attrs["cell"]: t.value for t in ledger.open_ledger(folder, None).trials}
    assert all(values[b.cell] == about(b)["measures"]["test_nmse_median"] for b in blocks)


def test_records_of_a_second_are_appended_together(folder: StudyFolder) -> None:
    orders = folder.read_orders()
    recorder = ledger.Recorder(folder, orders)
    first, *others = folder.blocks(orders)
    recorder.done(first, about(first))
    for block in others:
        recorder.done(block, about(block))
    assert len(recorded(folder)) < 1 + len(others)
    time.sleep(ledger.BATCH)
    recorder.flush()
    assert len(recorded(folder)) == 1 + len(others)


def test_a_server_that_is_away_costs_no_block_and_is_asked_once(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "PATIENCE", 0.1)
    orders = folder.read_orders()
    path = folder.root / "study.yaml"
    path.write_text(path.read_text().replace("storage: null", "storage: sqlite:////nowhere/a.db"))
    lost = folder.read_orders()
    assert lost.storage is not None
    opened = []
    real = ledger.open_ledger
    monkeypatch.setattr(ledger, "open_ledger", lambda *a, **k: opened.append(1) or real(*a, **k))
    recorder = ledger.Recorder(folder, lost)
    for block in folder.blocks(orders):
        recorder.done(block, about(block))
    recorder.flush(at_once=True)
    assert len(opened) == 1


def test_a_block_done_just_now_is_left_to_a_worker_that_lives(folder: StudyFolder) -> None:
    orders = folder.read_orders()
    block = folder.block(orders.cells[0], 0)
    kept = block.folder.rename(folder.root / "kept")
    block.lock.touch()
    assert ledger.reconcile(ledger.open_ledger(folder, None), folder, orders) == 0
    block.lock.unlink()
    kept.rename(block.folder)
    n = len(list(folder.blocks(orders)))
    assert ledger.reconcile(ledger.open_ledger(folder, None), folder, orders) == n


def test_a_monitor_that_has_looked_before_sees_what_a_new_one_sees(folder: StudyFolder) -> None:
    orders = folder.read_orders()
    blocks = list(folder.blocks(orders))
    for block in blocks:
        block.folder.rename(block.beside("away"))
    old = Monitor(folder.root)
    for block in blocks:
        old.look()
        block.beside("away").rename(block.folder)
        assert old.look() == Monitor(folder.root).look()
    assert old.look().finished
    survey = Survey(folder, orders)
    assert len(list(survey.look())) == len(blocks)
    assert list(survey.look()) == []


def test_a_record_that_its_writer_did_not_live_to_finish_costs_no_other(
    folder: StudyFolder,
) -> None:
    orders = folder.read_orders()
    first, *others = folder.blocks(orders)
    for block, torn in ((first, '{"op_code": 4, "worker'), *((b, "") for b in others)):
        recorder = ledger.Recorder(folder, orders)
        recorder.done(block, about(block))
        recorder.flush(at_once=True)
        with (folder.root / "ledger.log").open("a") as file:
            file.write(torn)
    assert set(recorded(folder).values()) == {1}
    assert len(recorded(folder)) == len(others) + 1
