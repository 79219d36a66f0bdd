"""Files that are there whole or not at all.

Knows: temporary names, fsync, rename. Does not know: what is written.
"""

from __future__ import annotations

import contextlib
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


def sync(*paths: Path) -> None:
    """Have what is written to files, and the names in folders, on disk.

    All are on their way before the first is waited for, so that they go there together: on ext4
    that takes two thirds of the processor time that one after the other does.
    """
    with contextlib.ExitStack() as opened:
        descriptors = []
        for path in paths:
            descriptors.append(os.open(path, os.O_RDONLY))
            opened.callback(os.close, descriptors[-1])
        if len(paths) > 1 and hasattr(os, "posix_fadvise"):  # not on macOS
            for descriptor in descriptors:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        for descriptor in descriptors:
            os.fsync(descriptor)
