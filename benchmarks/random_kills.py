"""What is lost of a study whose processes are killed at random: nothing, or this says what.

    python benchmarks/random_kills.py --kills 200     # a line; JSON beside this file

A study of 200 very cheap blocks is run once undisturbed, then in another folder while its head,
its workers and their trainers are killed by SIGKILL at moments drawn from a fixed seed. Whenever
the head is dead its command is given again; its workers then end by themselves. Only kills that
hit a living process count.

Knows: processes and committed files. Does not know: how a sweep protects what it has.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import itertools
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas as pd
import psutil

ROOT = Path(__file__).parents[1]
REPLICATES = 8
SETTINGS = (
    "study=killed",
    "budget=smoke",
    "system=oscillator",
    "data=uniform",
    "data.pool_size=200",
    "data.n_train=16,20,24,28,32",
    "model.depth=1",
    "model.width=2,3,4,5,6",
    "optimizer.steps=30",
    "optimizer.batch_size=8",
    "rollout.n_times=5",
    "rollout.n_trajectories=1",
    "rollout.max_steps=20",
    "rollout.horizon=0.5",
    "diagnostics.error_budget=false",
    "compile=false",
    "block_size=1",
    "workers=2",
    "retries=1000",  # each death costs the block that was held an attempt
)
CELLS = 5 * 5
LAST = 0.9  # of the blocks are done when the last kill is due
DELAY = 0.1  # seconds a kill comes late at most: some blocks' time
EARLY = 0.25  # of the kills do not wait until somebody trains


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of a study; all but `hits`, `commands` and `seconds` is to be 0.

    - `hits`: kills of living processes, by what they were.
    - `commands`: how often the command was given.
    - `missing`, `changed`, `different`: blocks that are not there, that were written again once
      they were committed, that are not equal bit by bit to the undisturbed.
    - `left`: files that lie beside the blocks and are no record of a failure.
    """

    hits: dict[str, int]
    commands: int
    seconds: float
    missing: int
    changed: int
    different: int
    left: int


class Commits:
    """The committed files as they were when they were first seen."""

    def __init__(self, study: Path):
        self._study = study
        self._first: dict[Path, dict[str, tuple[int, int]]] = {}

    def look(self) -> int:
        """How many blocks are committed."""
        for folder in self._study.glob("cells/*/block-[0-9][0-9][0-9]"):
            if folder not in self._first:
                self._first[folder] = _files(folder)
        return len(self._first)

    def changed(self) -> int:
        """Blocks that are not as they were."""
        return sum(_files(folder) != files for folder, files in self._first.items())


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    status = {path.name: path.stat() for path in folder.iterdir()}
    return {name: (file.st_ino, file.st_mtime_ns) for name, file in status.items()}


def command(home: Path, replicates: int = REPLICATES) -> subprocess.Popen[bytes]:
    """Give the sweep's command; what it says goes to a file in `home`."""
    with (home / "said.txt").open("ab") as said:
        return subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "study.sweep",
                *SETTINGS,
                f"replicates={replicates}",
            ],
            cwd=home,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=said,
            stderr=said,
        )


def undisturbed(home: Path, replicates: int = REPLICATES) -> Path:
    """The folder of the study that nobody disturbs."""
    _succeed(command(home, replicates), home)
    return home / "outputs" / "killed"


def disturbed(
    home: Path, kills: int, seed: int, right: Path, replicates: int = REPLICATES
) -> Report:
    """Run the study in `home` and kill; compare with `right`, the undisturbed.

    **Raises:** `RuntimeError` if the command, when it was not killed, ends with a failure.
    """
    begun = time.monotonic()
    draw = random.Random(seed)
    study = home / "outputs" / "killed"
    commits = Commits(study)
    hits: collections.Counter[str] = collections.Counter()
    blocks = CELLS * replicates
    head, commands = command(home, replicates), 1
    for due in sorted(draw.randrange(round(LAST * blocks)) for _ in range(kills)):
        early, delay, pick = draw.random() < EARLY, draw.uniform(0, DELAY), draw.random()
        while commits.look() < due or not (early or _family(head)["trainer"]):
            if head.poll() is not None:
                _succeed(head, home)
                break  # all is done: nobody is left to be killed
            time.sleep(0.05)
        time.sleep(delay)
        kind = _kill(head, pick)
        if kind is not None:
            hits[kind] += 1
        if kind == "head":
            head.wait()
            head, commands = command(home, replicates), commands + 1
    while head.poll() is None:
        commits.look()
        time.sleep(0.05)
    _succeed(head, home)
    return Report(
        hits=dict(hits),
        commands=commands,
        seconds=round(time.monotonic() - begun, 1),
        missing=blocks - commits.look(),
        changed=commits.changed(),
        different=_different(study, right),
        left=len(left_behind(study)),
    )


def _succeed(head: subprocess.Popen[bytes], home: Path) -> None:
    if head.wait():
        said = (home / "said.txt").read_text()[-2000:]
        raise RuntimeError(f"the command ended with {head.returncode}: {said}")


def _family(head: subprocess.Popen[bytes]) -> dict[str, list[psutil.Process]]:
    """The living processes of a sweep, by what they are."""
    family: dict[str, list[psutil.Process]] = {"head": [], "worker": [], "trainer": []}
    if head.poll() is None:
        family["head"].append(psutil.Process(head.pid))
        family["worker"] = [child for child in _children(family["head"][0]) if _works(child)]
        family["trainer"] = [t for worker in family["worker"] for t in _children(worker)]
    return family


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [c for c in process.children() if c.status() != psutil.STATUS_ZOMBIE]
    except psutil.NoSuchProcess:
        return []


def _works(process: psutil.Process) -> bool:
    """Joblib has helpers of its own beside its workers."""
    try:
        return "LokyProcess" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def _kill(head: subprocess.Popen[bytes], pick: float) -> str | None:
    """Kill one of the sweep's processes, each as likely as another; what it was, if it lived."""
    family = _family(head)
    living = list(itertools.chain(*([(k, p) for p in found] for k, found in family.items())))
    if not living:
        return None
    kind, victim = living[int(pick * len(living))]
    try:
        victim.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return None
    return kind


def _different(study: Path, right: Path) -> int:
    """Blocks whose rows are not, to the last bit, those of the undisturbed; clocks apart."""
    wrong = 0
    for folder in right.glob("cells/*/block-*"):
        other = study / folder.relative_to(right)
        for name in ("replicates.parquet", "curves.parquet"):
            if not (other / name).exists() or not _rows(other / name).equals(_rows(folder / name)):
                wrong += 1
                break
    return wrong


def _rows(path: Path) -> pd.DataFrame:
    rows = pd.read_parquet(path)
    return rows.drop(columns=[name for name in rows.columns if name.endswith("_seconds")])


def left_behind(study: Path) -> list[str]:
    """Files that no finished study has."""
    hidden = set(study.glob(".*")) - {study / ".hydra"}
    beside = [*study.glob("cells/*/*"), *study.glob("cells/*/.*"), *hidden]
    return [
        path.name
        for path in beside
        if path.name != "config.yaml"
        and ".failed-" not in path.name
        and not (path.is_dir() and path.name.startswith("block-"))
    ]


def main() -> None:
    """Run both, print a line, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        begun = time.monotonic()
        right = undisturbed(Path(first))
        calm = round(time.monotonic() - begun, 1)
        report = disturbed(Path(second), given.kills, given.seed, right)
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    data = {
        "machine": machine,
        "blocks": CELLS * REPLICATES,
        "kills": given.kills,
        "seed": given.seed,
        "undisturbed_seconds": calm,
        **dataclasses.asdict(report),
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(data, indent=2))
    print(f"{report}\nwritten to {path}")


if __name__ == "__main__":
    main()
