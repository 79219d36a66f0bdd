"""Recordings as laboratories have them: each is read rightly, or one sentence says what to type."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from study import results
from study.config.cell import Cell, make_cell
from study.config.command_line import compose
from study.config.errors import ConfigError
from study.config.hydra import register
from study.core.data.recording import Recording
from tests.sweeping.commands import HERE, TINY, last_given, run_here

STEP, N = 0.02, 200
PLAIN = ("data=file", "budget=smoke", "data.path=measured.csv", "system=unknown")
ONE = ("data.columns.q=[theta]", "data.columns.units=[rad]")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    register()
    return tmp_path


def swing(times: np.ndarray, phase: float = 0.0) -> pd.DataFrame:
    """A swing whose derivatives are known."""
    return pd.DataFrame(
        {
            "t": times,
            "theta": np.sin(2 * times + phase),
            "omega": 2 * np.cos(2 * times + phase),
            "alpha": -4 * np.sin(2 * times + phase),
        }
    )


TIMES = np.arange(N) * STEP


def several(*lengths: int, step: float = STEP) -> pd.DataFrame:
    tables = [swing(np.arange(n) * step, k).assign(run=k) for k, n in enumerate(lengths)]
    return pd.concat(tables, ignore_index=True)


def save(table: pd.DataFrame, name: str = "measured.csv") -> None:
    table.to_csv(name, index=False, float_format="%.17g")


def own_cell(*overrides: str) -> Cell:
    cell = make_cell(compose(last_given([*PLAIN, *ONE, *overrides])), compile=False)
    again = make_cell(cell.as_dict(), compile=False)
    assert again.hash == cell.hash
    return cell


def recorded(*overrides: str) -> Recording:
    recording = own_cell(*overrides).recording
    assert recording is not None
    return recording


def sentence(*overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        own_cell(*overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


def error_of(recording: Recording) -> float:
    """Mean square error of the accelerations over their variance; of a swing q'' = -4 q."""
    q, qddot = recording.points.q, recording.points.qddot
    return float(np.mean((qddot + 4 * q) ** 2) / qddot.var())


CSV = swing(TIMES).to_csv(index=False)
LINES = CSV.splitlines()


def each_line(change: Callable[[str], str], header: bool = True, rows: bool = True) -> str:
    changed = [change(x) if (rows if k else header) else x for k, x in enumerate(LINES)]
    return "\n".join(changed)


def comma(**how: str) -> str:
    return swing(TIMES).to_csv(index=False, decimal=",", **how)


# file name, text, encoding; all hold the same numbers
TEXTS = {
    "a title above": ("m.csv", "Pendulum, 12 May\n\nby hand\n" + CSV, "utf-8"),
    "a spreadsheet's hint": ("m.csv", "sep=,\n" + CSV, "utf-8"),
    "names in a comment": ("m.csv", "# " + CSV, "utf-8"),
    "units below": ("m.csv", CSV.replace("\n", "\ns,rad,rad/s,rad/s^2\n", 1), "utf-8"),
    "unnamed columns": ("m.csv", each_line(lambda x: x + ",,"), "utf-8"),
    "unnamed in the header": ("m.csv", each_line(lambda x: x + ",,", rows=False), "utf-8"),
    "unnamed in the rows": ("m.csv", each_line(lambda x: x + ",", header=False), "utf-8"),
    "an index": ("m.csv", swing(TIMES).to_csv(), "utf-8"),
    "notes of one name": ("m.csv", each_line(lambda x: x + ",note,note"), "utf-8"),
    "blank rows": ("m.csv", CSV + ",,,\n,,,\n\n", "utf-8"),
    "tabs": ("m.csv", CSV.replace(",", "\t"), "utf-8"),
    "tabs, tsv": ("m.tsv", CSV.replace(",", "\t"), "utf-8"),
    "semicolons": ("m.csv", CSV.replace(",", ";"), "utf-8"),
    "semicolons, decimal commas": ("m.csv", comma(sep=";"), "utf-8"),
    "tabs, decimal commas": ("m.tsv", comma(sep="\t"), "utf-8"),
    "quoted decimal commas": ("m.csv", comma(), "utf-8"),
    "blanks": ("m.txt", "\n".join(f"  {x.replace(',', '   ')}" for x in LINES), "utf-8"),
    "blanks behind a sign": ("m.dat", "# " + CSV.replace(",", " "), "utf-8"),
    "a mark of UTF-8": ("m.csv", CSV, "utf-8-sig"),
    "UTF-16": ("m.txt", CSV.replace(",", "\t"), "utf-16"),
    "latin-1": ("m.csv", each_line(lambda x: x + ",größe"), "latin-1"),
    "line ends of Windows": ("m.csv", CSV.replace("\n", "\r\n"), "utf-8"),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_text_is_read_however_it_is_written(kind):
    name, text, encoding = TEXTS[kind]
    Path(name).write_bytes(text.encode(encoding))
    rates = ("data.columns.qdot=[omega]", "data.columns.qddot=[alpha]")
    recording = recorded(f"data.path={name}", *rates)
    assert len(recording.points) == 160
    true = swing(TIMES[:160])
    for field in ("q", "qdot", "qddot"):
        column = {"q": "theta", "qdot": "omega", "qddot": "alpha"}[field]
        np.testing.assert_allclose(getattr(recording.points, field)[:, 0], true[column], rtol=1e-14)
    assert recording.n_empty == recording.n_gaps == 0


@pytest.mark.parametrize("column", ["theta", "t", "omega"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_column_given_twice_is_named(column, suffix):
    table = swing(TIMES)
    arrays = [pa.array(table[name]) for name in table] + [pa.array(table[column])]
    names = [*table, column]
    if suffix == "parquet":
        parquet.write_table(pa.Table.from_arrays(arrays, names), "m.parquet")
    else:
        pd.concat([table, table[[column]]], axis=1).to_csv("m.csv", index=False)
    said = sentence(f"data.path=m.{suffix}", "data.columns.qdot=[omega]")
    assert f"={column}: m.{suffix} has 2 columns of that name" in said


def test_a_cell_of_decimal_commas_that_is_no_number_is_named():
    Path("m.csv").write_text(comma(sep=";").replace(";2,0;", ";oops;"))
    assert sentence("data.path=m.csv", "data.columns.qdot=[omega]") == (
        "data.path=m.csv, row 1, column omega: 'oops' is not a number"
    )
    Path("m.csv").write_text("t,theta\n0,0,1,5\n0,1,1,6\n")
    said = sentence("data.path=m.csv")
    assert "row 1: it has 4 values" in said
    assert "decimal commas need another separator" in said


@pytest.mark.parametrize("key", ["q", "qdot", "qddot", "units"])
def test_names_without_brackets_are_no_sweep(key):
    save(swing(TIMES))
    said = sentence(f"data.columns.{key}=theta,omega")
    assert said.endswith(f"columns are not swept: write 'data.columns.{key}=[theta,omega]'")
    for several_values in ("[theta],[omega]", "choice(theta,omega)"):
        assert "columns are not swept" in sentence(f"data.columns.{key}={several_values}")


@pytest.mark.parametrize("key", ["time", "trajectory", "time_unit"])
def test_no_single_name_is_swept(key):
    save(swing(TIMES))
    assert f"give data.columns.{key} one name" in sentence(f"data.columns.{key}=t,theta")


def test_no_arm_of_a_grid_sweeps_columns(monkeypatch, folder):
    save(swing(TIMES))
    (folder / "conf" / "experiment").mkdir(parents=True)
    for text, wanted in (
        (
            "grid: {smoke: [{data.columns.q: [theta, omega]}]}",
            "grid.smoke: data.columns.q has several values, and columns are not swept: write "
            "'data.columns.q=[theta,omega]'",
        ),
        (
            "search: {space: {data.columns.time: 'choice(t,theta)'}}",
            "columns are not swept: give data.columns.time one name",
        ),
    ):
        mine = folder / "conf" / "experiment" / "mine.yaml"
        mine.write_text(f"# @package _global_\nstudy: mine\n{text}\n")
        more = ("search=random",) if "search" in text else ()
        said = run_here(
            monkeypatch,
            *PLAIN,
            *ONE,
            "+experiment=mine",
            "--config-dir=conf",
            "dry_run=true",
            *more,
        )
        assert wanted in str(said)


SPELLINGS = {
    "rad": ("rad", "radians", "Radian"),
    "deg": ("deg", "Deg", "degree", "degrees", "DEGREES", "°"),
    "mrad": ("mrad", "milliradians"),
    "turn": ("turn", "turns", "rev"),
}


@pytest.mark.parametrize(
    ("unit", "spelling"), [(unit, s) for unit, all_ in SPELLINGS.items() for s in all_]
)
def test_angles_are_known_in_any_spelling(unit, spelling):
    size = {"rad": 1, "deg": np.pi / 180, "mrad": 1e-3, "turn": 2 * np.pi}[unit]
    save(swing(TIMES).assign(theta=np.sin(2 * TIMES) / size))
    cell = own_cell(f"data.columns.units=[{spelling}]")
    assert cell.mechanics.angles == (True,)
    assert cell.mechanics.coordinates == (("theta", "rad"),)
    assert cell.hash == own_cell(f"data.columns.units=[{unit}]").hash
    assert cell.recording is not None
    np.testing.assert_allclose(cell.recording.points.q[:, 0], np.sin(2 * TIMES[5:155]), atol=1e-6)


@pytest.mark.parametrize(
    ("unit", "size"), [("metres", 1), ("cm", 0.01), ("mm", 1e-3), ("µm", 1e-6)]
)
def test_lengths_become_metres(unit, size):
    save(swing(TIMES).assign(theta=np.sin(2 * TIMES) / size))
    cell = own_cell(f"data.columns.units=[{unit}]")
    assert cell.mechanics.coordinates == (("theta", "m"),)
    assert cell.mechanics.angles == (False,)
    assert cell.recording is not None
    np.testing.assert_allclose(cell.recording.points.q[:, 0], np.sin(2 * TIMES[5:155]), atol=1e-6)


@pytest.mark.parametrize(("typed", "meant"), [("degress", "deg"), ("radain", "rad"), ("metr", "m")])
def test_a_slip_of_the_pen_is_no_unit(typed, meant):
    save(swing(TIMES))
    assert sentence(f"data.columns.units=[{typed}]").endswith(
        f"{typed} is not known: did you mean {meant}?"
    )


OWN = """
from study.core.systems import System

def lagrangian(q, v, c, xp):
    return c.m * v[0] ** 2 / 2 - c.k * q[0] ** 2 / 2

system = System(
    name="mine", lagrangian=lagrangian, coordinates=(("theta", "{unit}"),), angles=({angle},),
    constants={{"m": 1, "k": 4}}, initial_conditions=lambda rng, n, c: rng.uniform(-1, 1, (n, 2)),
    box=(1.0, 1.0), horizon=2.0, energy_scale=lambda c: 1.0,
)
"""


@pytest.mark.parametrize(
    ("declared", "angle", "given", "factor"),
    [
        ("deg", False, "deg", 1),
        ("deg", False, "rad", 180 / np.pi),
        ("mm", False, "mm", 1),
        ("mm", False, "m", 1000),
        ("m", False, "mm", 1e-3),
        ("px", False, "px", 1),
        ("deg", False, None, 1),
        ("mm", False, None, 1),
        ("deg", True, "deg", np.pi / 180),  # angles are in radians, whatever they are called
        ("deg", True, None, np.pi / 180),
    ],
)
def test_a_file_is_converted_to_the_units_of_an_own_system(declared, angle, given, factor):
    Path("mine.py").write_text(OWN.format(unit=declared, angle=angle))
    save(swing(TIMES))
    units = "null" if given is None else f"[{given}]"
    own = ("system=file", "system.path=mine.py", f"data.columns.units={units}")
    q = recorded(*own, "data.columns.qdot=[omega]", "data.columns.qddot=[alpha]").points.q[:, 0]
    np.testing.assert_allclose(q, factor * np.sin(2 * TIMES[:160]), rtol=1e-12)


def test_a_unit_of_another_kind_is_refused():
    Path("mine.py").write_text(OWN.format(unit="mm", angle=False))
    save(swing(TIMES))
    own = ("system=file", "system.path=mine.py")
    said = sentence(*own, "data.columns.units=[deg]")
    assert said.endswith("theta of mine is measured in m or cm or mm or um or km")


def test_constants_are_the_same_as_whole_numbers():
    Path("mine.py").write_text(OWN.format(unit="m", angle=False))
    save(swing(TIMES))
    own = ("system=file", "system.path=mine.py", "data.columns.units=[m]")
    usual = own_cell(*own)
    bare = usual.as_dict()  # as from a caller that states no constants
    bare["system"] = {key: bare["system"][key] for key in ("name", "sha256")}
    assert make_cell(bare, compile=False).hash == usual.hash
    for same in ("system.m=1", "system.m=1.0", "system.k=4", "system.k=4.0"):
        assert own_cell(*own, same).hash == usual.hash
    assert own_cell(*own, "system.k=3").hash == own_cell(*own, "system.k=3.0").hash != usual.hash


ODD = {
    "Theta (deg)": "deg",
    "angle [rad]": "rad",
    "winkel größe": "rad",
    "1_2": "rad",
    "12": "rad",
    "true": "rad",
    "a, b": "rad",
    "it's": "rad",
    "q=1": "rad",
    "#1": "rad",
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("suffix", ["csv", "parquet", "npz"])
def test_names_are_taken_as_they_stand(name, suffix):
    table = swing(TIMES).rename(columns={"theta": name})
    path = f"run #3 größe.{suffix}"
    if suffix == "csv":
        save(table, path)
    elif suffix == "parquet":
        table.to_parquet(path)
    else:
        np.savez(path, **{column: table[column].to_numpy() for column in table})
    typed = f'"{name}"' if "," in name or "'" in name else name
    units = f"data.columns.units=[{ODD[name]}]"
    for q in (f"[{typed}]", typed):
        cell = own_cell(f"data.path={path}", f"data.columns.q={q}", units)
        assert cell.data.columns is not None
        assert cell.data.columns.q == (name,)
        assert len(cell.mechanics.coordinates) == 1


def test_what_to_type_is_said_with_its_quotes():
    table = swing(TIMES).rename(columns={"theta": "Theta (deg)", "t": "Zeit (ms)"})
    save(table, "run #3.csv")
    path = "data.path=run #3.csv"
    time = "data.columns.time=Zeit (ms)"
    assert sentence("data.path=run") == (
        "data.path=run: there is no such file: write 'data.path=run #3.csv'"
    )
    assert sentence(path, "data.columns.time=zeit") == (
        "data.columns.time=zeit is no column of run #3.csv: write 'data.columns.time=Zeit (ms)'"
    )
    said = sentence(path, time, "data.columns.time_unit=s", "data.columns.qdot=[omega]")
    assert said.endswith("write 'data.columns.q=[Theta (deg)]'")
    # and what is said can be typed
    read = recorded(
        path, time, "data.columns.time_unit=s", "data.columns.q=[Theta (deg)]", "data.held_out=0.5"
    )
    assert len(read.points) == 90
    for mistyped in ("theat (deg)", "Theta(deg)"):
        said = sentence(path, time, "data.columns.time_unit=s", f"data.columns.q=[{mistyped}]")
        assert said.endswith("write 'data.columns.q=[Theta (deg)]'")


def test_the_unit_in_a_columns_name_is_not_passed_over():
    Path("mine.py").write_text(OWN.format(unit="rad", angle=True))
    table = swing(TIMES).rename(columns={"theta": "theta [deg]", "omega": "omega (deg/s)"})
    save(table)
    own = ("system=file", "system.path=mine.py", "data.columns.q=[theta [deg]]")
    said = sentence(*own, "data.columns.units=null")
    assert said.endswith("write 'data.columns.units=[deg]'")
    assert np.abs(recorded(*own, "data.columns.units=[deg]").points.q).max() < 0.02
    said = sentence(*own, "data.columns.units=[rad]", "data.columns.qdot=[omega (deg/s)]")
    assert "omega (deg/s) says deg, and its coordinate is in rad" in said
    said = sentence("data.columns.q=[theta [deg]]", "data.columns.units=null")
    assert "data.columns.units=[deg] for instance" in said


SIZES = {"ms": 1e-3, "us": 1e-6, "min": 60, "h": 3600, "days": 86400, "d": 86400}


@pytest.mark.parametrize("unit", SIZES)
def test_times_in_other_units_become_seconds(unit):
    save(swing(TIMES).assign(t=TIMES / SIZES[unit]).rename(columns={"t": f"t ({unit})"}))
    named = f"data.columns.time=t ({unit})"
    said = sentence(named)
    usual = "d" if unit == "days" else unit
    assert said.endswith(f"write data.columns.time_unit={usual}")
    recording = recorded(named, f"data.columns.time_unit={unit}")
    assert recording.step == pytest.approx(STEP)
    assert error_of(recording) < 1e-9
    assert "data.columns.time_unit=dayz is not known" in sentence("data.columns.time_unit=dayz")


def test_home_is_expanded(monkeypatch, folder):
    monkeypatch.setenv("HOME", str(folder))
    (folder / "deep").mkdir()
    save(swing(TIMES), "x.csv")
    Path("mine.py").write_text(OWN.format(unit="rad", angle=True))
    monkeypatch.chdir(folder / "deep")
    assert len(recorded("data.path=~/x.csv").points) == 150
    own = ("system=file", "system.path=~/mine.py")
    assert own_cell("data.path=~/x.csv", *own).mechanics.name == "mine"


@pytest.mark.parametrize("estimate", ["savgol", "spline"])
@pytest.mark.parametrize("rate", [30, 24, 120])
def test_rounded_times_are_taken(rate, estimate):
    times = np.arange(400) / rate
    save(swing(times))
    exact = error_of(recorded(f"data.estimate={estimate}"))
    save(swing(times).assign(t=np.round(times, 3)))
    rounded = error_of(recorded(f"data.estimate={estimate}"))
    assert rounded < 1.1 * exact + 1e-9
    assert rounded < 1e-5


def test_uneven_times_are_taken_at_their_true_times():
    rng = np.random.default_rng(0)
    steps = np.full(999, 0.01)
    steps[[100, 400, 700]] *= 1.002
    longer = np.concatenate([[0], np.cumsum(steps)])
    jittered = np.arange(1000) * 0.01 + rng.uniform(-0.004, 0.004, 1000)
    drawn = np.cumsum(rng.uniform(0.005, 0.015, 1000))
    for times in (longer, jittered, drawn):
        save(swing(times))
        assert error_of(recorded()) < 1e-8
        assert error_of(recorded("data.columns.qdot=[omega]")) < 1e-8


@pytest.mark.parametrize("columns", [(), ("data.columns.qdot=[omega]",)])
def test_an_angle_that_begins_turns_further_on_is_the_same_angle(columns):
    table = several(*[120] * 6)
    turned = table.assign(theta=table["theta"] + 20 * np.pi * table["run"].isin([1, 4]))
    runs = ("data.columns.trajectory=run", *columns)
    save(table)
    plain = own_cell(*runs)
    save(turned)
    cell = own_cell(*runs)
    assert plain.recording is not None
    assert cell.recording is not None
    for one, other in zip(cell.recording.training, plain.recording.training, strict=True):
        np.testing.assert_allclose(one.q, other.q, atol=1e-10)
    tested, wanted = (c.recording.test_set(c.mechanics) for c in (cell, plain))  # type: ignore
    np.testing.assert_array_equal(tested.in_range, wanted.in_range)
    assert tested.in_range.mean() > 0.9
    # a coordinate that is no angle is where it is
    lengths = recorded(*runs, "data.columns.units=[m]")
    assert max(np.ptp(m.q) + np.abs(m.q).max() for m in lengths.training) > 60


def test_a_test_angle_is_in_range_after_any_turns():
    """It swings in training, and in the test it winds: where it has come round, it is in range."""
    swings = swing(TIMES).assign(run=0)
    winds = swing(TIMES).assign(run=1, theta=4 * np.pi * TIMES / TIMES[-1], omega=0.0)
    save(pd.concat([swings, winds]))
    cell = own_cell("data.columns.trajectory=run", "data.columns.qdot=[omega]")
    assert cell.recording is not None
    (training,), (held_out,) = cell.recording.training, cell.recording.held_out
    test = cell.recording.test_set(cell.mechanics)
    np.testing.assert_array_equal(test.points.q, held_out.q)
    if np.ptp(held_out.q) > 2 * np.pi:  # which of the two is held out is drawn
        near = np.abs((held_out.q[:, 0] + np.pi) % (2 * np.pi) - np.pi) < 0.9 * training.q.max()
        assert test.in_range[near].all()
    else:
        assert test.in_range.mean() > 0.9


def gappy() -> pd.DataFrame:
    """Dropped frames: one (no gap), then runs of 3, 9 and 4; pieces of 100, 37, 5 and 41 rows."""
    dropped = [20, *range(101, 104), *range(141, 150), *range(155, 159)]
    return swing(TIMES).drop(index=dropped)


@pytest.mark.parametrize(
    "columns", [(), ("data.columns.qdot=[omega]", "data.columns.qddot=[alpha]")]
)
def test_gaps_cut_trajectories(columns):
    save(gappy())
    recording = recorded(*columns, "data.held_out=0.224")  # the last piece
    pieces = recording.training + recording.held_out
    assert recording.n_gaps == 3
    for piece in pieces:
        assert np.diff(piece.times).max() < 0.05  # the one dropped frame
    assert error_of(recording) < 1e-7
    n_short = 0 if columns else 1  # of 5 rows, where 12 are needed
    assert (recording.n_short, recording.n_short_rows) == (n_short, 5 * n_short)
    margins = 0 if columns else 10 * len(pieces) + 5
    assert sum(len(piece.times) for piece in pieces) == len(gappy()) - margins


def test_short_trajectories_are_left_out_and_counted():
    save(several(50, 8, 60, 11, 70))
    recording = recorded("data.columns.trajectory=run")
    assert sorted(len(m.times) for m in recording.training + recording.held_out) == [40, 50, 60]
    assert (recording.n_gaps, recording.n_short, recording.n_short_rows) == (0, 2, 19)


@pytest.mark.parametrize("column", ["theta", "omega", "alpha", "t"])
def test_rows_without_a_number_are_left_out_and_counted(column):
    table = swing(TIMES)
    table.loc[[N - 1], column] = np.nan
    rates = ("data.columns.qdot=[omega]", "data.columns.qddot=[alpha]")
    save(table)
    last = recorded(*rates)
    assert (last.n_empty, last.n_gaps, len(last.points)) == (1, 0, 159)
    table.loc[60:69, column] = np.nan
    save(table)
    middle = recorded(*rates)
    assert (middle.n_empty, middle.n_gaps) == (11, 1)
    assert error_of(middle) < 1e-20
    np.savez("m.npz", **{name: table[name].to_numpy() for name in table})
    table.to_parquet("m.parquet")
    for other in ("m.npz", "m.parquet"):
        read = recorded(*rates, f"data.path={other}")
        np.testing.assert_array_equal(read.points.q, middle.points.q)
    table[column] = np.nan
    save(table)
    assert (
        sentence(*rates) == f"data.path=measured.csv: column {column} is empty: it holds no number"
    )


@pytest.mark.parametrize("n", range(1, 13))
def test_a_cell_has_its_own_hash_for_every_number_of_rollouts(n):
    save(several(3, 3, 3, 6, step=0.1))
    given = (
        "data.columns.trajectory=run",
        "data.columns.qdot=[omega]",
        "data.columns.qddot=[alpha]",
    )
    for held_out in ("0.25", "0.5", "0.7"):
        cell = own_cell(*given, f"data.held_out={held_out}", f"rollout.n_trajectories={n}")
        assert cell.recording is not None
        starts = cell.recording.starts(n, cell.rollout.horizon or 0)
        assert len(starts) == cell.rollout.n_trajectories <= n
        begun = sorted((float(motion.q[0, 0]), start) for motion, start in starts)
        for (one, first), (other, second) in itertools.pairwise(begun):
            assert one != other or second - first > 0.09  # no two begin between the same rows


def test_one_piece_as_long_as_the_horizon_is_one_rollout():
    save(swing(np.arange(19) / 7))
    cell = own_cell("data.columns.qdot=[omega]", "data.columns.qddot=[alpha]")
    assert cell.rollout.n_trajectories == 1
    assert cell.rollout.horizon == pytest.approx(3 / 7)


def test_the_horizon_is_not_that_of_a_scrap():
    given = ("data.columns.qdot=[omega]", "data.columns.qddot=[alpha]", "data.held_out=0.5")
    dropped = [*range(150, 155), *range(158, 165)]  # leaves 100 to 149, 155 to 157, 165 to 199
    save(swing(TIMES).drop(index=dropped))
    cell = own_cell(*given, "rollout.n_trajectories=3")
    assert cell.recording is not None
    assert [len(m.times) for m in cell.recording.held_out] == [56, 3, 35]
    assert cell.rollout.horizon == pytest.approx(34 * STEP)
    assert "at most 1.1 s were measured" in sentence(*given, "rollout.horizon=2")


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        ((11, 11, 11), "the longest trajectory has 11 rows without a gap, and needs 12"),
        ((11,), "what is tested on has 2 rows without a gap, and needs 12"),
        ((20,), "what is tested on has 4 rows without a gap, and needs 12"),
    ],
)
def test_too_few_rows_are_said(lengths, said):
    save(several(*lengths))
    assert said in sentence("data.columns.trajectory=run")


def test_the_page_says_how_the_file_was_taken(monkeypatch):
    table = gappy()
    table.loc[30:31, "theta"] = np.nan
    save(table.rename(columns={"theta": "blob (px), raw"}))
    own = [each for each in (*TINY, *HERE) if not each.startswith(("data", "system"))]
    wanted = (
        "data.columns.q=['blob (px), raw']",
        "data.columns.units=[px]",
        "data.held_out=0.2265",
    )
    more = ("rollout.horizon=0.02", "replicates=2", "block_size=2", "optimizer.steps=5")
    command = [*own, "data=file", "data.path=measured.csv", "system=unknown", *wanted, *more]
    assert run_here(monkeypatch, *command, "study=mine") == 0
    rows = results.load("outputs/mine")
    assert (rows[["n_gaps", "n_short", "n_short_rows", "n_empty"]] == [3, 1, 5, 2]).all(axis=None)
    assert (rows["valid_time"] == 0.02).all(), "nothing goes wrong in one step"
    page = Path("outputs/mine/report/index.html").read_text()
    for said in (
        "The median step is 0.0200 s.",
        "3 gaps cut trajectories into pieces.",
        "1 piece is left out as too short (5 rows).",
        "2 rows without a number are left out.",
        "blob px raw is in px: it is taken as no angle, and not converted.",
        "Each model has 2 rollouts over 0.0200 s.",
        "The valid time of 2 of 2 models is at its cap, this horizon",
        "at the cap",
    ):
        assert said in page, said
