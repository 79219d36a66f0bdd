"""Commits in the background: while the files of one block reach the disk, the next is trained.

Knows: one thread, one commit at a time. Does not know: what a block is, or what its end is told.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent import futures
from pathlib import Path

from study.sweeping import claims

BEAT = 1.0  # seconds between heartbeats while a disk lets us wait

Told = Callable[[bool | OSError], object]
"""Called with whether the result was the first, or with what kept it from the disk."""


class Committer:
    """The commits of one worker. `settle` before looking at what is left, and at the end."""

    def __init__(self) -> None:
        self._thread = futures.ThreadPoolExecutor(1, "commit")
        self._commit: futures.Future[bool] | None = None
        self._claim: claims.Claim | None = None
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
        self.settle(claim)
        self._claim, self._told = claim, told
        self._commit = self._thread.submit(_commit, workspace, folder, held)

    def beat(self) -> None:
        """Renew the claim on what is being committed, where due."""
        if self._claim is not None:
            self._claim.beat()

    def settle(self, *waiting: claims.Claim) -> None:
        """Wait for the commit that is under way, if one is, and tell how it ended.

        Claims that are `waiting` for that are renewed meanwhile, too.
        """
        if self._commit is None or self._told is None:
            return
        while not futures.wait([self._commit], BEAT).done:
            self.beat()
            for claim in waiting:
                claim.beat()
        commit, told = self._commit, self._told
        self._commit = self._claim = self._told = None
        try:
            outcome = commit.result()
        except OSError as error:
            outcome = error
        told(outcome)


def _commit(workspace: Path, folder: Path, held: contextlib.ExitStack) -> bool:
    with held:
        return claims.commit(workspace, folder)
