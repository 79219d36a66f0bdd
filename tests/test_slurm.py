"""Sweeps on a real SLURM of two nodes: nothing is lost, and the table equals the local one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from study import sweep
from study.sweeping import slurm as slurm_jobs
from study.sweeping.folder import StudyError, StudyFolder
from study.sweeping.monitor import Monitor, Snapshot
from study.sweeping.orders import outputs_folder
from tests.servers.slurm import NODES, Cluster, cluster
from tests.sweeping.commands import TINY, assert_same, run_here, start, wait_for

SLURM = ("hydra/launcher=submitit_slurm", "workers=4")
# long enough for what happens to it to find it at work
HERE = ("+experiment=n_vs_p", "budget=smoke", "optimizer.steps=5000")
N_VS_P = (*HERE, *SLURM)
GRID = (*TINY, "study=n_vs_p", "optimizer.steps=10000", "replicates=8", "block_size=1")
MANY = (*GRID, *SLURM)


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study by workers of this machine."""
    folder = tmp_path_factory.mktemp("undisturbed")
    end(start(folder, *HERE, "workers=2"))
    return folder / "outputs" / "n_vs_p"


@pytest.fixture
def slurm(running: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cluster]:
    """An idle cluster, the one that commands of this test find."""
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    yield running
    running.run("scancel", "--full", "--me")
    for name in NODES:
        if name not in running.daemons:
            running.start_node(name)
    wait_for(lambda: not running.jobs() and running.idle())


def look(folder: Path) -> Snapshot | None:
    try:
        return Monitor(folder / "outputs" / "n_vs_p").look()
    except StudyError:
        return None


def under_way(folder: Path) -> bool:
    """Something is done, and something running."""
    now = look(folder)
    return now is not None and now.done > 0 and bool(now.running)


def training(folder: Path) -> int:
    """How many blocks are past their first steps."""
    now = look(folder)
    return sum(running.fraction > 0 for running in now.running) if now else 0


def end(head: subprocess.Popen[str], status: int = 0) -> str:
    output, _ = head.communicate(timeout=300)
    assert head.returncode == status, output
    return output


def states(slurm: Cluster) -> list[str]:
    return [line.split()[1] for line in slurm.jobs()]


def failures(folder: Path) -> list[Path]:
    return list(folder.rglob("*.failed-*.json"))


@pytest.mark.cluster
def test_four_workers_on_two_nodes(slurm: Cluster, undisturbed: Path, tmp_path: Path) -> None:
    head = start(tmp_path, *N_VS_P)
    wait_for(lambda: states(slurm).count("RUNNING") == 4, head)
    nodes = set(slurm.jobs("%N"))
    said = end(head)
    assert nodes == set(NODES)
    assert "SLURM: 4 workers are job " in said
    assert_same(tmp_path / "outputs" / "n_vs_p", undisturbed)
    assert (tmp_path / "outputs/n_vs_p/report/index.html").exists()
    wait_for(lambda: not slurm.jobs())


@pytest.mark.cluster
@pytest.mark.parametrize("with_jobs", [False, True])
def test_a_node_whose_daemon_is_killed(
    slurm: Cluster, undisturbed: Path, tmp_path: Path, with_jobs: bool
) -> None:
    head = start(tmp_path, *N_VS_P)
    wait_for(lambda: under_way(tmp_path), head)
    slurm.kill_node("n2", with_jobs=with_jobs)
    end(head)
    assert_same(tmp_path / "outputs" / "n_vs_p", undisturbed)


def test_jobs_that_are_preempted(slurm: Cluster, undisturbed: Path, tmp_path: Path) -> None:
    head = start(tmp_path, *N_VS_P)
    wait_for(lambda: under_way(tmp_path), head)
    important = ("--partition=high", "--ntasks=4", "--output=/dev/null", "--wrap=sleep 3")
    slurm.run("sbatch", *important)
    end(head)
    requeued = slurm.run("sacct", "--noheader", "--duplicates", "--allocations", "--format=state")
    assert requeued.count("REQUEUED") + requeued.count("PREEMPTED") > 0
    assert not failures(tmp_path), "to be preempted is no failure"
    assert_same(tmp_path / "outputs" / "n_vs_p", undisturbed)


@pytest.mark.cluster
def test_a_waiting_task_that_is_cancelled(
    slurm: Cluster, undisturbed: Path, tmp_path: Path
) -> None:
    head = start(tmp_path, *N_VS_P, "hydra.launcher.array_parallelism=3")
    wait_for(lambda: sorted(states(slurm)) == ["PENDING", *["RUNNING"] * 3], head)
    (waiting,) = (line.split()[0] for line in slurm.jobs() if "PENDING" in line)
    slurm.run("scancel", waiting)
    end(head)
    assert_same(tmp_path / "outputs" / "n_vs_p", undisturbed)


@pytest.mark.cluster
def test_a_head_that_is_killed(slurm: Cluster, undisturbed: Path, tmp_path: Path) -> None:
    head = start(tmp_path, *N_VS_P)
    wait_for(lambda: under_way(tmp_path), head)
    head.kill()
    head.wait()
    jobs = slurm.jobs("%i")
    time.sleep(3)  # long enough for workers that die with their head to do so
    assert "RUNNING" in states(slurm), "jobs go on without their head"
    said = end(start(tmp_path, *N_VS_P))
    assert "workers are job" not in said, "those that are there are enough"
    assert jobs
    assert not failures(tmp_path)
    assert_same(tmp_path / "outputs" / "n_vs_p", undisturbed)


def command(folder: Path, module: str, *arguments: str) -> str:
    """What a command prints, as another login gives it."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(sweep.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.cluster
def test_submit_log_out_log_in(slurm: Cluster, tmp_path: Path) -> None:
    said = end(start(tmp_path, *MANY, "detach=true"))
    assert "detached: python -m study.status" in said
    assert len(slurm.jobs()) == 4
    now = look(tmp_path)
    assert (now.total, len(now.failed)) == (8, 0)
    wait_for(lambda: training(tmp_path) == 4)
    status = json.loads(command(tmp_path, "study.status", "--json", "outputs/n_vs_p"))
    assert status["total"] == 8
    assert status["running"]
    number = slurm.jobs("%F")[0]
    # what SLURM does some time before a job's own time is over
    slurm.run("scancel", "--signal=USR2", number)
    wait_for(lambda: states(slurm).count("PENDING") > 0)
    command(tmp_path, "study.report", "outputs/n_vs_p")
    assert (tmp_path / "outputs/n_vs_p/report/index.html").exists()
    said = end(start(tmp_path, *MANY))
    assert "workers are job" not in said, "they came back by themselves"
    records = slurm.run(
        "sacct", "--noheader", "--duplicates", f"--jobs={number}", "-o", "state,exit"
    )
    assert "REQUEUED" in records
    assert f"{slurm_jobs.PREEMPTED}:0" in records
    assert not failures(tmp_path)
    here = tmp_path / "undisturbed"
    here.mkdir()
    end(start(here, *GRID, "workers=2"))
    assert_same(tmp_path / "outputs" / "n_vs_p", here / "outputs" / "n_vs_p")


@pytest.mark.cluster
def test_ctrl_c_cancels_the_studys_jobs_and_no_others(slurm: Cluster, tmp_path: Path) -> None:
    slurm.run("sbatch", "--partition=high", "--output=/dev/null", "--wrap=sleep 600")
    head = start(tmp_path, *MANY, "optimizer.steps=1000000")
    wait_for(lambda: training(tmp_path) == 3, head)
    ids = [line.split()[0] for line in slurm.jobs("%i %j") if "study-n_vs_p" in line]
    head.send_signal(signal.SIGINT)
    said = end(head, 130)
    assert len(ids) == 4, "three that run and one that waits"
    assert f"SLURM: jobs {', '.join(ids)} are cancelled" in said
    assert "interrupted: 0 of 8 blocks are kept" in said
    assert len(slurm.jobs()) == 1, "the other job goes on"
    study = tmp_path / "outputs" / "n_vs_p"
    assert not list(study.rglob("*.lock*")), "its blocks are free"
    assert len(list(study.rglob("*.checkpoint.pt"))) == 3
    assert not failures(tmp_path)


@pytest.mark.cluster
def test_jobs_that_die_again_and_again_end_the_command(
    slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_jobs, "ASK", 1.0)
    settings = ("hydra.launcher.setup=['echo no such luck; exit 1']", "retries=0")
    assert run_here(monkeypatch, *MANY, *settings) == 1
    folder = outputs_folder("n_vs_p")
    assert Monitor(folder.root).look().missing == 8
    assert len(list(Path("outputs/.submitit/n_vs_p").glob("*_0"))) == 2


@pytest.mark.cluster
def test_what_sbatch_refuses_is_one_sentence(
    slurm: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run_here(monkeypatch, *MANY, "hydra.launcher.partition=nowhere")
    assert str(said).startswith("error: sbatch refuses the workers: ")
    assert "invalid partition" in str(said)
    assert "\n" not in str(said)


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        (("workers=2000", "replicates=2000"), "an array has 1001 jobs at most, give workers=1001"),
        (
            ("hydra.launcher.mem_gb=100",),
            "partition main has 2 nodes (idle) of 2 cores and 8000 MB: ask for less",
        ),
    ],
)
def test_what_sbatch_would_accept_is_said(
    slurm: Cluster, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...], remedy: str
) -> None:
    said = str(run_here(monkeypatch, *MANY, *settings))
    assert said.startswith("error: sbatch refuses the workers: ")
    assert remedy in said


@pytest.mark.cluster
def test_jobs_that_wait_for_nodes_say_what_they_ask_for(slurm: Cluster, tmp_path: Path) -> None:
    slurm.run("scontrol", "update", "nodename=n1,n2", "state=drain", "reason=test")
    try:
        head = start(tmp_path, *MANY, "optimizer.steps=5")
        wait_for(lambda: bool(slurm.jobs()), head)
        time.sleep(12)
    finally:
        slurm.run("scontrol", "update", "nodename=n1,n2", "state=resume")
    said = end(head)
    assert "SLURM: a worker asks for cpu=1, mem=4G; partition main has 2 nodes (drained)" in said


@pytest.mark.cluster
def test_without_srun_a_worker_hears_its_signals(slurm: Cluster, tmp_path: Path) -> None:
    few = ("workers=2", "replicates=2", "optimizer.steps=5000")
    head = start(tmp_path, *MANY, *few, "hydra.launcher.use_srun=false")
    wait_for(lambda: training(tmp_path) == 2, head)
    number = slurm.jobs("%F")[0]
    assert f"{number}.0" not in slurm.run("sacct", "--noheader", f"--jobs={number}", "-o", "jobid")
    slurm.run("scancel", "--batch", "--signal=USR2", number)
    wait_for(lambda: states(slurm).count("PENDING") > 0)
    end(head)
    assert not failures(tmp_path)


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("hydra.launcher.nodes=2", "hydra.launcher.nodes=2: a worker is one task on one node"),
        ("hydra.launcher.timeout_min=long", "timeout_min"),
        ("hydra.launcher.queue=main", "queue"),
        ("+hydra.launcher.queue=main", "queue"),
        ("hydra.launcher.submitit_folder=outputs/n_vs_p/jobs/%j", "lies in the study"),
    ],
)
def test_a_wrong_setting_is_one_sentence(
    slurm: Cluster, monkeypatch: pytest.MonkeyPatch, setting: str, named: str
) -> None:
    said = str(run_here(monkeypatch, *MANY, setting))
    assert said.startswith("error: ")
    assert named in said
    assert not Path("outputs").exists()


@pytest.mark.cluster
def test_a_place_for_logs_that_cannot_be_written_to_is_one_sentence(
    slurm: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = str(run_here(monkeypatch, *MANY, "hydra.launcher.submitit_folder=/proc/%j"))
    assert said.startswith("error: hydra.launcher.submitit_folder=/proc/%j cannot be written to: ")
    assert "\n" not in said


@pytest.mark.cluster
def test_a_slurm_that_does_not_answer_is_one_sentence(
    slurm: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its controller is down, say."""
    silent = tmp_path / "slurm.conf"
    port = f"SlurmctldPort={slurm.ports['slurmctld']}"
    text = slurm.configuration.read_text()
    assert port in text
    silent.write_text(text.replace(port, "SlurmctldPort=1"))
    monkeypatch.setenv("SLURM_CONF", str(silent))
    for more in ((), ("detach=true",)):
        said = str(run_here(monkeypatch, *MANY, *more))
        assert said.startswith("error: SLURM does not answer: ")
        assert "slurm_load_jobs" in said
        assert "\n" not in said


def test_without_slurm_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = str(run_here(monkeypatch, *MANY))
    assert "there is no sbatch here" in said


def test_workers_of_this_machine_cannot_be_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    said = str(run_here(monkeypatch, *TINY, "detach=true"))
    assert said.startswith("error: detach=true: workers of hydra/launcher=joblib end with this")


@pytest.mark.cluster
def test_jobs_of_a_namesake_are_anothers(tmp_path: Path, slurm: Cluster) -> None:
    settings = {"submitit_folder": "x", "nodes": 1, "tasks_per_node": 1}
    names = set()
    for place in ("here", "there"):
        folder = StudyFolder(tmp_path / place / "mine")
        folder.root.mkdir(parents=True)
        (folder.root / "study.yaml").write_text("provenance: {run: abc}\n")
        names.add(slurm_jobs.Queue(folder, settings, {}, print).name)
    assert len(names) == 2
