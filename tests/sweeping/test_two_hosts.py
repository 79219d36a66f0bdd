"""Workers whose clocks disagree, that fall asleep, that have other code: never two results.

Each worker is a process that runs as on a host of its own; the file system is one.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from study.sweeping.folder import StudyFolder
from study.tables import gather
from tests.sweeping.commands import (
    HERE,
    TINY,
    assert_same,
    one_worker,
    prepare,
    run_here,
    wait_for,
)

GRID = ("data.n_train=32,48", "replicates=2", "block_size=1", "optimizer.steps=20")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_here(patch, *TINY, *GRID, *HERE, "study=mine") == 0
    return folder / "outputs" / "mine"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Four blocks to be trained."""
    monkeypatch.chdir(tmp_path)
    return prepare(*GRID)


def trained(log: Path) -> Counter[str]:
    """How often the training of each block was begun."""
    return (
        Counter(line for line in log.read_text().split() if "-" in line)
        if log.exists()
        else Counter()
    )


def succeed(worker: subprocess.Popen[str]) -> None:
    output, _ = worker.communicate(timeout=180)
    assert worker.returncode == 0, output


def inodes(study: Path) -> dict[Path, int]:
    return {file: file.stat().st_ino for file in study.glob("cells/*/block-???/*")}


def left_beside(study: Path) -> list[str]:
    """Names in the cells' folders that are of no finished study."""
    return [
        path.name
        for path in study.glob("cells/*/*")
        if path.name != "config.yaml" and not path.is_dir() and ".failed-" not in path.name
    ]


@pytest.mark.slow
@pytest.mark.parametrize("dates_files", [(), ("--dates-files",)])
@pytest.mark.parametrize("hours", [-1, 1])
def test_hosts_whose_clocks_are_an_hour_apart_have_one_result_of_each_block(
    study: Path, undisturbed: Path, tmp_path: Path, hours: int, dates_files: tuple[str, ...]
) -> None:
    log = tmp_path / "log"
    options = ("--pause", "1", "--log", str(log), *dates_files)
    first = one_worker(study, "--host", "a", *options)
    wait_for(lambda: bool(trained(log)), first)
    second = one_worker(study, "--host", "b", "--shift", str(3600 * hours), *options)
    for worker in (first, second):
        succeed(worker)
    blocks = gather.block_folders(study)
    assert len(blocks) == 4
    begun = trained(log)
    assert len(begun) == 4
    # a host that dates its files itself, and is ahead, believes that others' claims are old
    assert max(begun.values()) <= (2 if dates_files else 1)
    assert not left_beside(study)
    assert_same(study, undisturbed)


@pytest.mark.slow
def test_a_worker_that_sleeps_past_its_claim_finds_its_result_refused(
    study: Path, undisturbed: Path, tmp_path: Path
) -> None:
    logs = [tmp_path / "log_a", tmp_path / "log_b"]
    hasty = ("--lifetime", "2")
    sleeper = one_worker(study, "--host", "a", *hasty, "--pause", "2", "--log", str(logs[0]))
    wait_for(lambda: bool(trained(logs[0])), sleeper)
    os.killpg(sleeper.pid, signal.SIGSTOP)  # its trainer, too
    succeed(one_worker(study, "--host", "b", *hasty, "--log", str(logs[1])))
    before = inodes(study)
    (block,) = trained(logs[0])
    assert trained(logs[1])[block] == 1, "it was taken over"
    os.killpg(sleeper.pid, signal.SIGCONT)
    succeed(sleeper)
    assert inodes(study) == before
    assert trained(logs[0]) == {block: 1}
    (record,) = study.rglob("*.failed-*.json")
    assert "its worker was not heard of for 2 s (host a" in record.read_text()
    assert not left_beside(study)
    assert not list(study.glob("cells/*/.*"))
    assert_same(study, undisturbed)


def test_a_worker_with_other_code_is_refused_in_one_sentence(study: Path, tmp_path: Path) -> None:
    orders = study / "study.yaml"
    code = StudyFolder(study).read_orders().code
    assert code is not None
    orders.write_text(orders.read_text().replace(code, code.replace("source ", "source 0")))
    worker = one_worker(study, "--log", str(tmp_path / "log"))
    output, _ = worker.communicate(timeout=180)
    assert worker.returncode == 1
    (said,) = output.strip().splitlines()
    assert f"is to be run by {code.replace('source ', 'source 0')}" in said
    assert f"this worker is {code}" in said
    assert not trained(tmp_path / "log")
    assert not left_beside(study)
