"""Commits in the background: while the files of one block reach the disk, the next is trained.

Knows: one thread, one commit at a time. Does not know: what a block is, or what its end is told.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from study.sweeping import claims

BEAT = 1.0  # seconds between heartbeats while a disk lets us wait

Told = Callable[[bool | OSError], object]
"""Called with whether the result was the first, or with what kept it from the disk."""


class Committer:
    """The commits of one worker. `settle` before looking at what is left, and at the end."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._claim: claims.Claim | None = None
        self._outcome: bool | OSError = False
        self._told: Told | None = None

    def start(
        self,
        workspace: Path,
        folder: Path,
        claim: claims.Claim,
        held: contextlib.ExitStack,
        told: Told,
    ) -> None:
        """Commit `workspace` as `folder`, after the commit before.

        **Arguments:**

        - `claim`: on the block; kept alive by `beat`.
        - `held`: what is given back once it is over, the claim among it.
        - `told`: called by `settle`, in its thread.
        """
        self.settle()
        self._claim, self._told = claim, told
        # a plain thread: the worker may fork a trainer beside it, and pools do not survive that
        self._thread = threading.Thread(
            target=self._commit, args=(workspace, folder, held), name="commit"
        )
        self._thread.start()

    def beat(self) -> None:
        """Renew the claim on what is being committed, where due."""
        if self._claim is not None:
            self._claim.beat()

    def settle(self) -> None:
        """Wait for the commit that is under way, if one is, and tell how it ended."""
        if self._thread is None or self._told is None:
            return
        while self._thread.is_alive():
            self._thread.join(BEAT)
            self.beat()
        told, self._told = self._told, None
        self._thread = self._claim = None
        told(self._outcome)

    def _commit(self, workspace: Path, folder: Path, held: contextlib.ExitStack) -> None:
        with held:
            try:
                self._outcome = claims.commit(workspace, folder)
            except OSError as error:
                self._outcome = error
