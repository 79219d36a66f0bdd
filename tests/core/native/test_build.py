"""Building the C++ library: once, for this processor, and with one sentence where it fails."""

import os
import platform
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from study.core import native

ASK = "from study.core import native; print(native.trouble()); print(native.library()._name)"


def ask(cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"STUDY_CACHE": str(cache)} | environment
    return subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, env=variables
    )


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.slow
def test_it_is_compiled_once_and_for_this_processor(tmp_path: Path) -> None:
    first = ask(tmp_path)
    assert first.returncode == 0, first.stderr
    (library,) = (tmp_path / "native").iterdir()
    assert first.stdout.splitlines() == ["None", str(library)]
    made = library.stat().st_mtime_ns
    assert ask(tmp_path).stdout == first.stdout
    assert library.stat().st_mtime_ns == made
    # one without a compiler uses it, another compiler's is another
    assert ask(tmp_path, PATH="/nowhere").stdout == first.stdout
    other = ask(tmp_path, CXX="g++ -DNDEBUG").stdout.splitlines()
    assert other[0] == "None"
    assert other[1] != str(library)


@pytest.mark.parametrize("size", [pytest.param(0, marks=pytest.mark.slow), 10])
def test_a_torn_one_is_compiled_anew(tmp_path: Path, size: int) -> None:
    library = tmp_path / "native" / Path(native.library()._name).name
    library.parent.mkdir()
    library.write_bytes(Path(native.library()._name).read_bytes()[:size])
    assert ask(tmp_path).stdout.splitlines() == ["None", str(library)]
    assert library.stat().st_size > 1000


def test_another_processors_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a system says of one it shares a folder with."""
    told = Path("/proc/cpuinfo").read_text()
    assert "flags" in told or "Features" in told or "isa" in told
    mine = native._processor()
    less = told.replace("avx", "")
    monkeypatch.setattr(Path, "read_text", lambda *_: less)
    assert (native._processor() != mine) == (less != told)


def test_no_compiler_and_a_broken_one_are_told(tmp_path: Path) -> None:
    missing = ask(tmp_path, CXX="no-such-compiler")
    assert missing.stdout.strip() == "there is no C++ compiler here: install one (g++ or clang)"
    broken = ask(tmp_path, CXX=script(tmp_path / "cxx", "echo out of order >&2; exit 1"))
    assert "out of order" in broken.stdout
    assert not list(tmp_path.rglob("*.so"))


@pytest.mark.slow
@pytest.mark.parametrize("flags", ["", "-mavx2 -mfma"] if platform.machine() == "x86_64" else [""])
def test_processors_with_shorter_vectors_give_the_same(tmp_path: Path, flags: str) -> None:
    shorter = script(
        tmp_path / "cxx",
        f'for a; do shift; case "$a" in -march=*|-mcpu=*) ;; *) set -- "$@" "$a";; esac; done\n'
        f'exec g++ {flags} "$@"',
    )
    here = Path(__file__).with_name("test_calls.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(here)],
        capture_output=True,
        text=True,
        env=os.environ | {"STUDY_CACHE": str(tmp_path), "CXX": shorter},
    )
    assert done.returncode == 0, done.stdout
