"""`study sweep`, `python -m study sweep` and `python -m study.sweep` are the same command."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import study.__main__ as main_module
from study.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def test_the_installed_script_runs_it() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    module, _, name = settings["project"]["scripts"]["study"].partition(":")
    assert getattr(import_module(module), name) is main


@pytest.mark.parametrize("arguments", [("outputs/none",), ("--jsn",), ()])
def test_a_command_says_the_same_by_either_name(arguments: tuple[str, ...]) -> None:
    by_name = run("study", "status", *arguments)
    assert by_name == run("study.status", *arguments)
    assert by_name[0] != 0
    assert by_name[2].startswith("error: ")


def test_overrides_reach_the_sweep() -> None:
    status, said, complaint = run("study", "sweep", "study=mine", "budget=smoke", "dry_run=true")
    assert (status, complaint) == (0, "")
    assert "study mine, budget smoke: 1 cells" in " ".join(said.split())


def test_without_a_command_it_lists_them(monkeypatch, capsys) -> None:
    for arguments in ([], ["--help"]):
        monkeypatch.setattr(sys, "argv", ["study", *arguments])
        main()
        said = capsys.readouterr().out
        assert all(f"study {name} " in said for name in COMMANDS)
    assert all((Path(main_module.__file__).parent / f"{name}.py").exists() for name in COMMANDS)


def test_an_unknown_command_is_one_sentence(monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["study", "swep"])
    with pytest.raises(SystemExit, match="error: unknown command swep: did you mean sweep"):
        main()
