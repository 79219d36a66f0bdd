"""Workers: failures cost their own block only, are retried, recorded, listed; the ledger agrees.

Blocks are trained for real; what fails is made to fail in front of the real thing.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from study.block import run
from study.config.cell import Cell
from study.sweeping import claims, ledger
from study.sweeping.folder import Block, StudyFolder, read_json
from study.sweeping.local import Requests
from study.sweeping.monitor import Monitor
from study.sweeping.orders import outputs_folder
from study.sweeping.trainer import Interrupted, Task, Trainer
from study.sweeping.worker import Worker, work
from tests.sweeping.commands import HERE, TINY, one_worker, prepare, run_here

TWO_CELLS = ("optimizer.steps=20", "data.n_train=32,48")
COMMAND = (*TINY, *HERE, "study=mine", *TWO_CELLS, "retries=1")


class Attempts:
    """How often each N was tried; in a file, for trainers are processes of their own."""

    def __init__(self, path: Path):
        self._path = path

    def add(self, n_train: int) -> None:
        with self._path.open("a") as file:
            file.write(f"{n_train}\n")

    def __call__(self) -> Counter[int]:
        return Counter(int(line) for line in self._path.read_text().split())


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Attempts:
    """No attempt yet, in a new current folder."""
    monkeypatch.chdir(tmp_path)
    return Attempts(tmp_path / "attempts")


def failing(
    monkeypatch: pytest.MonkeyPatch, attempts: Attempts, until: int, fail: Callable[[], None]
) -> None:
    """Let blocks with N = 48 fail before their attempt number `until`."""
    real: Callable[..., Any] = run.run_block

    def run_block(cell: Any, *arguments: Any, **settings: Any) -> Any:
        attempts.add(cell.n_train)
        if cell.n_train == 48 and attempts()[48] < until:
            fail()
        return real(cell, *arguments, **settings)

    monkeypatch.setattr(run, "run_block", run_block)


def raising(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def ledger_states(folder: StudyFolder) -> Counter[str]:
    orders = folder.read_orders()
    return Counter(t.state.name for t in ledger.open_ledger(folder, orders.storage).trials)


def test_a_failure_is_retried(monkeypatch: pytest.MonkeyPatch, attempts: Attempts) -> None:
    failing(monkeypatch, attempts, 2, raising(RuntimeError("a bad day\nand more")))
    assert run_here(monkeypatch, *COMMAND) == 0
    assert attempts() == {32: 1, 48: 2}
    folder = outputs_folder("mine")
    assert ledger_states(folder) == {"COMPLETE": 2, "FAIL": 1}
    (record,) = folder.root.glob("cells/*/block-000.failed-1.json")
    kept = json.loads(record.read_text())
    assert kept["error"] == "RuntimeError: a bad day"
    assert "Traceback" in kept["traceback"]


def test_a_block_given_up_is_listed_and_gets_fresh_attempts(
    monkeypatch: pytest.MonkeyPatch, attempts: Attempts, capfd: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, attempts, 4, raising(OSError(28, "No space left on device")))
    assert run_here(monkeypatch, *COMMAND) == 1
    assert attempts() == {32: 1, 48: 2}
    printed = " ".join(capfd.readouterr().err.split())
    assert "1 trained, 0 were done before, 1 failed" in printed
    assert "No space left on device" in printed
    now = Monitor("outputs/mine").look()
    assert now.finished
    assert [f.attempts for f in now.failed] == [2]

    assert run_here(monkeypatch, *COMMAND) == 0
    assert attempts() == {32: 1, 48: 4}, "the finished block was left alone"
    assert Monitor("outputs/mine").look().done == 2


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, attempts: Attempts) -> Iterator[Worker]:
    """A worker of a study with nothing done yet, whose blocks fail."""
    monkeypatch.setattr(run, "run_block", lambda *_, **__: 1 / 0)
    folder = StudyFolder(prepare(*TWO_CELLS, "retries=0"))
    with Trainer() as trainer, Requests(trainer.stop) as requests:
        yield Worker(folder, trainer, requests)


def leave_dead(block: Block, run: str) -> None:
    """What a worker killed in mid-block leaves: a fresh lock of a dead pid, a workspace."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    block.lock.write_text(f"{block.lock}|{claims.this_host()}|{pid}|1")
    os.utime(block.lock, (time.time() + 60, time.time() + 60))
    block.folder.with_name(f".{block.folder.name}|{claims.this_host()}|{pid}|{run}-1").mkdir()


def test_a_worker_that_dies_costs_its_block_an_attempt(worker: Worker) -> None:
    first, second = worker.todo()
    leave_dead(first, worker.orders.run)
    assert worker.attempt(first)
    assert worker.attempts(first) == 1
    assert "its worker died" in first.failures()[0]["error"]
    assert worker.todo() == [second], "without retries, one death is enough"
    assert not first.lock.exists()


def test_a_death_in_an_earlier_command_costs_nothing(worker: Worker) -> None:
    block = worker.todo()[0]
    leave_dead(block, "an earlier run")
    assert worker.attempt(block)
    (failure,) = block.failures()
    assert "ZeroDivisionError" in failure["error"], "it was tried, and no death was counted"


def test_only_a_block_that_takes_its_time_tells_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, worker: Worker
) -> None:
    first, second = worker.todo()
    seen = Path("seen")

    def run_block(cell: Cell, *_: object, progress: Callable[[float], None], **__: object) -> None:
        block = first if cell.hash == first.cell else second
        with seen.open("a") as file:
            for fraction in (0.1, 0.2, 0.3):
                progress(fraction)
                file.write(f"{(read_json(block.progress) or {}).get('fraction')}\n")
                time.sleep(1.2 if block == second else 0.01)
        raise RuntimeError

    monkeypatch.setattr(run, "run_block", run_block)
    worker.attempt(first)
    assert seen.read_text().split() == ["None"] * 3
    worker.attempt(second)
    assert seen.read_text().split()[3:] == ["None", "0.2", "0.3"]
    assert not second.progress.exists()


def test_a_disk_that_refuses_everything_ends_the_worker(worker: Worker) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limit[1]))  # no file may have a byte more
    try:
        work(worker.folder.root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert len(worker.todo()) == 2, "nothing could be recorded, so the next worker tries again"


def test_a_refused_lock_is_a_failed_attempt(
    monkeypatch: pytest.MonkeyPatch, worker: Worker
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(claims.Lock, "lock", refuse)
    block = worker.todo()[0]
    assert worker.attempt(block)
    assert "No space left on device" in block.failures()[0]["error"]
    assert block not in worker.todo()


def test_a_folder_without_replicates_fails_its_block(worker: Worker) -> None:
    block = worker.todo()[0]
    block.folder.mkdir()
    (block.folder / "weights.pt").touch()
    worker.attempt(block)
    assert "holds no replicates.parquet: remove it" in block.failures()[0]["error"]


def test_a_block_that_another_holds_is_passed_over(worker: Worker) -> None:
    block = worker.todo()[0]
    with claims.take(block.lock):
        assert not worker.attempt(block)
        (running,) = Monitor(worker.folder.root).look().running
        assert (running.cell, running.pid) == (block.cell, os.getpid())


def test_an_edited_config_fails_its_block(monkeypatch: pytest.MonkeyPatch, worker: Worker) -> None:
    monkeypatch.undo()
    block = worker.todo()[0]
    config = block.folder.parent / "config.yaml"
    config.write_text(config.read_text().replace("steps: 20", "steps: 21"))
    worker.attempt(block)
    assert "it was edited" in block.failures()[0]["error"]


@pytest.mark.slow
def test_an_unrecorded_last_block_is_put_right_by_the_next_command(
    monkeypatch: pytest.MonkeyPatch, attempts: Attempts
) -> None:
    with monkeypatch.context() as killed:  # after the commit, before the ledger
        killed.setattr(ledger.Book, "done", lambda *_: None)
        assert run_here(monkeypatch, *COMMAND) == 0
    folder = outputs_folder("mine")
    assert "COMPLETE" not in ledger_states(folder)
    os.utime(folder.root / "ledger.log", (1, 1))
    assert run_here(monkeypatch, *COMMAND) == 0
    assert ledger_states(folder) == {"COMPLETE": 2}


def test_a_study_that_cannot_be_written_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, attempts: Attempts
) -> None:
    Path("outputs/mine/study.yaml").mkdir(parents=True)
    said = run_here(monkeypatch, *COMMAND)
    assert str(said).startswith("error: study=mine cannot be written to ")
    assert "Is a directory" in str(said)


def test_the_ledger_is_put_right(monkeypatch: pytest.MonkeyPatch, attempts: Attempts) -> None:
    assert run_here(monkeypatch, *COMMAND) == 0
    folder = outputs_folder("mine")
    (folder.root / "ledger.log").unlink()
    orders = folder.read_orders()
    book = ledger.open_ledger(folder, None)
    assert ledger.reconcile(book, folder, orders) == 2
    assert ledger.reconcile(book, folder, orders) == 0, "each block once"
    trials = book.trials
    assert {t.params["data.n_train"] for t in trials} == {32, 48}
    assert all(t.value == t.user_attrs["test_nmse_median"] for t in trials)
    assert {(t.user_attrs["cell"], t.user_attrs["block"]) for t in trials} == {
        (cell, 0) for cell in orders.cells
    }
    assert sum(1 for _ in (folder.root / "ledger.log").open()) >= 3

    work(folder.root)  # nothing left: returns at once
    assert ledger_states(folder) == {"COMPLETE": 2}


def test_the_folder_of_a_block_that_trains_is_touched_now_and_then(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that nobody touched for a day counts as left by a dead worker of another host."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(claims, "HEARTBEAT", 0.0)
    touched = []

    def run(task: Task, *, beat: Callable[[], object], **_: object) -> Interrupted:
        before = task.workspace.stat().st_ctime_ns
        time.sleep(0.05)
        beat()
        touched.append(task.workspace.stat().st_ctime_ns > before)
        return Interrupted()

    folder = StudyFolder(prepare("optimizer.steps=20"))
    with Trainer() as trainer, Requests(trainer.stop) as requests:
        monkeypatch.setattr(trainer, "run", run)
        worker = Worker(folder, trainer, requests)
        assert worker.attempt(*worker.todo())
    assert touched == [True]


def test_all_that_trains_is_in_memory_before_its_version_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Trainers are forked: what they imported later might have been edited meanwhile."""
    monkeypatch.chdir(tmp_path)
    study = prepare("optimizer.steps=20")
    ask = f"""
import sys
from study.sweeping import worker

def version():
    print("study.block.run" in sys.modules, "study.core.training.adam" in sys.modules)
    return "another"

worker.code_version = version
worker.work({str(study)!r})
"""
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
    assert done.stdout.splitlines()[0] == "True True"
    assert "and this worker is another" in done.stderr


@pytest.mark.slow
def test_a_worker_without_a_compiler_does_what_needs_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    study = prepare("model=random_features", "optimizer=least_squares", "compile=true")
    environment = {"STUDY_CACHE": str(tmp_path / "empty"), "CXX": "no-such-compiler"}
    without = one_worker(study, environment=environment)
    said, _ = without.communicate(timeout=180)
    assert without.returncode == 0, said
    assert Monitor(study).look().done == 1


def test_a_worker_without_a_compiler_leaves_the_study_to_those_with_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each of its attempts would fail in milliseconds, and so give up all there is."""
    monkeypatch.chdir(tmp_path)
    study = prepare(*TWO_CELLS, "compile=true")
    environment = {"STUDY_CACHE": str(tmp_path / "empty"), "CXX": "no-such-compiler"}
    without = one_worker(study, environment=environment)
    said, _ = without.communicate(timeout=180)
    assert without.returncode == 1
    (sentence,) = said.strip().splitlines()
    assert sentence.startswith("error: study mine is to be trained in C++, which a cannot: ")
    assert "there is no C++ compiler here" in sentence
    assert not list(study.glob("cells/*/block-*")), "nothing was claimed, nothing has failed"
    beside = one_worker(study, "--host", "b")
    assert beside.wait(180) == 0
    now = Monitor(study).look()
    assert (now.done, now.failed, now.retried) == (2, (), 0)
