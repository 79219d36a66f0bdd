"""From a file to a law: the command on a recording that scipy made, and the model it leaves."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import solve_ivp

import study
from study import fit_command as fit
from study.config.errors import ConfigError
from study.core.models import portable as lagrangian
from study.core.systems import SYSTEMS

FRICTION = 0.2  # torque per rate over inertia, 1/s


def pendulum(t, state):
    """A damped pendulum of unit length."""
    angle, rate = state
    return rate, -9.8 * np.sin(angle) - FRICTION * rate


def in_air(t, state):
    """With drag that grows with the square of the rate, which no friction coefficient is."""
    angle, rate = state
    return rate, -9.8 * np.sin(angle) - 0.3 * rate * abs(rate)


def recording(path, noise=1e-3, pendulum=pendulum):
    """Six runs of 4 s at 100 Hz, the angle in degrees with noise."""
    rng, t, runs = np.random.default_rng(0), np.arange(0, 4, 0.01), []
    for run, start in enumerate((0.4, 0.9, 1.3, 1.7, 2.0, 2.3)):
        angle = solve_ivp(pendulum, (0, 4), (start, 0.0), t_eval=t, rtol=1e-9, atol=1e-9).y[0]
        angle = angle + noise * rng.normal(size=len(t))
        runs.append(pd.DataFrame({"run": run, "t": t, "theta": np.degrees(angle)}))
    pd.concat(runs).to_csv(path, index=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a fit, and what was printed."""
    folder = tmp_path_factory.mktemp("fit")
    recording(folder / "swing.csv")
    columns = ["data.columns.q=theta", "data.columns.units=deg", "data.columns.trajectory=run"]
    command = [sys.executable, "-m", "study.fit", "swing.csv", *columns]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "outputs" / "swing", done.stdout


def test_the_law_of_a_damped_pendulum(made):
    folder, said = made
    numbers = json.loads((folder / "fit.json").read_text())
    own = numbers["scores"][0]
    assert [s["model"] for s in numbers["scores"]] == ["Lagrangian", "network", "no mechanics"]
    assert own["acceleration"][0] < 2e-4  # of the variance, most of it noise of the labels
    assert own["valid_time"][0] > 0.9 * numbers["horizon"]
    (rate,) = numbers["friction_over_mass"][0]
    assert rate == pytest.approx(FRICTION, rel=0.05)
    assert numbers["noise"][0] == pytest.approx(1e-3, rel=0.1)
    assert "The noise of the positions limits what can be seen" in said
    assert numbers["remarks"] == []
    assert numbers["friction_gain"] > 1.25
    assert "The motion loses energy: friction lowers the error of held-out motion" in said


def test_the_model_needs_numpy_alone(made):
    folder, _ = made
    program = (
        "import sys; from lagrangian import load; import numpy as np\n"
        "model = load('model.npz')\n"
        "angle = np.linspace(-1.6, 1.6, 21)[:, None]; rate = 0.5 + 0 * angle\n"
        "print(model.acceleration(angle, rate).ravel().tolist())\n"
        "t = np.linspace(0, 2, 201); print(model.rollout([1.5, 0.0], t)[-1].tolist())\n"
        "assert not {'torch', 'study', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    accelerations, last = map(json.loads, done.stdout.splitlines())
    angle = np.linspace(-1.6, 1.6, 21)
    true = -9.8 * np.sin(angle) - FRICTION * 0.5
    assert np.abs(np.array(accelerations) - true).max() < 0.1
    there = solve_ivp(pendulum, (0, 2), (1.5, 0.0), rtol=1e-9, atol=1e-9).y[:, -1]
    assert np.abs(np.array(last) - there).max() < 0.02


def test_the_function_fits_what_the_command_does(made, tmp_path):
    folder, _ = made
    columns = {"q": "theta", "units": "deg", "trajectory": "run"}
    ours = study.fit(folder.parents[1] / "swing.csv", **columns)
    theirs = study.load(folder)
    assert theirs.friction.any()
    angle = np.linspace(-1.6, 1.6, 21)[:, None]
    for one, other in ((ours, theirs), (ours, study.load(folder / "model.npz"))):
        for name in ("acceleration", "mass_matrix", "energy", "lagrangian"):
            values = (getattr(model, name)(angle, 0.5 + 0 * angle) for model in (one, other))
            np.testing.assert_allclose(*values, rtol=1e-9)
    portable = lagrangian.load(folder / "model.npz")
    for name in ("acceleration", "energy", "lagrangian"):
        values = (getattr(model, name)(angle, 0.5 + 0 * angle) for model in (ours, portable))
        np.testing.assert_allclose(*values, rtol=1e-7, atol=1e-9)
    t = np.linspace(0, 2, 21)
    ours.save(tmp_path / "swing.pt")
    q, qdot = study.load(tmp_path / "swing.pt").rollout([1.5], [0.0], t)
    true = solve_ivp(pendulum, (0, 2), (1.5, 0.0), t_eval=t, rtol=1e-9, atol=1e-9).y
    assert np.abs(np.stack([q[:, 0], qdot[:, 0]]) - true).max() < 0.05
    rate = ours.friction[0, 0] / ours.mass_matrix([0.3], [0.0])[0, 0]
    assert rate == pytest.approx(FRICTION, rel=0.05)
    law = ours.to_torch()
    states = torch.tensor(angle), torch.tensor(0.5 + 0 * angle)
    np.testing.assert_allclose(law(*states).detach(), ours.acceleration(angle, 0.5 + 0 * angle))


def test_the_page_has_its_figures(made):
    folder, _ = made
    page = (folder / "report" / "index.html").read_text()
    assert len(re.findall("<figure id=", page)) == 4
    for name in ("errors", "rollouts", "terms", "energy"):
        assert not pd.read_csv(folder / "report" / "figures" / f"{name}.csv").empty


def test_a_force_that_friction_is_not_is_said(tmp_path, monkeypatch, capsys):
    recording(tmp_path / "drag.csv", 5e-4, in_air)
    monkeypatch.chdir(tmp_path)
    columns = ["data.columns.q=theta", "data.columns.units=deg", "data.columns.trajectory=run"]
    fit.main(["drag.csv", *columns])
    said, numbers = capsys.readouterr().out, json.loads(Path("outputs/drag/fit.json").read_text())
    own, network, free = (score["acceleration"][0] for score in numbers["scores"])
    own_ends = numbers["scores"][0]["valid_time"][1:]
    assert free < min(own, network) / 3
    assert "limits the error" in said
    assert "NaN" not in Path("outputs/drag/fit.json").read_text()
    assert own_ends == [None, None], "one piece is held out"
    assert "so that the Lagrangian lacks a force: one that grows otherwise than" in said
    assert "The motion loses energy" in said
    assert "conservative within its noise" not in said
    assert numbers["choices"]["indefinite"] == 0


def test_recorded_inputs_are_those_of_their_own_run(tmp_path, monkeypatch):
    """All runs begin at t = 0, each is pushed in another way, and all rates are measured."""
    cart, t, runs = SYSTEMS["driven_cart_pole"], np.arange(0, 4, 0.02), []
    starts = cart.initial_conditions(np.random.default_rng(0), 6, cart.parameters)
    for run, start in enumerate(starts):
        push = lambda s, k=run: 3 * np.sin((1 + 0.7 * k) * s) + np.cos(2.3 * s + k)  # noqa: E731
        field = lambda s, y, push=push: cart.rhs(y[None], np.array([[push(s)]]))[0]  # noqa: E731
        states = solve_ivp(field, (0, 4), start, t_eval=t, rtol=1e-9, atol=1e-9).y.T
        q, v = np.split(states, 2, axis=1)
        qddot = cart.acceleration(q, v, push(t)[:, None])
        columns = np.column_stack([q, v, qddot, push(t)])
        names = ["x", "theta", "vx", "omega", "ax", "alpha", "force"]
        runs.append(pd.DataFrame(columns, columns=names).assign(run=run, t=t))
    pd.concat(runs).to_csv(tmp_path / "pushed.csv", index=False)
    monkeypatch.chdir(tmp_path)
    columns = {"q": "[x,theta]", "qdot": "[vx,omega]", "qddot": "[ax,alpha]", "units": "[m,rad]"}
    given = [f"data.columns.{key}={value}" for key, value in columns.items()]
    given += ["data.columns.trajectory=run", "data.held_out=0.5"]  # three runs are held out
    fit.main(["pushed.csv", *given, "inputs=force"])
    numbers = json.loads((tmp_path / "outputs/pushed/fit.json").read_text())
    own, network, free = numbers["scores"]
    assert own["acceleration"][0] < 1e-6
    assert network["acceleration"][0] < 0.01
    assert network["acceleration"][0] < free["acceleration"][0]
    assert network["valid_time"][0] > 0.3 * numbers["horizon"]
    assert own["valid_time"][0] > 0.9 * numbers["horizon"]
    (on_cart,), (on_pole,) = numbers["input_matrix"]
    assert abs(on_pole) < 1e-3 * abs(on_cart)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a.csv", "b.csv"], "study.fit takes one file, and a.csv b.csv is given"),
        (["data.columns.q=x"], "study.fit takes one file, and none is given"),
        (["a.csv", "friction=dry"], "friction=dry is not known"),
        (["gone.csv", "data.columns.q=x", "data.columns.units=m"], "there is no such file"),
    ],
)
def test_what_cannot_be_fitted(arguments, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        fit.main(arguments)
