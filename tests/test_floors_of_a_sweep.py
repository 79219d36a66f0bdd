"""A sweep on a recording with known noise: what is said first, in the table, on the page."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.integrate import solve_ivp

from study import results
from tests.sweeping.commands import HERE, TINY, run_here

NOISE, FRICTION = 1e-3, 0.3
SMALL = (
    *TINY, *HERE, "data=file", "data.path=swing.csv", "data.columns.trajectory=run",
    "model=linear_lagrangian", "model.features=random", "model.scale=0.5", "model.width=30",
    "optimizer=least_squares", "replicates=5", "block_size=5", "data.n_train=40,160,640",
)  # fmt: skip
SETTINGS = [
    x for x in SMALL if not x.startswith(("data=uni", "data.pool", "system", "model.depth"))
]
UNKNOWN = ("system=unknown", "data.columns.q=[theta]", "data.columns.units=[rad]")


@pytest.fixture(autouse=True)
def truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Ten runs of a damped pendulum at 50 Hz, its angle with noise; the true accelerations."""
    monkeypatch.chdir(tmp_path)
    rng, times, runs = np.random.default_rng(0), np.arange(0, 3, 0.02), []
    for run, start in enumerate(np.linspace(0.3, 2.4, 10)):
        field = lambda _, y: (y[1], -9.8 * np.sin(y[0]) - FRICTION * y[1])  # noqa: E731
        y = solve_ivp(field, (0, 3), (start, 0.0), t_eval=times, rtol=1e-9, atol=1e-9).y
        noisy = y[0] + NOISE * rng.standard_normal(len(times))
        columns = {"run": run, "t": times, "theta": noisy, "x": noisy, "true": field(0, y)[1]}
        runs.append(pd.DataFrame(columns))
    table = pd.concat(runs)
    table.drop(columns="true").to_csv("swing.csv", index=False)
    return table


def test_the_noise_and_its_floor(monkeypatch, capsys):
    assert run_here(monkeypatch, *SETTINGS, *UNKNOWN, "study=mine") == 0
    said = " ".join(capsys.readouterr().err.split())
    noise = float(said.partition("note: the noise is theta ")[2].partition(" rad")[0])
    assert noise == pytest.approx(NOISE, rel=0.1)
    findings = yaml.safe_load(Path("outputs/mine/study.yaml").read_text())["findings"]
    assert findings[0].startswith("the noise is theta 0.00")
    assert findings[1].startswith("the motion loses energy: friction lowers the error of held-out")
    assert "add model.friction=diagonal" in findings[1]

    rows = results.load("outputs/mine")
    variance = float((rows["test_mse"] / rows["test_nmse"]).median())
    (floor,) = rows["noise_floor"].unique()
    weight = np.square(_second_derivative(11, 0.02)).sum()
    assert floor == pytest.approx(NOISE**2 * weight / variance, rel=0.2)
    assert (rows["noise_floor_median"] < floor).all()

    (one,) = [x for x in answers_of("mine") if x["id"] == "raise_n.0"]
    assert "At the noise floor: " in one["sentence"]
    assert one["verdict"] != "no"
    page = Path("outputs/mine/report/index.html").read_text()
    assert "The noise is theta 0.00" in page
    assert "conservative models will be wrong by about that" in page
    assert "Dashed, grey: noise of the test labels (" in page


def test_labels_of_another_system_support_no_verdict(monkeypatch):
    of = ("system=oscillator", "data.columns.q=[x]", "system.kappa=0", "system.k=1", "study=other")
    assert run_here(monkeypatch, *SETTINGS, *of) == 0
    about_models = [
        x for x in answers_of("other") if x["id"].startswith(("raise_n", "valid_time_b"))
    ]
    assert len(about_models) == 2
    for one in about_models:
        assert one["verdict"] == "undecided"
        assert one["sentence"].startswith("No verdict: the measured accelerations contradict those")
    page = Path("outputs/other/report/index.html").read_text()
    assert "The accelerations trained on are off from the true system&#39;s by " in page


def answers_of(study: str) -> list[dict]:
    return yaml.safe_load(Path(f"outputs/{study}/answers.json").read_text())


def _second_derivative(window: int, step: float) -> np.ndarray:
    """Weights of the second derivative of the least-squares polynomial of degree four."""
    t = step * (np.arange(window) - window // 2)
    return 2 * np.linalg.pinv(np.vander(t, 5, increasing=True))[2]
