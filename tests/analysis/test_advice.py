"""The advice's intervals and choices on systems that no fit has seen, and the table it rests on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from study.analysis.advice import checks, choice, table
from study.analysis.advice.forecast import Forecast, Forecasts
from study.page import advice as page

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "outputs" / "reference" / "advise"


def test_intervals_hold_on_systems_left_out() -> None:
    made = checks.calibration(table.read())
    pd.testing.assert_frame_equal(made, pd.read_csv(COMMITTED / "calibration.csv"), rtol=1e-2)
    every = made.loc[made["system"] == checks.EVERY].set_index("measure")["inside"]
    assert every.between(0.85, 0.95).all(), every
    assert len(made) == 2 * (table.read()["system"].nunique() + 1)


def test_recommended_settings_of_two_unseen_systems() -> None:
    made = checks.regret(table.read())
    committed = pd.read_csv(COMMITTED / "regret.csv")
    pd.testing.assert_series_equal(made["factor"], committed["factor"], rtol=1e-2)
    assert set(made["system"]) == set(checks.HELD_OUT)
    assert checks.summary(made)["whole_design"].max() <= checks.FACTOR


def test_a_fit_knows_nothing_of_a_system_left_out() -> None:
    rows = table.read()
    left_out = rows["system"] == "kepler"
    changed = rows.assign(error=rows["error"].where(~left_out, 1.0))
    first, second = (
        Forecasts(part.loc[~left_out])(rows.loc[left_out], "error") for part in (rows, changed)
    )
    pd.testing.assert_frame_equal(first, second)


def test_intervals_cover_a_known_law() -> None:
    """log10 error = -log10 n + a system's own shift + noise, standard deviations .3 and .2."""
    rng, rows = np.random.default_rng(0), []
    for system in range(160):
        n = 10 ** rng.uniform(1.5, 4, 10)
        shifted = -np.log10(n) + rng.normal(0, 0.3) + rng.normal(0, 0.2, 10)
        plain = {"system": str(system), "n": n, "error": 10**shifted}
        rows.append(pd.DataFrame(plain | dict.fromkeys(["dof", "trajectories", "n_params"], 1)))
    made = pd.concat(rows, ignore_index=True).assign(noise=0.0, steps=1.0, iterations=0)
    made[table.FOUND] = 1.0
    seen = made["system"].astype(int) < 80
    told = Forecast.fit(made.loc[seen], "error")(made.loc[~seen])
    error = made.loc[~seen, "error"]
    assert 0.85 < ((error >= told["low"]) & (error <= told["high"])).mean() < 0.96
    width = np.log10(told["high"] / told["low"]).median()
    assert width == pytest.approx(2 * 1.645 * np.hypot(0.3, 0.2), rel=0.25)


def test_more_seconds_never_raise_the_expected_error() -> None:
    known = choice.pilots("magnetic_trap", 500, 0.0, 30)
    assert known is not None
    chosen = [choice.choose(known, seconds) for seconds in (0.01, 0.5, 2, 8)]
    errors = [one.error[0] for one in chosen[1:]]
    assert errors == sorted(errors, reverse=True)
    assert all(one.seconds <= s for one, s in zip(chosen[1:], (0.5, 2, 8), strict=True))
    assert chosen == [choice.choose(known, seconds) for seconds in (0.01, 0.5, 2, 8)]
    for one in chosen:
        assert one.error[1] <= one.error[0] <= one.error[2]
        assert table.LEAST_TIME <= one.time[1] <= one.time[0] <= one.time[2] <= table.HORIZON


def results() -> pd.DataFrame:
    """Rows as a study has them: two pilots and one network that diverged, two replicates."""
    of = {"structured": ("linear_lagrangian", 1e-4), "random": ("linear_lagrangian", 1e-3)}
    rows = [
        {
            "system": "oscillator", "replicate": replicate, "data.n_train": 64, "data.noise": 0.0,
            "data.n_trajectories": 3, "n_equations": 64, "model": of.get(kind, ("lnn", 0))[0],
            "model.features": None if kind == "none" else kind, "optimizer": "soap",
            "model.width": 8, "optimizer.steps": 20, "optimizer.iterations": 0,
            "n_params": 100, "train_seconds": 1.0,
            "test_nmse_median": np.nan if kind == "none" else of[kind][1] * (1 + replicate),
            "valid_time": np.nan if kind == "none" else 5.0 + replicate,
        }
        for kind in ("structured", "random", "none")
        for replicate in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_row_is_never_its_own_pilot() -> None:
    made = table.of_results(results())
    own = made.loc[made["features"] == "structured"].set_index("replicate")
    assert own["error"].tolist() == [1e-4, 2e-4]
    assert own["structured_error"].tolist() == [2e-4, 1e-4]
    assert own["random_time"].tolist() == [6.0, 5.0]


def test_a_diverged_network_counts_as_the_worst() -> None:
    made = table.of_results(results())
    lost = made.loc[made["model"] == "lnn"]
    assert (lost["error"] == table.WORST).all()
    assert (lost["time"] == table.LEAST_TIME).all()


def test_the_page_says_how_far_its_best_is() -> None:
    rows = results().dropna(subset="test_nmse_median")
    rows = rows.assign(**{"cell": rows["model.features"], "data.sampler": "trajectories"})
    rows["system.constants"] = "default"
    (line,) = page.lines(rows)
    assert "N = 64 of 3 trajectories, noise 0)" in line
    assert "expected error" in line
    assert "the best cell has 1.5×10⁻⁴" in line  # noqa: RUF001
    assert page.lines(rows.assign(system="unknown")) == []
    assert page.lines(rows.assign(**{"system.constants": "g=1"})) == []
