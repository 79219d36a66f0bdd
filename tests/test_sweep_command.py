"""The sweep command from end to end, at the smallest scale: run, resume, grow, be killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from study import results, status, sweep
from study.sweeping.folder import StudyError, StudyFolder
from study.sweeping.monitor import Monitor, Snapshot
from study.sweeping.orders import earlier_decision
from study.tables import gather
from tests.sweeping.commands import HERE, TINY, assert_same, run_here, start, wait_for

GRID = ("data.n_train=32,48", "model.width=4,6", "optimizer.steps=150", "replicates=2")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study that no one disturbs, run by one worker: what all others must equal."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_here(patch, *TINY, *GRID, *HERE, "study=mine") == 0
    return folder / "outputs" / "mine"


def files_of(study: Path) -> dict[Path, tuple[int, int]]:
    """Each committed file with its inode and time of change."""
    return {
        file: (file.stat().st_ino, file.stat().st_mtime_ns)
        for file in study.glob("cells/*/block-???/*")
    }


def look(folder: Path) -> Snapshot | None:
    try:
        return Monitor(folder / "outputs" / "mine").look()
    except StudyError:
        return None


def some_done_some_running(folder: Path) -> bool:
    now = look(folder)
    return now is not None and now.done > 0 and bool(now.running)


def litter(study: Path) -> list[str]:
    return [
        path.name
        for path in study.glob("cells/*/*")
        if path.name not in ("config.yaml", "block-000", "block-001")
        and ".failed-" not in path.name  # where a worker saw its neighbour die; kept on record
    ]


def test_a_study_leaves_what_it_should(undisturbed: Path) -> None:
    rows = results.load(undisturbed)
    assert len(rows) == 8
    assert set(zip(rows["data.n_train"], rows["model.width"], strict=True)) == {
        (32, 4),
        (32, 6),
        (48, 4),
        (48, 6),
    }
    assert not litter(undisturbed)
    assert list(undisturbed.parents[1].rglob(".hydra")) == [undisturbed / ".hydra"]
    kept = {path.name for path in (undisturbed / ".hydra").iterdir()}
    assert kept == {"config.yaml", "hydra.yaml", "overrides.yaml"}
    assert not list(undisturbed.parents[1].rglob("*.log")) or [
        path.name for path in undisturbed.parents[1].rglob("*.log")
    ] == ["ledger.log"]
    for block in gather.block_folders(undisturbed):
        assert "done in" in (block / "log.txt").read_text()


def test_the_same_command_again_trains_nothing(
    undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_of(undisturbed)
    orders = (undisturbed / "study.yaml").read_bytes()
    monkeypatch.chdir(undisturbed.parents[1])
    assert run_here(monkeypatch, *TINY, *GRID, *HERE, "study=mine") == 0
    assert files_of(undisturbed) == before
    assert (undisturbed / "study.yaml").read_bytes() == orders, "who made it and when stands"


def test_a_study_grows(undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tmp_path / "outputs" / "mine"
    shutil.copytree(undisturbed, study)
    before = files_of(study)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    grown = (*TINY, *HERE, "study=mine", "optimizer.steps=150", "model.width=4")
    assert run_here(monkeypatch, *grown, "replicates=4", "data.n_train=32") == 0
    after = files_of(study)
    assert {file: after[file] for file in before} == before
    blocks = gather.block_folders(study)
    assert len(blocks) == 5, "one block more, of the cell that has more replicates"


def test_table_and_page_are_the_last_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = tmp_path / "outputs" / "mine"
    page = study / "report" / "index.html"
    tiny = [setting for setting in TINY if not setting.startswith("budget=")]

    def run(budget: str, steps: int) -> None:
        command = (*tiny, *HERE, "study=mine", f"budget={budget}", f"optimizer.steps={steps}")
        assert run_here(monkeypatch, *command, "replicates=2", "block_size=2") == 0
        assert set(results.load(study)["optimizer.steps"]) == {steps}
        assert f"budget={budget}" in page.read_text()

    run("laptop", 20)
    run("smoke", 21)
    run("laptop", 20)
    made = page.stat().st_mtime_ns
    run("laptop", 20)
    assert page.stat().st_mtime_ns == made, "nothing is new"
    # a kill between the last commit and the page
    page.write_text("of before")
    os.utime(page, (1, 1))
    run("laptop", 20)


def test_another_budgets_decision_on_compiling_does_not_count(undisturbed: Path) -> None:
    folder = StudyFolder(undisturbed)
    assert earlier_decision(folder, "smoke") is False
    assert earlier_decision(folder, "laptop") is None
    assert earlier_decision(StudyFolder(undisturbed / "cells"), "smoke") is None


def test_two_workers_and_a_killed_head(undisturbed: Path, tmp_path: Path) -> None:
    command = (*TINY, *GRID, "study=mine", "workers=2")
    study = tmp_path / "outputs" / "mine"
    # a second before each block: those that run when the head dies cannot be over before it is seen
    slow = """
real = trial.run_block

def run_block(*a, **k):
    __import__("time").sleep(1)
    return real(*a, **k)

trial.run_block = run_block
"""
    head = start(tmp_path, *command, change=slow)
    wait_for(lambda: some_done_some_running(tmp_path), head)
    head.send_signal(signal.SIGKILL)
    head.wait()
    # its workers see that it is gone, and go
    wait_for(lambda: not look(tmp_path).running)
    before = files_of(study)
    assert 0 < len(gather.block_folders(study)) < 4

    again = start(tmp_path, *command)
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0, output
    after = files_of(study)
    assert {file: after[file] for file in before} == before, "no finished block trained again"
    assert len(gather.block_folders(study)) == 4
    assert not litter(study)
    assert_same(study, undisturbed)


@pytest.mark.slow
def test_a_worker_killed_past_a_checkpoint(undisturbed: Path, tmp_path: Path) -> None:
    study = tmp_path / "outputs" / "mine"
    often = "trial.CHECKPOINT_SECONDS = 0.0"
    head = start(tmp_path, *TINY, *GRID, "study=mine", "workers=2", change=often)

    def killed() -> bool:
        now = look(tmp_path)
        if now is None or not now.done:
            return False
        for running in now.running:
            if StudyFolder(study).block(running.cell, running.block).checkpoint.exists():
                os.kill(running.pid, signal.SIGKILL)
                return True
        return False

    wait_for(killed, head)
    before = files_of(study)
    output, _ = head.communicate(timeout=300)
    assert head.returncode == 0, output
    after = files_of(study)
    assert {file: after[file] for file in before} == before
    assert len(gather.block_folders(study)) == 4
    assert_same(study, undisturbed)


@pytest.mark.slow
def test_a_block_that_kills_its_worker_is_listed_and_costs_no_other(tmp_path: Path) -> None:
    deadly = """
real = trial.run_block

def run_block(cell, *a, **k):
    return os._exit(1) if cell.optimizer.steps == 900 else real(cell, *a, **k)

trial.run_block = run_block
"""
    # the costlier block comes first: its death is all that the first worker brings about
    command = (*TINY, "optimizer.steps=20,900", "study=mine", "workers=1", "retries=0")
    head = start(tmp_path, *command, change=deadly)
    output, _ = head.communicate(timeout=300)
    said = " ".join(output.split())
    assert head.returncode == 1, output
    assert "1 trained, 0 were done before, 1 failed;" in said
    assert "the process that trained it left with 1" in said
    assert "Traceback" not in output


def test_interrupted(tmp_path: Path) -> None:
    head = start(
        tmp_path,
        *TINY,
        "study=mine",
        "optimizer.lr=1e-3,2e-3,3e-3",
        "optimizer.steps=50000",
        "workers=2",
    )
    wait_for(lambda: bool((now := look(tmp_path)) and now.running), head)
    head.send_signal(signal.SIGINT)
    output, _ = head.communicate(timeout=180)
    assert head.returncode == 130
    assert "0 of 3 blocks are kept" in " ".join(output.split())
    assert "Traceback" not in output
    wait_for(lambda: not look(tmp_path).running)


@pytest.mark.parametrize("where", ["study.sweeping.head.make_plan", "study.sweeping.head.run_plan"])
def test_interrupted_before_there_is_a_study(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(where, lambda *_: signal.raise_signal(signal.SIGINT))
            assert run_here(patch, *TINY, "study=mine") == 130
    finally:
        signal.signal(signal.SIGINT, before)
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "interrupted: the same command goes on from what is done"
    assert not (tmp_path / "outputs" / "mine" / "study.yaml").exists()


def test_dry_run_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_here(monkeypatch, *TINY, "data.n_train=32,48", "dry_run=true") == 0
    assert not list(tmp_path.iterdir())
    printed = capsys.readouterr().out
    assert "2 cells of 2 replicates, 2 blocks, 0 done, 2 to run" in " ".join(printed.split())


def test_help_names_the_groups(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(monkeypatch, "--help") == 0
    printed = capsys.readouterr().out
    for word in ("system", "kepler", "experiment", "n_train", "dry_run"):
        assert word in printed


def test_scanning_plugins_imports_nothing_heavy() -> None:
    import subprocess

    code = (
        "import sys; from hydra.core.plugins import Plugins; Plugins.instance();"
        "sys.exit(' '.join(m for m in ('torch', 'optuna', 'pandas', 'study') if m in sys.modules))"
    )
    root = str(Path(sweep.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert done.stderr.strip() == ""


def test_status(
    undisturbed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["status", str(undisturbed)])
    status.main()
    assert "mine: 4 of 4 blocks, 0 running" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["status", str(undisturbed), "--json"])
    status.main()
    told = json.loads(capsys.readouterr().out)
    assert (told["done"], told["total"], told["missing"], told["failed"]) == (4, 4, 0, [])
    monkeypatch.setattr(sys, "argv", ["status", str(undisturbed / "cells")])
    with pytest.raises(SystemExit, match="is no study"):
        status.main()
