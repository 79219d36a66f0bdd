"""The dashboard serves a study: its page, its API, from a journal and from a real PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from study import dashboard, results, sweep
from study.config.errors import ConfigError
from study.sweeping.folder import StudyError
from tests.servers.postgres import PASSWORD, server
from tests.sweeping.commands import HEAR_CTRL_C, HERE, TINY, run_here


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The command as a process of its own; where it says that it serves."""
    process = subprocess.Popen(
        [sys.executable, "-m", "study.dashboard", str(folder), "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(Path(sweep.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=HEAR_CTRL_C,
    )
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert said.startswith("http://127.0.0.1:"), process.communicate()[1]
        yield said.split("/dashboard/")[0]
    finally:
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=30)
    assert process.returncode == 0, complaints
    assert "Traceback" not in complaints


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.status == 200
        return answer.read().decode()


def studies(url: str) -> dict[str, int]:
    """Names of what is there, and the numbers the API knows them by."""
    found = json.loads(get(f"{url}/api/studies"))["study_summaries"]
    return {each["study_name"]: each["study_id"] for each in found}


def trials(url: str, name: str) -> list[dict[str, Any]]:
    return json.loads(get(f"{url}/api/studies/{studies(url)[name]}?after=0"))["trials"]


def values(found: list[dict[str, Any]]) -> list[float]:
    return sorted(each["values"][0] for each in found if each["state"] == "Complete")


def test_it_serves_a_finished_studys_journal(smoke_study: Path) -> None:
    before = (smoke_study / "ledger.log").read_bytes()
    with serving(smoke_study) as url:
        page = get(f"{url}/dashboard/")
        assert "<title>Optuna Dashboard" in page
        (script,) = [part for part in page.split('"') if part.endswith("bundle.js")]
        assert len(get(url + script)) > 100_000, "the page's program comes from here"
        assert list(studies(url)) == ["n_vs_p"]
        shown = trials(url, "n_vs_p")
    rows = results.load(smoke_study)
    medians = rows.groupby("cell")["test_nmse_median"].median()
    assert values(shown) == pytest.approx(sorted(medians), rel=1e-12)
    assert (smoke_study / "ledger.log").read_bytes() == before, "to look changes nothing"


def test_it_is_live_and_shows_searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that grows while it is served."""
    monkeypatch.chdir(tmp_path)
    command = (*TINY, *HERE, "study=mine", "optimizer.steps=5")
    search = (*command, "optimizer.lr=tag(log,interval(1e-3,1e-1))")
    assert run_here(monkeypatch, *search, "search.n_trials=2") == 0
    study = tmp_path / "outputs" / "mine"
    with serving(study) as url:
        (name,) = [name for name in studies(url) if name.startswith("mine: ")]
        assert len(trials(url, name)) == 2
        assert run_here(monkeypatch, *search, "search.n_trials=3") == 0
        deadline = time.monotonic() + 30  # the dashboard keeps what it read for some seconds
        while len(trials(url, name)) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.5)


def test_it_serves_a_database_and_shows_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with server() as postgres:
        monkeypatch.setenv("STUDY_STORAGE", postgres.url)
        command = (*TINY, *HERE, "study=mine", "optimizer.steps=5", "data.n_train=32,48")
        assert run_here(monkeypatch, *command) == 0
        with serving(tmp_path / "outputs" / "mine") as url:
            assert list(studies(url)) == ["mine"]
            shown = trials(url, "mine")
            assert PASSWORD not in get(f"{url}/api/studies") + get(f"{url}/api/meta")
        medians = results.load("outputs/mine").groupby("cell")["test_nmse_median"].median()
        assert values(shown) == pytest.approx(sorted(medians), rel=1e-12)


def test_what_cannot_be_served_is_one_sentence(
    smoke_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StudyError, match="is not a study: it has no study"):
        dashboard.serve(tmp_path, "127.0.0.1", 0)
    (tmp_path / "study.yaml").write_bytes((smoke_study / "study.yaml").read_bytes())
    with pytest.raises(StudyError, match=r"ledger.log is not there yet"):
        dashboard.serve(tmp_path, "127.0.0.1", 0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"--port {port}: Address already in use; give"):
            dashboard.serve(smoke_study, "127.0.0.1", port)
    with pytest.raises(ConfigError, match="--port 70000: "):
        dashboard.serve(smoke_study, "127.0.0.1", 70000)
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'lagrangian-study\[dashboard\]'"):
        dashboard.serve(smoke_study, "127.0.0.1", 0)
