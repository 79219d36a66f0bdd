"""A block with damaged files costs its own rows, is named, and is trained anew once removed."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pandas as pd
import pytest

from study import report, results
from study.tables import blocks, gather
from tests.sweeping.commands import HERE, TINY, assert_same, run_here

COMMAND = (*TINY, *HERE, "study=mine", "optimizer.steps=20", "data.n_train=32,48")


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flipped(path: Path) -> None:
    """One bit of a value: still a Parquet file."""
    data = bytearray(path.read_bytes())
    data[data.index(b"\x15", 4) + 60] ^= 1
    path.write_bytes(data)


def gone(path: Path) -> None:
    path.unlink()


def of_another_table(path: Path) -> None:
    pd.DataFrame({"cell": [path.parent.parent.name], "x": [1.0]}).to_parquet(path)


def of_another_cell(path: Path) -> None:
    rows = pd.read_parquet(path).assign(cell="0" * 12).to_dict("records")
    blocks.write(blocks.from_rows(rows), path)


DAMAGES = [torn, emptied, zeroed, flipped, of_another_table, of_another_cell]


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        *itertools.product(DAMAGES, ["replicates.parquet", "curves.parquet"]),
        (gone, "curves.parquet"),  # without the other it is not a block yet
    ],
)
def test_a_damaged_block_costs_its_own_rows(
    smoke_study: Path, tmp_path: Path, damage, file
) -> None:
    study = tmp_path / "n_vs_p"
    shutil.copytree(smoke_study, study)
    before, curves_before = gather.compact(study)
    block = gather.block_folders(study)[3]
    damage(block / file)
    rows, curves = gather.compact(study)
    cell = block.parent.name
    pd.testing.assert_frame_equal(rows, before[before["cell"] != cell].reset_index(drop=True))
    others = curves_before[curves_before["cell"] != cell].reset_index(drop=True)
    pd.testing.assert_frame_equal(curves, others)
    (sentence,) = gather.unreadable(study)
    assert sentence.startswith(f"cell {cell}, block 000: {file} is damaged (")
    assert f"remove {block} and give the sweep's command again" in sentence
    assert results.load(study).attrs["unreadable"] == [sentence]


def test_every_block_damaged_is_an_error(smoke_study: Path, tmp_path: Path) -> None:
    study = tmp_path / "n_vs_p"
    shutil.copytree(smoke_study, study)
    for block in gather.block_folders(study):
        torn(block / "curves.parquet")
    with pytest.raises(gather.TableError, match="holds no block that can be read: cell "):
        gather.compact(study)


def test_the_command_names_a_damaged_block_until_it_is_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_here(monkeypatch, *COMMAND) == 0
    study = Path("outputs/mine").resolve()
    shutil.copytree(study, tmp_path / "undisturbed" / "mine")
    block = gather.block_folders(study)[0]
    torn(block / "replicates.parquet")
    (study / "report" / "index.html").unlink()
    for _ in range(2):  # the second finds a page that is as new as the study
        said = run_here(monkeypatch, *COMMAND)
        assert str(said).startswith(
            f"error: cell {block.parent.name}, block 000: replicates.parquet"
        )
    assert f"remove {block}" in (study / "report" / "index.html").read_text()
    assert report.main([str(study)]) == 0
    assert f"remove {block}" in capfd.readouterr().err

    shutil.rmtree(block)
    assert run_here(monkeypatch, *COMMAND) == 0
    assert gather.unreadable(study) == []
    assert_same(study, tmp_path / "undisturbed" / "mine")
