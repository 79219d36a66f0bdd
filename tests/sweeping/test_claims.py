"""Claims: one holder at a time, the dead are succeeded, a commit never overwrites."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.sweeping import claims

HOLD = """
import sys, time
from pathlib import Path
from study.sweeping import claims
claim = claims.take(Path(sys.argv[1]))
claims.workspace(Path(sys.argv[1]).with_suffix("")).joinpath("half").touch()
print("held" if claim else "refused", flush=True)
time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "block-000.lock"


@pytest.fixture
def other(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)],
        env={**os.environ, "PYTHONPATH": str(Path(claims.__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_claim_is_held_once_and_given_back(lock: Path) -> None:
    claim = claims.take(lock)
    assert claim is not None
    assert claims.take(lock) is None
    claim.release()
    assert claims.holder(lock) is None
    assert not list(lock.parent.iterdir()), "nothing is left behind"
    with claims.take(lock) as again:
        assert again.predecessor is None


def test_anothers_claim_is_refused_at_once(lock: Path, other: subprocess.Popen[str]) -> None:
    begun = time.monotonic()
    assert claims.take(lock) is None
    assert time.monotonic() - begun < 0.5
    held = claims.holder(lock)
    assert held is not None
    assert held.pid == other.pid
    assert held.alive


def test_a_killed_holder_is_succeeded_and_cleaned_up(
    lock: Path, other: subprocess.Popen[str]
) -> None:
    other.kill()  # not waited for: a zombie is dead too
    time.sleep(0.2)
    folder = lock.with_suffix("")
    with claims.take(lock) as claim:
        assert claim.predecessor.pid == other.pid
        mine = claims.workspace(folder)
        claims.clean(folder)
        left = set(lock.parent.iterdir())
        assert mine in left
        assert len(left) == 3, "my workspace, my lock and its claim file"


def test_an_expired_claim_is_taken_though_its_holder_lives(
    lock: Path, other: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "LIFETIME", 0.2)
    time.sleep(0.3)
    claim = claims.take(lock)
    assert claim is not None
    assert claim.predecessor.pid == other.pid
    assert claims.holder(lock).pid == os.getpid()
    claim.release()


def test_a_claim_from_another_machine_counts_until_it_expires(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock.write_text(f"{lock}|elsewhere|1|2")
    assert claims.take(lock) is None
    monkeypatch.setattr(claims, "LIFETIME", 0.2)
    time.sleep(0.3)
    claim = claims.take(lock)
    assert claim is not None
    claim.release()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_host_whose_clock_is_wrong_respects_a_claim(lock: Path, hours: int) -> None:
    lock.write_text(f"{lock}|elsewhere|1|2")
    wrong = claims.Machine(clock=lambda: time.time() + 3600 * hours)
    assert claims.take(lock, wrong) is None


def test_a_claim_records_the_machine_it_is_made_on(lock: Path) -> None:
    machine = claims.Machine("node-7")
    with claims.take(lock, machine):
        held = claims.holder(lock)
        assert (held.host, held.pid) == ("node-7", os.getpid())
        assert held.alive
        workspace = claims.workspace(lock.with_suffix(""), "run", machine)
        assert claims.workspaces(lock.with_suffix(""), held, "run") == [workspace]


def test_a_fresh_claim_found_while_breaking_a_dead_one_is_put_back(lock: Path) -> None:
    dead = claims.Holder("here", 1, "the dead one", dead=True, expired=False)
    with claims.take(lock) as fresh:
        assert not claims._break(lock, dead)
        assert claims.holder(lock).pid == os.getpid()
        assert fresh is not None


def test_a_file_system_that_refuses_a_lock_is_not_another_holder(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File name too long"):
        claims.take(tmp_path / f"{'b' * 248}.lock")  # with its owner's name it is
    with pytest.raises(FileNotFoundError):
        claims.take(tmp_path / "nowhere" / "block-000.lock")


def test_a_heartbeat_renews(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "HEARTBEAT", 0.05)
    monkeypatch.setattr(claims, "LIFETIME", 0.4)
    with claims.take(lock) as claim:
        for _ in range(8):
            time.sleep(0.1)
            claim.beat()
        assert claims.holder(lock).alive
        time.sleep(0.5)
        assert claims.holder(lock).expired


def test_a_heartbeat_of_a_lost_claim_leaves_the_new_one_alone(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "HEARTBEAT", 0.0)
    claim = claims.take(lock)
    lock.unlink()
    lock.write_text(f"{lock}|elsewhere|1|2")
    claim.beat()
    claim.release()
    assert claims.holder(lock).host == "elsewhere"


def test_the_first_commit_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "block-000"
    for text in ("first", "second"):
        space = claims.workspace(folder)
        (space / "replicates.parquet").write_text(text)
        assert claims.commit(space, folder) is (text == "first")
    assert (folder / "replicates.parquet").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["block-000"]


def test_a_commit_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    space = claims.workspace(tmp_path / "block-000")
    with pytest.raises(OSError, match="No such file"):
        claims.commit(space, tmp_path / "nowhere" / "block-000")
