"""`notebooks/the_question.ipynb` shows what is there and says what is missing."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from study import report, results
from tests.analysis import synthetic
from tests.analysis import synthetic_science as science
from tests.analysis.synthetic import Law

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "the_question.ipynb"


def write(folder: Path, rows, spectra=None) -> None:
    """Finished tables, as they are committed."""
    folder.mkdir()
    results.save(rows, folder / "results.parquet")
    curves = synthetic.curves(rows) if spectra is None else spectra
    results.save(curves, folder / "curves.parquet")


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("reference")
    noisy = [
        {"data.noise": noise, "model": model, **size}
        for noise in (0.0, 0.1)
        for model in ("lnn", "random_features")
        for size in synthetic.product(data__n_train=[256, 1024, 4096])
    ]
    ranks, spectra = science.with_ranks(synthetic.rows(science.identifiability(), Law()))
    write(home / "n_vs_p", synthetic.rows(synthetic.n_vs_p(), Law()))
    write(home / "double_descent", synthetic.rows(noisy, Law()))
    write(home / "bottleneck", science.with_budget(synthetic.rows(science.bottleneck(), Law())))
    write(home / "data_efficiency", synthetic.rows(science.efficiency(), Law()))
    write(home / "identifiability", ranks, spectra)
    report.write_across(home)
    return home


def run(folder: Path, monkeypatch):
    monkeypatch.setenv("REFERENCE_FOLDER", str(folder))
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=180, kernel_name="python3").execute(cwd=str(NOTEBOOK.parent))
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    text = "".join(out["text"] for out in outputs if out.output_type == "stream")
    pictures = [out for out in outputs if "image/png" in out.get("data", {})]
    return notebook, text, pictures


def test_shows_all_that_is_there(reference, monkeypatch):
    notebook, text, pictures = run(reference, monkeypatch)
    assert len(pictures) == 5
    assert not any(line.startswith("missing:") for line in text.splitlines())
    assert "Are at least as many points as parameters needed" in text
    tables = [
        o["data"]["text/html"]
        for c in notebook.cells
        for o in c.get("outputs", [])
        if "text/html" in o.get("data", {})
    ]
    assert "<table" in tables[0]
    size = len(nbformat.writes(notebook))
    assert size < 600_000  # small enough to be committed with its outputs


def test_says_what_is_missing(tmp_path, monkeypatch):
    _, text, pictures = run(tmp_path, monkeypatch)
    assert pictures == []
    for name in ("n_vs_p", "double_descent", "bottleneck", "data_efficiency", "identifiability"):
        assert f"missing: {name}" in text
    assert "answers.json" in text
