"""How tests run a notebook, and what must hold of every one that is committed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

HOME = Path(__file__).parents[1] / "notebooks"
MOST = 300_000  # bytes of a committed notebook


def execute(name: str, monkeypatch: pytest.MonkeyPatch, timeout: int = 600):
    """A notebook with the outputs it has when it is run now."""
    monkeypatch.setenv("PYTHONPATH", str(HOME.parent))
    notebook = nbformat.read(HOME / f"{name}.ipynb", as_version=4)
    for cell in code(notebook):
        cell.outputs = []
    NotebookClient(notebook, timeout=timeout, kernel_name="python3").execute(cwd=str(HOME))
    return notebook


def committed(name: str):
    """A notebook as it is committed."""
    return nbformat.read(HOME / f"{name}.ipynb", as_version=4)


def code(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook, kind: str) -> list[str]:
    """All outputs of one kind (`image/png`, `text/html`, `text/plain`, `stream`)."""
    found = [out for cell in code(notebook) for out in cell.outputs]
    if kind == "stream":
        return [out["text"] for out in found if out.output_type == "stream"]
    return [out["data"][kind] for out in found if kind in out.get("data", {})]


def check_committed(name: str) -> None:
    """Run from top to bottom, small, without errors, warnings or places of the machine."""
    notebook = committed(name)
    counts = [cell.execution_count for cell in code(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert len(nbformat.writes(notebook)) < MOST
    for cell in code(notebook):
        for out in cell.outputs:
            assert out.output_type != "error"
            assert out.get("name") != "stderr"
    text = "".join(outputs(notebook, "text/plain") + outputs(notebook, "stream"))
    assert not re.search(r"(?<![\w.])/(tmp|home|root|work|usr|opt)/", text)
    assert os.path.expanduser("~") not in text
