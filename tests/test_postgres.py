"""A real PostgreSQL serves ledger and search: it may crash, and no one sees its password."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
import psutil
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from study import results, sweep
from study.sweeping import ledger
from study.sweeping.folder import StudyFolder, write_yaml
from study.sweeping.search import Search
from study.sweeping.storage import FROM_VARIABLE, open_storage
from tests.servers.postgres import PASSWORD, Server, server
from tests.sweeping.commands import HERE, TINY, last_given

SPACE = {
    "optimizer.lr": FloatDistribution(1e-4, 1e-1, log=True),
    "model.beta": FloatDistribution(0.1, 10.0),
    "model.activation": CategoricalDistribution(["tanh", "softplus"]),
}
WORKERS, TRIALS = 8, 160
GRID = ("data.n_train=32,48", "model.width=4,6")
SPELLINGS = (PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), PASSWORD.replace("{", "{{"))


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server() as made:
        yield made


@pytest.fixture
def variable(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STUDY_STORAGE", postgres.url)
    return postgres.url


def value(params: dict[str, Any]) -> float:
    wrong = params["model.activation"] != "tanh"
    return abs(math.log10(params["optimizer.lr"]) + 2) + abs(params["model.beta"] - 1) + wrong


def search_alone(folder: str, name: str, told: str) -> None:
    """One worker: what it finished is in a file of its own, which no database can lose."""
    storage = open_storage(FROM_VARIABLE, Path(folder) / "ledger.log")
    search = Search(storage, name, Path(folder) / "trials", SPACE, n_trials=TRIALS)
    with open(told, "w") as file:
        while search.left():
            if (asked := search.ask()) is None:
                time.sleep(0.1)
                continue
            time.sleep(0.05)
            found = value(dict(asked.params))
            if search.tell(asked.number, found):
                print(json.dumps([asked.number, found]), file=file, flush=True)


def done_of(folder: Path) -> list[tuple[int, float]]:
    lines = [line for file in folder.glob("told-*") for line in file.read_text().splitlines()]
    return [tuple(json.loads(line)) for line in lines]


def test_a_crash_of_the_server_in_mid_search_loses_nothing(
    postgres: Server, variable: str, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is imported once, not by each worker
    workers = [
        context.Process(target=search_alone, args=(str(tmp_path), "search", str(tmp_path / name)))
        for name in (f"told-{n}" for n in range(WORKERS))
    ]
    for worker in workers:
        worker.start()
    try:
        for share in (0.25, 0.5):
            wait(lambda share=share: len(done_of(tmp_path)) > share * TRIALS, workers)
            before = len(done_of(tmp_path))
            postgres.stop("immediate")
            time.sleep(2)
            postgres.start()
            assert before < TRIALS
        killed = workers[0]
        killed.kill()  # with a trial in its hands, mostly
        for worker in workers:
            worker.join(120)
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.exitcode for worker in workers[1:]] == [0] * (WORKERS - 1)

    study = optuna.load_study(study_name="search", storage=open_storage(FROM_VARIABLE, tmp_path))
    trials = study.get_trials()
    assert [trial.number for trial in trials] == list(range(TRIALS)), "the budget, exactly"
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    told = done_of(tmp_path)
    assert len(told) == len(dict(told)), "each finished once"
    # the killed worker may have died between telling and writing down
    assert TRIALS - 1 <= len(told) <= TRIALS
    values = {trial.number: trial.value for trial in trials}
    assert values | dict(told) == values, "and with its worker's value"
    for trial in trials:
        assert trial.value == value(trial.params)
    first, last = ([t.value for t in trials[s]] for s in (slice(20), slice(-40, None)))
    assert sorted(last)[20] < sorted(first)[10], "TPE learned"


@pytest.mark.cluster
def test_a_sweep_of_eight_workers_outlives_a_restart_of_the_server(
    postgres: Server, variable: str, tmp_path: Path
) -> None:
    n = 24
    searched = ("optimizer.lr=tag(log,interval(1e-4,1e-1))", "search.pruner=none")
    head, watch = begin(tmp_path, *searched, "study=restarted", "workers=8", f"search.n_trials={n}")

    def records() -> dict[int, dict[str, Any]]:
        files = (tmp_path / "outputs/restarted").glob("searches/*/trial-*.json")
        found = [json.loads(path.read_text()) for path in files]
        return {each["number"]: each for each in found if each["state"] == "complete"}

    end = time.monotonic() + 120
    while len(records()) < n / 4:
        assert head.poll() is None, finish(head, watch)[1]
        assert time.monotonic() < end, "waited two minutes"
        time.sleep(0.02)
    postgres.stop("immediate")
    time.sleep(2)
    before = records()
    postgres.start()
    assert len(before) < n
    status, output, titles = finish(head, watch)
    assert status == 0, output

    found = records()
    assert sorted(found) == list(range(n)), "the budget, exactly"
    assert {number: found[number] for number in before} == before, "nothing is lost"
    storage = open_storage(FROM_VARIABLE, tmp_path)
    (name,) = (s for s in optuna.get_all_study_names(storage) if s.startswith("restarted: "))
    told = optuna.load_study(study_name=name, storage=storage).get_trials()
    assert {t.number: [t.value] for t in told} == {k: each["values"] for k, each in found.items()}
    rows = results.load(tmp_path / "outputs/restarted")
    medians = rows.groupby("cell")["test_nmse_median"].median()
    for each in found.values():
        assert each["values"] == [pytest.approx(medians[each["cell"]], rel=1e-12)]
    assert_secret(tmp_path, output, titles)


def wait(condition: Any, workers: list[Any]) -> None:
    end = time.monotonic() + 180  # eight processes have to import torch first
    while not condition():
        assert all(worker.exitcode is None for worker in workers), "a worker gave up"
        assert time.monotonic() < end, "waited three minutes"
        time.sleep(0.02)


class Watch(threading.Thread):
    """Collects the command lines of a process and all below it while it runs."""

    def __init__(self, process: subprocess.Popen[str]):
        super().__init__(daemon=True)
        self._process, self.seen = process, set[str]()

    def run(self) -> None:
        while self._process.poll() is None:
            try:
                top = psutil.Process(self._process.pid)
                for each in (top, *top.children(recursive=True)):
                    self.seen.add(Path(f"/proc/{each.pid}/cmdline").read_bytes().decode())
            except (psutil.Error, OSError):
                continue
            time.sleep(0.01)


def begin(folder: Path, *arguments: str) -> tuple[subprocess.Popen[str], Watch]:
    """Start the real command, watched."""
    process = subprocess.Popen(
        [sys.executable, "-m", "study.sweep", *last_given(("study=mine", *TINY, *arguments))],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(sweep.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watch = Watch(process)
    watch.start()
    return process, watch


def finish(process: subprocess.Popen[str], watch: Watch) -> tuple[int, str, set[str]]:
    """A command's exit status, all it said, and all command lines seen."""
    output, _ = process.communicate(timeout=300)
    watch.join()
    return process.returncode, output, watch.seen


def sweep_in(folder: Path, *arguments: str) -> tuple[int, str, set[str]]:
    """Run the real command."""
    return finish(*begin(folder, *arguments))


def assert_secret(folder: Path, output: str, titles: set[str]) -> None:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    for secret in SPELLINGS:
        assert secret not in output
        assert not [title for title in titles if secret in title]
        assert not [path for path in files if secret.encode() in path.read_bytes()]


@pytest.mark.cluster
def test_a_grid_is_recorded_and_the_password_nowhere_seen(variable: str, tmp_path: Path) -> None:
    status, output, titles = sweep_in(tmp_path, *GRID, "workers=2")
    assert status == 0, output
    assert len(titles) > 2, "workers were seen"
    assert_secret(tmp_path, output, titles)
    study = tmp_path / "outputs" / "mine"
    assert not (study / "ledger.log").exists()
    said = (study / "study.yaml").read_text()
    assert f"storage: '{FROM_VARIABLE}: postgresql+psycopg://127.0.0.1" in said
    book = optuna.load_study(study_name="mine", storage=open_storage(FROM_VARIABLE, study))
    assert sorted(trial.state.name for trial in book.get_trials()) == ["COMPLETE"] * 4
    assert len({trial.user_attrs["cell"] for trial in book.get_trials()}) == 4


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((PASSWORD, "Falsch-7c41"), "password authentication failed"),
        (("/study", "/other"), 'database "other" does not exist'),
        (("postgresql://", "postgresql:/"), "STUDY_STORAGE is not a URL"),
        ((PASSWORD, f"{PASSWORD}@more"), "STUDY_STORAGE is not a URL"),
    ],
)
def test_a_url_that_cannot_be_right(
    variable: str, change: tuple[str, str], reason: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("STUDY_STORAGE", change[1].join(variable.rsplit(change[0], 1)))
    status, output, titles = sweep_in(tmp_path)
    assert status == 1
    assert output.splitlines()[-1].startswith("error: STUDY_STORAGE")
    assert reason in output
    assert "Traceback" not in output
    assert "Falsch" not in output
    assert_secret(tmp_path, output, titles)
    assert not list(tmp_path.iterdir()), "nothing was made"


def test_a_password_on_the_command_line_is_refused(variable: str, tmp_path: Path) -> None:
    status, output, _ = sweep_in(tmp_path, f"storage={variable}")
    assert status == 1
    assert output.startswith("error: storage holds a password")
    assert "STUDY_STORAGE" in output
    assert "pgpass" in output
    assert_secret(tmp_path, output, set())


def test_studies_of_one_name_are_kept_apart(variable: str, tmp_path: Path) -> None:
    """Somebody else's `ours`, or this one begun afresh, is another ledger."""
    names = []
    for run in ("first", "second", "first"):
        folder = StudyFolder(tmp_path / run / "ours")
        folder.root.mkdir(parents=True, exist_ok=True)
        write_yaml(folder.root / "study.yaml", {"provenance": {"run": run}})
        names.append(ledger.open_ledger(folder, FROM_VARIABLE).study_name)
    assert names == ["ours", "ours-second", "ours"]


@pytest.mark.cluster
def test_null_on_the_command_line_wins(variable: str, tmp_path: Path) -> None:
    status, output, _ = sweep_in(tmp_path, "storage=null", *HERE)
    assert status == 0, output
    assert (tmp_path / "outputs" / "mine" / "ledger.log").exists()
