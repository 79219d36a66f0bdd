"""What a newcomer may get wrong, and the one sentence that each mistake is answered with.

Through the real commands: most in this process, some in one of their own, for the exit status.
"""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]

# what is typed after `python -m` -> what is said after `error: `
SETTINGS = {
    "study.sweep +experiment=n_vs_p_": "unknown experiment n_vs_p_: did you mean n_vs_p?",
    "study.sweep experiment=n_vs_p": "experiment=n_vs_p needs a plus: write +experiment=n_vs_p",
    "study.sweep n_vs_p": "n_vs_p is an experiment: write +experiment=n_vs_p",
    "study.sweep --experiment n_vs_p": (
        "unknown flag --experiment: settings have no dashes, so write +experiment=n_vs_p"
    ),
    "study.sweep --experiment=n_vs_p": (
        "unknown flag --experiment: settings have no dashes, so write +experiment=n_vs_p"
    ),
    "study.sweep --workers 4": (
        "unknown flag --workers: settings have no dashes, so write workers=4"
    ),
    "study.sweep --dry-run": (
        "unknown flag --dry-run: settings have no dashes, so write dry_run=true"
    ),
    "study.sweep -x": "unknown flag -x: --help shows what can be given",
    "study.sweep --hlep": "unknown flag --hlep: did you mean --help?",
    "study.sweep model=lnnn": "unknown model lnnn: did you mean lnn?",
    "study.sweep modle=lnn": "unknown key modle: did you mean model?",
    "study.sweep modle.width=8": "unknown key modle.width: did you mean model.width?",
    "study.sweep model.widht=4,8": "unknown key model.widht: did you mean model.width?",
    "study.sweep width=8": "unknown key width: did you mean model.width?",
    "study.sweep lr=1e-3": "unknown key lr: did you mean optimizer.lr?",
    "study.sweep model.lr=1e-3": "unknown key model.lr: did you mean optimizer.lr?",
    "study.sweep n_trajectories=10": (
        "unknown key n_trajectories: did you mean data.n_trajectories or rollout.n_trajectories?"
    ),
    "study.sweep model.activation=softpuls": "unknown activation softpuls: did you mean softplus?",
    "study.sweep model.activation=relu": (
        "model.activation=relu cannot learn a Lagrangian: its second derivative is zero, so the "
        "mass matrix is too; use one of gelu, silu, sin, softplus, tanh"
    ),
    "study.sweep 'model.activation=choice(tanh,softpuls)'": (
        "unknown activation softpuls: did you mean softplus?"
    ),
    "study.sweep model.beta=0": "model.beta=0 is not allowed: it should be greater than 0",
    "study.sweep model.width=0": "model.width=0 is not allowed: it should be at least 1",
    "study.sweep model.width=2.5": "model.width=2.5 is not allowed: it should be a whole number",
    "study.sweep model.width=8;16": (
        "model.width=8;16 is not an override: write key=value without spaces, and quote a value "
        "with brackets or other signs"
    ),
    "study.sweep model.width = 8": (
        "model.width is not an override: write key=value without spaces, and quote a value with "
        "brackets or other signs"
    ),
    "study.sweep model.width=8 model.width=16": (
        "model.width is given twice, as 8 and as 16: give it once, or both values as "
        "model.width=8,16"
    ),
    "study.sweep budget=smoke budget=laptop": (
        "budget is given twice, as smoke and as laptop: give it once"
    ),
    "study.sweep optimizer.lr=abc": "optimizer.lr=abc is not allowed: it should be a number",
    "study.sweep optimizer=adma": "unknown optimizer adma: did you mean adam?",
    "study.sweep optimizer=sgd": (
        "unknown optimizer sgd: known are adam, adam_lbfgs, adam_lm, least_squares, "
        "levenberg_marquardt"
    ),
    "study.sweep data.n_train=1000000": (
        "data.n_train=1000000 is larger than the pool: give at most data.pool_size=20000 points, "
        "or a larger pool"
    ),
    "study.sweep data.n_train=-1": "data.n_train=-1 is not allowed: it should be at least 1",
    "study.sweep data.n_train=1e3": (
        "data.n_train=1000.0 is not allowed: it should be a whole number, 1000 for instance"
    ),
    "study.sweep data.n_train=64 data.n_over_p=2": (
        "data.n_train=64 and data.n_over_p=2.0: give one of them, the other follows"
    ),
    "study.sweep data.noise=10%": "data.noise=10% is not allowed: it should be a number",
    "study.sweep data.order=random": (
        "data.order=random is not known: known are shuffled, sequential"
    ),
    "study.sweep data.columns.q=theta": "data.columns.q=theta is a key of data=file: give that too",
    "study.sweep system=doublependulum": (
        "unknown system doublependulum: did you mean double_pendulum?"
    ),
    "study.sweep system.gravity=1.6": (
        "unknown key system.gravity: known are system.g, system.l1, system.l2, system.m1, system.m2"
    ),
    "study.sweep system=kepler system.G=3": "unknown key system.G: known are system.m, system.mu",
    "study.sweep system=file": (
        "system.path is not given: system=file needs system.path=my_system.py"
    ),
    "study.sweep system=file system.path=missing.py": (
        "system.path=missing.py: there is no such file"
    ),
    "study.sweep data=file": (
        "data.path is not given: data=file needs data.path=measured.csv (or .npz, .parquet)"
    ),
    "study.sweep data=file data.path=missing.csv": "data.path=missing.csv: there is no such file",
    "study.sweep search.sampler=tpee": "search.sampler=tpee is not known: did you mean tpe?",
    "study.sweep search.objectives=[test_nmes] 'optimizer.lr=interval(1e-4,1e-2)'": (
        "search.objectives=test_nmes is no measure: did you mean test_nmse?"
    ),
    "study.sweep +experiment=tune_pareto search.pruner=median": (
        "search.pruner=median: a search with 2 objectives cannot prune: use search.pruner=none"
    ),
    "study.sweep 'optimizer.lr=interval(1e-2,1e-4)'": (
        "optimizer.lr=interval(1e-2,1e-4) holds no value: the first number should be the smaller"
    ),
    "study.sweep 'optimizer.lr=tag(log,interval(0,1e-2))'": (
        "optimizer.lr=tag(log,interval(0,1e-2)): a logarithmic scale begins above 0"
    ),
    "study.sweep 'model.width=interval(8,16.5)'": (
        "model.width=interval(8,16.5): model.width takes whole numbers, so both ends should be "
        "whole"
    ),
    "study.sweep 'optimizer.lr=interval(1e-4)'": (
        "optimizer.lr=interval(1e-4) is not an override: write key=value without spaces, and "
        "quote a value with brackets or other signs"
    ),
    "study.sweep 'model.activation=interval(1,2)'": (
        "model.activation=interval(1,2) is a range of numbers: name some, choice(a,b)"
    ),
    "study.sweep replicates=7": (
        "replicates=7 is not a multiple of block_size=5: use replicates=5 or block_size=7"
    ),
    "study.sweep workers=0": "workers=0 is not allowed: it should be at least 1",
    "study.sweep device=cuda": (
        "device=cuda: torch finds no CUDA device on this machine: use device=cpu"
    ),
    "study.sweep device=gpu": "device=gpu is not known: known are cpu, cuda",
    "study.sweep budget=laptob": "unknown budget laptob: did you mean laptop?",
    "study.sweep precision=double": "precision=double is not known: known are float32, float64",
    "study.sweep study='my study'": (
        "study='my study' is not a folder name under outputs/: use letters, digits, '.', '_' and "
        "'-', beginning with a letter or digit"
    ),
    "study.sweep study=reference": (
        "study=reference is kept for the committed reference tables: choose another name"
    ),
    "study.sweep detach=true": (
        "detach=true: workers of hydra/launcher=joblib end with this command; use "
        "hydra/launcher=submitit_slurm, or leave detach out"
    ),
    "study.sweep hydra/launcher=slurm": (
        "unknown hydra/launcher slurm: did you mean submitit_slurm?"
    ),
    "study.sweep hydra.launcher.partition=gpu": (
        "hydra.launcher.partition=gpu is a key of hydra/launcher=submitit_slurm: give that too"
    ),
    "study.sweep hydra/launcher=submitit_slurm hydra.launcher.partiton=gpu": (
        "unknown key hydra.launcher.partiton: did you mean hydra.launcher.partition?"
    ),
    "study.sweep hydra.launcher=submitit_slurm": (
        "hydra.launcher=submitit_slurm names a launcher: write hydra/launcher=submitit_slurm"
    ),
    "study.sweep partition=gpu": "unknown key partition: did you mean hydra.launcher.partition?",
    "study.sweep launcher=submitit_slurm": "unknown key launcher: did you mean hydra/launcher?",
    "study.sweep --config-dir": "argument --config-dir/-cd: expected one argument",
    "study.sweep --config-dir=missing": "--config-dir=missing is not a folder",
    "study.sweep outputs/n_vs_p": (
        "outputs/n_vs_p is not an override: write key=value without spaces, and quote a value "
        "with brackets or other signs"
    ),
    "study.sweep -m +experiment=n_vs_pp": "unknown experiment n_vs_pp: did you mean n_vs_p?",
    "study.trial model.width=8,16": (
        "model.width has several values, and one cell takes one: give one, or use python -m "
        "study.sweep"
    ),
    "study.trial +experiment=n_vs_p": (
        "a grid (study=n_vs_p) is for sweeps: python -m study.sweep +experiment=n_vs_p"
    ),
    "study.trial --width 8": "unknown flag --width: settings have no dashes, so write width=8",
    "study.trial model.activation=Softplus": "unknown activation Softplus: did you mean softplus?",
    "study.trial dry_run=true": "dry_run=true is for sweeps: python -m study.sweep dry_run=true",
    "study.trial device=cuda": (
        "device=cuda: torch finds no CUDA device on this machine: use device=cpu"
    ),
}

FOLDERS = {
    "study.status": "no folder is given: write python -m study.status outputs/n_vs_p",
    "study.status outputs/n_vs_pp": (
        "outputs/n_vs_pp is no study, there is no such folder: did you mean outputs/n_vs_p?"
    ),
    "study.status n_vs_p": (
        "n_vs_p is no study, there is no such folder: did you mean outputs/n_vs_p?"
    ),
    "study.status outputs": (
        "outputs is a folder of studies: name one of them, outputs/n_vs_p for instance"
    ),
    "study.status outputs/n_vs_p --jsno": "unknown flag --jsno: did you mean --json?",
    "study.status outputs/n_vs_p outputs/other": "outputs/other is too much: give one folder",
    "study.status measured.csv": (
        "measured.csv is no study, it is a file: give the folder of one, outputs/n_vs_p"
    ),
    "study.report": "no folder is given: write python -m study.report outputs/n_vs_p",
    "study.report outputs/n_vsp": (
        "outputs/n_vsp is no study, there is no such folder: did you mean outputs/n_vs_p?"
    ),
    "study.report outputs/n_vs_p": (
        "outputs/n_vs_p has no cells/ and no results.parquet: nothing was trained"
    ),
    "study.report empty": (
        "empty is no study, it has no study.yaml, no cells, no results.parquet: give the folder "
        "of one, outputs/n_vs_p"
    ),
    "study.report outputs/n_vs_p --open": "unknown flag --open: known are --help",
}

MEASURED = "run,t,theta\n" + "".join(
    f"{run},{0.02 * k:.2f},{0.1 * run + 0.01 * k:.3f}\n" for run in range(3) for k in range(40)
)
NO_SYSTEM = "length = 1.0\n"
DATA = "study.sweep data=file data.path=measured.csv system=unknown data.columns.units=rad "
DATA += "data.columns.trajectory=run "

# what is typed, (what stands in a file, and is replaced) -> what is said
FILES = {
    (DATA + "data.columns.q=tetha", "", ""): (
        "data.columns.q=tetha is no column of measured.csv: did you mean theta?"
    ),
    (DATA + "data.columns.q=theta data.columns.time=time", "", ""): (
        "data.columns.time=time is no column of measured.csv: known are run, t, theta"
    ),
    (DATA + "data.columns.q=theta", "0.02,0.010", "0.02,nan"): (
        "data.path=measured.csv, row 2, column theta: it is empty or NaN: put the number there, or "
        "leave the row out"
    ),
    (DATA + "data.columns.q=theta", "0.02,0.010", "0.02;0.010"): (
        "data.path=measured.csv, row 2: it has 2 values, and the header names 3 columns"
    ),
    (DATA + "data.columns.q=theta", "0.02,0.010", "0.00,0.010"): (
        "data.path=measured.csv, row 2, column t (trajectory 0): the time 0 is there twice: leave "
        "one row out"
    ),
    ("study.sweep data=file data.path=measured.csv", "", ""): (
        "data.columns.q=theta1 is no column of measured.csv: did you mean theta?"
    ),
    ("study.sweep system=file system.path=my_system.py", "", ""): (
        "system.path=my_system.py defines no System: it should define one, system = System(...) "
        "with `from study.core.systems import System`"
    ),
}

# the storage, on the command line or in STUDY_STORAGE -> what is said after its key
STORAGES = {
    "postgers://host/database": (
        "=postgers://host/database: postgers is no known database: did you mean postgresql?"
    ),
    "postgresql://127.0.0.1:1/database": (
        "=postgresql+psycopg://127.0.0.1:1/database does not answer (connection failed: "
        'connection to server at "127.0.0.1", port 1 failed: Connection refused): start the server '
        "or correct the URL, or give storage=null to do without"
    ),
    "sqlite:////missing/folder/x.db": (
        "=sqlite:////missing/folder/x.db cannot be opened: (sqlite3.OperationalError) unable to "
        "open database file: use null, or a URL such as postgresql://user@host/database or "
        "sqlite:////absolute/path.db"
    ),
}


def listing(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*")}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a newcomer stands: a study begun, some files, an empty folder."""
    (tmp_path / "outputs" / "n_vs_p").mkdir(parents=True)
    (tmp_path / "outputs" / "n_vs_p" / "study.yaml").write_text("study: n_vs_p\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "measured.csv").write_text(MEASURED)
    (tmp_path / "my_system.py").write_text(NO_SYSTEM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STUDY_STORAGE", raising=False)
    return tmp_path


@pytest.fixture
def said(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Run a command as `python -m` does, in this process; the sentence it leaves with."""

    def run(typed: str) -> str:
        before = listing(folder)
        command, *arguments = shlex.split(typed)
        monkeypatch.setattr(sys, "argv", [command, *arguments])
        with pytest.raises(SystemExit) as left:
            runpy.run_module(command, run_name="__main__")
        printed = capfd.readouterr()
        code = left.value.code
        sentence = printed.err + (f"{code}\n" if isinstance(code, str) else "")
        assert code not in (0, None)
        assert printed.out == ""
        assert listing(folder) == before, "nothing was begun"
        assert sentence.startswith("error: ")
        assert sentence.count("\n") == 1
        return sentence.removeprefix("error: ").removesuffix("\n")

    return run


# run_module says so where a command's module is known already
again = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")


@again
@pytest.mark.parametrize("typed", SETTINGS)
def test_a_setting(typed: str, said, monkeypatch: pytest.MonkeyPatch) -> None:
    if "device=cuda" in typed and torch.cuda.is_available():
        pytest.skip("this machine has the device")
    assert said(typed) == SETTINGS[typed]


@again
@pytest.mark.parametrize("typed", FOLDERS)
def test_a_folder_or_a_flag(typed: str, said) -> None:
    assert said(typed) == FOLDERS[typed]


@again
@pytest.mark.parametrize("mistake", FILES)
def test_a_file(mistake: tuple[str, str, str], folder: Path, said) -> None:
    typed, right, wrong = mistake
    assert right in MEASURED
    (folder / "measured.csv").write_text(MEASURED.replace(right, wrong, 1))
    assert said(typed) == FILES[mistake]


@again
@pytest.mark.parametrize("url", STORAGES)
def test_a_storage(url: str, said, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(f"study.sweep storage={url}") == f"storage{STORAGES[url]}"
    monkeypatch.setenv("STUDY_STORAGE", url)
    assert said("study.sweep") == f"STUDY_STORAGE{STORAGES[url]}"


@again
def test_a_storage_that_is_no_url(said, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said("study.sweep storage=ledger") == (
        "storage=ledger is not the URL of a database: use null, or a URL such as "
        "postgresql://user@host/database or sqlite:////absolute/path.db"
    )
    monkeypatch.setenv("STUDY_STORAGE", "localhost")
    assert said("study.sweep").startswith(
        "STUDY_STORAGE is not a URL such as postgresql://user:password@host/database: write each "
    )


@again
def test_a_password_on_the_command_line(said) -> None:
    assert said("study.sweep storage=postgresql://me:secret@host/database") == (
        "storage holds a password, which process titles and study.yaml would show: put the URL "
        "into the environment variable STUDY_STORAGE, or the password into a pgpass file or service"
    )


@again
def test_a_cluster_where_there_is_none(said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert said("study.sweep hydra/launcher=submitit_slurm workers=4") == (
        "hydra/launcher=submitit_slurm: there is no sbatch here: run on a machine from which jobs "
        "are submitted, or leave the launcher out"
    )


@again
def test_a_folder_that_cannot_be_written(folder: Path, said) -> None:
    (folder / "outputs").rename(folder / "elsewhere")
    (folder / "outputs").write_text("a file where the folder should be")
    assert said("study.sweep study=mine budget=smoke") == (
        f"study=mine cannot be written to {folder}/outputs/mine: Not a directory; run in a folder "
        "that you can write to"
    )


def test_there_are_many() -> None:
    assert len(SETTINGS) + len(FOLDERS) + len(FILES) + len(STORAGES) > 80


@pytest.mark.parametrize(
    ("typed", "status"),
    [
        ("study.sweep model.activation=softpuls", 1),
        ("study.sweep --workers 4", 1),
        ("study.trial model.width=8,16", 1),
        ("study.status outputs/n_vs_pp", 1),
        ("study.status outputs/n_vs_p --jsno", 2),
        ("study.report outputs/n_vsp", 2),
    ],
)
def test_a_process_says_it_on_stderr_and_exits_with_a_status(
    typed: str, status: int, folder: Path
) -> None:
    before = listing(folder)
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(typed)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    sentence = (SETTINGS | FOLDERS)[typed]
    assert (done.returncode, done.stdout, done.stderr) == (status, "", f"error: {sentence}\n")
    assert listing(folder) == before
