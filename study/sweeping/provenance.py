"""Where and by what a study is made: version of the code, commit, packages, host, time."""

import contextlib
import functools
import hashlib
import platform
import subprocess
import time
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

from study.config import own_system
from study.sweeping.claims import this_host

VERSIONS = ("study", "torch", "numpy", "scipy", "pandas", "optuna", "hydra-core")
NUMERICAL = ("torch", "numpy", "scipy")  # packages whose version can change a number's bits
SOURCES = ("*.py", "*.cpp", "*.hpp")
ROOMS = ("core", "config", "block")  # what can change a number; the others run it or read it
PACKAGE = Path(__file__).resolve().parents[1]


def code_version() -> str:
    """A hash of the sources that can change a result, and the versions of numerical packages.

    If a command names a system of the user's own, that is code too. Workers of one study must agree
    in it.
    """
    versions = [f"{name} {_version(name)}" for name in NUMERICAL]
    own = [f"own code {digest[:12]}" for digest in own_system.allowed()]
    return ", ".join([f"source {source_hash(PACKAGE)}", *versions, *own])


_version = functools.cache(metadata.version)


@functools.cache
def source_hash(package: Path) -> str:
    """A hash of the names and contents of the source files in `ROOMS` of a copy of the package."""
    digest = hashlib.sha256()
    for path in sorted(
        path for room in ROOMS for kind in SOURCES for path in (package / room).rglob(kind)
    ):
        digest.update(f"{path.relative_to(package).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def provenance() -> dict[str, Any]:
    """Where and by what a study is made; `started` in seconds since the epoch."""
    versions = {"python": platform.python_version()}
    for name in VERSIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "run": uuid.uuid4().hex[:12],
        "git_commit": commit,
        "git_dirty": bool(changes) if commit else None,
        "versions": versions,
        "host": this_host(),
        "started": time.time(),
    }


def _git(*arguments: str) -> str | None:
    """What git says of the checkout that this code runs from; None if it runs from none."""
    if not (PACKAGE.parent / ".git").exists():
        return None
    command = ["git", "-C", str(PACKAGE.parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
