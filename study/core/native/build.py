"""The shared library of the C++ sources: compiled once a machine, kept in the user's cache.

Knows: compilers and their flags, where the library lies. Does not know: what is in it.

The name of the library holds a hash of the sources, the flags and all that the compiler says of the
processor, so that machines of several kinds can share a home folder.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import platformdirs

from study.core.files import temporary_name

HERE = Path(__file__).parent
COMPILERS = ("g++", "clang++", "c++")
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi")
NATIVE = ("-march=native", "-mcpu=native")  # one of them, whichever the compiler knows
SECONDS = 300


class BuildError(Exception):
    """The compiler refused; the message is its own."""


@functools.cache
def compiler() -> str | None:
    """The C++ compiler: `CXX` if that is set, else the first there is."""
    chosen = os.environ.get("CXX")
    names = (chosen,) if chosen else COMPILERS
    return next((name for name in names if shutil.which(name) or Path(name).is_file()), None)


@functools.cache
def library() -> ctypes.CDLL:
    """The library, compiled if this machine has not met it (a few seconds).

    **Raises:** `BuildError` where there is no compiler, or it refuses.
    """
    cxx = compiler()
    if cxx is None:
        raise BuildError("there is no C++ compiler here: install one (g++ or clang)")
    flags, processor = _processor(cxx)
    digest = hashlib.sha256("\0".join((cxx, *flags, processor)).encode())
    for source in sorted(HERE.glob("*pp")):
        digest.update(source.name.encode() + source.read_bytes())
    folder = Path(os.environ.get("STUDY_CACHE") or platformdirs.user_cache_path("study"))
    path = folder / "native" / f"{digest.hexdigest()[:16]}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_name(path)
        try:
            _run([cxx, *flags, "-shared", "-fPIC", str(HERE / "native.cpp"), "-o", str(temporary)])
            os.replace(temporary, path)  # whoever comes last wins, with the same bytes
        finally:
            temporary.unlink(missing_ok=True)
    return ctypes.CDLL(str(path))


@functools.cache
def trouble() -> str | None:
    """Why C++ cannot be used here, None if it can; compiles what this machine has not met."""
    try:
        library()
    except (BuildError, OSError) as error:
        return str(error)
    return None


def _processor(cxx: str) -> tuple[tuple[str, ...], str]:
    """The flags, and what the compiler defines with them for this machine's processor."""
    for native in NATIVE:
        try:
            flags = (*FLAGS, native)
            return flags, _run([cxx, *flags, "-dM", "-E", "-x", "c++", os.devnull])
        except BuildError:
            continue
    return FLAGS, _run([cxx, *FLAGS, "-dM", "-E", "-x", "c++", os.devnull])


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command[0]} could not be run: {error}") from error
    if done.returncode:
        raise BuildError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
    return done.stdout
