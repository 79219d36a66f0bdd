"""The page of a study while its sweep runs: there from the beginning, and true."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study import report
from study.page import live, write
from study.page.live import LivePage
from tests.sweeping.commands import TINY, start
from tests.test_report_command import Page

LONG = 120.0  # seconds


def text_of(page: Path) -> str:
    return " ".join("".join(Page(page.read_text(encoding="utf-8")).text).split())


def wait_for(true: Callable[[], Any], what: str) -> Any:
    """What it says once it says anything."""
    end = time.monotonic() + LONG
    while not (found := true()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return found


@pytest.mark.slow
def test_the_page_is_there_before_the_first_block_is_done(tmp_path):
    asked = (*TINY, "study=mine", "data.n_train=16,32", "optimizer.steps=1000000", "workers=1")
    page = tmp_path / "outputs" / "mine" / "report" / "index.html"
    head = start(tmp_path, *asked)
    try:
        wait_for(page.exists, "there is no page")
        said = text_of(page)
        assert "In progress" in said
        assert "0 of 2 cells complete; 0 of 2 blocks" in said
        assert "There is no answer and no figure before the first block is done." in said
        assert "along N: P = " in said
        assert "optimizer.steps=1000000" in said
        head.send_signal(signal.SIGINT)
        printed, _ = head.communicate(timeout=LONG)
    finally:
        head.kill()
    assert head.returncode == 130
    assert "interrupted: 0 of 2 blocks" in printed
    assert "Traceback" not in printed
    assert report.main([str(tmp_path / "outputs" / "mine")]) == 0
    said = text_of(page)
    assert "Not finished" in said
    assert "Nothing runs now" in said


def test_the_page_follows_the_blocks(smoke_study, tmp_path, monkeypatch):
    folder = shutil.copytree(smoke_study, tmp_path / "mine")
    page = folder / "report" / "index.html"
    blocks = sorted(folder.glob("cells/*/block-000"))
    for block in blocks:
        block.rename(tmp_path / f"away-{block.parent.name}")
    for path in [page, *folder.glob("*.parquet")]:
        path.unlink()
    for name, seconds in {"FIRST": 0.0, "EVERY": 0.05, "SHARE": 0}.items():
        monkeypatch.setattr(live, name, seconds)
    complaints: list[str] = []
    with LivePage(folder, complaints.append):
        for done in (0, 2, 6):
            for block in blocks[:done]:
                if not block.exists():
                    (tmp_path / f"away-{block.parent.name}").rename(block)
            here = f"{done} of 6 cells complete" if done < 6 else "6 cells, 12 replicates"
            wait_for(lambda here=here: page.exists() and here in text_of(page), here)
            assert ("In progress" in text_of(page)) == (done < 6)
    assert not complaints
    last = text_of(page)
    write.write(folder)
    assert text_of(page) == last


def test_a_page_waits_for_twenty_times_its_cost(smoke_study, tmp_path, monkeypatch):
    folder = shutil.copytree(smoke_study, tmp_path / "mine")
    made: list[float] = []

    def cell_more(*_: Any, **__: Any) -> Path:
        made.append(time.monotonic())
        time.sleep(0.1)
        another = folder / "cells" / f"{len(made):012d}" / "block-000"
        another.mkdir(parents=True)
        (another / "replicates.parquet").touch()
        return folder / "report" / "index.html"

    monkeypatch.setattr(write, "write", cell_more)
    monkeypatch.setattr(live, "FIRST", 0.0)
    monkeypatch.setattr(live, "EVERY", 0.0)
    with LivePage(folder, lambda _: None):
        wait_for(lambda: len(made) > 1, "there is one page only")
    assert made[1] - made[0] >= live.SHARE * 0.1


def test_what_is_wrong_with_the_page_does_not_end_the_sweep(smoke_study, tmp_path, monkeypatch):
    folder = shutil.copytree(smoke_study, tmp_path / "mine")
    shutil.rmtree(folder / "report")
    (folder / "report").write_text("in its way")
    monkeypatch.setattr(live, "FIRST", 0.0)
    said: list[str] = []
    with LivePage(folder, said.append) as page:
        page._thread.join(LONG)
        assert not said, "at the end only"
    (sentence,) = said
    assert sentence.startswith("no page while this ran: ")
    assert "report" in sentence
    assert "\n" not in sentence


def test_a_sweep_that_is_over_at_once_does_not_wait_for_it(tmp_path):
    said: list[str] = []
    began = time.monotonic()
    with LivePage(tmp_path / "none", said.append):
        pass
    assert time.monotonic() - began < live.PATIENCE
    assert said == []
