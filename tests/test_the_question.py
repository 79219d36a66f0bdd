"""`notebooks/the_question.ipynb` shows what is there and says what is missing."""

from pathlib import Path

import nbformat
import pytest

from study.page import across
from study.tables import gather
from tests import notebooks
from tests.analysis import synthetic
from tests.analysis import synthetic_science as science
from tests.analysis.synthetic import Law

NAME = "the_question"


def write(folder: Path, rows, spectra=None) -> None:
    """Finished tables, as they are committed."""
    folder.mkdir()
    gather.save(rows, folder / "results.parquet")
    curves = synthetic.curves(rows) if spectra is None else spectra
    gather.save(curves, folder / "curves.parquet")


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
    write(home / "levers", science.with_budget(synthetic.rows(science.levers(), Law())))
    write(home / "data_efficiency", synthetic.rows(science.efficiency(), Law()))
    write(home / "identifiability", ranks, spectra)
    across.write(home)
    return home


def run(folder: Path, monkeypatch):
    monkeypatch.setenv("REFERENCE_FOLDER", str(folder))
    notebook = notebooks.execute(NAME, monkeypatch)
    text = "".join(notebooks.outputs(notebook, "stream"))
    return notebook, text, notebooks.outputs(notebook, "image/png")


@pytest.mark.slow
def test_shows_all_that_is_there(reference, monkeypatch):
    notebook, text, pictures = run(reference, monkeypatch)
    assert len(pictures) == 5
    assert not any(line.startswith("missing:") for line in text.splitlines())
    assert "Are at least as many points as parameters needed" in text
    assert "<table" in notebooks.outputs(notebook, "text/html")[0]
    assert len(nbformat.writes(notebook)) < notebooks.MOST


def test_committed_as_it_runs():
    notebooks.check_committed(NAME)
    assert len(notebooks.outputs(notebooks.committed(NAME), "image/png")) == 5


@pytest.mark.slow
def test_says_what_is_missing(tmp_path, monkeypatch):
    _, text, pictures = run(tmp_path, monkeypatch)
    assert pictures == []
    for name in ("n_vs_p", "double_descent", "levers", "data_efficiency", "identifiability"):
        assert f"missing: {name}" in text
    assert "answers.json" in text
