"""What makes workers of a study disagree: only what can change a number."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from study.sweeping.provenance import PACKAGE, source_hash

BEHIND = ("page/page.py", "analysis/style.py", "status.py", "sweeping/worker.py")
BEFORE = ("core/models/lnn.py", "config/cell.py", "block/run.py")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy") / "study"
    return shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.so"))


def version(package: Path) -> str:
    source_hash.cache_clear()
    return source_hash(package)


def test_a_copy_is_the_same_code(package: Path) -> None:
    assert version(package) == version(PACKAGE)


@pytest.mark.parametrize("name", [*BEHIND, *BEFORE])
def test_an_edit_counts_if_it_can_change_a_number(package: Path, name: str) -> None:
    before, file = version(package), package / name
    text = file.read_text()
    file.write_text(text + "\n# a remark\n")
    assert (version(package) != before) is (name in BEFORE)
    file.write_text(text)
    assert version(package) == before


def test_new_sources_count_and_other_files_do_not(package: Path) -> None:
    before = version(package)
    (package / "core" / "notes.txt").write_text("nothing")
    assert version(package) == before
    for name in ("another.py", "native/another.hpp"):
        new = package / "core" / name
        new.write_text("")
        assert version(package) != before
        new.unlink()
