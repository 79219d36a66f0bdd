"""The trainer: whatever becomes of it, the worker goes on, beats, and learns why."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from study.block import run as block_run
from study.core.training.train import Stopped
from study.sweeping import claims, trainer
from study.sweeping.folder import StudyFolder
from study.sweeping.local import SIGNALS
from study.sweeping.trainer import Failure, Interrupted, Task, Trained, Trainer
from tests.sweeping.commands import prepare

LONG = 120.0


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    """The one block of a study, to be trained."""
    monkeypatch.chdir(tmp_path)
    folder = StudyFolder(prepare("optimizer.steps=20"))
    block = next(folder.blocks(folder.read_orders()))
    return Task(
        block,
        claims.workspace(block.folder),
        {"host": "here"},
    )


@pytest.fixture
def child() -> Iterator[Trainer]:
    with Trainer() as made:
        yield made


def once(monkeypatch: pytest.MonkeyPatch, task: Task, what: Callable[[], Any]) -> None:
    """Let the first training do `what`, in the child; later ones are as they are."""
    real, mark = block_run.run_block, task.workspace.parent / "mark"

    def run_block(*arguments: Any, **settings: Any) -> Any:
        if not mark.exists():
            mark.touch()
            what()
        return real(*arguments, **settings)

    monkeypatch.setattr(block_run, "run_block", run_block)


def hold_the_interpreter(seconds: int) -> None:
    """A long C call that lets no other Python thread run."""
    ctypes.PyDLL(None).sleep(seconds)


def run(child: Trainer, task: Task, limit: float = LONG) -> Any:
    return child.run(task, limit=limit, beat=lambda: None)


def test_one_child_trains_block_after_block(child: Trainer, task: Task) -> None:
    ending = run(child, task)
    assert isinstance(ending, Trained)
    assert ending.measures["test_nmse_median"] > 0
    assert {path.name for path in task.workspace.iterdir()} == {
        "replicates.parquet",
        "curves.parquet",
        "weights.pt",
        "log.txt",
    }
    before = child.pid
    assert isinstance(run(child, task), Trained)
    assert child.pid == before


def test_a_long_c_call_does_not_keep_a_claim_from_being_renewed(
    child: Trainer, task: Task, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    once(monkeypatch, task, lambda: hold_the_interpreter(6))
    monkeypatch.setattr(claims, "LIFETIME", 2.0)
    monkeypatch.setattr(claims, "HEARTBEAT", 0.5)
    monkeypatch.setattr(trainer, "BEAT", 0.25)
    lock, alive = tmp_path / "block.lock", []
    with claims.take(lock) as claim:

        def beat() -> None:
            claim.beat()
            alive.append(claims.holder(lock).alive)

        assert isinstance(child.run(task, limit=LONG, beat=beat), Trained)
    assert len(alive) > 20
    assert all(alive)


def test_a_killed_child_is_succeeded(
    child: Trainer, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    once(monkeypatch, task, lambda: os.kill(os.getpid(), signal.SIGKILL))
    ending = run(child, task)
    assert isinstance(ending, Failure)
    assert "was killed by SIGKILL (by hand, or for want of memory)" in ending.error
    assert isinstance(run(child, task), Trained)


def test_a_crash_is_told_with_its_place(
    child: Trainer, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    once(monkeypatch, task, lambda: ctypes.string_at(0))
    ending = run(child, task)
    assert isinstance(ending, Failure)
    assert "was killed by SIGSEGV" in ending.error
    assert "test_trainer.py" in ending.traceback
    assert isinstance(run(child, task), Trained)


@pytest.mark.parametrize("hang", [hold_the_interpreter, time.sleep])
def test_a_hang_ends_at_its_limit_and_is_told_with_its_place(
    child: Trainer, task: Task, monkeypatch: pytest.MonkeyPatch, hang: Callable[[int], None]
) -> None:
    once(monkeypatch, task, lambda: hang(600))
    begun = time.monotonic()
    ending = run(child, task, limit=1.0)
    assert time.monotonic() - begun < 30
    assert isinstance(ending, Failure)
    assert "after 1 s, its time_limit" in ending.error
    assert "test_trainer.py" in ending.traceback
    assert isinstance(run(child, task), Trained)


def test_a_lack_of_memory_is_an_exception(
    child: Trainer, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_for_too_much() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 36, resource.RLIM_INFINITY))
        np.ones(1 << 40)

    once(monkeypatch, task, ask_for_too_much)
    ending = run(child, task)
    assert isinstance(ending, Failure)
    assert "MemoryError" in ending.error
    assert "ask_for_too_much" in ending.traceback
    assert isinstance(run(child, task), Trained)


def test_it_stops_within_seconds_even_if_it_does_not_listen(
    child: Trainer, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "GRACE", 0.5)
    once(monkeypatch, task, lambda: hold_the_interpreter(600))
    begun = time.monotonic()
    ending = child.run(task, limit=LONG, beat=child.stop)
    assert isinstance(ending, Interrupted)
    assert time.monotonic() - begun < 10


def test_it_leaves_at_once_while_data_are_made(
    child: Trainer, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which may take minutes, and leaves nothing to save."""
    once(monkeypatch, task, lambda: time.sleep(600))
    begun = time.monotonic()
    ending = child.run(task, limit=LONG, beat=child.stop)
    assert isinstance(ending, Interrupted)
    assert time.monotonic() - begun < trainer.GRACE / 2


def test_a_child_that_a_cluster_ends_by_itself_was_asked_to_leave(
    child: Trainer, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker may not have heard yet: no attempt is counted."""
    once(monkeypatch, task, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert isinstance(run(child, task), Interrupted)


def test_one_that_is_killed_while_it_stops_has_not_failed(
    child: Trainer, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    once(monkeypatch, task, lambda: hold_the_interpreter(600))

    def beat() -> None:
        child.stop()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)

    assert isinstance(child.run(task, limit=LONG, beat=beat), Interrupted)


def test_it_hears_many_who_ask_it_to_stop_at_once(
    child: Trainer, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster tells all processes of a job to leave, twice, and the worker tells its trainer."""

    def until_asked(*_: Any, stop: Callable[[], bool], **settings: Any) -> None:
        stop()  # from here on there is something to save
        time.sleep(1)  # they all come at once
        while not stop():
            time.sleep(0.01)
        raise Stopped

    monkeypatch.setattr(block_run, "run_block", until_asked)

    def ask() -> None:
        assert child.pid is not None
        for _ in range(20_000):
            for number in SIGNALS:
                os.kill(child.pid, number)

    def beat() -> None:
        if asker.ident is None:
            asker.start()

    asker = threading.Thread(target=ask)
    ending = child.run(task, limit=30, beat=beat)
    asker.join()
    assert isinstance(ending, Interrupted)


def test_a_child_does_not_outlive_its_worker(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    once(monkeypatch, task, lambda: time.sleep(600))
    told, tell = os.pipe()
    worker = os.fork()
    if worker == 0:
        with Trainer() as child:
            child.run(
                task, limit=LONG, beat=lambda: os.write(tell, f"{child.pid} ".encode()) and None
            )
    grandchild = int(os.read(told, 20).split()[0])
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    end = time.monotonic() + 10
    while Path(f"/proc/{grandchild}").exists() and time.monotonic() < end:
        if " Z " in Path(f"/proc/{grandchild}/stat").read_text():
            break
        time.sleep(0.05)
    assert time.monotonic() < end


def test_a_full_disk_is_noticed_before_training(
    child: Trainer, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_run, "run_block", lambda *_, **__: pytest.fail("it was trained"))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, limit[1]))  # which a child has, too
    try:
        child._running()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    ending = run(child, task)
    assert isinstance(ending, Failure)
    assert ending.error == "OSError: [Errno 27] File too large"
    assert "check_space" in ending.traceback
    assert not list(task.workspace.glob(".*"))


def test_a_torn_config_is_named(child: Trainer, task: Task) -> None:
    config = task.block.folder.with_name("config.yaml")
    config.write_text(config.read_text()[:40] + "\x00")
    ending = run(child, task)
    assert isinstance(ending, Failure)
    assert "config.yaml" in ending.error
