"""`python -m study.status`: what it says of a sweep that runs or has died; and it only reads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from study import status
from study.sweeping import claims
from study.sweeping.folder import StudyFolder, write_json, write_yaml
from tests.sweeping.commands import one_worker, prepare, wait_for

CELLS = ("aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc")


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    """Three cells of two blocks, of which nothing is done yet."""
    folder = StudyFolder(tmp_path / "outputs" / "mine")
    folder.root.mkdir(parents=True)
    write_yaml(
        folder.root / "study.yaml",
        {
            "cells": list(CELLS),
            "replicates": 10,
            "block_size": 5,
            "retries": 0,
            "storage": None,
            "provenance": {"run": "this", "started": time.time() - 600},
            "swept": {"model.width": [4, 8, 16]},
            "seconds_per_block": dict.fromkeys(CELLS, 10.0),
        },
    )
    for cell in CELLS:
        folder.cell(cell).mkdir(parents=True)
    return folder


def raised_by(command: Callable[[], None]) -> list[SystemExit]:
    """What the command ends with, if it does not end well."""
    try:
        command()
    except SystemExit as left:
        return [left]
    return []


def commit(study: StudyFolder, cell: str, number: int, **about: Any) -> Path:
    block = study.block(cell, number)
    block.folder.mkdir()
    (block.folder / "replicates.parquet").touch()
    known = {"run": "this", "host": "node1", "code": "one", "started": time.time() - 60}
    write_json(block.folder / "run.json", known | {"seconds": 20.0} | about)
    return block.folder


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command in this process; what it printed."""

    def run(folder: Path, *options: str) -> str:
        monkeypatch.setattr(sys, "argv", ["status", str(folder), *options])
        capsys.readouterr()
        status.main()
        told = capsys.readouterr()
        assert told.err == ""
        return told.out

    return run


def listing(root: Path) -> dict[str, tuple[int, ...]]:
    """All that tells a file from itself after it was written to, renamed over or touched."""
    found = {}
    for path in (root, *root.rglob("*")):
        now = path.lstat()
        found[str(path)] = (now.st_ino, now.st_mode, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
    return found


def test_who_did_what_and_by_which_code(study: StudyFolder, said: Any) -> None:
    commit(study, CELLS[0], 0)
    commit(study, CELLS[0], 1, code="two")
    commit(study, CELLS[1], 0, host="node2")
    block = study.block(CELLS[1], 1)
    study.block(CELLS[2], 0).add_failure(
        {"run": "this", "host": "node3", "error": "ValueError: of the wrong kind", "time": 1}
    )
    claim = claims.take(block.lock)
    assert claim
    with claim:
        write_json(block.progress, {"started": time.time() - 90, "fraction": 0.25})
        found = json.loads(said(study.root, "--json"))
        text = said(study.root)
    assert (found["total"], found["done"], found["missing"]) == (6, 3, 1)
    here = claims.this_host()
    assert [(h["name"], h["done"], h["running"]) for h in found["hosts"]] == [
        ("node1", 2, 0),
        ("node2", 1, 0),
        (here, 0, 1),
    ]
    assert found["codes"] == {"one": 2, "two": 1}
    assert found["failed"][0]["host"] == "node3"
    assert "3 of 6 blocks, 1 running, 1 failed" in text
    assert "1 missing" in text
    assert f"{here}, pid {os.getpid()}" in text
    assert "90 s ago" in text
    assert "25%" in text
    assert "node3" in text
    assert "ValueError: of the wrong kind" in text
    assert "code" in text


def test_one_version_of_the_code_is_not_worth_a_table(study: StudyFolder, said: Any) -> None:
    commit(study, CELLS[0], 0)
    assert "code" not in said(study.root)


def test_long_lists_are_cut_in_the_terminal_and_whole_in_json(
    study: StudyFolder, said: Any
) -> None:
    cells = [f"{k:012x}" for k in range(40)]
    path = study.root / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"cells": cells}))
    for k, cell in enumerate(cells):
        study.cell(cell).mkdir()
        study.block(cell, 0).add_failure({"run": "this", "error": f"no {k}", "time": k})
        commit(study, cell, 1, host=f"node{k:02d}", code=f"version {k:02d}")
    text = said(study.root)
    assert text.count("and 20 more; --json has all") == 3
    assert "no 19 " in text
    assert "no 20 " not in text
    found = json.loads(said(study.root, "--json"))
    assert [len(found[key]) for key in ("failed", "hosts", "codes")] == [40, 40, 40]


def test_a_study_without_cells_yet(study: StudyFolder, said: Any) -> None:
    path = study.root / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"cells": []}))
    assert said(study.root) == "mine: no cell yet\n"
    assert json.loads(said(study.root, "--json"))["total"] == 0
    for cell in CELLS:
        study.cell(cell).rmdir()
    (study.root / "cells").rmdir()
    assert said(study.root) == "mine: no cell yet\n"


TORN = [
    b"",
    b"{",
    b"\xff\xfe\x00",
    b"[1, 2]",
    b"null",
    b"[" * 100_000,
    b'{"run": "this", "started": "x", "seconds": null, "host": 3, "code": ["a"]}',
    b'{"run": "this", "started": NaN, "fraction": Infinity, "time": "x", "error": null}',
    b'{"run": "this", "started": 1e999, "seconds": 1, "fraction": -3, "time": {}}',
    b"cells/x|host|-1|2",
    b"cells/x|host|99999999999999999999|2",
]


@pytest.mark.parametrize("torn", TORN)
def test_torn_files_are_no_reason_to_fall_silent(
    torn: bytes, study: StudyFolder, said: Any
) -> None:
    commit(study, CELLS[0], 0)
    (commit(study, CELLS[0], 1) / "run.json").write_bytes(torn)
    block = study.block(CELLS[1], 0)
    claim = claims.take(block.lock)
    assert claim
    with claim:
        block.progress.write_bytes(torn)
        study.block(CELLS[1], 1).lock.write_bytes(torn)
        study.block(CELLS[2], 0).beside("failed-1.json").write_bytes(torn)
        study.block(CELLS[2], 0).add_failure({"run": "this", "error": "why", "time": 1})
        found = json.loads(said(study.root, "--json"), parse_constant=pytest.fail)
        text = said(study.root)
    assert found["done"] == 2
    assert found["total"] == 6
    assert CELLS[1] in {running["cell"] for running in found["running"]}
    assert found["failed"][0]["cell"] == CELLS[2]
    assert "2 of 6 blocks" in text


def test_any_beginning_of_study_yaml_is_told_in_one_sentence(
    study: StudyFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = study.root / "study.yaml"
    whole = path.read_bytes()
    refusals: list[str] = []
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        monkeypatch.setattr(sys, "argv", ["status", str(study.root)])
        refusals += [str(left.code) for left in raised_by(status.main)]
    assert len(refusals) > len(whole) / 2
    for refusal in refusals:
        assert refusal.startswith("error: ")
        assert str(path) in refusal
        assert "\n" not in refusal
    assert "Traceback" not in capsys.readouterr().err


def test_what_others_wrote_neither_colours_nor_crashes_the_terminal(
    study: StudyFolder, said: Any
) -> None:
    hostile = "[red]x[/] [/] :smile: \x1b[31mred\x07 \u202e [link=file:///etc]y[/link]"
    shown = r"[red]x[/] [/] :smile: \x1b[31mred\x07 \u202e [link=file:///etc]y[/link]"
    commit(study, CELLS[0], 0, host=hostile, code=hostile)
    commit(study, CELLS[0], 1, host=hostile, code="other")
    record = {"run": "this", "error": hostile, "traceback": hostile, "host": "n", "time": 1}
    study.block(CELLS[1], 0).add_failure(record)
    root = study.root.with_name("a[bold]b")
    study.root.rename(root)
    text = said(root, "--traceback")
    assert text.startswith("a[bold]b: 2 of 6 blocks")
    assert text.count(shown) == 4
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    found = json.loads(said(root, "--json"))
    assert found["failed"][0]["error"] == hostile


def test_a_reader_that_goes_away_leaves_no_traceback(study: StudyFolder) -> None:
    for number in range(2):
        record = {"run": "this", "error": "e" * 90_000, "traceback": "t" * 90_000, "time": 1}
        study.block(CELLS[number], 0).add_failure(record)
    for options in ([], ["--traceback"], ["--json"]):
        command = [sys.executable, "-m", "study.status", str(study.root), *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            assert running.stdout is not None
            assert running.stderr is not None
            running.stdout.close()  # before a word is printed
            assert running.stderr.read() == b""
            assert running.wait() == 0


def test_a_folder_that_cannot_be_read_is_told_in_one_sentence(
    study: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.cell(CELLS[0]).rmdir()
    study.cell(CELLS[0]).write_text("a file where a folder should be")
    monkeypatch.setattr(sys, "argv", ["status", str(study.root)])
    with pytest.raises(SystemExit, match=r"^error: .* cannot be read: .*Not a directory"):
        status.main()


def test_it_only_reads_while_a_sweep_runs_and_after_it_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    study = prepare("optimizer.steps=20", "data.n_train=32,48")
    here = claims.this_host()
    first = one_worker(study, "--host", here, "--pause", "5")  # killed before its second block
    wait_for(lambda: json.loads(said(study, "--json"))["done"] >= 1, first)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    log = tmp_path / "begun"
    second = one_worker(study, "--host", here, "--pause", "600", "--log", str(log))
    try:
        wait_for(log.exists, second)  # it has taken the dead one's claim, and trains
        os.killpg(second.pid, signal.SIGSTOP)  # so that what changes is not its doing
        before = listing(study)
        text = said(study)
        found = json.loads(said(study, "--json"))
        assert listing(study) == before
    finally:
        os.killpg(second.pid, signal.SIGKILL)
        second.wait()
    assert f"{here}, pid {second.pid}" in text
    assert (found["done"], found["missing"], found["failed"]) == (1, 0, [])
    assert [host["running"] for host in found["hosts"]] == [1]
    before = listing(study)
    text = said(study)
    found = json.loads(said(study, "--json"))
    assert listing(study) == before
    assert (found["done"], found["running"], found["missing"]) == (1, [], 1)
    assert "Nothing runs now" in text
    assert [file for file in before if file.endswith(".lock")], "the dead worker's claim is left"
