"""Where a laptop study's time goes, and what a second worker brings.

    python benchmarks/laptop_study.py             # JSON and figure here, table in docs/
    python benchmarks/laptop_study.py --rounds 1 --no-write

The command is `python -m study.sweep +experiment=n_vs_p` as a user gives it, in an empty folder,
with one worker and with two in turn. What is made once a machine (the C++ library, data sets) may
be there already. Shares are of the whole command: its start until the first block begins, its end
after the last (tables, answers, figures, page), and between them the parts of blocks, in proportion
to what their logs say.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reporting import tell, write

ROOT = Path(__file__).resolve().parents[1]
WORKERS = (1, 2)
MOST = 15.0  # percent that anything but training should take
_PARTS = re.compile(r" block \d+: (set-up .*)")


def run(workers: int, experiment: str, folder: Path) -> dict[str, Any]:
    """One sweep: seconds of the command, of its blocks from first to last, of their parts."""
    command = ["-m", "study.sweep", f"+experiment={experiment}", f"workers={workers}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    began, clock = time.time(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    seconds = time.perf_counter() - clock
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    blocks = sorted((folder / "outputs" / experiment / "cells").glob("*/block-*/run.json"))
    about = [json.loads(path.read_text()) for path in blocks]
    ends = [each["started"] + each["seconds"] for each in about]
    first, last = min(each["started"] for each in about), max(ends)
    return {
        "command": seconds,
        "blocks": last - first,
        "start": first - began,
        "end": seconds - (last - began),
        "parts": dict(sum((parts_of(path.with_name("log.txt")) for path in blocks), Counter())),
        "n_blocks": len(blocks),
    }


def parts_of(log: Path) -> Counter[str]:
    """Seconds of each part of one block."""
    found = _PARTS.search(log.read_text())
    if found is None:
        raise ValueError(f"{log} does not say what its block's time went into")
    named = (part.removesuffix(" s").rsplit(" ", 1) for part in found[1].split(", "))
    return Counter({name: float(seconds) for name, seconds in named})


def measure(rounds: int, experiment: str) -> dict[str, Any]:
    """All rounds, one worker and two in turn."""
    runs: dict[int, list[dict[str, Any]]] = {workers: [] for workers in WORKERS}
    for _ in range(rounds):
        for workers in WORKERS:
            with tempfile.TemporaryDirectory(prefix="laptop-study-") as folder:
                runs[workers].append(run(workers, experiment, Path(folder)))
            last = runs[workers][-1]
            print(f"{workers} workers: {last['command']:.0f} s, blocks {last['blocks']:.0f} s")
    shares: dict[str, list[float]] = {}
    for each in runs[WORKERS[-1]]:
        in_blocks = each["blocks"] / sum(each["parts"].values())
        parts = {name: in_blocks * seconds for name, seconds in each["parts"].items()}
        parts = {"start": each["start"], **parts, "tables, answers, page": each["end"]}
        for name, seconds in parts.items():
            shares.setdefault(name, []).append(100 * seconds / each["command"])
    one, two = (runs[workers] for workers in WORKERS)
    return {
        "experiment": experiment,
        "n_blocks": one[0]["n_blocks"],
        "rounds": rounds,
        "load_before": os.getloadavg()[1],
        "seconds": {
            what: {str(w): [each[what] for each in runs[w]] for w in WORKERS}
            for what in ("command", "blocks", "start", "end")
        },
        "times_faster": {
            what: [a[what] / b[what] for a, b in zip(one, two, strict=True)]
            for what in ("command", "blocks")
        },
        "shares": shares,
    }


def text(values: Sequence[float], digits: int = 0) -> str:
    """Median and range."""
    middle, low, high = (f(values) for f in (statistics.median, min, max))
    if len(values) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def table(found: dict[str, Any]) -> list[str]:
    """The two tables, as Markdown."""
    lines = ["| | one worker, s | two workers, s | times faster |", "|---|---|---|---|"]
    names = {"command": "the whole command, page included", "blocks": "its blocks"}
    for what, name in names.items():
        seconds = found["seconds"][what]
        faster = text(found["times_faster"][what], 2)
        lines.append(f"| {name} | {text(seconds['1'])} | {text(seconds['2'])} | {faster} |")
    lines += ["", "| part of the command, two workers | % of its time |", "|---|---|"]
    return lines + [f"| {name} | {text(share, 1)} |" for name, share in found["shares"].items()]


def draw(found: dict[str, Any], path: Path) -> None:
    """Shares as bars."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(found["shares"])
    middle = [statistics.median(found["shares"][name]) for name in names]
    low = [m - min(found["shares"][name]) for m, name in zip(middle, names, strict=True)]
    high = [max(found["shares"][name]) - m for m, name in zip(middle, names, strict=True)]
    figure, axes = pyplot.subplots(figsize=(6, 3), layout="constrained")
    axes.barh(names, middle, xerr=[low, high], capsize=3, color="#0072B2")
    axes.axvline(MOST, color="grey", linestyle=":", label=f"{MOST:.0f} %")
    axes.invert_yaxis()
    axes.set_xlabel("share of the command's time (%)")
    n = f"{found['n_blocks']} blocks; medians and ranges of n = {found['rounds']} rounds"
    axes.set_title(f"{found['experiment']}, two workers, {n}", fontsize=8)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, print, and write the JSON, the figure and the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--experiment", default="n_vs_p")
    parser.add_argument("--no-write", action="store_true")
    given = parser.parse_args()
    found = measure(given.rounds, given.experiment)
    lines = table(found)
    print("\n".join(lines))
    if not given.no_write:
        write(__file__, found)
        draw(found, Path(__file__).with_suffix(".png"))
        tell("docs/speed.md", "laptop study", lines)


if __name__ == "__main__":
    main()
