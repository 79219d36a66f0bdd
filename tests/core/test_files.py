"""Files are there whole or not at all, and nothing stays beside them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from study.core.files import replacing, write_new, write_text, write_whole


@pytest.fixture
def synced(monkeypatch) -> list[int]:
    descriptors: list[int] = []
    monkeypatch.setattr(os, "fsync", descriptors.append)
    return descriptors


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("fsync", [True, False])
def test_a_file_is_replaced(tmp_path, synced, fsync):
    write_text(tmp_path / "a", "old")
    synced.clear()
    write_text(tmp_path / "a", "new \N{GREEK SMALL LETTER BETA} \udcff", fsync=fsync)
    assert (tmp_path / "a").read_text("utf-8") == "new \N{GREEK SMALL LETTER BETA} \\udcff"
    assert (names(tmp_path), len(synced)) == (["a"], int(fsync))


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path):
    write_text(tmp_path / "a", "old")

    def fail(file):
        file.write(b"half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_whole(tmp_path / "a", fail)
    assert ((tmp_path / "a").read_text(), names(tmp_path)) == ("old", ["a"])


def test_a_temporary_name_that_was_not_filled_replaces_nothing(tmp_path):
    write_text(tmp_path / "a", "old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        pass
    assert ((tmp_path / "a").read_text(), names(tmp_path)) == ("old", ["a"])


def test_a_new_file_overwrites_none(tmp_path):
    assert [write_new(tmp_path / "a", text) for text in ("first", "second")] == [True, False]
    assert ((tmp_path / "a").read_text(), names(tmp_path)) == ("first", ["a"])
