"""Who works on a block: claims that hold on shared file systems, and commits that never overwrite.

Knows: locks with a lifetime, directory renames. Does not know: what a block is trained on.

A claim is a flufl.lock (safe on NFS) that its holder renews while it waits for the training. The
holder may die, lose the network or sleep: then it expires and another worker takes the block. Two
workers may thus, at worst, train the same block; `commit` accepts one of them.

Whether a claim has expired is judged by the file system's clock alone: when the lock was last
changed, and what a file made now says. Where a server keeps the time, as with NFS, the clocks of
hosts are irrelevant; where each host writes its own, an hour between two of them makes one train
what the other has.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import logging
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
from flufl.lock import Lock, LockError, NotLockedError

from study.core.files import SEPARATOR, sync, temporary_name

logging.getLogger("flufl.lock").setLevel(logging.CRITICAL)  # it reports each busy lock as an error

LIFETIME = 60.0  # seconds a claim outlives its last heartbeat
HEARTBEAT = 15.0


@functools.cache
def this_host() -> str:
    """This machine's name as locks record it; asking may take a name server's time."""
    return socket.getfqdn()


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a claim, and whether it still counts.

    - `dead`: its process is gone from this machine.
    - `expired`: no heartbeat for a lifetime.
    """

    host: str
    pid: int
    text: str
    dead: bool
    expired: bool

    @property
    def alive(self) -> bool:
        return not (self.dead or self.expired)


def holder(path: Path, now: float | None = None) -> Holder | None:
    """Who holds the claim at `path`; None where nobody does.

    `now` is the file system's time; without it, this host's, as for who may only read.
    """
    try:
        text = path.read_text().strip()
        renewed = path.stat().st_ctime
        _, host, pid, _ = text.rsplit(SEPARATOR, 3)
        number = int(pid)
        if number < 0:
            raise ValueError(pid)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):  # unreadable: another's until it is old
        text, host, number, renewed = "", "unknown", 0, _changed(path)
    expired = (time.time() if now is None else now) - renewed > LIFETIME
    dead = host == this_host() and not _lives(number)
    return Holder(host, number, text, dead=dead, expired=expired)


class Claim:
    """A block taken by this process until it is released; `beat` it or it expires.

    Use as a context manager. `predecessor` is the holder that had died, if one had.
    """

    def __init__(self, lock: Lock, predecessor: Holder | None = None):
        self._lock = lock
        self._renewed = time.monotonic()
        self.predecessor = predecessor

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def beat(self) -> bool:
        """Renew it where that is due, and whether it was."""
        now = time.monotonic()
        if now - self._renewed < HEARTBEAT:
            return False
        self._renewed = now
        # not locked: taken over, and the commit decides whose result counts; an error of the
        # file system: it stutters, and the next beat may do
        with contextlib.suppress(NotLockedError, OSError):
            self._lock.refresh()
        return True

    def release(self) -> None:
        """Give the block back. A claim that was lost meanwhile is not an error."""
        with contextlib.suppress(LockError, OSError):
            self._lock.unlock(unconditionally=True)


def take(path: Path) -> Claim | None:
    """Claim the block whose lock file is `path`, without waiting; None while another holds it.

    **Raises:** `OSError` where the file system refuses a lock, being full for instance.
    """
    found = holder(path, file_system_now(path.parent)) if path.exists() else None
    if found is not None and (found.alive or not _break(path, found)):
        return None
    lifetime = datetime.timedelta(seconds=LIFETIME)
    lock = Lock(str(path), lifetime=lifetime, separator=SEPARATOR)
    try:
        lock.lock(timeout=0)
    except LockError:
        return None  # another was faster
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise
        return None  # another was faster, and cleaned up
    return Claim(lock, found)


def commit(temporary: Path, folder: Path) -> bool:
    """Make a finished temporary directory the block's, for good.

    A rename onto a directory that is not empty fails, so the first to come is kept and no result
    is ever overwritten. Returns whether it was this one; the other's is removed.
    """
    sync(*(temporary / name for name in os.listdir(temporary)), temporary)
    try:
        os.rename(temporary, folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(temporary, ignore_errors=True)
        return False
    sync(folder.parent)
    return True


def workspace(folder: Path, run: str = "") -> Path:
    """A new directory beside the block's folder, for its files until they are committed.

    Its name tells whose it is, and of which command's `run`.
    """
    path = folder.with_name(_workspace(folder, this_host(), os.getpid(), run) + uuid.uuid4().hex)
    path.mkdir()
    return path


def workspaces(folder: Path, who: Holder, run: str) -> list[Path]:
    """Those that a holder of the block's claim left in a command."""
    begin = _workspace(folder, who.host, who.pid, run)
    names = os.listdir(folder.parent)
    return [folder.with_name(name) for name in names if name.startswith(begin)]


def _workspace(folder: Path, host: str, pid: int, run: str) -> str:
    return SEPARATOR.join((f".{folder.name}", host, str(pid), f"{run}-"))


def file_system_now(folder: Path) -> float:
    """The time by the clock that dates the files of `folder`, in seconds since the epoch.

    **Raises:** `OSError` where no file can be made.
    """
    probe = temporary_name(folder / "now")
    probe.touch()
    try:
        return probe.stat().st_ctime
    finally:
        probe.unlink(missing_ok=True)


def discard(path: Path) -> None:
    """Remove the lock of a holder that is dead or gone; one that counts is left alone."""
    found = holder(path)
    if found is not None and not found.alive:
        _break(path, found)


def clean(folder: Path) -> None:
    """Remove what dead workers left beside a block: half-filled directories, half-written files."""
    name = folder.name
    sweep(folder.parent, lambda left: left.startswith((f".{name}", f"{name}.lock{SEPARATOR}")))


def sweep(folder: Path, chosen: Callable[[str], bool] = lambda name: SEPARATOR in name) -> None:
    """Remove from a folder what is named after an owner that is dead, of what is `chosen`."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in filter(chosen, names):
        path = folder / name
        if not _abandoned(path):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _abandoned(path: Path) -> bool:
    """Its owner is dead on this machine; or, on another, has not touched it for a day.

    A folder is touched by its owner as long as it works on it.
    """
    parts = path.name.split(SEPARATOR)
    here = (this_host(), socket.gethostname())
    if len(parts) == 4 and parts[1] in here and parts[2].isdigit():
        pid = int(parts[2])
        return pid != os.getpid() and not _lives(pid)
    return time.time() - _changed(path) > 86_400


def _break(path: Path, found: Holder) -> bool:
    """Remove a dead holder's lock. Two may see it at once: a rename lets one of them have it."""
    aside = temporary_name(path)
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return True  # another broke it; the lock itself decides who is next
    try:
        if aside.read_text().strip() != found.text:
            # in between the block was taken anew, and that claim is good: put it back
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
            return False
    finally:
        aside.unlink(missing_ok=True)
    if found.text:
        claim_file = path.with_name(os.path.basename(found.text))
        claim_file.unlink(missing_ok=True)
    return True


def _lives(pid: int) -> bool:
    """A process that has ended but that nobody has waited for is dead."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _changed(path: Path) -> float:
    """When a file's content or status last changed; now, where it cannot be seen."""
    try:
        return path.stat().st_ctime
    except OSError:
        return time.time()
