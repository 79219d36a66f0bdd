"""What `--help` shows: three examples that are right, every group, every option, every key."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from study.config import hydra
from study.core.systems import SYSTEMS
from tests.sweeping.commands import check

CONF = Path(__file__).parents[1] / "conf"
COMMANDS = ("study.sweep", "study.trial", "study.status", "study.report")
pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Run a command as `python -m` does; what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(*typed: str) -> str:
        monkeypatch.setattr(sys, "argv", list(typed))
        code = None
        try:
            runpy.run_module(typed[0], run_name="__main__")
        except SystemExit as left:
            code = left.code
        assert not code
        assert not list(tmp_path.iterdir())
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS)
def test_three_examples_that_are_right(command: str, flag: str, said) -> None:
    text = said(command, flag)
    examples = re.findall(rf"^    python -m {command} (.*?)(?: +#.*)?$", text, re.MULTILINE)
    assert len(examples) == 3
    assert "\x1b" not in text
    if command in ("study.sweep", "study.trial"):
        hydra.register()
        for example in examples:
            check(shlex.split(example))
    else:
        assert "--json" in text or command == "study.report"


@pytest.mark.parametrize("command", COMMANDS[:2])
def test_all_groups_options_and_keys(command: str, said) -> None:
    text = said(command, "--help")
    for path in CONF.glob("[!h]*/*.yaml"):
        group = path.stem if path.parent.name == "experiment" else path.parent.name
        lines = re.findall(rf"^  {group} .*", text, re.MULTILINE)  # a group may be a key too
        assert any(path.stem in re.split(r"[ ,\[\]]+", line) for line in lines)
    assert all(name in text for name in SYSTEMS)
    assert "[lnn]" in text
    for key in ("study", "data.n_train", "model.width", "optimizer.lr", "system.l1"):
        assert re.search(rf"^  {re.escape(key)} ", text, re.MULTILINE)
    assert re.search(r"model\.init +fan_in +N\(0, 1/fan_in\), zero bias; or torch_default,", text)


def test_the_rest_of_the_command_line_counts(said) -> None:
    text = said("study.sweep", "system=kepler", "model.width=8,16", "data=file", "--help")
    assert re.search(r"^  system\.mu +1\.0 *$", text, re.MULTILINE)
    assert "system.l1" not in text
    assert re.search(r"^  model\.width +8 ", text, re.MULTILINE)
    assert re.search(r"^  data\.columns\.time +t +in time_unit", text, re.MULTILINE)
    assert "[kepler]" in text


def test_the_package_names_its_commands(said) -> None:
    text = said("study")
    assert all(command.replace(".", " ") in text for command in COMMANDS)
