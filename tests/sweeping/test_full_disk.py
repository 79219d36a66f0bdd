"""Disks that take nothing more: one sentence, a failing exit, and nothing computed is lost.

The disks are real: small tmpfs of this test's own, which only root may mount.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from study import status
from study.tables import gather
from tests.sweeping.commands import HERE, TINY, assert_same, run_here, start

GRID = ("data.n_train=32,48", "block_size=1", "optimizer.steps=20", "study=mine")
FOUR = ("replicates=2",)

# the second training of the study finds the disk full; what fills it is not of the study
FILL = """
from pathlib import Path

real = trial.run_block

def run_block(*arguments, **settings):
    if list(Path("outputs").glob("mine/cells/*/block-???")) and not Path("ballast").exists():
        with open("ballast", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
    return real(*arguments, **settings)

trial.run_block = run_block
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_here(patch, *TINY, *GRID, *FOUR, *HERE) == 0
    return folder / "outputs" / "mine"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        assert not (os.environ.get("CI") == "true" and os.geteuid() == 0), done.stderr
        pytest.skip("needs leave to mount a tmpfs: run as root, or in `unshare --user --mount -r`")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def ends_with(printed: str, *words: str) -> bool:
    last = " ".join(printed.split())
    return all(word in last for word in words) and "Traceback" not in printed


@pytest.mark.slow
def test_a_disk_that_fills_up_in_a_sweep_costs_nothing_that_was_computed(
    disk: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = start(disk, *TINY, *GRID, *FOUR, "workers=1", "retries=0", change=FILL)
    printed, _ = head.communicate(timeout=300)
    assert head.returncode == 1, printed
    assert ends_with(printed, "No space left on device"), printed
    study = disk / "outputs" / "mine"
    kept = {b: b.stat().st_ino for b in gather.block_folders(study)}
    assert 0 < len(kept) < 4

    # still full: nothing is trained, and that is said in one sentence
    monkeypatch.chdir(disk)
    said = run_here(monkeypatch, *TINY, *GRID, *FOUR, *HERE)
    assert str(said).startswith("error: study=mine cannot be written to"), said
    assert "No space left on device" in str(said)

    (disk / "ballast").unlink()
    assert run_here(monkeypatch, *TINY, *GRID, *FOUR, *HERE) == 0
    assert {b: b.stat().st_ino for b in kept} == kept
    assert len(gather.block_folders(study)) == 4
    assert not list(study.rglob(".*"))
    assert_same(study, undisturbed)


def test_a_folder_that_may_only_be_read_is_told_before_anything_is_trained(
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(disk)
    assert run_here(monkeypatch, *TINY, *HERE, *GRID, "replicates=1") == 0
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    before = sorted(disk.rglob("*"))
    said = run_here(monkeypatch, *TINY, *HERE, *GRID, *FOUR)
    assert str(said).startswith("error: study=mine cannot be written to ")
    assert "Read-only file system" in str(said)
    assert sorted(disk.rglob("*")) == before
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["status", "outputs/mine"])
    status.main()
    assert "mine: 2 of 2 blocks, 0 running" in capsys.readouterr().out
