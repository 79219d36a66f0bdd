"""What a tracker hears of a study, from the study's folder alone: once, or while a sweep runs.

A sweep has it told by a process of its own, so that a tracker that hangs, dies or fills the disk
costs the sweep nothing but a warning:  python -m study.tracking.follow FOLDER TRACKER
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from study.config.errors import flat
from study.config.terminal import one_line

if TYPE_CHECKING:  # the head of a sweep needs neither this nor what it is made of
    import pandas as pd

EVERY = 2.0  # seconds between looks for new blocks
PATIENCE = 120.0  # seconds in which a tracker has surely told something more
SENT = "sent.txt"  # the blocks that were told, a line each


def place_of(folder: Path, name: str) -> Path:
    """Where a tracker keeps what it is told of a study."""
    return folder / "tracking" / name


def send(folder: Path, name: str, over: threading.Event) -> int:
    """Tell a tracker what it has not heard yet of a study, until `over`; how many blocks it were.

    **Raises:** `TableError` for a folder without a study, and whatever the tracker raises.
    """
    from study.tracking import trackers

    folder = folder.resolve()
    place = place_of(folder, name)
    place.mkdir(parents=True, exist_ok=True)
    tracker = trackers.TRACKERS[name](place, folder.name)
    tracker.begin(_settings(folder))
    sent = _lines(place / SENT)
    before = len(sent)
    with (place / SENT).open("a") as record:
        last = False
        while not last:
            last = over.wait(EVERY)
            for block, rows, curves in _blocks(folder, sent):
                tracker.block(rows, curves)
                sent.add(block)
                record.write(f"{block}\n")
                record.flush()
    tracker.end(trackers.answers_in(folder))
    return len(sent) - before


def _lines(path: Path) -> set[str]:
    return set(path.read_text().split()) if path.exists() else set()


def _settings(folder: Path) -> dict[str, Any]:
    """The settings of a study under dotted keys, and its command."""
    from study.tables.records import read_study

    study = read_study(folder)
    config = study.get("config")
    leaves = dict(flat(config)) if isinstance(config, dict) else {}
    command = study.get("provenance") or {}
    return {
        **{key: value for key, value in leaves.items() if not isinstance(value, dict)},
        "command": command.get("command", "") if isinstance(command, dict) else "",
        "swept": study.get("swept", {}),
    }


def _blocks(folder: Path, sent: set[str]) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """The name, rows and curves of each block that is not in `sent`; of a cell, if only the
    tables of a study are there. Damaged blocks are left out."""
    from study.tables import blocks, gather

    files = "replicates.parquet", "curves.parquet"
    if (folder / "cells").is_dir():
        for block in gather.study_blocks(folder):
            name = f"{block.parent.name}/{block.name}"
            if name not in sent:
                tables, _ = blocks.gather([block], {file: ["cell"] for file in files})
                if tables:
                    yield name, tables[files[0]], tables[files[1]]
        return
    rows, curves = dict(list(gather.load(folder).groupby("cell"))), gather.load_curves(folder)
    for cell, own in curves.groupby("cell"):
        if cell not in sent:
            yield str(cell), rows[cell], own


class Follower:
    """Has a process tell a tracker of a sweep; of `none`, nobody.

    `start` begins when there is a study, and `finish` ends when it has its answers.
    """

    def __init__(self, name: str):
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None
        self._trouble = ""

    def start(self, folder: Path) -> None:
        """Start the process."""
        if self._name == "none" or self._process or self._trouble:
            return
        place = place_of(folder, self._name)
        command = [sys.executable, "-m", "study.tracking.follow", str(folder), self._name]
        try:
            place.mkdir(parents=True, exist_ok=True)
            with (place / "log.txt").open("wb") as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,  # its end says that the sweep is over, or killed
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is not for it
                )
        except OSError as error:
            self._trouble = error.strerror or str(error)

    def finish(self, folder: Path) -> str:
        """Wait until all is told; what a reader should know if it is not, else nothing."""
        self.start(folder)
        if self._process:
            self._trouble = self._wait(self._process, place_of(folder, self._name))
        if not self._trouble:
            return ""
        return (
            f"warning: tracker={self._name} does not have all of the study ({self._trouble}); "
            f"python -m study.export {folder} --to={self._name} tells it the rest"
        )

    def _wait(self, process: subprocess.Popen[bytes], place: Path) -> str:
        if process.stdin:
            process.stdin.close()
        told, heard = -1, time.monotonic()
        while process.poll() is None:
            size = (place / SENT).stat().st_size if (place / SENT).exists() else 0
            if size != told:
                told, heard = size, time.monotonic()
            if time.monotonic() - heard > PATIENCE:
                process.kill()
                process.wait()
                return f"nothing was heard of it for {PATIENCE:.0f} s"
            time.sleep(0.05)
        if process.returncode == 0:
            return ""
        lines = (place / "log.txt").read_text(errors="replace").strip().splitlines()
        return one_line(lines[-1] if lines else f"it left with status {process.returncode}")


def _until_closed(file: IO[str], over: threading.Event) -> None:
    file.read()
    over.set()


def main() -> None:
    """Tell a tracker of a study until stdin is closed. **Raises:** `SystemExit`, one sentence."""
    folder, name = sys.argv[1:]
    over = threading.Event()
    threading.Thread(target=_until_closed, args=(sys.stdin, over), daemon=True).start()
    try:
        send(Path(folder), name, over)
    except Exception as error:  # whatever a tracker raises
        sys.exit(f"{type(error).__name__}: {one_line(error)[:300]}")


if __name__ == "__main__":
    main()
