"""`notebooks/read_a_sweep.ipynb` runs on a study that the real command has just made."""

from pathlib import Path

import nbformat
import numpy as np
from nbclient import NotebookClient

from study import results

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "read_a_sweep.ipynb"


def test_notebook_runs_on_a_smoke_study(smoke_study, monkeypatch):
    monkeypatch.setenv("STUDY_FOLDER", str(smoke_study))
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)  # committed without outputs
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(NOTEBOOK.parent))
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert any("image/png" in out.get("data", {}) for out in outputs)
    last = notebook.cells[-1]["outputs"][-1]["data"]["text/plain"]
    rows = results.load(smoke_study)
    best = rows.loc[rows["test_nmse_median"].idxmin()]
    model = results.load_model(smoke_study, best["cell"], int(best["replicate"]))
    q = np.linspace(-0.5, 0.5, 5)[:, None] * np.ones(2)
    assert last == repr(model.acceleration(q, np.zeros_like(q)))


def test_smoke_study_has_its_report(smoke_study):
    assert (smoke_study / "report" / "index.html").exists()
    assert (smoke_study / "answers.json").exists()
    assert results.load(smoke_study)["cell"].nunique() >= 4
