"""Files that are there whole or not at all.

Knows: temporary names, fsync, rename. Does not know: what is written.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO

SEPARATOR = "|"  # between what a file is, and whose


def temporary_name(path: Path) -> Path:
    """A name beside `path` for a file or folder that is to become it; it tells whose it is.

    What dies leaves it behind, and others are to see that nobody writes there anymore.
    """
    whose = (socket.gethostname(), str(os.getpid()), uuid.uuid4().hex)
    return path.with_name(SEPARATOR.join((f".{path.name}", *whose)))


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a temporary file beside `path`, sync it to disk, and rename it there.

    **Raises:** what `write` raises, and `OSError`; `path` is then as it was.
    """
    temporary = temporary_name(path)
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have what is written to a file, or the names in a folder, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
