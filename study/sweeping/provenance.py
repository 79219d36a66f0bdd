"""Where and by what a study is made: commit, versions, host, time.

Knows: git and installed packages. Does not know: what is trained, or where the record goes.
"""

from __future__ import annotations

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

VERSIONS = ("study", "torch", "torchode", "numpy", "scipy", "pandas", "optuna", "hydra-core")

NUMERICAL = ("torch", "numpy", "scipy")  # packages whose version can change a number's bits
SOURCES = ("*.py", "*.cpp", "*.hpp")
ROOMS = ("core", "config", "block")  # what can change a number; the others run it or read it


def code_version() -> str:
    """What can change a result: a hash of the sources that make it, and the numerical packages.

    Where a command names a system of the user's own, that is code too. Workers of one study must
    agree in it.
    """
    own = [f"own code {digest[:12]}" for digest in own_system.allowed()]
    return ", ".join([_code_version(), *own])


@functools.cache
def _code_version() -> str:
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(
        p for room in ROOMS for kind in SOURCES for p in (package / room).rglob(kind)
    ):
        digest.update(f"{path.relative_to(package).as_posix()}\n".encode() + path.read_bytes())
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in NUMERICAL)
    return f"source {digest.hexdigest()[:12]}, {versions}"


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
    """Of the checkout this code runs from; None where it is not one."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
