"""What README shows is run: its Python as it stands, its sweeps as far as the plan."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from study import compose
from study.core.systems import SYSTEMS

TEXT = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
COMMANDS = re.findall(
    r"python -m study\.(\w+) +(.*?) *(?:#.*)?$", TEXT.replace("\\\n", ""), flags=re.MULTILINE
)


def test_the_tables_block_runs_on_a_finished_study(smoke_study, monkeypatch):
    monkeypatch.chdir(smoke_study.parents[1])
    names: dict = {}
    exec(BLOCKS[0], names)
    assert len(names["rows"]) > 0
    asked = names["model"].acceleration(np.array([[0.1, 0.2]]), np.array([[0.0, 0.0]]))
    assert asked.shape == (1, 2)


def test_a_new_system_is_one_entry():
    names: dict = {}
    exec(BLOCKS[1], names)
    pendulum = names["pendulum"]
    asked = pendulum.acceleration(np.array([[0.5]]), np.array([[0.3]]))
    np.testing.assert_allclose(asked, [[-9.8 * np.sin(0.5)]])


@pytest.mark.parametrize("line", [a for c, a in COMMANDS if c in ("sweep", "trial")])
def test_commands_compose(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my_system.py").write_text(BLOCKS[1])
    compose.register()
    compose.check(shlex.split(line))


def test_all_commands_are_shown():
    assert {command for command, _ in COMMANDS} == {
        "sweep",
        "trial",
        "status",
        "report",
        "dashboard",
    }


def test_all_options_are_listed():
    root = Path(__file__).parents[1] / "conf"
    for group in ("data", "model", "optimizer", "rollout", "budget", "search", "experiment"):
        (row,) = [line for line in TEXT.splitlines() if re.match(rf"\| `\+?{group}` \|", line)]
        for path in (root / group).glob("*.yaml"):
            assert path.stem in row
    assert all(name in TEXT for name in SYSTEMS)
