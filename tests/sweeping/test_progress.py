"""The progress of a sweep: all that is known, in any width, and nothing of it in a log's way."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from study.sweeping.monitor import GivenUp, Running, Snapshot, describe
from study.sweeping.progress import Bar

NOW = Snapshot(
    study="mine",
    total=33,
    done=12,
    running=(Running("a", 0, "node1", 1, 0.0, 0.5), Running("b", 0, "node1", 2, 0.0, 0.5)),
    failed=(GivenUp("c", 0, 3, "ValueError", ""),),
    missing=18,
    retried=1,
    blocks_per_minute=4.1,
    seconds_left=312.0,
    best={"test_nmse_median": 3.14e-4},
)
SAID = (
    "12 of 33 blocks, 2 running, 1 failed, 1 tried again, best test_nmse_median 0.00031, "
    "4.1 a minute, about 5 min left"
)


def test_one_line_says_it_all() -> None:
    assert describe(NOW) == SAID


@pytest.mark.parametrize("width", [60, 80, 160])
def test_bar_and_words_fit_any_terminal(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    bar = Bar(console=console, expand=True)
    bar.add_task(describe(NOW), total=NOW.total, completed=13)
    shown = Console(width=width, file=io.StringIO(), color_system=None)
    shown.print(bar.get_renderable())
    assert isinstance(shown.file, io.StringIO)
    text = shown.file.getvalue()
    assert "━" in text
    assert " ".join(text.split("\n", 1)[1].split()) == SAID
    assert all(len(line) <= width for line in text.splitlines())
