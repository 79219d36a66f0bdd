"""What trackers hear of a study: settings, blocks with their curves, answers; without a network."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest

from study import export
from study.config.errors import ConfigError
from study.tracking import follow, trackers
from tests.sweeping.commands import HERE, TINY, run_here

ROOT = Path(__file__).parents[1]
ROWS = pd.DataFrame(
    {
        "study": "mine",
        "cell": "abc",
        "replicate": [0, 1],
        "model.width": [8, 8],
        "data_seed": [5, 6],
        "test_nmse": [0.5, float("inf")],
        "energy_drift": [float("nan"), 2.0],
    }
)
CURVES = pd.DataFrame(
    {
        "cell": "abc",
        "replicate": [0, 0, 1, 0],
        "curve": ["training", "training", "training", "rollout"],
        "x": [0.0, 10.0, 0.0, 0.5],
        "metric": ["train_nmse", "train_nmse", "train_nmse", "error"],
        "value": [1.0, 0.5, 2.0, 9.0],
    }
)
ANSWERS = [{"id": "one.0", "question": "Does it?", "verdict": "yes", "sentence": "It does."}]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No store elsewhere, and whoever tries to reach one fails."""
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A finished study of which there are only tables, with one block."""
    (tmp_path / "study.yaml").write_text("config: {seed: 3, model: {width: 8}}\nswept: {}\n")
    (tmp_path / "answers.json").write_text(json.dumps(ANSWERS))
    return tmp_path


def tell(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Tell it of the one block; how many were new."""

    def blocks(folder: Path, sent: set[str]):
        yield from [("abc/block-000", ROWS, CURVES)] * ("abc/block-000" not in sent)

    monkeypatch.setattr(follow, "_blocks", blocks)
    over = threading.Event()
    over.set()
    return follow.send(root, name, over)


def need(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install 'lagrangian-study[{package}]'")


def test_one_file_a_tracker() -> None:
    names = {path.stem for path in (ROOT / "conf" / "tracker").glob("*.yaml")}
    assert names == {"none", *trackers.TRACKERS}
    assert set(export.KNOWN) == set(trackers.TRACKERS)


def test_csv_takes_columns_that_come_later(tmp_path: Path) -> None:
    tracker = trackers.Csv(tmp_path, "mine")
    tracker.block(ROWS, CURVES)
    tracker.block(ROWS.drop(columns="data_seed"), CURVES)
    tracker.block(ROWS.assign(lyapunov=1.5), CURVES)
    table = pd.read_csv(tmp_path / "replicates.csv")
    assert list(table.columns) == [*ROWS.columns, "lyapunov"]
    assert table["data_seed"].isna().tolist() == [False, False, True, True, False, False]
    assert len(pd.read_csv(tmp_path / "curves.csv")) == 3 * len(CURVES)


def test_tensorboard_reads_its_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert tell(root, "tensorboard", monkeypatch) == 1
    place = follow.place_of(root, "tensorboard")
    run = EventAccumulator(str(place / "abc" / "0")).Reload()
    assert [(e.step, e.value) for e in run.Scalars("training/train_nmse")] == [(0, 1.0), (10, 0.5)]
    assert [e.value for e in run.Scalars("test_nmse")] == [0.5]
    assert "energy_drift" not in run.Tags()["scalars"], "it was not measured"
    texts = EventAccumulator(str(place / root.name)).Reload().Tags()["tensors"]
    assert sorted(texts) == ["answers/text_summary", "settings/text_summary"]


@pytest.mark.slow
def test_mlflow_finds_the_runs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("mlflow")
    assert [tell(root, "mlflow", monkeypatch) for _ in range(2)] == [1, 0]
    from mlflow.tracking import MlflowClient

    place = follow.place_of(root, "mlflow")
    client = MlflowClient(f"sqlite:///{place}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == root.name]
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {root.name, "abc/0", "abc/1"}
    parent, one = runs[root.name], runs["abc/0"]
    assert parent.data.params["model.width"] == "8"
    assert one.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert one.data.params == {"model.width": "8", "data_seed": "5"}
    assert one.data.metrics["test_nmse"] == 0.5
    history = client.get_metric_history(one.info.run_id, "training/train_nmse")
    assert [(m.step, m.value) for m in history] == [(0, 1.0), (10, 0.5)]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    answers = client.download_artifacts(parent.info.run_id, "answers.json", str(root))
    assert json.loads(Path(answers).read_text()) == {"answers": ANSWERS}


@pytest.mark.slow
def test_wandb_writes_offline_runs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("wandb")
    assert tell(root, "wandb", monkeypatch) == 1
    place = follow.place_of(root, "wandb")
    runs = list((place / "wandb").glob("offline-run-*"))
    assert len(runs) == 3, "the settings, the block, the answers"
    assert all(list(run.glob("*.wandb")) for run in runs)


def test_a_sweep_tells_its_tracker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = (*TINY, *HERE, "study=mine", "optimizer.steps=5", "tracker=csv")
    assert run_here(monkeypatch, *command) == 0
    assert "warning" not in capfd.readouterr().err
    place = tmp_path / "outputs" / "mine" / "tracking" / "csv"
    heard = pd.read_csv(place / "replicates.csv", float_precision="round_trip")
    results = pd.read_parquet("outputs/mine/results.parquet")
    assert heard["test_nmse"].tolist() == results["test_nmse"].tolist()
    settings = pd.read_csv(place / "settings.csv", index_col="key")["value"]
    assert settings["optimizer.steps"] == "5"
    assert (place / "answers.csv").exists()
    # a tracker that fails is one warning; what is done is done
    (place / "curves.csv").unlink()
    (place / "curves.csv").mkdir()
    (place / follow.SENT).unlink()
    assert run_here(monkeypatch, *command) == 0
    (warning,) = [s for s in capfd.readouterr().err.splitlines() if s.startswith("warning: ")]
    assert "tracker=csv does not have all of the study (IsADirectoryError: " in warning
    assert warning.endswith("study.export " + str(place.parents[1]) + " --to=csv tells it the rest")


def test_a_tracker_that_hangs_is_given_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "PATIENCE", 0.3)
    follower = follow.Follower("csv")
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(follower, "_process", sleeper)
    assert "nothing was heard of it for" in follower.finish(root)
    assert sleeper.poll() is not None


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as raised:
        trackers.check_installed("mlflow", "tracker=mlflow")
    assert str(raised.value) == (
        "tracker=mlflow: mlflow is not installed: pip install 'lagrangian-study[mlflow]'"
    )
    trackers.check_installed("csv", "tracker=csv")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("outputs --to=wand", "--to=wand is not known: did you mean wandb?"),
        ("outputs", "no tool is given: write --to=mlflow, or csv, mlflow, tensorboard, wandb"),
        ("nowhere --to=csv", "nowhere is no study, there is no such folder: give the folder of"),
    ],
)
def test_a_mistake_in_export(
    typed: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        export.main(typed.split())
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {said}")


def test_export_of_tables_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    reference = next(
        path.parent
        for path in sorted(
            (ROOT / "outputs" / "reference").glob("*/curves.parquet"),
            key=lambda path: path.stat().st_size,
        )
    )
    for name in ("results.parquet", "curves.parquet", "study.yaml", "answers.json"):
        if (reference / name).exists():
            os.symlink(reference / name, tmp_path / name)
    export.main([str(tmp_path), "--to=csv"])
    heard = pd.read_csv(tmp_path / "tracking" / "csv" / "replicates.csv")
    assert len(heard) == len(pd.read_parquet(reference / "results.parquet"))
    assert f"{heard['cell'].nunique()} blocks written to" in capsys.readouterr().out
