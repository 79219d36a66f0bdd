"""Files that are there whole or not at all (a temporary name in the same folder, then a rename)."""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import platformdirs

SEPARATOR = "|"  # between the parts of a temporary name


def cache_folder() -> Path:
    """Where made data and the C++ library are kept: `STUDY_CACHE`, or the user's cache folder.

    Every file in it is named by a hash of all that its content depends on, so that it can be shared
    by runs, versions and machines, and deleted at any time.
    """
    return Path(os.environ.get("STUDY_CACHE") or platformdirs.user_cache_path("study"))


def temporary_name(path: Path) -> Path:
    """A hidden name beside `path` that holds the host and the process that uses it.

    A process that dies leaves such a file behind; others can tell from the name that it is dead.
    """
    owner = (socket.gethostname(), str(os.getpid()), uuid.uuid4().hex)
    return path.with_name(SEPARATOR.join((f".{path.name}", *owner)))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name to fill, which is renamed to `path` at the end.

    **Raises:** what the body raises, and `OSError`; `path` is then as it was.
    """
    temporary = temporary_name(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, write: Callable[[BinaryIO], object], *, fsync: bool = True) -> None:
    """Replace `path` by what `write` puts into a file.

    **Arguments:**

    - `fsync`: wait until the content is on disk, so that a loss of power cannot tear the file.

    **Raises:** what `write` raises, and `OSError`; `path` is then as it was.
    """
    with replacing(path) as temporary, open(temporary, "wb") as file:
        write(file)
        file.flush()
        if fsync:
            os.fsync(file.fileno())


def write_text(path: Path, text: str, *, fsync: bool = True) -> None:
    """Replace `path` by `text` in UTF-8; see `write_whole`.

    Half a surrogate pair, which a file name that is not UTF-8 gives, is written as its escape.
    """
    write_whole(path, lambda file: file.write(_bytes(text)), fsync=fsync)


def write_new(path: Path, text: str) -> bool:
    """Write `text` to `path` if there is no such file yet; returns whether it did. No fsync.

    Of several processes that do so at once, one gets True: a link never overwrites.

    **Raises:** `OSError`.
    """
    temporary = temporary_name(path)
    try:
        temporary.write_bytes(_bytes(text))
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _bytes(text: str) -> bytes:
    return text.encode(errors="backslashreplace")


def sync(*paths: Path) -> None:
    """Wait until the content of files, and the names in folders, are on disk.

    The writing of all begins before the first is waited for: on ext4 that takes two thirds of the
    processor time of one after the other.
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
