"""What users of Hydra, Optuna and SLURM bring with them works, or is answered in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

import study
from study.config import hydra
from study.config.errors import ConfigError
from study.sweeping.folder import StudyFolder
from study.sweeping.slurm import Queue
from tests.sweeping.commands import HERE, TINY, check, planned, run_here, start

ROOT = Path(__file__).parents[1]
SBATCH = """#!/bin/sh
env > "$SAID"
echo "Submitted batch job 12"
"""


def python(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command `sbatch` that keeps the environment it is called with; the file that holds it."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "sbatch"
    program.write_text(SBATCH)
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SAID", str(tmp_path / "said"))
    return tmp_path / "said"


def test_outputs_moves_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = (*TINY, *HERE, "study=mine", "optimizer.steps=5", "outputs=scratch/all")
    assert run_here(monkeypatch, *command) == 0
    assert (tmp_path / "scratch" / "all" / "mine" / "report" / "index.html").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]
    # what users of Hydra look for, once for the study
    of_hydra = {
        path.stem: yaml.safe_load(path.read_text())
        for path in (tmp_path / "scratch" / "all" / "mine" / ".hydra").iterdir()
    }
    assert of_hydra["overrides"] == [*TINY, *HERE, *command[-3:]]
    assert of_hydra["config"]["optimizer"]["steps"] == 5
    assert of_hydra["hydra"]["hydra"]["runtime"]["choices"]["model"] == "lnn"


def test_resolvers_have_the_projects_name() -> None:
    hydra.register()
    known = ("cores", "storage", "by_budget", "made_recording")
    assert all(hydra.OmegaConf.has_resolver(f"study.{name}") for name in known)
    assert not hydra.OmegaConf.has_resolver("cores")


def test_an_experiment_needs_no_plus() -> None:
    hydra.register()
    plain, plus = (
        planned(f"{e}experiment=tune", "budget=smoke", "compile=false") for e in ("", "+")
    )
    assert plain.run.study == "tune"
    assert [s.name for s in plain.searches] == [s.name for s in plus.searches]


def test_several_experiments_are_one_study_after_the_other(tmp_path: Path) -> None:
    head = start(tmp_path, "experiment=n_vs_p,tune", "budget=smoke", "dry_run=true")
    output, _ = head.communicate(timeout=300)
    assert head.returncode == 0, output
    assert output.index("study n_vs_p, budget smoke") < output.index("study tune, budget smoke")


def test_a_traceback_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ConfigError) as raised:
        run_here(monkeypatch, "model.width=wide", "dry_run=true")
    assert raised.value.__context__ is not None
    assert not raised.value.__suppress_context__


def test_without_assert_statements_hydra_cannot_parse(tmp_path: Path) -> None:
    done = python(tmp_path, "-O", "-m", "study.sweep", "optimizer.lr=interval(1e-4,1e-2)")
    assert done.returncode == 1
    assert done.stderr == (
        "error: PYTHONOPTIMIZE (python -O) takes asserts out of the parser of Hydra, which cannot "
        "read brackets without them: unset it\n"
    )


def test_hydras_own_help_takes_overrides(tmp_path: Path) -> None:
    done = python(tmp_path, "-m", "study.sweep", "data.n_train=64", "--hydra-help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--shell-completion" in done.stdout


CALLBACK = """
from hydra.experimental.callback import Callback

class Told(Callback):
    def __init__(self, path):
        self.path = path

    def tell(self, text, config):
        with open(self.path, "a") as file:
            file.write(f"{text} {config.study}\\n")

    def on_multirun_start(self, config, **more):
        self.tell("start", config)

    def on_multirun_end(self, config, **more):
        self.tell("end", config)

    def on_job_end(self, config, **more):
        self.tell("job", config)
"""


def test_callbacks_hear_of_a_sweep_and_not_of_its_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "told.py").write_text(CALLBACK)
    callback = ("+hydra.callbacks.mine._target_=told.Told", "+hydra.callbacks.mine.path=heard.txt")
    command = (*TINY, *HERE, "study=mine", "dry_run=true", *callback)
    assert run_here(monkeypatch, *command) == 0
    assert (tmp_path / "heard.txt").read_text() == "start mine\nend mine\n"
    assert (
        "note: hydra.callbacks.mine._target_=told.Told: on_job_end will not be called, because "
        "blocks are no jobs of Hydra's: tracker=csv (or mlflow, tensorboard, wandb) hears of each\n"
    ) in capfd.readouterr().err


def test_hydras_info_takes_overrides(tmp_path: Path) -> None:
    done = python(tmp_path, "-m", "study.sweep", "data.n_train=64", "--info")
    assert (done.returncode, done.stderr) == (0, "")
    assert "n_train: 64" in done.stdout


SPARED = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
except SystemExit as left:
    assert not left.code, left.code
heavy = {"torch", "pandas", "pyarrow", "optuna", "sympy", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    "typed",
    [
        "study --version",
        "study --help",
        "study sweep --version",
        "study sweep --help",
        "study.sweep system=kepler --help",
        "study.trial --help",
        "study.status --help",
        "study.report --help",
        "study.trial --version",
        "study.status --version",
        "study.report --version",
        "study.fit --version",
        "study.advise --version",
    ],
)
def test_help_and_version_load_nothing_heavy(typed: str, tmp_path: Path) -> None:
    done = python(tmp_path, "-W", "ignore", "-c", SPARED, *typed.split())
    assert (done.returncode, done.stderr) == (0, "")
    if "version" in typed:
        assert done.stdout == f"lagrangian-study {study.__version__}\n"


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == study.__version__
    assert citation["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_cells_of_earlier_commands_can_be_taken_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = (*TINY, *HERE, "study=mine", "optimizer.steps=5")
    for rates, said, expected in (
        (("optimizer.lr=1e-3,2e-3",), False, {1e-3, 2e-3}),
        (("optimizer.lr=1e-3",), True, {1e-3, 2e-3}),
        (("optimizer.lr=1e-3", "keep_earlier=false"), False, {1e-3}),
    ):
        assert run_here(monkeypatch, *command, *rates) == 0
        printed = " ".join(capfd.readouterr().err.split())
        assert ("from earlier commands: 1 cells that this one does not" in printed) is said
        rows = pd.read_parquet("outputs/mine/results.parquet")
        assert set(rows["optimizer.lr"]) == expected


def test_jobs_do_not_inherit_the_job_of_the_head(
    sbatch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "SLURM_JOB_ID": "7",
        "SLURM_MEM_PER_CPU": "100",
        "SLURM_NTASKS": "9",
        "SLURM_CONF": "/etc/here.conf",
    }.items():
        monkeypatch.setenv(name, value)
    root = tmp_path / "outputs" / "mine"
    root.mkdir(parents=True)
    (root / "study.yaml").write_text("provenance: {run: first}\n")
    config = check(["hydra/launcher=submitit_slurm", "study=mine"])
    settings = dict(hydra.OmegaConf.to_container(config.hydra.launcher, resolve=True))  # type: ignore[arg-type]
    queue = Queue(StudyFolder(root), settings, {}, print)
    assert queue.submit(2) == "12"
    inherited = [line for line in sbatch.read_text().splitlines() if line.startswith("SLURM_")]
    assert inherited == ["SLURM_CONF=/etc/here.conf"]
    assert os.environ["SLURM_JOB_ID"] == "7"


def test_a_cluster_shares_no_sqlite(sbatch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = ("hydra/launcher=submitit_slurm", "study=mine")
    said = run_here(monkeypatch, *TINY, *cluster, "storage=sqlite:////tmp/x.db")
    assert said == (
        "error: storage=sqlite:////tmp/x.db: folders that nodes of a cluster share do not keep the "
        "locks of SQLite: use storage=null, or PostgreSQL"
    )
    assert not sbatch.exists()
