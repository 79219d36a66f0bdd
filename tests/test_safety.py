"""Nothing in a study's folder is ever run, and no name leads out of outputs/.

The bombs are real: each makes a folder where it is unpickled or called, and `test_the_bombs_work`
shows that they do where nothing guards against them.
"""

from __future__ import annotations

import functools
import logging.config
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from hydra.utils import instantiate

from study import report, results, status, trial
from study.config.errors import ConfigError
from study.sweeping.cell_config import read_config
from study.sweeping.folder import StudyError, StudyFolder
from study.tables import gather
from tests.bombs import Bomb, as_pickle
from tests.sweeping.commands import HERE, TINY, run_here

pytestmark = pytest.mark.usefixtures("crater")

COMMAND = (*TINY, *HERE, "study=mine", "replicates=2", "block_size=2", "optimizer.steps=20")

slow = functools.partial(pytest.param, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert run_here(patch, *COMMAND) == 0
    return home / "outputs" / "mine"


@pytest.fixture
def study(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a finished study to plant things in; the current folder is that of its outputs/."""
    shutil.copytree(finished, tmp_path / "home" / "outputs" / "mine")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home" / "outputs" / "mine"


def block_of(study: Path) -> Path:
    return gather.block_folders(study)[0]


def as_torch(path: Path, bomb: Bomb) -> None:
    torch.save({"cell": bomb, "replicates": [0, 1]}, path)


def as_old_torch(path: Path, bomb: Bomb) -> None:
    torch.save({"cell": bomb}, path, _use_new_zipfile_serialization=False)


def as_arrow(path: Path, bomb: Bomb) -> None:
    """A table whose type is said to be unpickled from its metadata, as old pyarrow did."""
    names = {b"ARROW:extension:name": b"arrow.py_extension_type"}
    names[b"ARROW:extension:metadata"] = pickle.dumps(bomb)
    table = pa.table({"cell": pa.array([1, 2])})
    field = pa.field("cell", pa.int64(), metadata=names)
    pq.write_table(table.cast(pa.schema([field])), path)


def test_the_bombs_work(tmp_path: Path, crater: Path) -> None:
    def bang() -> None:
        assert crater.is_dir()
        crater.rmdir()

    for plant in (as_torch, as_old_torch):
        plant(tmp_path / "a", Bomb(crater))
        torch.load(tmp_path / "a", weights_only=False)
        bang()
    pickle.loads(pickle.dumps(Bomb(crater)))
    bang()
    yaml.unsafe_load(f"a: !!python/object/apply:os.mkdir [{crater}]")
    bang()
    instantiate({"_target_": "os.mkdir", "path": str(crater)})
    bang()
    handler = {"()": "os.mkdir", "path": str(crater)}
    with pytest.raises(ValueError, match="handler"):
        logging.config.dictConfig({"version": 1, "handlers": {"a": handler}})
    bang()


@pytest.mark.parametrize("plant", [as_pickle, as_torch, as_old_torch])
def test_weights(plant: Any, study: Path, crater: Path) -> None:
    block = block_of(study)
    plant(block / "weights.pt", Bomb(crater))
    with pytest.raises(gather.TableError, match=r"weights\.pt cannot be read") as raised:
        results.load_model(study, block.parent.name, 0)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("plant", [as_torch, *map(slow, [as_pickle, as_old_torch])])
def test_checkpoint(
    plant: Any, finished: Path, study: Path, crater: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = block_of(study)
    shutil.rmtree(block)
    plant(block.with_name("block-000.checkpoint.pt"), Bomb(crater))
    assert run_here(monkeypatch, *COMMAND) == 0
    rows, before = results.load(study), results.load(finished)
    columns = [c for c in rows.columns if not c.endswith("_seconds")]
    pd.testing.assert_frame_equal(rows[columns], before[columns], check_exact=True)


def test_ledger(
    study: Path,
    crater: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    as_pickle(study / "ledger.log", Bomb(crater))
    shutil.rmtree(block_of(study))
    assert run_here(monkeypatch, *COMMAND) == 0, "the folder is the truth"
    said = capsys.readouterr().err
    assert "the ledger is not complete" in said
    assert "ledger.log cannot be read" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("plant", [as_pickle, as_arrow])
@pytest.mark.parametrize("name", ["replicates.parquet", "curves.parquet"])
def test_tables_of_a_block(
    name: str, plant: Any, study: Path, crater: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(block_of(study) / name, Bomb(crater))
    assert report.main([str(study)]) == 2
    said = capsys.readouterr()
    assert len(said.err.strip().splitlines()) == 1


@pytest.mark.parametrize("plant", [as_pickle, as_arrow])
def test_tables_of_a_study(plant: Any, study: Path, crater: Path) -> None:
    shutil.rmtree(study / "cells")
    plant(study / "results.parquet", Bomb(crater))
    assert report.main([str(study)]) == 2
    with pytest.raises(gather.TableError) as raised:
        results.load(study)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "name",
    [
        ".submitit/1/1_0_result.pkl",
        *map(slow, ["run.json", "log.txt", ".submitit/1/1_0_submitted.pkl"]),
    ],
)
def test_everything_else(
    name: str, study: Path, crater: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = block_of(study) / name if "/" not in name else study / name
    path.parent.mkdir(parents=True, exist_ok=True)
    as_pickle(path, Bomb(crater))
    assert report.main([str(study)]) == 0
    monkeypatch.setattr("sys.argv", ["status", str(study)])
    status.main()
    assert run_here(monkeypatch, *COMMAND) == 0


@pytest.mark.parametrize("name", ["failed-1.json", *map(slow, ["progress.json", "lock"])])
def test_what_lies_beside_a_block(
    name: str, study: Path, crater: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = block_of(study)
    shutil.rmtree(block)
    path = block.with_name(f"block-000.{name}")
    as_pickle(path, Bomb(crater))
    if name == "lock":
        os.utime(path, (1, 1))
        path.unlink()  # an unreadable claim counts until it is old: tests/sweeping/test_claims.py
    assert run_here(monkeypatch, *COMMAND) == 0


TAGS = ["!!python/object/apply:os.mkdir [{}]", "!!python/object/new:os.mkdir [{}]"]


@pytest.mark.parametrize("tag", TAGS)
def test_tags_in_study_yaml(
    tag: str,
    study: Path,
    crater: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = study / "study.yaml"
    path.write_text(path.read_text() + f"\nplanted: {tag.format(crater)}\n")
    with pytest.raises(StudyError, match="cannot be read"):
        StudyFolder(study).read_orders()
    monkeypatch.setattr("sys.argv", ["status", str(study)])
    with pytest.raises(SystemExit, match=r"study\.yaml cannot be read"):
        status.main()
    assert report.main([str(study)]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("tag", [TAGS[0], slow(TAGS[1])])
def test_tags_in_a_cells_config(
    tag: str, study: Path, crater: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = block_of(study)
    path = block.parent / "config.yaml"
    path.write_text(path.read_text() + f"\nplanted: {tag.format(crater)}\n")
    with pytest.raises(StudyError, match=r"config\.yaml cannot be read"):
        read_config(path)
    shutil.rmtree(block)
    assert run_here(monkeypatch, *COMMAND, "retries=0") == 0
    assert "planted" not in path.read_text(), "the command writes it anew"


@pytest.mark.parametrize("cell", ["../../../elsewhere", "/etc", "a/b", "", "..", "*"])
def test_a_study_yaml_that_names_cells_elsewhere(cell: str, study: Path) -> None:
    path = study / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"cells": [cell]}))
    with pytest.raises(StudyError, match="names no cell"):
        StudyFolder(study).read_orders()
    with pytest.raises(gather.TableError, match="names no cell"):
        gather.compact(study)


NAMES = [
    "../x",
    "..",
    ".",
    "/tmp/x",
    "a/b",
    "",
    "-x",
    ".x",
    "x\\ny",
    "a b",
    "reference",
    "${seed}/..",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_never_leaves_outputs(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    said = run_here(monkeypatch, *COMMAND, f"study='{name}'")
    assert isinstance(said, str)
    assert said.startswith("error: ")
    assert [path.name for path in tmp_path.rglob("*")] == ["home"]
    with pytest.raises(ConfigError):
        trial.main([*TINY, f"study='{name}'"])
    assert [path.name for path in tmp_path.rglob("*")] == ["home"]


def test_a_linked_study_is_refused_and_linked_outputs_are_not(
    study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (study.parent / "linked").symlink_to(elsewhere)
    said = run_here(monkeypatch, *COMMAND, "study=linked")
    assert "is a link to" in str(said)
    with pytest.raises(ConfigError, match="is a link to"):
        trial.main([*TINY, "study=linked"])
    assert not list(elsewhere.iterdir())
    (tmp_path / "scratch").mkdir()
    monkeypatch.chdir(tmp_path / "scratch")
    Path("outputs").symlink_to(study.parent)
    assert run_here(monkeypatch, *COMMAND) == 0
