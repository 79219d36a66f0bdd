"""`notebooks/error_budget.ipynb`: one model's rollout error, taken apart."""

from __future__ import annotations

import re

import pytest

from tests import notebooks

NAME = "error_budget"


def factor(text: str) -> float:
    """The number before the bracket of `1.2 [0.9, 1.5]`."""
    found = re.match(r"([\d.e+-]+) \[", text)
    assert found, text
    return float(found[1])


@pytest.fixture(scope="module")
def run():
    with pytest.MonkeyPatch.context() as patch:
        return notebooks.execute(NAME, patch)


def cells(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]


@pytest.mark.slow
def test_it_runs_and_draws(run):
    assert len(notebooks.outputs(run, "image/png")) == 4
    assert "stderr" not in {out.get("name") for c in notebooks.code(run) for out in c.outputs}


@pytest.mark.slow
def test_the_rollout_follows_its_forecast_and_the_integrator_is_not_to_blame(run):
    """To first order the model's error along the true motion is all there is: at t = 1 s the
    rollout is what the linearised flow makes of it."""
    table = cells(notebooks.outputs(run, "text/html")[0])
    first = next(row for row in table if row and row[0] == "1")
    _, error, integrator, added, flow, forecast = first
    assert 0.8 < factor(forecast) < 1.25
    assert factor(integrator) < 1e-2
    assert 0.1 < factor(flow) < 10
    assert factor(error) < 1
    assert factor(added) > 0


def test_committed_as_it_runs():
    notebooks.check_committed(NAME)
    assert len(notebooks.outputs(notebooks.committed(NAME), "image/png")) == 4
