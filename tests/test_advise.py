"""`study.advise` and its command: what is said can be run, and mistakes have answers."""

from __future__ import annotations

import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import study
from study import advise_command
from study.config.cell import make_cell
from study.config.command_line import compose
from study.config.errors import ConfigError


@pytest.fixture(scope="module")
def advice():
    return study.advise("spring_pendulum", n=64, trajectories=20, seconds=3)


def test_what_is_said_can_be_run(advice) -> None:
    python, module, *line = shlex.split(advice.command)[1:]
    assert (python, module) == ("-m", "study.trial")
    cell = make_cell(compose([*line, "replicates=1", "block_size=1"]), compile=False)
    assert (cell.model.name, cell.optimizer.name) == (advice.model, advice.optimizer)
    assert cell.n_params == advice.n_params
    assert (cell.n_train, cell.data.n_trajectories, cell.data.noise) == (64, 20, 0.0)
    assert advice.seconds <= 3


def test_the_same_question_has_the_same_answer(advice) -> None:
    assert study.advise("spring_pendulum", n=64, trajectories=20, seconds=3) == advice
    assert str(advice).splitlines()[0] == "spring_pendulum, N = 64 of 20 trajectories, noise 0"
    assert advice.command in str(advice)
    assert advice.error[1] <= advice.error[0] <= advice.error[2]


def test_a_recording(tmp_path) -> None:
    t = np.arange(0, 6, 0.05)
    runs = [
        pd.DataFrame({"run": k, "t": t, "x": np.cos(t + k), "v": -np.sin(t + k)}) for k in range(5)
    ]
    pd.concat(runs).to_csv(tmp_path / "swing.csv", index=False)
    columns = {"q": ["x"], "qdot": ["v"], "units": ["m"], "trajectory": "run"}
    advised = study.advise(tmp_path / "swing.csv", seconds=1, **columns)
    assert advised.trajectories == 4  # one is held out
    assert advised.n > 300
    assert f"data.path={tmp_path / 'swing.csv'}" in advised.command
    with pytest.raises(ConfigError, match=r"^noise=0.1: a recording has its own: leave noise out$"):
        study.advise(tmp_path / "swing.csv", noise=0.1, **columns)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n": 0}, "n=0 is not allowed: it should be a whole number, 1 or more"),
        ({"n": 2.5}, "n=2.5 is not allowed: it should be a whole number, 1 or more"),
        ({"noise": -0.1}, "noise=-0.1 is not allowed: it should be a number, 0 or more"),
        ({"seconds": 0}, "seconds=0 is not allowed: it should be a number, more than 0"),
        ({"seconds": float("nan")}, "seconds=nan is not allowed: it should be a number, more"),
        ({"trajectories": "all"}, "trajectories=all is not allowed: it should be a whole number"),
        ({"n": 10**6}, "data.n_train=1000000 is larger than the pool"),
    ],
)
def test_mistakes_are_one_sentence(given, said) -> None:
    with pytest.raises(ConfigError) as raised:
        study.advise("double_pendulum", **given)
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("n=64", "study.advise takes one system or file, and none is given: "),
        ("kepler oscillator", "study.advise takes one system or file, and kepler oscillator is "),
        ("kepler n=many", "n=many is not allowed: it should be a whole number"),
        ("kepler seconds=long", "seconds=long is not allowed: it should be a number"),
        ("keplr", "unknown system keplr: did you mean kepler?"),
        ("kepler data.nois=1", "unknown key data.nois: did you mean data.noise?"),
    ],
)
def test_mistakes_of_the_command(typed, said) -> None:
    with pytest.raises(ConfigError) as raised:
        advise_command.main(typed.split())
    assert str(raised.value).startswith(said)


def test_the_command(capsys) -> None:
    advise_command.main(["oscillator", "n=50", "noise=0.01", "seconds=2"])
    said = capsys.readouterr().out
    assert said.startswith("oscillator, N = 50 of 100 trajectories, noise 0.01\ntake ")
    assert "python -m study.trial system=oscillator data.n_train=50 data.noise=0.01" in said


def test_the_function_and_the_command_share_a_name() -> None:
    program = (
        "import study\nbefore = study.advise\nimport study.advise\n"
        "assert study.advise is before and before.__name__ == 'advise'\n"
        "import runpy, sys\nsys.argv = ['study.advise', '--help']\n"
        "runpy.run_module('study.advise', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "python -m study.advise double_pendulum" in done.stdout
