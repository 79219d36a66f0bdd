"""Commits in the background: the next block is trained meanwhile, and nothing is lost by it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.sweeping import claims
from study.sweeping.claims import Committer
from study.sweeping.folder import StudyFolder
from study.sweeping.local import Requests
from study.sweeping.trainer import Trainer
from study.sweeping.worker import Worker, work
from tests.sweeping.commands import prepare


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Worker]:
    """A study of two cells with nothing done yet, and a worker of it."""
    monkeypatch.chdir(tmp_path)
    folder = StudyFolder(prepare("optimizer.steps=20", "data.n_train=32,48", "retries=0"))
    with Trainer() as trainer, Requests(trainer.stop) as requests:
        yield Worker(folder, trainer, requests)


def test_who_waits_for_a_commit_keeps_its_own_claim(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A disk may take longer than a claim lasts."""
    monkeypatch.setattr(claims, "COMMIT_BEAT", 0.05)
    monkeypatch.setattr(claims, "HEARTBEAT", 0.1)
    written, made = threading.Event(), Committer()
    monkeypatch.setattr(claims, "commit", lambda *_: written.wait(60))
    claim = [claims.take(tmp_path / f"{k}.lock") for k in range(2)]
    began = [(tmp_path / f"{k}.lock").stat().st_ctime for k in range(2)]
    starts = [
        lambda k=k: made.start(tmp_path, tmp_path, claim[k], contextlib.ExitStack(), lambda _: None)
        for k in range(2)
    ]
    starts[0]()
    waiting = threading.Thread(target=starts[1])
    waiting.start()
    end = time.monotonic() + 30
    while any((tmp_path / f"{k}.lock").stat().st_ctime == began[k] for k in range(2)):
        assert time.monotonic() < end, "not both were renewed"
        time.sleep(0.02)
    written.set()
    waiting.join()
    made.settle()


def test_the_next_block_is_trained_while_one_is_committed(
    monkeypatch: pytest.MonkeyPatch, worker: Worker
) -> None:
    second_trained, waited = threading.Event(), []
    commit, train = claims.commit, worker._trainer.run

    def slow_commit(workspace: Path, folder: Path) -> bool:
        waited.append(second_trained.wait(60))
        return commit(workspace, folder)

    def run(*arguments: object, **settings: object) -> object:
        ending = train(*arguments, **settings)  # pyright: ignore[reportArgumentType]
        if first.lock.exists() and not first.done:
            second_trained.set()
        return ending

    first, second = worker.todo()
    monkeypatch.setattr(claims, "commit", slow_commit)
    assert worker.attempt(first)
    assert not first.done
    assert claims.take(first.lock) is None, "its claim holds until it is committed"
    assert not first.progress.exists(), "a death from now on is not the training's"
    monkeypatch.setattr(worker._trainer, "run", run)
    assert worker.attempt(second)
    worker.run()
    assert waited == [True, True]
    assert first.done
    assert second.done
    left = {path.name for block in (first, second) for path in block.folder.parent.iterdir()}
    assert left == {"config.yaml", "block-000"}


def test_a_commit_that_fails_costs_its_block_an_attempt(
    monkeypatch: pytest.MonkeyPatch, worker: Worker
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(claims, "sync", refuse)
        first, second = worker.todo()
        assert worker.attempt(first)
        assert worker.attempt(second)
        worker.run()
    for block in (first, second):
        (failure,) = block.failures()
        assert "No space left on device" in failure["error"]
        assert "in commit" in failure["traceback"]
        assert {path.name for path in block.folder.parent.iterdir()} == {
            "config.yaml",
            "block-000.failed-1.json",
            "block-000.checkpoint.pt",  # what was trained is not trained again
        }


def test_a_worker_killed_in_a_commit_leaves_its_block_to_the_next(worker: Worker) -> None:
    first, _ = worker.todo()
    pid = os.fork()
    if pid == 0:
        claims.commit = lambda *_: time.sleep(600)
        with Trainer() as trainer, Requests(trainer.stop) as requests:
            Worker(worker.folder, trainer, requests).attempt(first)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert first.lock.exists()
    assert not first.done
    work(worker.folder.root)
    assert first.done
    assert not first.failures(), "the training did not kill it"
    assert {path.name for path in first.folder.parent.iterdir()} == {"config.yaml", "block-000"}


def test_the_claim_is_renewed_while_the_disk_lets_us_wait(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lock = tmp_path / "block-000.lock"
    go, told, renewed = threading.Event(), [], []

    def let_go() -> None:
        renewed.append(lock.stat().st_mtime_ns)
        go.set()

    monkeypatch.setattr(claims, "HEARTBEAT", 0.0)
    monkeypatch.setattr(claims, "commit", lambda *_: go.wait(60))
    claim = claims.take(lock)
    assert claim is not None
    taken = lock.stat().st_mtime_ns
    committer = Committer()
    with contextlib.ExitStack() as held:
        held.enter_context(claim)
        committer.start(tmp_path, tmp_path / "x", claim, held.pop_all(), told.append)
    threading.Timer(2.5, let_go).start()
    committer.settle()
    assert told == [True]
    assert renewed[0] > taken
    assert not lock.exists(), "given back once it is over"
