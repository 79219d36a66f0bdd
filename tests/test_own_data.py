"""Measured data from a file: what one may look like, what comes out, what is said of mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp
from scipy.signal import savgol_coeffs

from study import results
from study.config.cell import Cell, make_cell
from study.config.command_line import compose
from study.config.hydra import register
from study.core.data.datasets import integrate
from study.core.systems import SYSTEMS, System
from tests.sweeping.commands import HERE, TINY, last_given, run_here

STEP, ROWS, RUNS = 0.02, 151, 5
FILE = ("data=file", "data.path=measured.csv", "data.columns.trajectory=run")
UNKNOWN = ("system=unknown", "data.columns.q=[theta1,theta2]", "data.columns.units=[rad,rad]")
GIVEN = ("data.columns.qdot=[w1,w2]", "data.columns.qddot=[a1,a2]")
SMALL = tuple(
    each
    for each in (*TINY, *HERE, "replicates=2", "block_size=2", "optimizer.steps=20")
    if not each.startswith(("data", "system"))
)


LINEAR = SYSTEMS["oscillator"].with_constants(kappa=0.0)
OSCILLATOR = ("system=oscillator", "system.kappa=0")


def motion(moving: System = SYSTEMS["double_pendulum"], rows: int = ROWS) -> pd.DataFrame:
    """True motion of a known system, as one would measure it without error."""
    start = moving.initial_conditions(np.random.default_rng(1), RUNS, moving.parameters)
    times = np.arange(rows) * STEP
    tables = []
    for run, states in enumerate(integrate(moving, start, times)):
        q, qdot = np.split(states, 2, axis=1)
        qddot = moving.acceleration(q, qdot)
        columns = {"run": run, "t": times}
        for i, (name, _) in enumerate(moving.coordinates):
            columns |= {name: q[:, i], f"w{i + 1}": qdot[:, i], f"a{i + 1}": qddot[:, i]}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module")
def true_motion() -> pd.DataFrame:
    return motion()


@pytest.fixture(autouse=True)
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, true_motion) -> pd.DataFrame:
    monkeypatch.chdir(tmp_path)
    table = true_motion.copy()
    write(table)
    return table


def write(table: pd.DataFrame, name: str = "measured.csv") -> None:
    table.to_csv(name, index=False, float_format="%.17g")


def own_cell(*overrides: str) -> Cell:
    register()
    return make_cell(compose(last_given(["budget=smoke", *overrides])), compile=False)


def test_the_same_numbers_are_the_same_recording_in_any_format(measured):
    measured.to_parquet("measured.parquet", index=False)
    arrays = {name: measured[name].to_numpy() for name in ("run", "t")}
    for name, columns in {
        "q": ["theta1", "theta2"],
        "v": ["w1", "w2"],
        "a": ["a1", "a2"],
    }.items():
        arrays[name] = measured[columns].to_numpy()
    np.savez("measured.npz", **arrays)
    csv = own_cell(*FILE, *GIVEN)
    parquet = own_cell(*FILE, *GIVEN, "data.path=measured.parquet")
    wide = ("data.columns.q=q", "data.columns.qdot=v", "data.columns.qddot=a")
    npz = own_cell(*FILE, *wide, "data.path=measured.npz")
    assert len({csv.hash, parquet.hash, npz.hash}) == 3  # a cell is named by the file's content
    first = csv.recording
    assert first is not None
    assert len(first.training) == 4
    assert len(first.held_out) == 1
    for other in (parquet.recording, npz.recording):
        assert other is not None
        for a, b in zip(first.training, other.training, strict=True):
            for field in ("times", "q", "qdot", "qddot"):
                np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


def test_a_cell_is_named_by_content_and_reading_and_not_by_place(measured):
    one = own_cell(*FILE)
    Path("elsewhere").mkdir()
    write(measured, "elsewhere/other.csv")
    assert own_cell(*FILE, "data.path=elsewhere/other.csv").hash == one.hash
    assert own_cell(*FILE, "data.window=13").hash != one.hash
    assert own_cell(*FILE, "data.held_out=0.4").hash != one.hash
    # nothing is estimated, so how does not matter
    full = own_cell(*FILE, *GIVEN)
    assert own_cell(*FILE, *GIVEN, "data.window=13", "data.estimate=spline").hash == full.hash
    measured.loc[0, "theta1"] += 1e-9
    write(measured)
    assert own_cell(*FILE).hash != one.hash
    again = make_cell(one.as_dict(), compile=False)
    assert again.hash == one.hash


def test_the_file_says_how_many_points_there_are():
    cell = own_cell(*FILE)
    assert cell.n_train == 4 * (ROWS - 10) == cell.data.pool_size  # window 11: five at each end
    assert cell.data.n_trajectories == 4
    assert own_cell(*FILE, "data.n_train=50").n_train == 50
    unknown = own_cell(*FILE, *UNKNOWN, "data.columns.trajectory=run")
    assert unknown.rollout.horizon == pytest.approx((ROWS - 11) * STEP)
    assert unknown.rollout.n_trajectories == 1


def test_degrees_become_radians_and_wrapped_angles_go_on(measured):
    plain = own_cell(*FILE).recording
    measured["theta1"] = np.degrees(measured["theta1"] + 3)
    measured["theta1"] = (measured["theta1"] + 180) % 360 - 180  # jumps on the way
    measured["theta2"] = np.degrees(measured["theta2"])
    write(measured)
    turned = own_cell(*FILE, "data.columns.units=[deg,deg]").recording
    assert plain is not None
    assert turned is not None
    for a, b in zip(plain.training, turned.training, strict=True):
        np.testing.assert_allclose(b.qddot, a.qddot, atol=1e-7)
        np.testing.assert_allclose(np.sin(b.q[:, 0]), np.sin(a.q[:, 0] + 3), atol=1e-9)


def test_one_long_trajectory_is_cut_in_time(measured):
    write(measured[measured["run"] == 0])
    cell = own_cell(*FILE, "data.columns.trajectory=null")
    recording = cell.recording
    assert recording is not None
    (training,), (held_out,) = recording.training, recording.held_out
    assert training.times[-1] < held_out.times[0]
    assert len(training.times) + len(held_out.times) == ROWS - 20


@pytest.mark.slow
def test_label_errors_are_those_of_the_filter(monkeypatch):
    """A sampled harmonic motion: what the filter makes of it, and of noise, is known exactly."""
    table = motion(LINEAR, rows=2000)
    rate, window, sigma = 1.0, 31, 1e-4
    assert LINEAR.constants["k"] / LINEAR.constants["m"] == rate**2
    c = savgol_coeffs(window, 4, deriv=2, delta=STEP, use="dot")
    offsets = (np.arange(window) - window // 2) * STEP
    biased = 1 + (c * np.cos(rate * offsets)).sum() / rate**2  # share of the acceleration lost
    command = (*SMALL, *OSCILLATOR, *FILE, f"data.window={window}")

    write(table)
    assert run_here(monkeypatch, *command, "study=clean") == 0
    clean = results.load("outputs/clean")["label_nmse"]
    # the mean square of training accelerations over the variance of the test's is of order one
    assert np.sqrt(clean.median()) == pytest.approx(abs(biased), rel=0.5)

    table["x"] += sigma * np.random.default_rng(0).standard_normal(len(table))
    write(table)
    assert run_here(monkeypatch, *command, "study=noisy") == 0
    noisy = results.load("outputs/noisy")["label_nmse"].median()
    recording = own_cell(*OSCILLATOR, *FILE, f"data.window={window}").recording
    assert recording is not None
    variance = recording.test_set(LINEAR).variance[0]
    assert noisy == pytest.approx(sigma**2 * (c**2).sum() / variance, rel=0.15)


def test_a_known_system_is_measured_against_the_truth(monkeypatch):
    # a linear model solved on exact data of a linear system: its errors are small where all is
    # right, and of order one where labels and states, units or the held-out part are mixed up
    write(motion(LINEAR, rows=400))
    command = [*SMALL, *OSCILLATOR, *FILE, "data.columns.qdot=w1", "data.columns.qddot=a1"]
    command += ["model=random_features", "model.width=200", "optimizer=least_squares"]
    command += ["rollout.max_steps=2000", "diagnostics.error_budget=true"]
    assert run_here(monkeypatch, *command, "study=mine") == 0
    rows = results.load("outputs/mine")
    assert (rows["label_nmse"] < 1e-20).all()
    assert (rows["test_nmse"] < 1e-4).all()
    assert (rows["rollout_error"] < 0.05).all()
    assert rows[["energy_drift", "budget_smooth", "lyapunov"]].notna().all(axis=None)


def test_without_a_true_system_what_it_would_tell_is_missing(monkeypatch):
    command = [*SMALL, *UNKNOWN, *FILE, *GIVEN]
    assert run_here(monkeypatch, *command, "study=mine") == 0
    rows = results.load("outputs/mine")
    absent = ["energy_drift", "budget_smooth", "lyapunov", "singular_fraction"]
    assert rows[absent].isna().all(axis=None)
    assert "label_nmse" not in rows or rows["label_nmse"].isna().all()
    present = ["train_nmse", "test_nmse", "rollout_error", "valid_time", "diverged_fraction"]
    assert rows[present].notna().all(axis=None)
    page = Path("outputs/mine/report/index.html").read_text()
    assert "The true system is not known" in page
    assert "not measured" in page
    assert "inf" not in (Path("outputs/mine/report/figures/cells.csv").read_text())
    curves = results.load_curves("outputs/mine")
    shown = curves.loc[curves["metric"] == "true.q0[0]", "value"].to_numpy()
    recording = own_cell(*FILE, *UNKNOWN, *GIVEN).recording
    assert recording is not None
    assert shown[0] == recording.held_out[0].q[0, 0]


def test_a_resumed_study_and_its_copy_need_the_command_alone(monkeypatch, measured):
    command = [*SMALL, "system=double_pendulum", *FILE, "study=mine"]
    assert run_here(monkeypatch, *command) == 0
    (copy,) = Path("outputs/mine/inputs").iterdir()
    assert copy.read_bytes() == Path("measured.csv").read_bytes()
    stamp = Path("outputs/mine/results.parquet").stat().st_mtime_ns
    assert run_here(monkeypatch, *command) == 0
    assert Path("outputs/mine/results.parquet").stat().st_mtime_ns == stamp


def edit(row: int, column: str, value: object):
    """Put a value into one row, counted from 1."""

    def change(table: pd.DataFrame) -> pd.DataFrame:
        table[column] = table[column].astype(object)
        table.loc[row - 1, column] = value
        return table

    return change


def same(table: pd.DataFrame) -> pd.DataFrame:
    return table


# what is done to the file, overrides -> what the one sentence must name
BAD = {
    "mostly NaN": (
        lambda table: table.assign(theta2=table["theta2"].where(table.index < 6)),
        [],
        ["row 7, column theta2", "empty or NaN, as in 749 of 755 rows"],
    ),
    "nothing but NaN": (
        lambda table: table.assign(theta2=np.nan),
        [],
        ["column theta2 is empty"],
    ),
    "infinite": (edit(7, "theta2", "inf"), [], ["row 7, column theta2", "infinite"]),
    "text": (edit(9, "theta1", "broken"), [], ["row 9, column theta1", "'broken'"]),
    "no name": (edit(9, "run", np.nan), [], ["row 9, column run", "empty"]),
    "a time twice": (edit(5, "t", 3 * STEP), [], ["row 5, column t", "0.06 is there twice"]),
    "time goes back": (edit(5, "t", 0.01), [], ["row 5, column t", "from 0.06 to 0.01"]),
    "times with too few digits": (
        lambda table: table.assign(t=table["t"].round(1)),
        [],
        ["row 2, column t", "0 is there twice, as are", "more digits"],
    ),
    "trajectories run together": (
        same,
        ["data.columns.trajectory=null"],
        [f"row {ROWS + 1}, column t", "time goes back", "data.columns.trajectory"],
    ),
    "a coordinate at rest": (
        lambda table: table.assign(theta2=0.5),
        [],
        ["theta2 never changes", "leave it out"],
    ),
    "short trajectories": (
        lambda table: table.groupby("run").head(11),
        [],
        ["the longest trajectory has 11 rows", "needs 12 with data.estimate=savgol", "window=9"],
    ),
    "no such column": (same, ["data.columns.time=time"], ["data.columns.time=time", "known are "]),
    "a mistyped column": (
        same,
        ["data.columns.q=[theta1,tehta2]"],
        ["data.columns.q=tehta2", "did you mean theta2"],
    ),
    "one column for two coordinates": (
        same,
        ["data.columns.q=theta1"],
        ["data.columns.q=[theta1] gives 1 columns", "double_pendulum has 2 coordinates"],
    ),
    "velocities of one coordinate": (
        same,
        ["data.columns.qdot=w1"],
        ["data.columns.qdot=[w1] gives 1 columns"],
    ),
    "another unit": (
        same,
        ["data.columns.units=[m,rad]"],
        ["data.columns.units=[m,rad]", "theta1", "rad or deg"],
    ),
    "one unit": (same, ["data.columns.units=rad"], ["has 1 entries", "2 coordinates"]),
    "an even window": (same, ["data.window=10"], ["data.window=10", "odd and at least 7"]),
    "an unknown estimate": (same, ["data.estimate=savgo"], ["data.estimate=savgo", "savgol"]),
    "more points than there are": (same, ["data.n_train=9999"], ["data.n_train=9999", "564"]),
    "no such file": (same, ["data.path=none.csv"], ["data.path=none.csv", "no such file"]),
    "no path": (same, ["data.path=null"], ["data.path is not given", "measured.csv"]),
    "an unknown key": (same, ["data.columns.tiem=t"], ["data.columns.tiem", "data.columns.time"]),
    "another sampler's keys": (
        same,
        ["data=trajectories"],
        ["data.path=measured.csv", "data=file"],
    ),
    "no coordinates": (same, ["system=unknown"], ["data.columns.q", "system=unknown"]),
    "no units": (
        same,
        ["system=unknown", "data.columns.q=[theta1,theta2]"],
        ["data.columns.units is not given", "rad and deg are angles"],
    ),
    "a horizon that was not measured": (
        same,
        [*UNKNOWN, "rollout.horizon=60"],
        ["rollout.horizon=60", "at most 2.8 s"],
    ),
}


def sentence_of(monkeypatch: pytest.MonkeyPatch, *overrides: str) -> str:
    """What a command says that must not train anything."""
    given = {each.partition("=")[0]: each for each in ("budget=smoke", *FILE, *overrides)}
    said = run_here(monkeypatch, "study=mine", *given.values())
    assert isinstance(said, str), "exits with a sentence"
    assert "\n" not in said
    assert not Path("outputs").exists(), "nothing was begun"
    return said


@pytest.mark.parametrize("mistake", BAD)
def test_a_mistake_gets_one_sentence(mistake, measured, monkeypatch, capfd):
    change, overrides, parts = BAD[mistake]
    write(change(measured))
    said = sentence_of(monkeypatch, *overrides)
    assert "Traceback" not in capfd.readouterr().err
    for part in parts:
        assert part in said


def npz(**arrays: np.ndarray) -> None:
    np.savez("measured.npz", **arrays)


def test_files_that_are_not_what_they_should_be_get_one_sentence(measured, monkeypatch):
    Path("ragged.csv").write_text("run,t,theta1,theta2\n0,0.0,1,2\n0,0.1,1\n")
    Path("measured.xlsx").write_text("x")
    Path("binary.csv").write_bytes(b"PK\x03\x04\0\0\0")
    Path("torn.parquet").write_bytes(b"PAR1 torn")
    Path("torn.npz").write_bytes(b"PK torn")
    Path("empty.csv").write_text("run,t,theta1,theta2\n")
    one = np.zeros(20)
    times = {"run": one, "t": np.arange(20) * 0.1}
    np.savez("lengths.npz", **times, theta1=one[:19], theta2=one)
    np.savez("deep.npz", **times, theta1=np.zeros((20, 2, 2)), theta2=one)
    np.savez("objects.npz", **times, theta1=np.array([{}] * 20), theta2=one, allow_pickle=True)
    with open("single.npz", "wb") as file:
        np.save(file, one)
    np.savez("words.npz", **times, theta1=np.array(["x"] * 20), theta2=one)
    measured.assign(t=pd.Timestamp("2020-01-01")).to_parquet("dates.parquet")
    wanted = {
        "ragged.csv": ["ragged.csv, row 2", "3 values", "4 columns"],
        "measured.xlsx": ["measured.xlsx", ".csv, .npz, .parquet"],
        "binary.csv": ["binary.csv cannot be read", "save the table as CSV"],
        "torn.parquet": ["torn.parquet cannot be read"],
        "torn.npz": ["torn.npz cannot be read"],
        "empty.csv": ["empty.csv"],
        "lengths.npz": ["theta2 has 20 rows, and theta1 has 19"],
        "deep.npz": ["theta1 has shape (20, 2, 2)"],
        "objects.npz": ["objects.npz cannot be read"],
        "single.npz": ["single.npz cannot be read", "numpy.savez"],
        "words.npz": ["column theta1", "should hold numbers"],
        "dates.parquet": ["column t", "timestamp"],
    }
    for name, parts in wanted.items():
        said = sentence_of(monkeypatch, f"data.path={name}")
        for part in parts:
            assert part in said, (name, said)


def test_what_the_recording_contradicts_is_said_before_training_and_on_the_page(tmp_path):
    t, runs = np.arange(0, 4, 0.02), []
    for run, start in enumerate((0.4, 0.7, 1.0, 1.3)):
        field = lambda _, y: (y[1], -9.8 * np.sin(y[0]))  # noqa: E731
        theta, omega = solve_ivp(field, (0, 4), (start, 0.0), t_eval=t, rtol=1e-9, atol=1e-9).y
        degrees = {"run": run, "t": t, "theta": theta, "omega": np.degrees(omega)}
        runs.append(pd.DataFrame(degrees))
    pd.concat(runs).to_csv(tmp_path / "mixed.csv", index=False)
    columns = {"q": "theta", "qdot": "omega", "units": "rad", "trajectory": "run"}
    command = [sys.executable, "-m", "study.sweep", "study=mixed", "system=unknown", "data=file"]
    command += ["data.path=mixed.csv", *(f"data.columns.{k}={v}" for k, v in columns.items())]
    command += ["data.n_train=64", "model.width=4", "optimizer.steps=20", "replicates=1"]
    done = subprocess.run(
        [*command, "block_size=1"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    sentence = "omega is not the rate of theta: it is 57.3 times that"
    assert f"note: {sentence}" in " ".join((done.stdout + done.stderr).split())
    assert sentence in (tmp_path / "outputs/mixed/report/index.html").read_text()
