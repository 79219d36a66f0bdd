"""Claims on blocks that hold on shared file systems, and commits that never overwrite.

A claim is a flufl.lock (safe on NFS) that its holder renews. If the holder dies, loses the network
or sleeps, the claim expires by the file system's clock, and another worker takes the block. Two
workers may thus train the same block; `commit` accepts one of them.
"""

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
from concurrent import futures
from pathlib import Path
from typing import Self

import psutil
from flufl.lock import Lock, LockError, NotLockedError

from study.core.files import SEPARATOR, sync, temporary_name

logging.getLogger("flufl.lock").setLevel(logging.CRITICAL)  # it reports each busy lock as an error

LIFETIME = 60.0  # seconds a claim outlives its last heartbeat
HEARTBEAT = 15.0
COMMIT_BEAT = 1.0  # seconds between heartbeats while a commit is waited for
ABANDONED = 86_400  # seconds after which an untouched file of another host has no owner


@functools.cache
def this_host() -> str:
    """This machine's name as locks record it; asking may take a name server's time."""
    return socket.getfqdn()


def file_system_now(folder: Path) -> float:
    """The time by the clock that dates the files of `folder`, in seconds since the epoch."""
    probe = temporary_name(folder / "now")
    probe.touch()
    try:
        return probe.stat().st_ctime
    finally:
        probe.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True)
class Machine:
    """The machine that a worker runs on: its name and its clocks, in seconds since the epoch."""

    name: str = ""  # as locks record it; empty for this machine's own
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], object] = time.sleep
    file_time: Callable[[Path], float] = file_system_now

    @property
    def host(self) -> str:
        return self.name or this_host()


HERE = Machine()


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a claim, and whether it still counts."""

    host: str
    pid: int
    text: str  # of the lock file
    dead: bool  # its process is gone from this machine
    expired: bool  # no heartbeat for a lifetime

    @property
    def alive(self) -> bool:
        return not (self.dead or self.expired)


def holder(path: Path, now: float | None = None, machine: Machine = HERE) -> Holder | None:
    """Who holds the claim at `path` by the file system's time, or else by the machine's."""
    try:
        text = path.read_text().strip()
        renewed = path.stat().st_ctime
        _, host, pid, _ = text.rsplit(SEPARATOR, 3)
        number = int(pid)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):  # unreadable: another's until it is old
        text, host, number, renewed = "", "unknown", 0, _changed(path, machine)
    expired = (machine.clock() if now is None else now) - renewed > LIFETIME
    dead = host == machine.host and not _lives(number)
    return Holder(host, number, text, dead=dead, expired=expired)


class Claim:
    """A block taken by this process for a `with` block; `beat` it or it expires."""

    def __init__(self, lock: Lock, predecessor: Holder | None):
        self._lock = lock
        self._renewed = time.monotonic()
        self.predecessor = predecessor  # the holder that had died, if one had

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def beat(self) -> bool:
        """Renew the claim if that is due; returns whether it was."""
        due = time.monotonic() - self._renewed >= HEARTBEAT
        if due:
            self._renewed = time.monotonic()
            # not locked: taken over, and the commit decides whose result counts; an error of the
            # file system: it stutters, and the next beat may do
            with contextlib.suppress(NotLockedError, OSError):
                self._lock.refresh()
        return due

    def release(self) -> None:
        """Give the block back. A claim that was lost meanwhile is not an error."""
        with contextlib.suppress(LockError, OSError):
            self._lock.unlock(unconditionally=True)


def take(path: Path, machine: Machine = HERE) -> Claim | None:
    """Claim the block whose lock file is `path`, without waiting; None while another holds it."""
    before = holder(path, machine.file_time(path.parent), machine) if path.exists() else None
    if before is not None and (before.alive or not _break(path, before)):
        return None
    lock = Lock(str(path), datetime.timedelta(seconds=LIFETIME), SEPARATOR)
    lock._hostname = machine.host  # which it records instead of asking for one
    lock._set_claimfile()
    try:
        lock.lock(timeout=0)
    except LockError:
        return None  # another was faster
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise
        return None  # another was faster, and cleaned up
    return Claim(lock, before)


def _break(path: Path, dead: Holder) -> bool:
    """Remove a dead holder's lock. Two may see it at once: a rename lets one of them have it."""
    aside = temporary_name(path)
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return True  # another broke it; the lock itself decides who is next
    try:
        if aside.read_text().strip() != dead.text:
            # in between the block was taken anew, and that claim is good: put it back
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
            return False
    finally:
        aside.unlink(missing_ok=True)
    if dead.text:
        path.with_name(os.path.basename(dead.text)).unlink(missing_ok=True)
    return True


def commit(temporary: Path, folder: Path) -> bool:
    """Make a finished temporary directory the block's, for good; returns whether it was the first.

    A rename onto a directory that is not empty fails, so no result is ever overwritten.
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


Notify = Callable[[bool | OSError], object]
"""Called with whether the result was the first, or with what kept it from the disk."""


class Committer:
    """Commits of one worker, one at a time in a thread, while the next block is trained.

    `settle` it before looking at what is left, and at the end; `beat` keeps claims alive meanwhile.
    """

    def __init__(self) -> None:
        self._thread = futures.ThreadPoolExecutor(1, "commit")
        self._current: tuple[futures.Future[bool], Claim, Notify] | None = None

    def start(
        self,
        workspace: Path,
        folder: Path,
        claim: Claim,
        held: contextlib.ExitStack,
        notify: Notify,
    ) -> None:
        """Commit `workspace` as `folder`, after the commit before.

        What is `held`, the `claim` among it, is given back once it is over; `settle` then calls
        `notify`.
        """

        def run() -> bool:
            with held:
                return commit(workspace, folder)

        self.settle(claim)
        self._current = (self._thread.submit(run), claim, notify)

    def beat(self) -> None:
        """Renew the claim on what is being committed, if that is due."""
        if self._current is not None:
            self._current[1].beat()

    def settle(self, *waiting: Claim) -> None:
        """Wait for the commit under way, and notify how it ended; claims that wait are renewed."""
        if self._current is None:
            return
        future, claim, notify = self._current
        while not futures.wait([future], COMMIT_BEAT).done:
            for other in (claim, *waiting):
                other.beat()
        self._current = None
        try:
            outcome = future.result()
        except OSError as error:
            outcome = error
        notify(outcome)


def workspace(folder: Path, run: str = "", machine: Machine = HERE) -> Path:
    """A new directory beside the block's folder, for its files until they are committed.

    Its name holds the worker's host and process, and the command's `run`.
    """
    path = folder.with_name(_workspace(folder, machine.host, os.getpid(), run) + uuid.uuid4().hex)
    path.mkdir()
    return path


def workspaces(folder: Path, owner: Holder, run: str) -> list[Path]:
    """The workspaces that a holder of the block's claim left in a command."""
    begin = _workspace(folder, owner.host, owner.pid, run)
    return [path for path in folder.parent.iterdir() if path.name.startswith(begin)]


def _workspace(folder: Path, host: str, pid: int, run: str) -> str:
    return SEPARATOR.join((f".{folder.name}", host, str(pid), f"{run}-"))


def discard(path: Path) -> None:
    """Remove the lock of a holder that is dead or gone; leave one that counts."""
    before = holder(path)
    if before is not None and not before.alive:
        _break(path, before)


def clean(folder: Path, machine: Machine = HERE) -> None:
    """Remove what dead workers left beside a block: half-filled directories, half-written files."""
    sweep(folder.parent, (f".{folder.name}", f"{folder.name}.lock"), machine)


def sweep(folder: Path, begin: tuple[str, ...] = ("",), machine: Machine = HERE) -> None:
    """Remove files and folders that are named after an owner that is dead, if they `begin` so."""
    for path in folder.iterdir() if folder.exists() else ():
        if SEPARATOR in path.name and path.name.startswith(begin) and _abandoned(path, machine):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _abandoned(path: Path, machine: Machine) -> bool:
    """Whether its owner is dead on this machine or, on another, has not touched it for a day."""
    parts = path.name.split(SEPARATOR)
    if len(parts) == 4 and parts[1] in (machine.host, socket.gethostname()) and parts[2].isdigit():
        pid = int(parts[2])
        return pid != os.getpid() and not _lives(pid)
    return machine.clock() - _changed(path, machine) > ABANDONED


def _lives(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for is dead."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError):
        return False


def _changed(path: Path, machine: Machine) -> float:
    """When a file's content or status last changed; now if it cannot be seen."""
    try:
        return path.stat().st_ctime
    except OSError:
        return machine.clock()
