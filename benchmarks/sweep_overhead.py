"""What the harness costs a cell: plan, claim, run and commit a trial that does nothing.

    python benchmarks/sweep_overhead.py            # JSON and figure here, table in docs/
    python benchmarks/sweep_overhead.py --rounds 1 --cells 1000 --workers 2 --no-write

The command is `python -m study.sweep` as a user gives it, on a grid of N cells of one block; all is
real (Hydra, processes, claims, fsync, ledger, tables, page) but `trial.run_block`, which hands back
a block made once. Beside it Hydra's own BasicSweeper on 200 jobs of a task that does nothing, with
the same config tree, and what reads a study of 10,000 cells. Rounds are interleaved, so that the
machine's noise meets all alike.

- `harness_ms`: wall-clock a cell from the start of the command until all is committed and taken
  stock of; imports and the start of workers are in it.
- `command_ms`: the same until the command ends, tables, answers and page included.
- `cpu_ms`: of all processes, in the whole command.
- `file_us`: processor time that the kernel takes to make one file where this sweep's folder lies,
  just before it. A block makes seven. On ext4 it was 12, and 300 where much had just been removed:
  so each sweep has a new folder, and nothing is removed before the end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

HERE = Path(__file__).resolve()
CELLS = (1000, 3000, 10_000)
WORKERS = (1, 2, 8)
BASIC_JOBS = 200
# a block of these takes a second to train: it is trained once, and handed back for every cell
TINY = (
    "budget=smoke",
    "replicates=1",
    "block_size=1",
    "data=uniform",
    "model.width=4",
    "model.depth=2",
    "data.n_train=32",
    "data.pool_size=20000",
    "optimizer.steps=20",
    "optimizer.batch_size=16",
    "rollout.n_times=10",
    "rollout.n_trajectories=2",
    "rollout.max_steps=50",
    "compile=false",
)


def environment(scratch: Path) -> dict[str, str]:
    """That of a command whose trial does nothing."""
    paths = [str(HERE.with_name("instant_trial")), str(HERE.parents[1])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "MADE_BLOCK": str(scratch / "made"),
        "STOPWATCH": str(scratch / "stopwatch"),
    }


def prepare(scratch: Path) -> None:
    """One block, trained for real."""
    subprocess.run(
        [sys.executable, "-m", "study.trial", "study=made", *TINY],
        cwd=scratch,
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
    )
    (block,) = scratch.glob("outputs/made/cells/*/block-000")
    block.rename(scratch / "made")
    shutil.rmtree(scratch / "outputs")


def timed(command: Sequence[str], **settings: Any) -> dict[str, float]:
    """Wall-clock and processor time of a command with all its children, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began, clock = time.time(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, **settings)
    seconds = time.perf_counter() - clock
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"began": began, "seconds": seconds, "cpu": cpu}


def grid(cells: int) -> list[str]:
    """So many cells: a hundred sizes of the training set, and as many widths as that takes."""
    return [
        "data.n_train=range(100,10100,100)",
        f"model.width=range(2,{2 + cells // 100})",
    ]


def creating(folder: Path, folders: int = 200, files: int = 6) -> float:
    """Processor time to make a file, in microseconds."""
    began = time.thread_time()
    for k in range(folders):
        (folder / str(k)).mkdir()
        for name in range(files):
            (folder / str(k) / str(name)).touch()
    return 1e6 * (time.thread_time() - began) / (folders * (files + 1))


def sweep(scratch: Path, cells: int, workers: int) -> tuple[Path, dict[str, float]]:
    """One sweep in a new folder: the study, and what it costs a cell, in ms."""
    study = f"n{cells}w{workers}"
    home = Path(tempfile.mkdtemp(dir=scratch))
    file_us = creating(home)
    given = [*TINY, *grid(cells), f"study={study}", f"workers={workers}"]
    overrides = {setting.partition("=")[0]: setting for setting in given}.values()
    command = [sys.executable, "-m", "study.sweep", *overrides]
    found = timed(command, cwd=home, env=environment(scratch))
    swept = float((scratch / "stopwatch").read_text()) - found["began"]
    folder = home / "outputs" / study
    done = len(list((folder / "cells").glob("*/block-000/replicates.parquet")))
    assert done == cells, f"{done} of {cells} blocks are done"
    per_cell = 1000 / cells
    return folder, {
        "harness_ms": swept * per_cell,
        "command_ms": found["seconds"] * per_cell,
        "cpu_ms": found["cpu"] * per_cell,
        "file_us": file_us,
    }


def basic(scratch: Path) -> dict[str, float]:
    """Hydra's BasicSweeper with its basic launcher, of a task that does nothing; ms a job."""
    script = HERE.with_name("idle_task.py")
    choices = [f"hydra/{each}=basic" for each in ("sweeper", "launcher")]
    command = [sys.executable, str(script), *choices, f"seed=range({BASIC_JOBS})", "study=basic"]
    found = timed(command, cwd=scratch, env=environment(scratch))
    return {name: 1000 * found[name] / BASIC_JOBS for name in ("seconds", "cpu")}


def reading(study: Path) -> dict[str, float]:
    """Seconds of each command that reads a finished study, as processes of their own."""
    environ = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    compact = f"from study import results; results.compact({str(study)!r})"
    commands = {
        "compaction": ["-c", compact],
        "status": ["-m", "study.status", str(study)],
        "report": ["-m", "study.report", str(study)],  # compaction, answers, figures, page
    }
    found = {
        name: timed([sys.executable, *rest], env=environ)["seconds"]
        for name, rest in commands.items()
    }
    return {**found, "page": found["report"] - found["compaction"]}


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def measure(given: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """All rounds; medians with their range."""
    sweeps: dict[tuple[int, int], list[dict[str, float]]] = {}
    studies: dict[tuple[int, int], Path] = {}
    jobs: list[dict[str, float]] = []
    for _ in range(given.rounds):
        jobs.append(basic(scratch))
        for workers in given.workers:
            for cells in given.cells:
                studies[workers, cells], found = sweep(scratch, cells, workers)
                sweeps.setdefault((workers, cells), []).append(found)
                print(f"{workers} workers, {cells} cells: {found}", flush=True)
    rows = [
        {
            "workers": workers,
            "cells": cells,
            **{name: spread([each[name] for each in found]) for name in found[0]},
        }
        for (workers, cells), found in sweeps.items()
    ]
    most, fewest = max(given.cells), min(given.cells)
    flatness = {
        str(w): spread(
            [
                a["harness_ms"] / b["harness_ms"]
                for a, b in zip(sweeps[w, most], sweeps[w, fewest], strict=True)
            ]
        )
        for w in given.workers
    }
    study = studies[given.workers[-1], most]
    reads = [reading(study) for _ in range(given.rounds)]
    inodes = sum(1 for path in (study / "cells").rglob("*"))
    size = sum(path.stat().st_size for path in study.rglob("*") if path.is_file())
    return {
        "rounds": given.rounds,
        "rows": rows,
        "flatness": {"cells": [most, fewest], "by_workers": flatness},
        "basic_sweeper": {
            "jobs": BASIC_JOBS,
            **{f"{name}_ms": spread([job[name] for job in jobs]) for name in jobs[0]},
        },
        "reading": {
            "cells": most,
            **{f"{name}_seconds": spread([each[name] for each in reads]) for name in reads[0]},
            "inodes_a_cell": inodes / most,
            "kilobytes_a_cell": size / most / 1000,
        },
    }


def draw(found: dict[str, Any], path: Path) -> None:
    """Cost a cell against the number of cells, a curve for each number of workers."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for workers in dict.fromkeys(row["workers"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["workers"] == workers]
        middle = [row["harness_ms"]["median"] for row in rows]
        errors = [
            [row["harness_ms"]["median"] - row["harness_ms"]["min"] for row in rows],
            [row["harness_ms"]["max"] - row["harness_ms"]["median"] for row in rows],
        ]
        plural = "s" if workers > 1 else ""
        axes.errorbar(
            [row["cells"] for row in rows],
            middle,
            errors,
            marker="o",
            capsize=3,
            label=f"study, {workers} worker{plural}",
        )
    jobs = found["basic_sweeper"]
    axes.errorbar(
        [jobs["jobs"]],
        [jobs["seconds_ms"]["median"]],
        [
            [jobs["seconds_ms"]["median"] - jobs["seconds_ms"]["min"]],
            [jobs["seconds_ms"]["max"] - jobs["seconds_ms"]["median"]],
        ],
        marker="s",
        capsize=3,
        linestyle="none",
        label="Hydra's BasicSweeper",
    )
    axes.axhline(5, color="grey", linestyle=":", label="5 ms")
    axes.set(xscale="log", yscale="log", xlabel="cells N", ylabel="wall-clock a cell (ms)")
    n = found["rounds"]
    title = f"A trial that does nothing, {found['machine']['cores']} cores; n = {n} rounds"
    axes.set_title(f"{title}, medians and ranges", fontsize=10)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)


def tell(found: dict[str, Any], page: Path) -> None:
    """Write the table into the page, between its marks."""

    def text(row: dict[str, float], digits: int = 1) -> str:
        return f"{row['median']:.{digits}f} [{row['min']:.{digits}f}, {row['max']:.{digits}f}]"

    machine, jobs, reads = found["machine"], found["basic_sweeper"], found["reading"]
    most, fewest = found["flatness"]["cells"]
    lines = [
        f"{machine['cores']} cores, medians and ranges of {found['rounds']} rounds; load before "
        f"was {machine['load_before']:.1f}. Wall-clock of the command until all is committed, and "
        "until tables, answers and page are there; both with imports and the start of workers. "
        "Last: what the kernel takes to make a file there.",
        "",
        "| workers | cells | ms a cell | with tables and page | CPU, all processes | µs a file |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        costs = (row[name] for name in ("harness_ms", "command_ms", "cpu_ms"))
        cells = f"{row['workers']} | {row['cells']:,}"
        files = text(row["file_us"], 0)
        lines.append(f"| {cells} | {' | '.join(text(cost) for cost in costs)} | {files} |")
    lines.append(f"| BasicSweeper | {jobs['jobs']} | {text(jobs['seconds_ms'])} | | | |")
    ratios = ", ".join(f"{text(r, 2)} with {w}" for w, r in found["flatness"]["by_workers"].items())
    lines += [
        "",
        f"Cost a cell at {most:,} over that at {fewest:,}: {ratios} workers.",
        f"Reading {reads['cells']:,} cells: compaction {text(reads['compaction_seconds'])} s, "
        f"`study.status` {text(reads['status_seconds'])} s, answers and page "
        f"{text(reads['page_seconds'])} s. On disk {reads['inodes_a_cell']:.0f} inodes and "
        f"{reads['kilobytes_a_cell']:.0f} kB a cell.",
    ]
    begin, end = "<!-- overhead: written by benchmarks/sweep_overhead.py -->", "<!-- /overhead -->"
    before, _, rest = page.read_text().partition(begin)
    after = rest.partition(end)[2]
    page.write_text(before + "\n".join([begin, "", *lines, "", end]) + after)


def show(found: dict[str, Any]) -> None:
    """The figures in the terminal."""
    for row in found["rows"]:
        parts = [f"{name} {row[name]['median']:.2f}" for name in row if name.endswith("_ms")]
        print(f"{row['cells']:>6} cells, {row['workers']} workers: {', '.join(parts)}")
    for part in ("flatness", "basic_sweeper", "reading"):
        print(part, json.dumps(found[part], indent=1))


def main() -> None:
    """Measure, print, and write the JSON and the figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cells", type=int, nargs="+", default=CELLS, help="multiples of 100")
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument(
        "--folder",
        type=Path,
        default=HERE.parents[1] / "outputs",  # /tmp may be memory, where an fsync costs nothing
        help="on the disk that is to be measured",
    )
    parser.add_argument("--no-write", action="store_true")
    given = parser.parse_args()
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[1],  # of the last five minutes: others' work, if any
    }
    given.folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sweep-overhead-", dir=given.folder) as folder:
        scratch = Path(folder)
        prepare(scratch)
        found = {"machine": machine, **measure(given, scratch)}
    show(found)
    if not given.no_write:
        HERE.with_suffix(".json").write_text(json.dumps(found, indent=2) + "\n")
        draw(found, HERE.with_suffix(".png"))
        tell(found, HERE.parents[1] / "docs" / "going_further.md")


if __name__ == "__main__":
    main()
