"""The recording that the project makes: what it says of itself holds."""

import io

import numpy as np
import pandas as pd
import pytest

from study.core.data import made_recording as made
from study.core.systems import SYSTEMS


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_csv(io.StringIO(made.text()))


def test_it_is_what_encoders_of_a_damped_double_pendulum_read(table):
    assert list(table) == ["run", "t", "theta1", "theta2"]
    counts = table[["theta1", "theta2"]].to_numpy() * made.COUNTS / 360
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-3)
    steps = np.concatenate([np.diff(own["t"]) for _, own in table.groupby("run")])
    assert steps.mean() == pytest.approx(1 / made.RATE, rel=1e-3)
    assert steps.std() == pytest.approx(np.sqrt(2) * made.JITTER, rel=0.05)
    starts = np.random.default_rng(made.VERSION).uniform(-1.5, 1.5, (made.RUNS, 2))
    quantum = 2 * np.pi / made.COUNTS
    for run, own in list(table.groupby("run"))[:3]:
        true, _ = SYSTEMS["damped_double_pendulum"].rollout(
            starts[run], np.zeros(2), own["t"].to_numpy()
        )
        off = np.radians(own[["theta1", "theta2"]].to_numpy()) - true
        expected = np.sqrt(made.NOISE**2 + quantum**2 / 12)
        assert off.std() == pytest.approx(expected, rel=0.1)


def test_the_file_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    monkeypatch.setattr(made, "RUNS", 1)
    path = made.path()
    before = path.read_text()
    monkeypatch.setattr(made, "RUNS", 2)
    assert made.path() == path
    assert path.read_text() == before
