"""What README, CONTRIBUTING and docs show is run, and their numbers are the reference tables'.

Sweeps are planned (`dry_run=true`), at the budget they are shown with; the other commands are run
on a finished study.
"""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from study.config import hydra
from study.core.models.activations import ACTIVATIONS, derivatives
from study.core.systems import SYSTEMS
from tests.sweeping.commands import TINY, check, run_here

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {path: path.read_text() for path in PAGES}
README, CONTRIBUTING = TEXTS[PAGES[0]], TEXTS[PAGES[1]]
ANSWER, SETTINGS = (TEXTS[ROOT / "docs" / name] for name in ("answer.md", "settings.md"))


def blocks(text: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(text: str) -> list[tuple[str, str]]:
    """(command, arguments) of each line of a page that shows one."""
    shown = r"^    python -m study\.(\w+) +(.*?) *(?:# .*)?$"
    return re.findall(shown, text.replace("\\\n", ""), flags=re.MULTILINE)


ALL = sorted({found for text in TEXTS.values() for found in commands(text)})
PYTHON = blocks(README)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages have a reader write."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STUDY_STORAGE", raising=False)
    Path("my_system.py").write_text(PYTHON[1])
    exec(PYTHON[2], {})
    own = Path("my_configs/experiment/depth.yaml")
    own.parent.mkdir(parents=True)
    own.write_text(blocks(CONTRIBUTING, "yaml")[0])
    return tmp_path


@pytest.mark.parametrize("line", [a for c, a in ALL if c == "sweep"])
def test_sweeps_are_planned(line, elsewhere, monkeypatch, capfd):
    words = shlex.split(line)
    assert (
        run_here(monkeypatch, *words, *(() if "dry_run=true" in words else ("dry_run=true",))) == 0
    )
    assert re.search(
        r"study \w+, budget \w+: \d+ (cells|search|searches) of", capfd.readouterr().out
    )


@pytest.mark.parametrize("line", [a for c, a in ALL if c == "trial"])
def test_trials_compose(line, elsewhere):
    hydra.register()
    check(shlex.split(line))


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize(
    ("command", "line"), [(c, a) for c, a in ALL if c in ("status", "report") and "<" not in a]
)
def test_other_commands_run(command, line, smoke_study, elsewhere, monkeypatch, capsys):
    folder, *flags = shlex.split(line)
    shutil.copytree(smoke_study, elsewhere / folder / ("n_vs_p" if "reference" in folder else ""))
    monkeypatch.setattr(sys, "argv", [f"study.{command}", folder, *flags])
    try:
        runpy.run_module(f"study.{command}", run_name="__main__")
    except SystemExit as left:
        code = left.code
    else:
        code = 0
    assert code == 0
    assert capsys.readouterr().out


def test_all_commands_are_shown():
    shown = {command for command, _ in commands(README)}
    assert {"sweep", "trial", "status", "report"} <= shown


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_make_and_python_commands_are_there(path):
    for target in re.findall(r"^    make (\w+)", TEXTS[path], flags=re.MULTILINE):
        planned = subprocess.run(
            ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert planned.stdout
    for script in re.findall(r"python (benchmarks/\w+\.py)", TEXTS[path]):
        assert (ROOT / script).is_file()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)", TEXTS[path]):
        assert not target or (path.parent / target).exists(), target


def test_the_tables_block_runs_on_a_finished_study(smoke_study, monkeypatch):
    monkeypatch.chdir(smoke_study.parents[1])
    names: dict = {}
    exec(PYTHON[0], names)
    assert len(names["rows"]) > 0
    asked = names["model"].acceleration(np.array([[0.1, 0.2]]), np.array([[0.0, 0.0]]))
    assert asked.shape == (1, 2)


def test_the_library_is_right_for_ten_seconds(elsewhere):
    names: dict = {}
    exec(PYTHON[3], names)
    assert names["t"][-1] == 10
    for learned, true in zip(names["learned"], names["true"], strict=True):
        assert learned.shape == (8, 101, 2)
        assert np.abs(learned - true).max() < 1e-3


def test_the_library_of_going_further_runs(elsewhere):
    import study

    (block,) = blocks(TEXTS[ROOT / "docs" / "going_further.md"])
    names: dict = {}
    exec(block, names)
    theta = np.linspace(-1, 1, 11)[:, None]
    found = names["law"].acceleration(theta, 0 * theta)
    np.testing.assert_allclose(found, -9.8 * np.sin(theta), atol=0.05)
    kepler = study.systems["kepler"]
    states = kepler.starts(50)
    error = names["network"].acceleration(*states) - kepler.acceleration(*states)
    assert np.median(np.abs(error)) < 0.1 * kepler.acceleration(*states).std()


def test_a_new_system_is_one_entry(elsewhere, monkeypatch):
    monkeypatch.syspath_prepend(elsewhere)
    try:
        exec(blocks(CONTRIBUTING)[0], {})
        hydra.register()
        pendulum = SYSTEMS["pendulum"]
        asked = pendulum.acceleration(np.array([[0.5]]), np.array([[0.3]]))
        np.testing.assert_allclose(asked, [[-9.8 * np.sin(0.5)]])
        assert run_here(monkeypatch, *TINY, "system=pendulum", "dry_run=true") == 0
    finally:
        SYSTEMS.pop("pendulum", None)
        sys.modules.pop("my_system", None)


def test_a_new_activation_is_one_entry(monkeypatch, tmp_path):
    import torch

    monkeypatch.chdir(tmp_path)
    try:
        exec(blocks(CONTRIBUTING)[1], {})
        x = torch.linspace(-2, 2, 9, dtype=torch.float64).requires_grad_()
        expected = torch.exp(-((2 * x) ** 2) / 2) / 2
        for found in derivatives("gaussian", 2.0, x.detach()):
            torch.testing.assert_close(found, expected.detach())
            (expected,) = torch.autograd.grad(expected.sum(), x, create_graph=True)
        line = (*TINY, "model.activation=gaussian", "optimizer.steps=5", "study=mine")
        assert run_here(monkeypatch, *line, "hydra/launcher=basic", "workers=1") == 0
    finally:
        ACTIVATIONS.pop("gaussian", None)


def test_all_options_are_listed():
    root = ROOT / "conf"
    groups = ("data", "model", "optimizer", "rollout", "budget", "search", "tracker", "experiment")
    for group in groups:
        (row,) = [line for line in SETTINGS.splitlines() if re.match(rf"\| `\+?{group}` \|", line)]
        for path in (root / group).glob("*.yaml"):
            assert path.stem in row
    assert all(name in SETTINGS for name in SYSTEMS)


def test_the_table_of_speed_is_the_benchmarks() -> None:
    found = json.loads((ROOT / "benchmarks" / "training_step.json").read_text())["rows"]
    for text in (README, TEXTS[ROOT / "docs" / "speed.md"]):
        table = text.partition("<!-- step: ")[2].partition("<!-- /step -->")[0]
        rows = [line.split("|")[2:5] for line in table.splitlines() if line.startswith("| ")][1:]
        assert len(rows) == len(found)
        for cells, row in zip(rows, found.values(), strict=True):
            shown = [cell.split()[0] for cell in cells]
            expected = [row[key] for key in ("median_us", "over_cpp", "over_bound")]
            assert [float(x.replace(",", "")) for x in shown] == pytest.approx(expected, rel=6e-3)
