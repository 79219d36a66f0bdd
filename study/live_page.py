"""The page while its sweep runs: there from the beginning, made anew as blocks are done.

Knows: when it is worth making the page again. Does not know: what is on it. It runs as a thread of
the head, which waits for its workers meanwhile, and takes at most a twentieth of one core.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from study import report, results
from study.terminal import one_line

EVERY = 30.0  # seconds between pages, at least
SHARE = 20  # what it waits between pages, in lengths of making one
BLOCK = 5e-3  # seconds that a block's tables cost, at least
QUICK = 2.0  # seconds that a page may take before anything has been waited for
NICE = 10  # workers come first
PATIENCE = 1.0  # seconds that an interrupted command waits for it


class LivePage:
    """Keeps the page of a study while the `with` block runs.

    **Arguments:**

    - `root`: the study's folder, with its orders.
    - `say`: told once, in a sentence, if the page cannot be made; nothing else hangs on it.
    """

    def __init__(self, root: Path, say: Callable[[str], None]):
        self._root = root
        self._say = say
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="page")

    def __enter__(self) -> LivePage:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE if kind else None)

    def _run(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        shown, done = -1, self._done()
        # the first page at once, unless much is done: then there is one already
        pause = 0.0 if BLOCK * done < QUICK else SHARE * BLOCK * done
        while not self._stop.wait(pause) or (shown < 0 and not done):
            began, done = time.monotonic(), self._done()
            if done != shown and not self._write():
                return
            shown = done
            pause = max(EVERY, SHARE * max(time.monotonic() - began, BLOCK * done))

    def _done(self) -> int:
        return len(results.block_folders(self._root))

    def _write(self) -> bool:
        """Whether the next page is worth trying."""
        began = time.time()
        try:
            page = report.write(self._root, live=True, stop=self._stop.is_set)
            if page.exists() and page.stat().st_mtime >= began:
                # as old as what it says, or a command that follows a kill would take it for new
                os.utime(page, (began, began))
        except Exception as error:  # whatever is wrong with it, the sweep goes on
            self._say(f"no page while this runs: {one_line(error) or type(error).__name__}")
            return False
        return True
