"""A system in a file of the user's: as good as a built-in one, run only by who names it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from study import report, results, status
from study.config import own_system
from study.config.cell import Cell, make_cell
from study.config.command_line import compose
from study.config.errors import ConfigError
from study.config.hydra import register
from study.core.data.datasets import held_out
from study.sweeping.cell_config import read_cell, read_config
from tests.sweeping.commands import HERE, TINY, last_given, measures, run_here

ROOT = Path(__file__).parents[1]
OWN = ("system=file", "system.path=my_system.py")
COMMAND = (*TINY, *HERE, "replicates=2", "block_size=2", "optimizer.steps=20")

# the built-in double pendulum, written out as a user would
DOUBLE = """
import numpy as np
from study.core.systems import System

def lagrangian(q, v, c, xp):
    kinetic = (
        (c.m1 + c.m2) * c.l1**2 * v[0] ** 2 / 2
        + c.m2 * c.l2**2 * v[1] ** 2 / 2
        + c.m2 * c.l1 * c.l2 * v[0] * v[1] * xp.cos(q[0] - q[1])
    )
    potential = -(c.m1 + c.m2) * c.g * c.l1 * xp.cos(q[0]) - c.m2 * c.g * c.l2 * xp.cos(q[1])
    return kinetic - potential

def start(rng, n, c):
    q = rng.uniform(-1, 1, (n, 2)) * np.array([1.5, 1.5])
    return np.concatenate([q, np.zeros_like(q)], axis=1)

system = System(
    name="double_pendulum",
    lagrangian=lagrangian,
    coordinates=(("theta1", "rad"), ("theta2", "rad")),
    angles=(True, True),
    constants={"m1": 1.0, "m2": 1.0, "l1": 1.0, "l2": 1.0, "g": 9.8},
    initial_conditions=start,
    box=(np.pi, np.pi, 10.0, 10.0),
    horizon=10.0,
    energy_scale=lambda c: (c.m1 + c.m2) * c.g * c.l1 + c.m2 * c.g * c.l2,
)
"""
SPRING = """
import numpy as np
from study.core.systems import System

spring = System(
    name="spring",
    lagrangian=lambda q, v, c, xp: c.m * v[0] ** 2 / 2 - c.k * q[0] ** 2 / 2,
    coordinates=(("x", "m"),),
    angles=(False,),
    constants={"m": 1.0, "k": 4.0},
    initial_conditions=lambda rng, n, c: np.stack([rng.uniform(-1, 1, n), np.zeros(n)], axis=1),
    box=(1.0, 2.0),
    horizon=5.0,
    energy_scale=lambda c: c.k,
)
"""
# as the page on settings has it: the terms of the double pendulum, and others
PAGE = (ROOT / "docs" / "settings.md").read_text()
(TERMS,) = re.findall(r"```python\n(def terms.*?\n)\nsystem = ", PAGE, flags=re.DOTALL)
WITH_TERMS = TERMS + DOUBLE.replace("    horizon=", "    library=terms,\n    horizon=")
LIBRARY = ("model=linear_lagrangian", "model.features=library", "optimizer=least_squares")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder of the user's own; what one test loads, another has not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(own_system, "_loaded", {})
    monkeypatch.delenv(own_system.ALLOWED, raising=False)
    Path("my_system.py").write_text(SPRING)
    yield tmp_path
    own_system.allow(())  # what a command in this process allowed


def own_cell(*overrides: str) -> Cell:
    register()
    return make_cell(compose(last_given(["budget=smoke", *OWN, *overrides])), compile=False)


def test_its_table_is_the_built_in_systems_to_the_last_bit(monkeypatch):
    Path("my_system.py").write_text(DOUBLE)
    assert run_here(monkeypatch, *COMMAND, "study=built_in", "system.m2=2") == 0
    assert run_here(monkeypatch, *COMMAND, *OWN, "study=own", "system.m2=2") == 0
    built_in, own = (measures(Path("outputs") / study) for study in ("built_in", "own"))
    for a, b in zip(built_in, own, strict=True):
        names = ["study", "cell", "system.file"]
        a, b = (table.drop(columns=names, errors="ignore") for table in (a, b))
        pd.testing.assert_frame_equal(a, b, check_exact=True)
    assert set(own[0]["system.constants"]) == {"m2=2"}


def test_friction_is_in_the_data_and_the_motion_is_checked_by_its_work():
    """A damped spring, solved by hand: the trajectories that a cell trains on and is tested by."""
    Path("my_system.py").write_text(forces("[-0.4 * v[0]]"))
    system = own_cell().mechanics
    truth = held_out(system, 3, 4.0, 9)
    x, times = truth.states[:, :1, 0], truth.times
    rate = np.sqrt(4 - 0.2**2)
    wave = np.cos(rate * times) + 0.2 / rate * np.sin(rate * times)
    np.testing.assert_allclose(truth.states[..., 0], x * np.exp(-0.2 * times) * wave, atol=1e-9)


def test_a_cell_is_named_by_the_content_of_the_file_and_its_constants():
    one = own_cell()
    Path("elsewhere").mkdir()
    shutil.copy("my_system.py", "elsewhere/other.py")
    assert own_cell("system.path=elsewhere/other.py").hash == one.hash
    assert own_cell("system.k=4").hash == one.hash
    assert own_cell("system.k=5").hash != one.hash
    assert own_cell("system.k=5").mechanics.constants["k"] == 5
    Path("my_system.py").write_text(SPRING.replace("/ 2 - c.k", "/ 2 - 2 * c.k"))
    assert own_cell().hash != one.hash


@pytest.mark.slow
def test_an_own_config_may_name_the_file(monkeypatch):
    folder = Path("my_configs/experiment")
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n  - override /system: file\n"
        "study: mine\nsystem:\n  path: my_system.py\n  k: 9.0\n"
    )
    line = ["--config-dir=my_configs", "+experiment=mine", "system.m=3", "data=uniform", *COMMAND]
    line = [each for each in line if each != "system=double_pendulum"]
    assert run_here(monkeypatch, *line) == 0
    assert set(results.load("outputs/mine")["system.constants"]) == {"m=3, k=9"}


def test_the_same_command_resumes_and_workers_take_the_studys_copy():
    given = last_given((*TINY, "study=mine", "workers=2", *OWN, "data.n_train=16,32"))
    command = [sys.executable, "-m", "study.sweep", *given]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for counts in ("2 trained, 0 were done", "0 trained, 2 were done"):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert counts in done.stderr
    (copy,) = Path("outputs/mine/inputs").iterdir()
    assert copy.read_text() == SPRING


@pytest.fixture
def foreign(monkeypatch) -> Path:
    """A finished study from somebody else, whose code would say that it was run."""
    bomb = SPRING + "\nfrom pathlib import Path\nPath('run').touch()\n"
    Path("my_system.py").write_text(bomb)
    assert run_here(monkeypatch, *COMMAND, *OWN, "study=foreign") == 0
    assert Path("run").exists(), "the command that names the file runs it"
    Path("run").unlink()
    Path("my_system.py").unlink()
    own_system._loaded.clear()
    own_system.allow(())
    return Path("outputs/foreign")


def test_reading_a_foreign_study_runs_nothing(foreign, monkeypatch):
    assert report.main([str(foreign)]) == 0
    monkeypatch.setattr(sys, "argv", ["study.status", str(foreign)])
    status.main()
    (cell,) = results.load(foreign)["cell"].unique()
    results.load_model(foreign, cell, 0)
    assert not Path("run").exists()


def test_a_command_that_does_not_name_the_file_runs_nothing(foreign, monkeypatch):
    (cell,) = (foreign / "cells").iterdir()
    with pytest.raises(ConfigError, match="runs only where the command names it"):
        read_cell(cell)
    assert run_here(monkeypatch, *COMMAND, "study=foreign", "optimizer.steps=10") == 0
    assert not Path("run").exists()


def test_a_worker_runs_nothing_but_the_content_its_command_named(foreign):
    (cell,) = (foreign / "cells").iterdir()
    named = read_config(cell / "config.yaml")["system"]["sha256"]
    own_system.allow([named])
    (copy,) = (foreign / "inputs").iterdir()
    copy.write_text("from pathlib import Path\nPath('run').touch()\n")
    with pytest.raises(ConfigError, match="is not the file that the command named"):
        read_cell(cell)
    assert not Path("run").exists()


def test_a_library_gives_the_true_lagrangian(monkeypatch):
    Path("my_system.py").write_text(WITH_TERMS)
    asked = ("diagnostics.error_budget=true", "diagnostics.identifiability=true", "system.m2=2")
    assert run_here(monkeypatch, *COMMAND, *OWN, *LIBRARY, *asked, "study=library") == 0
    rows = results.load("outputs/library")
    assert (rows["stop_reason"] == "solved").all()
    assert (rows["n_params"] == 8).all()
    assert (rows["test_nmse"] < 1e-20).all()
    # the factor of L is not seen
    assert (rows[["jacobian_rank_1e-08", "initial_rank_1e-08", "design_rank"]] == 7).all(axis=None)
    assert np.isfinite(rows[["budget_integrator", "lyapunov"]]).all(axis=None)
    (cell,) = rows["cell"].unique()
    own_system._loaded.clear()
    with pytest.raises(results.TableError, match=r"study\.config\.own_system\.load"):
        results.load_model("outputs/library", cell, 1)
    true = own_system.system(own_system.load("my_system.py")).with_constants(m2=2.0)
    model = results.load_model("outputs/library", cell, 1)
    states = true.uniform_states(np.random.default_rng(0), 20)
    q, qdot = np.split(states, 2, axis=1)
    expected = true.acceleration(q, qdot)
    np.testing.assert_allclose(model.acceleration(q, qdot), expected, rtol=1e-8, atol=1e-8)
    c = model.theta[0].numpy()
    right = np.array([3 / 2, 1, 2, 3 * 9.8, 2 * 9.8, 0, 0, 0])
    np.testing.assert_allclose(c / c[1], right, atol=1e-8 * 3 * 9.8)


def test_settings_that_a_library_does_not_use_change_nothing():
    Path("my_system.py").write_text(WITH_TERMS)
    cells = own_cell(*LIBRARY), own_cell(*LIBRARY, "data.n_over_p=2")
    for key in ("width=7", "scale=0.5", "encoding=raw", "mass_prior=0.5", "depth=3"):
        assert own_cell(*LIBRARY, f"model.{key}").hash == cells[0].hash
    assert cells[0].hash != own_cell(*LIBRARY[::2]).hash
    assert [cell.n_params for cell in cells] == [8, 8]
    assert cells[1].n_train == 16
    plain = compose(last_given(["budget=smoke", *OWN, *LIBRARY]))
    assert make_cell(plain, compile=True).hash == cells[0].hash


@pytest.mark.parametrize("number", ["np.float64(2.0)", "np.float32(2.0)", "np.int64(2)"])
def test_constants_may_be_numbers_of_numpy(number):
    Path("my_system.py").write_text(change('"m": 1.0', f'"m": {number}'))
    plain = own_cell().system.constants
    assert plain["m"] == 2
    assert type(plain["m"]) in (int, float)


def change(old: str, new: str) -> str:
    assert old in SPRING
    return SPRING.replace(old, new)


def forces(formulas: str) -> str:
    return change("    horizon", f"    forces=lambda q, v, u, c, xp: {formulas},\n    horizon")


def library(terms: str) -> str:
    return change("    horizon", f"    library=lambda q, v, c, xp: [{terms}],\n    horizon")


# the file, other overrides -> what the one sentence must name
BAD = {
    "no system": ("x = 1", [], ["my_system.py", "no System", "system = System("]),
    "two systems": (
        SPRING + "\nimport dataclasses\nother = dataclasses.replace(spring)\n",
        [],
        ["2 systems", "spring, other", "one"],
    ),
    "it raises": (SPRING + "\n1 / 0\n", [], ["cannot be run", "line 17", "ZeroDivisionError"]),
    "no Python": ("system = (", [], ["cannot be run", "line 1", "SyntaxError"]),
    "a Lagrangian that raises": (
        change("- c.k", "- undefined * c.k"),
        [],
        ["the Lagrangian raises", "NameError", "undefined"],
    ),
    "a constant it does not have": (
        change("- c.k", "- c.kk"),
        [],
        ["reads the constant kk", "it has m, k"],
    ),
    "a function that xp does not have": (
        change("q[0] ** 2", "xp.square(q[0])"),
        [],
        ["xp.square", "xp has sin, cos, tan, sinh"],
    ),
    "a function of numpy": (
        change("q[0] ** 2", "np.cos(q[0])"),
        [],
        ["the Lagrangian calls a function of numpy", "write xp.cos"],
    ),
    "a function of math": (
        "import math\n" + change("q[0] ** 2", "math.sin(q[0])"),
        [],
        ["the Lagrangian calls a function of numpy, math or torch", "xp has sin, cos"],
    ),
    "a function of torch": (
        "import torch\n" + change("q[0] ** 2", "torch.exp(q[0])"),
        [],
        ["the Lagrangian calls a function of numpy, math or torch", "write xp.exp"],
    ),
    "an absolute velocity": (
        change("q[0] ** 2", "abs(v[0])"),
        [],
        ["the Lagrangian has a derivative that is no function (DiracDelta)", "xp.sqrt(x**2"],
    ),
    "a function without a derivative": (
        change("q[0] ** 2", "__import__('sympy').Function('f')(q[0])"),
        [],
        ["the Lagrangian has a derivative that is no function", "smooth"],
    ),
    "a Lagrangian of time": (
        change("lambda q, v, c, xp:", "lambda q, v, c, xp, t:"),
        [],
        ["lagrangian takes (q, v, c, xp, t): it should take (q, v, c, xp)", "time itself"],
    ),
    "a library of functions of numpy": (
        library("v[0] ** 2, np.cos(q[0])"),
        [],
        ["library calls a function of numpy", "write xp.cos"],
    ),
    "a singular mass matrix": (
        change("c.m * v[0] ** 2 / 2", "c.m * v[0]"),
        [],
        ["mass matrix", "spring is singular", "kinetic energy"],
    ),
    "a mass of zero": (SPRING, ["system.m=0"], ["system.m=0", "without a motion"]),
    "an energy scale of zero": (SPRING, ["system.k=0"], ["system.k=0", "energy scale"]),
    "an unknown constant": (SPRING, ["system.kk=3"], ["unknown key system.kk", "system.k"]),
    "starts of another width": (
        change("[rng.uniform(-1, 1, n), np.zeros(n)]", "[np.zeros(n)]"),
        [],
        ["initial_conditions", "(8, 1)", "(8, 2)"],
    ),
    "angles of another length": (
        change("angles=(False,)", "angles=(False, True)"),
        [],
        ["angles has 2 entries", "1 coordinates need 1"],
    ),
    "a constant with a reserved name": (
        change('"k": 4.0', '"k": 4.0, "path": 1.0'),
        [],
        ["cannot be called 'path'"],
    ),
    "an energy scale that raises": (
        change("lambda c: c.k", "lambda c: c.kk"),
        [],
        ["energy_scale reads the constant kk", "it has m, k"],
    ),
    "no horizon": (change("horizon=5.0", "horizon=0.0"), [], ["horizon=0.0", "positive"]),
    "a library that raises": (
        library("v[0] ** 2, undefined"),
        [],
        ["library raises NameError", "undefined"],
    ),
    "a library with a constant it does not have": (
        library("v[0] ** 2, c.kk * q[0]"),
        [],
        ["library reads the constant kk", "it has m, k"],
    ),
    "a library of functions that xp does not have": (
        library("v[0] ** 2, xp.square(q[0])"),
        [],
        ["library calls xp.square", "xp has sin, cos, tan, sinh"],
    ),
    "a library without terms": (library(""), [], ["library gives 0 terms", "v[0]**2"]),
    "a library without kinetic energy": (
        library("q[0] ** 2, v[0]"),
        [],
        ["library gives 2 terms", "none is a kinetic energy of q[0]", "v[0]**2"],
    ),
    "a library that gives no list": (
        change("    horizon", "    library=lambda q, v, c, xp: v[0] ** 2,\n    horizon"),
        [],
        ["library gives a Pow", "a list of terms"],
    ),
    "a library that gives what is no term": (
        library("v[0] ** 2, 'q[0]'"),
        [],
        ["library gives a str as its term 2", "a formula of q, qdot and constants"],
    ),
    "a term that is not finite where motion starts": (
        library("v[0] ** 2, q[0] ** 2, 1 / v[0]"),
        [],
        ["term 3 of library", "not finite at (q, qdot) = (", "smooth"],
    ),
    "forces of another number": (
        forces("[-v[0], 0]"),
        [],
        ["forces gives 2 formulas", "it should give 1"],
    ),
    "forces with a constant it does not have": (
        forces("[-c.kk * v[0]]"),
        [],
        ["forces reads the constant kk", "it has m, k"],
    ),
    "forces of an input that is not named": (
        forces("[u[0] - v[0]]"),
        [],
        ["forces raises IndexError"],
    ),
    "a name that is no name": (change('name="spring"', 'name="../x"'), [], ["name='../x'"]),
}


@pytest.mark.parametrize("mistake", BAD)
def test_a_mistake_gets_one_sentence(mistake, monkeypatch, capfd):
    text, overrides, parts = BAD[mistake]
    Path("my_system.py").write_text(text)
    sentence = run_here(monkeypatch, "study=mine", "budget=smoke", *OWN, *overrides)
    assert isinstance(sentence, str)
    assert "\n" not in sentence
    assert "Traceback" not in capfd.readouterr().err
    for part in parts:
        assert part in sentence
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("angles=(False,)", "angles=True", "angles=True should have 1 entries, as a tuple"),
        ("box=(1.0, 2.0)", "box=3", "box=3 should have 2 entries, as a tuple"),
        ('(("x", "m"),)', '("x",)', "coordinates has 'x': it should be name and unit"),
    ],
)
def test_a_field_of_another_type_gets_one_sentence(old, new, sentence):
    """In a process of its own: in this one the types of all fields are checked before."""
    Path("my_system.py").write_text(change(old, new))
    command = "from study.config import own_system; own_system.load('my_system.py')"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", command], env=environment, capture_output=True, text=True
    )
    assert f"ConfigError: system.path=my_system.py: {sentence}" in done.stderr


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["system=file"], ["system.path is not given", "system.path=my_system.py"]),
        (["system=file", "system.path=none.py"], ["system.path=none.py", "no such file"]),
        (["system.path=my_system.py"], ["system.path=my_system.py", "system=file"]),
        (["system=file", "system.path=a.py,b.py"], ["several systems", "a study"]),
        (["system=unknown"], ["system=unknown", "data=file"]),
        ([*OWN, *LIBRARY], ["model.features=library", "spring states none", "library=..."]),
    ],
)
def test_a_command_without_its_file_gets_one_sentence(overrides, parts, monkeypatch):
    sentence = run_here(monkeypatch, "study=mine", "budget=smoke", *overrides)
    assert isinstance(sentence, str)
    assert "\n" not in sentence
    for part in parts:
        assert part in sentence
