"""The page while its sweep runs: there soon after the beginning, made anew as blocks are done.

    python -m study.live_page outputs/<study>     # what the head starts; ends when its input does

Knows: when it is worth making the page again. Does not know: what is on it. It is a process of its
own, since the head may fork, with the lowest priority; it takes at most a twentieth of one core.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

FIRST = 10.0  # seconds before anything is loaded: workers start, and many a sweep is over by then
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

    def __enter__(self) -> LivePage:
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "study.live_page", str(self._root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is the head's to hear
        )
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with contextlib.suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        with self._errors as errors:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
        if process.returncode > 0:
            self._say(f"no page while this ran: {said[-1] if said else 'it cannot be started'}")


def keep(root: Path, stop: threading.Event, every: float = EVERY, share: float = SHARE) -> None:
    """Make the page at once, and again whenever more blocks are done, until told to stop.

    **Raises:** whatever is wrong with a page.
    """
    from study import report, results

    def done() -> int:
        return len(results.block_folders(root))

    shown, pause, ended = -1, 0.0, time.monotonic()
    while not stop.wait(pause):
        began, n = time.time(), done()
        # what all of them will cost has to be waited for, as more came in meanwhile
        pause = share * BLOCK * n - (time.monotonic() - ended)
        if pause > 0:
            continue
        if n != shown:
            page = report.write(root, live=True, stop=stop.is_set) if n else report.begin(root)
            if page.exists() and page.stat().st_mtime >= began:
                # as old as what it says, or a command that follows a kill would take it for new
                os.utime(page, (began, began))
        shown, ended = n, time.monotonic()
        pause = max(every, share * max(time.time() - began, BLOCK * n))


def main() -> int:
    """The process. Ends at SIGTERM, at once or after the part of a page that it is at, and when
    its input ends, as it does when the head dies."""
    os.nice(NICE)
    stop = threading.Event()

    def wait_for_head() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait_for_head, daemon=True).start()
    if stop.wait(FIRST):
        return 0
    root = Path(sys.argv[1])
    from study import report  # noqa: F401  before a signal is heeded: until then it ends at once
    from study.terminal import one_line

    signal.signal(signal.SIGTERM, lambda *_: stop.set())
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
