"""`notebooks/own_system.ipynb`: a Lagrangian in a file, a sweep over it, and what was learned."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests import notebooks

NAME = "own_system"


@pytest.fixture(scope="module")
def run():
    with pytest.MonkeyPatch.context() as patch:
        return notebooks.execute(NAME, patch)


@pytest.mark.slow
def test_the_sweep_is_done_and_drawn(run):
    said = "".join(notebooks.outputs(run, "stream"))
    assert "8 of 8 blocks are done, 0 failed" in said
    assert "system=file system.path=my_system.py" in said
    assert re.search(r"^(yes|no|undecided) ", said, re.MULTILINE)
    assert len(notebooks.outputs(run, "image/png")) == 2


@pytest.mark.slow
def test_the_network_finds_the_rest_of_the_bead(run):
    last = notebooks.outputs(run, "text/plain")[-1]
    learned = float(re.findall(r"([\d.]+) rad", last)[0])
    assert learned == pytest.approx(np.arccos(9.8 / 36), abs=0.05)


def test_committed_as_it_runs():
    notebooks.check_committed(NAME)
    assert len(notebooks.outputs(notebooks.committed(NAME), "image/png")) == 2
