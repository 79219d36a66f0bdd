"""The page of a running sweep, made again as blocks are done."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from study.config.terminal import one_line
from study.page import write
from study.tables import gather

FIRST = 5.0  # seconds before anything is loaded: many a sweep is over by then
EVERY = 1.0  # seconds between looks for new blocks, at least
SHARE = 20  # a page, or a look, is made again after so many times its cost
PATIENCE = 30.0  # seconds in which a part of a page is surely made


class LivePage:
    """Keeps the page of a running sweep up to date while the `with` block runs.

    **Arguments:**

    - `root`: the study's folder, with its orders.
    - `say`: called at the end with one sentence if a page could not be made; the sweep goes on.
    """

    def __init__(self, root: Path, say: Callable[[str], None]):
        self._root, self._say, self._trouble = root, say, ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="live-page", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE)
        if self._trouble:
            self._say(one_line(f"no page while this ran: {self._trouble}"))

    def _keep(self) -> None:
        """Make the page whenever more blocks are done than it shows."""
        shown, pause = -1, FIRST
        try:
            while not self._over.wait(pause):
                began = time.time()
                done = len(gather.block_folders(self._root))
                if done != shown:
                    page = write.write(self._root, live=True, stop=self._over.is_set)
                    # as old as what it says, or a command that follows a kill would think it new
                    if page.exists() and page.stat().st_mtime >= began:
                        os.utime(page, (began, began))
                    shown = done
                pause = max(EVERY, SHARE * (time.time() - began))
        except Exception as error:
            self._trouble = f"{type(error).__name__}: {error}"
