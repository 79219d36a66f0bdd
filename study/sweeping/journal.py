"""Optuna's journal, appended to many records at a time.

Knows: the backend's two operations. Does not know: what is recorded. Imports Optuna, so it is
imported where it is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from optuna.storages.journal import JournalFileBackend


class Journal(JournalFileBackend):
    """The journal in a file; once `holding`, it keeps records back until `flush`.

    One lock and one fsync then serve many records, and what other processes write is not read: of
    hundreds of workers, each would read all that the others write.
    """

    def __init__(self, path: str):
        super().__init__(path)
        self.holding = False
        self._held: list[dict[str, Any]] = []
        self._unread: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:  # type: ignore[override]
        if not self.holding:
            return super().read_logs(log_number_from)
        own, self._unread = self._unread, []
        return own

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        if self.holding:
            self._held += logs
            self._unread += logs
        else:
            super().append_logs(logs)

    def flush(self) -> None:
        """Append what was held. **Raises:** `OSError`; what was held is then lost."""
        held, self._held = self._held, []
        if held:
            super().append_logs(held)
