"""The page while its sweep runs: there soon after the beginning, made anew as blocks are done.

    python -m study.page.live_page outputs/<study>

Knows: when it is worth making the page again. Does not know: what is on it. The first says that
nothing is done yet; the head writes it itself, and has then loaded what the last one takes. Those
between are made by a process with the lowest priority, which takes at most a twentieth of one core.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from study.config.terminal import one_line

FIRST = 5.0  # seconds before anything is loaded: workers start, and many a sweep is over by then
EVERY = 100.0  # seconds between pages, at least: one with figures takes some five
SHARE = 20  # what it waits between pages, in lengths of making one
BLOCK = 5e-3  # seconds that a block's tables cost, at least
NICE = 19
PATIENCE = 30.0  # seconds in which a part of a page is surely made


class LivePage:
    """Keeps the page of a study while the `with` block runs.

    **Arguments:**

    - `root`: the study's folder, with its orders.
    - `say`: told at the end, in a sentence, if a page could not be made; nothing else hangs on it.
    """

    def __init__(self, root: Path, say: Callable[[str], None]):
        self._root = root
        self._say = say
        self._over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="live-page", daemon=True)

    def __enter__(self) -> LivePage:
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE)
        with self._errors as errors:
            if self._process is not None and self._end(self._process) > 0:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip().splitlines()
                self._trouble(said[-1] if said else "it cannot be started")

    def _keep(self) -> None:
        """The first page, then the process that makes the others."""
        if self._over.wait(FIRST):
            return
        try:
            if not (self._root / "report" / "index.html").exists():
                from study.page import write

                began = time.time()
                _date(write.begin(self._root), began)
                if self._over.wait(EVERY):
                    return
            self._process = self._start()
        except Exception as error:
            self._trouble(f"{type(error).__name__}: {error}")

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "study.page.live_page", str(self._root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is the head's to hear
        )

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> int:
        with contextlib.suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return process.returncode

    def _trouble(self, reason: str) -> None:
        self._say(one_line(f"no page while this ran: {reason}"))


def keep(root: Path, stop: threading.Event, every: float = EVERY, share: float = SHARE) -> None:
    """Make the page at once, and again whenever more blocks are done, until told to stop.

    **Raises:** whatever is wrong with a page.
    """
    from study.page import write
    from study.tables import gather

    def done() -> int:
        return len(gather.block_folders(root))

    shown, pause, ended = -1, 0.0, time.monotonic()
    while not stop.wait(pause):
        began, n = time.time(), done()
        # what all of them will cost has to be waited for, as more came in meanwhile
        pause = share * BLOCK * n - (time.monotonic() - ended)
        if pause > 0:
            continue
        if n != shown:
            page = write.write(root, live=True, stop=stop.is_set) if n else write.begin(root)
            _date(page, began)
        shown, ended = n, time.monotonic()
        pause = max(every, share * max(time.time() - began, BLOCK * n))


def _date(page: Path, began: float) -> None:
    """Make it as old as what it says, or a command that follows a kill would take it for new."""
    if page.exists() and page.stat().st_mtime >= began:
        os.utime(page, (began, began))


def main() -> int:
    """The process. Ends when its input does, as when the head dies: at once, or after the part of
    a page that it is at."""
    os.nice(NICE)
    begun, stop = threading.Event(), threading.Event()

    def wait_for_head() -> None:
        sys.stdin.read()
        if not begun.is_set():
            os._exit(0)
        stop.set()

    threading.Thread(target=wait_for_head, daemon=True).start()
    root = Path(sys.argv[1])

    begun.set()
    try:
        keep(root, stop)
    except Exception as error:
        print(one_line(f"{type(error).__name__}: {error}"), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a thread may still wait for its input
