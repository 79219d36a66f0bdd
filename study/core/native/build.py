"""The shared library of the C++ sources: compiled once a machine, kept in the user's cache.

Knows: compilers and their flags, where the library lies. Does not know: what is in it.

The name of the library holds a hash of the sources, the flags and what the system says of the
processor, so that machines of several kinds can share a home folder, and one without a compiler can
use what another of its kind has compiled.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

import platformdirs

from study.core.files import replacing, sync

HERE = Path(__file__).parent
COMPILERS = ("g++", "clang++", "c++")
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi")
NATIVE = ("-march=native", "-mcpu=native")  # one of them, whichever the compiler knows
SECONDS = 300


class BuildError(Exception):
    """There is no compiler, or it refused; the message is its own."""


def compiler() -> list[str] | None:
    """The C++ compiler: `CXX` if that is set, with its arguments, else the first there is."""
    chosen = os.environ.get("CXX")
    commands = [shlex.split(chosen)] if chosen else [[name] for name in COMPILERS]
    return next((each for each in commands if shutil.which(each[0])), None)


@functools.cache
def library() -> ctypes.CDLL:
    """The library, compiled if none of this machine's kind has met it (a few seconds).

    **Raises:** `BuildError` where there is no compiler, or it refuses.
    """
    digest = hashlib.sha256("\0".join((os.environ.get("CXX", ""), *FLAGS, _processor())).encode())
    for source in sorted(HERE.glob("*pp")):
        digest.update(source.name.encode() + source.read_bytes())
    folder = Path(os.environ.get("STUDY_CACHE") or platformdirs.user_cache_path("study"))
    path = folder / "native" / f"{digest.hexdigest()[:16]}.so"
    if path.exists():
        with contextlib.suppress(OSError):  # torn, by a full disk or a loss of power
            return ctypes.CDLL(str(path))
    _compile(path)
    return ctypes.CDLL(str(path))


@functools.cache
def trouble() -> str | None:
    """Why C++ cannot be used here, None if it can; compiles what this machine has not met."""
    try:
        library()
    except (BuildError, OSError) as error:
        return str(error)
    return None


def _compile(path: Path) -> None:
    """**Raises:** `BuildError`."""
    cxx = compiler()
    if cxx is None:
        raise BuildError("there is no C++ compiler here: install one (g++ or clang)")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        target = ["-shared", "-fPIC", str(HERE / "native.cpp"), "-o", str(temporary)]
        _run([*cxx, *FLAGS, *_native(cxx), *target])
        sync(temporary)


def _native(cxx: list[str]) -> list[str]:
    """How this compiler is told to use all that this processor has."""
    for flag in NATIVE:
        with contextlib.suppress(BuildError):
            _run([*cxx, flag, "-dM", "-E", "-x", "c++", os.devnull])
            return [flag]
    return []


def _processor() -> str:
    """What tells processors apart that cannot run each other's instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return " ".join(platform.uname())  # this machine's alone
    kinds = ("model name", "flags", "Features", "isa", "cpu")
    found = {line for line in lines if line.partition("\t")[0].strip(" :") in kinds}
    return "\n".join([platform.machine(), *sorted(found)])


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command[0]} could not be run: {error}") from error
    if done.returncode:
        raise BuildError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
    return done.stdout
