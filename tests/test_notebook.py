"""`notebooks/read_a_sweep.ipynb` runs on a study that the real command has just made."""

import numpy as np

from study import results
from tests import notebooks

NAME = "read_a_sweep"


def test_notebook_runs_on_a_smoke_study(smoke_study, monkeypatch):
    monkeypatch.setenv("STUDY_FOLDER", str(smoke_study))
    notebook = notebooks.execute(NAME, monkeypatch)
    assert len(notebooks.outputs(notebook, "image/png")) == 1
    last = notebooks.outputs(notebook, "text/plain")[-1]
    rows = results.load(smoke_study)
    best = rows.loc[rows["test_nmse_median"].idxmin()]
    model = results.load_model(smoke_study, best["cell"], int(best["replicate"]))
    q = np.linspace(-0.5, 0.5, 5)[:, None] * np.ones(2)
    assert last == repr(model.acceleration(q, np.zeros_like(q)))


def test_committed_as_it_runs():
    notebooks.check_committed(NAME)
    assert len(notebooks.outputs(notebooks.committed(NAME), "image/png")) == 1


def test_smoke_study_has_its_report(smoke_study):
    assert (smoke_study / "report" / "index.html").exists()
    assert (smoke_study / "answers.json").exists()
    assert results.load(smoke_study)["cell"].nunique() >= 4
