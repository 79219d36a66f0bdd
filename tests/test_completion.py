"""Tab completion, asked for by a real bash as it asks: COMP_LINE, COMP_POINT, COMP_WORDS."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from study.completion import SHELLS, candidates, script

ROOT = Path(__file__).parents[1]
ASK = """
eval "$(python -m study.completion bash)"
for line in "$@"; do
    COMP_LINE="$line" COMP_POINT=${#line} COMP_WORDS=($line) COMPREPLY=()
    COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
    _study_completion 2>/dev/null
    echo "${COMPREPLY[*]}"
done
complete -p study python
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("study sw", ["sweep"]),
        ("study ex", ["export"]),
        ("study sweep model=l", ["model=linear_lagrangian", "model=lnn"]),
        ("study sweep mod", ["model.", "model="]),
        ("study sweep budget=smoke model.wid", ["model.width="]),
        ("study sweep system=kepler system.m", ["system.m=", "system.mu="]),
        ("study sweep +experiment=tune_p", ["+experiment=tune_pareto"]),
        ("study sweep experiment=tune_p", ["experiment=tune_pareto"]),
        ("study sweep model=lnn,str", ["model=lnn,structured_lnn"]),
        ("study sweep hydra/launcher=submitit_s", ["hydra/launcher=submitit_slurm"]),
        (
            "study sweep hydra/launcher=submitit_slurm hydra.launcher.part",
            ["hydra.launcher.partition="],
        ),
        ("study sweep model.width=8,16 optimizer.l", ["optimizer.loss=", "optimizer.lr="]),
        ("study sweep --dry", []),
        ("study sweep --hydra", ["--hydra-help"]),
        ("study status outputs/", []),
        ("study export outputs/mine --to=m", ["--to=mlflow"]),
        ("python -m study.sw", ["study.sweep"]),
        ("python -m study.sweep tracker=ml", ["tracker=mlflow"]),
        ("python3 -m study sweep tracker=ml", ["tracker=mlflow"]),
        ("python other.py mod", []),
    ],
)
def test_how_a_line_may_go_on(line: str, expected: list[str]) -> None:
    assert candidates(line) == expected


def test_a_real_bash_completes(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    lines = ("study rep", "study sweep tracker=te", "python -m study.sweep budget=s", "python x.py")
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK.replace("python -m", f"{sys.executable} -m"), "bash", *lines],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    *replies, study, python_too = done.stdout.splitlines()
    assert replies == ["report", "tensorboard", "smoke", ""], "bash puts what follows the ="
    assert study == "complete -o bashdefault -o default -F _study_completion study"
    assert python_too.endswith("-F _study_completion python")


@pytest.mark.parametrize("shell", SHELLS)
def test_each_script_is_one_of_its_shell(shell: str) -> None:
    if (program := shutil.which(shell)) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([program, "-n"], input=SHELLS[shell], text=True, check=True)


def test_a_real_fish_completes(tmp_path: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    (tmp_path / "study.fish").write_text(script("fish"))
    for line, expected in (
        ("study sweep tracker=te", "tracker=tensorboard"),
        ("python -m study.sweep budget=s", "budget=smoke"),
    ):
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"source study.fish; complete -C '{line}'"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert expected in done.stdout.splitlines(), done.stderr


def test_another_shell_is_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "study", "completion", "csh"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: csh is no shell: write study completion bash, zsh or fish\n"
