"""`study.run` beside the command, in a notebook's kernel too; models and figures of its tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import study
from study import results
from study.analysis import answers
from study.config.errors import ConfigError
from study.tables.records import TableError
from tests.sweeping.commands import TINY, last_given

ROOT = Path(__file__).parents[1]
LINE = last_given([*TINY, "study=mine", "data.n_train=16,32"])


@pytest.fixture(autouse=True)
def no_windows():
    before = mpl.get_backend()
    mpl.use("agg")
    yield
    plt.close("all")
    mpl.use(before)


def test_a_sweep_from_a_notebook(tmp_path: Path) -> None:
    """With its bar, which a kernel that hears no signals of ours draws as HTML."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import study, study.config.bar\n"
        "study.config.bar.AFTER = 0.0\n"
        f"rows = study.run({LINE!r})\n"
        "print('rows', len(rows), sorted(rows['data.n_train'].unique()))"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(program)])
    notebook.cells[0].metadata.pop("id", None)
    client = NotebookClient(notebook, timeout=900, kernel_name="python3")
    client.execute(cwd=str(tmp_path))
    outputs = notebook.cells[0].outputs
    printed = "".join(out["text"] for out in outputs if out.output_type == "stream")
    assert "rows 4 [np.int64(16), np.int64(32)]" in printed or "rows 4 [16, 32]" in printed
    assert any(out.output_type == "display_data" for out in outputs)
    rows = results.load(tmp_path / "outputs" / "mine")
    assert len(rows) == 4
    model = study.load(tmp_path / "outputs" / "mine", rows["cell"][0], 1)
    q, qdot = study.systems["double_pendulum"].starts(3)
    assert np.isfinite(model.acceleration(q, qdot)).all()
    with pytest.raises(TableError, match="holds 2 cells: name one"):
        study.load(tmp_path / "outputs" / "mine")
    one = tmp_path / "outputs" / "mine"
    kept, gone = sorted(path.name for path in (one / "cells").iterdir() if path.is_dir())
    (one / "cells" / gone).rename(tmp_path / gone)
    again = study.load(one)
    theirs = results.load_model(one, kept, 0)
    np.testing.assert_array_equal(again.theta, theirs.theta)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["study=mine", "model.widht=3"], "unknown key model.widht: did you mean model.width?"),
        ("study=mine experiment=n_vs_p", "study="),
        (
            last_given([*LINE, "data.n_train=501"]),
            "data.n_train=501 is larger than the pool",
        ),  # by the plan
        ([*LINE, "dry_run=true"], "dry_run=true ends before there is a table"),
        (["--experiment", "n_vs_p"], "unknown flag --experiment: settings have no dashes"),
    ],
)
def test_a_mistake_is_the_sentence_of_the_command(line, sentence, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as raised:
        study.run(line)
    assert sentence in str(raised.value)
    if sentence.startswith(("data", "unknown key")):
        done = subprocess.run(
            [sys.executable, "-m", "study.sweep", *line],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.stderr.strip().splitlines()[-1] == f"error: {raised.value}"
    assert not list(tmp_path.glob("outputs/mine/results.parquet"))


def test_the_error_against_equations_per_parameter() -> None:
    """The same numbers as the page's figure, on axes that are given or made."""
    rows = results.load(ROOT / "outputs" / "reference" / "n_vs_p")
    _, given = plt.subplots()
    axes = results.error_plot(rows, ax=given)
    assert axes is given
    page = {plot.id: plot for plot in answers.plots(rows, None)}["test_error_by_n"]
    assert axes.get_xlabel() == "N·D/P, equations per parameter"
    assert axes.get_ylabel() == "median test error (normalised square)"
    legend = axes.get_legend()
    assert legend.get_title().get_text() == (
        "Median over 5 replicates\nbars: 95 % bootstrap interval over replicates"
    )
    drawn = {box.get_label(): box.lines[0].get_xydata() for box in axes.containers}
    for label, line in page.data.groupby("line"):
        line = line.sort_values("equations_per_param")
        np.testing.assert_allclose(drawn[label], line[["equations_per_param", "median"]])
    rollouts = results.error_plot(rows, measure="rollout_error")
    assert rollouts is not given
    assert rollouts.get_ylabel() == "rollout error (relative, 0 to 1)"
    with pytest.raises(TableError, match="measure=eror is none: "):
        results.error_plot(rows, measure="eror")
    with pytest.raises(TableError, match="no two cells differ in N or in the width alone"):
        results.error_plot(rows.loc[rows["cell"] == rows["cell"][0]])


def test_the_rollout_error_against_the_acceleration_error() -> None:
    rows = results.load(ROOT / "outputs" / "reference" / "n_vs_p")
    axes = results.rollout_plot(rows)
    (points,) = axes.collections
    expected = np.sqrt(rows["test_nmse_median"]), rows["rollout_error"]
    np.testing.assert_allclose(points.get_offsets(), np.stack(expected, 1))
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    answer = json.loads((ROOT / "outputs/reference/n_vs_p/answers.json").read_text())
    (r2,) = [one["value"] for one in answer if one["id"] == "rollout_by_median_error"]
    assert f"R² = {r2:.2g}" in words[0]
    assert (
        axes.get_legend().get_title().get_text().startswith("n = 250 of 250 replicates, 50 cells")
    )
    few = results.rollout_plot(rows.head(10), error="mean")
    assert few.get_title() == "n = 10 of 10 replicates, 2 cells"
    with pytest.raises(TableError, match="error=max is not known: known are median and mean"):
        results.rollout_plot(rows, error="max")
    with pytest.raises(TableError, match="there is no point"):
        results.rollout_plot(rows.assign(rollout_error=np.nan))
