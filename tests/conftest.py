"""Shared by all tests: shapes in signatures are checked, and a finished smoke study is at hand.

Data and the C++ library are cached by the hash of their content, so runs share the user's cache.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

# before study.core is imported anywhere: every jaxtyping shape in it becomes a check
from jaxtyping import install_import_hook

install_import_hook("study.core", "beartype.beartype")

# one thread, as the workers have; before torch is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def smoke_study(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A finished study, made once by the real command at its smallest; tests only read it."""
    base = tmp_path_factory.getbasetemp()
    home = (base if worker_id == "master" else base.parent) / "smoke"
    with FileLock(f"{home}.lock"):
        if not home.exists():
            making = tmp_path_factory.mktemp("smoke")
            command = [sys.executable, "-W", "ignore", "-m", "study.sweep"]
            done = subprocess.run(
                [*command, "+experiment=n_vs_p", "budget=smoke"],
                cwd=making,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            making.rename(home)
    return home / "outputs" / "n_vs_p"


@pytest.fixture
def crater(tmp_path: Path) -> Iterator[Path]:
    """The folder that a bomb makes; no test may end with it."""
    target = tmp_path / "crater"
    yield target
    assert not target.exists(), "something planted was run"
