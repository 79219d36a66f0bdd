"""Optuna's journal with many records appended at a time, mended if a writer died in one.

It imports Optuna, so it is imported only when it is needed.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._file import get_lock_file

GRACE = 5  # seconds after which a journal's lock counts as a dead process's
BLOCK = 1 << 16  # bytes looked at first


class Journal(JournalFileBackend):
    """The journal in a file; once `holding`, it keeps records back until `flush`.

    One lock and one fsync then serve many records, and what other processes write is not read: of
    hundreds of workers, each would read all that the others write.
    """

    def __init__(self, path: Path):
        # given a relative path, the backend never frees a dead process's lock
        name = str(path.resolve())
        super().__init__(name, JournalFileSymlinkLock(name, grace_period=GRACE))
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
            self._append(logs)

    def flush(self) -> None:
        """Append what was held. **Raises:** `OSError`; what was held is then lost."""
        held, self._held = self._held, []
        if held:
            self._append(held)

    def _append(self, logs: list[dict[str, Any]]) -> None:
        with get_lock_file(self._lock), open(self._file_path, "r+b") as file:
            _mend(file)
        super().append_logs(logs)


def _mend(file: BinaryIO) -> None:
    """Cut off a last line that its writer did not live to finish: none is read after it."""
    end, size, tail = file.seek(0, os.SEEK_END), BLOCK, b""
    while b"\n" not in tail and len(tail) < end:
        file.seek(max(0, end - size))
        tail, size = file.read(), 2 * size
    torn = tail[tail.rfind(b"\n") + 1 :]
    if torn.startswith(b"{"):  # a record begins so; what else is there is not ours to cut
        file.truncate(end - len(torn))
