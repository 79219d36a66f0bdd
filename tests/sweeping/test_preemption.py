"""A worker that is asked to leave: within seconds, its block free, and nothing trained is lost."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch

from study import results
from study.sweeping.folder import Block, StudyFolder
from study.sweeping.local import HEAD
from tests.sweeping.commands import (
    HERE,
    TINY,
    assert_same,
    one_worker,
    prepare,
    run_here,
    wait_for,
)

# each keeps other things in its checkpoint; the first has two stages
OPTIMIZERS = ("adam_lm", "adam", "levenberg_marquardt")
STEPS = ("optimizer.steps=12", "optimizer.iterations=12")
HOLD = 10  # steps after which a worker is asked to leave, whatever it trains


def study_of(optimizer: str) -> tuple[str, ...]:
    steps = {"adam": STEPS[:1], "levenberg_marquardt": STEPS[1:]}
    return (f"optimizer={optimizer}", *steps.get(optimizer, STEPS))


def has_line(log: Path, line: str) -> bool:
    return log.exists() and line in log.read_text().split()


def only_block(study: Path) -> Block:
    folder = StudyFolder(study)
    (block,) = folder.blocks(folder.read_orders())
    return block


@pytest.mark.parametrize(
    "optimizer", [OPTIMIZERS[0], *(pytest.param(o, marks=pytest.mark.slow) for o in OPTIMIZERS[1:])]
)
def test_preempted_again_and_again_a_block_is_the_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    (tmp_path / "undisturbed").mkdir()
    monkeypatch.chdir(tmp_path / "undisturbed")
    assert run_here(monkeypatch, *TINY, *HERE, *study_of(optimizer), "study=mine") == 0
    monkeypatch.chdir(tmp_path)
    study = prepare(*study_of(optimizer))
    block, trained, signals = only_block(study), 0, []
    undisturbed = tmp_path / "undisturbed" / "outputs" / "mine"
    steps = results.load_curves(undisturbed).query("curve == 'training'")["x"].max()
    for signal_number in itertools.cycle((signal.SIGTERM, signal.SIGUSR2)):
        log = tmp_path / f"log-{len(signals)}"
        worker = one_worker(study, "--hold", str(HOLD), "--log", str(log))
        wait_for(lambda log=log: has_line(log, "held") or block.done, worker)
        if block.done:
            assert worker.wait(60) == 0
            break
        os.kill(worker.pid, signal_number)
        output, _ = worker.communicate(timeout=60)
        assert worker.returncode == 3, output
        signals.append(signal_number)
        assert not block.lock.exists()
        assert not block.progress.exists()
        assert not block.failures()
        assert not list(block.folder.parent.glob(".*"))
        # the last step before it was asked is in it; measuring comes after the last of all
        saved = torch.load(block.checkpoint, weights_only=True)
        assert saved["x"] >= min(trained + HOLD - 2, steps)
        trained = saved["x"]
    assert len(signals) >= (2 if optimizer == "adam_lm" else 1)
    assert not block.checkpoint.exists()
    assert_same(study, undisturbed)


def test_a_worker_that_waits_for_another_leaves_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = prepare("optimizer.steps=12")
    log = tmp_path / "log"
    holder = one_worker(study, "--host", "a", "--hold", "5", "--log", str(log))
    wait_for(lambda: has_line(log, "held"), holder)
    idle = one_worker(study, "--host", "b", "--log", str(log))
    wait_for(lambda: has_line(log, "idle"), idle)
    os.kill(idle.pid, signal.SIGTERM)
    assert idle.wait(60) == 3
    assert only_block(study).lock.exists(), "the other's claim stands"
    os.kill(holder.pid, signal.SIGTERM)
    assert holder.wait(60) == 3


def test_a_worker_whose_head_died_before_it_began_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = prepare("optimizer.steps=12")
    head = subprocess.Popen(["true"])
    head.wait()
    monkeypatch.setenv(HEAD, str(head.pid))
    worker = one_worker(study, "--log", str(tmp_path / "log"))
    assert worker.wait(60) == 1
    assert not (tmp_path / "log").exists()
    assert not only_block(study).done
