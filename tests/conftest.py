"""What all tests share: shapes in signatures are checked, data are cached for the session only."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# before study.core is imported anywhere: every jaxtyping shape in it becomes a check
from jaxtyping import install_import_hook

install_import_hook("study.core", "beartype.beartype")

# one thread, as the workers have; before torch is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")
if "PYTEST_XDIST_WORKER" not in os.environ:  # workers share what the first of them makes
    os.environ["STUDY_CACHE"] = tempfile.mkdtemp(prefix="study-cache-")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def smoke_study(tmp_path_factory) -> Path:
    """A finished study, made by the real command at its smallest; tests only read it."""
    home = tmp_path_factory.mktemp("smoke")
    command = [sys.executable, "-W", "ignore", "-m", "study.sweep"]
    done = subprocess.run(
        [*command, "+experiment=n_vs_p", "budget=smoke"],
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return home / "outputs" / "n_vs_p"


@pytest.fixture
def crater(tmp_path: Path) -> Iterator[Path]:
    """The folder that a bomb makes; no test may end with it."""
    target = tmp_path / "crater"
    yield target
    assert not target.exists(), "something planted was run"
