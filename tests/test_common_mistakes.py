"""What a newcomer may get wrong, and the one sentence that answers each mistake.

The sentences are in `tests/mistakes/`, one file a command. The real commands say them: most in
this process, some in one of their own, for the exit status.
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]

COMMANDS = ("sweep", "trial", "status", "report")


def snapshot(command: str) -> dict[str, str]:
    """What is typed -> what is said, from `tests/mistakes/COMMAND.txt`."""
    text = (ROOT / "tests" / "mistakes" / f"{command}.txt").read_text()
    return dict(re.findall(r"^\$ python -m (.*)\nerror: (.*)$", text, flags=re.MULTILINE))


SENTENCES = {typed: said for command in COMMANDS for typed, said in snapshot(command).items()}

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
    (DATA + "data.columns.q=theta", "0.02,0.010", "0.02,inf"): (
        "data.path=measured.csv, row 2, column theta: it is infinite: put the number there, or "
        "leave the row out"
    ),
    (DATA + "data.columns.q=theta,t", "", ""): (
        "data.columns.q=theta,t gives several values, and columns are not swept: write "
        "'data.columns.q=[theta,t]'"
    ),
    (DATA + "data.columns.q=theta", "theta", "Theta (deg)"): (
        "data.columns.q=theta is no column of measured.csv: write 'data.columns.q=[Theta (deg)]'"
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
@pytest.mark.parametrize("typed", SENTENCES)
def test_a_setting_a_folder_or_a_flag(typed: str, said) -> None:
    if "device=cuda" in typed and torch.cuda.is_available():
        pytest.skip("this machine has the device")
    assert said(typed) == SENTENCES[typed]


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
    assert len(SENTENCES) + len(FILES) + len(STORAGES) > 150


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
    sentence = SENTENCES[typed]
    assert (done.returncode, done.stdout, done.stderr) == (status, "", f"error: {sentence}\n")
    assert listing(folder) == before
