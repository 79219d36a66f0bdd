"""The project as others install it: a wheel in an environment of its own, run from any folder.

Dependencies are borrowed from this environment through a .pth file; the project, its config and
its Hydra plugin must come from the wheel.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
WHERE = """
import hydra_plugins.study_sweeper as plugin, study
from study.config import hydra
print(study.__file__, plugin.__file__, hydra.CONF, sep="\\n")
"""


def command(*words: str) -> list[str]:
    """The README's sweep that holds these words, after `python`."""
    lines = re.findall(r"^    python (.*(?:(?<=\\)\n.*)*)$", README, flags=re.MULTILINE)
    (line,) = [each for each in lines if all(word in each for word in words)]
    return shlex.split(line.replace("\\\n", ""))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel in it."""
    home = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(home)]
    subprocess.run([*pip, "wheel", *wheels, str(ROOT)], check=True, cwd=home)
    venv.create(home / "env", with_pip=False)
    fresh = home / "env" / "bin" / "python"
    (wheel,) = home.glob("lagrangian_study-*.whl")
    pip[3:3] = ["--python", str(fresh)]
    subprocess.run([*pip, "install", "--no-deps", str(wheel)], check=True, cwd=home)
    (site,) = (home / "env" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return fresh


def run(python: Path, folder: Path, *arguments: str) -> str:
    """Run it in a folder outside the repository; what it printed."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "STUDY_OWN_CODE")}
    done = subprocess.run(
        [str(python), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_code_config_and_plugin_are_the_wheels(python: Path, tmp_path: Path) -> None:
    for place in run(python, tmp_path, "-c", WHERE).splitlines():
        assert Path(place).is_relative_to(python.parents[1]), place


def test_the_readmes_own_system_becomes_a_page(python: Path, tmp_path: Path) -> None:
    (tmp_path / "my_system.py").write_text(PYTHON[1])
    run(python, tmp_path, *command("study.sweep", "system=file"))
    study = tmp_path / "outputs" / "pendulum"
    assert "pendulum" in (study / "report" / "index.html").read_text()
    rows = pd.read_parquet(study / "results.parquet")
    assert set(rows["system"]) == {"pendulum"}
    assert set(rows["system.constants"]) == {"m=2"}
    # the other commands read what is there, without the file, and without running its copy
    (tmp_path / "my_system.py").unlink()
    for copy in (study / "inputs").iterdir():
        copy.write_text("raise SystemExit('run')")
    assert "1 of 1 blocks" in run(python, tmp_path, "-m", "study.status", "outputs/pendulum")
    run(python, tmp_path, "-m", "study.report", "outputs/pendulum")


def test_the_readmes_own_data_become_a_page(python: Path, tmp_path: Path) -> None:
    run(python, tmp_path, "-c", PYTHON[2])
    run(python, tmp_path, *command("study.sweep", "data=file"))
    study = tmp_path / "outputs" / "measured"
    page = (study / "report" / "index.html").read_text()
    assert "measured.csv" in page
    assert "velocities and accelerations by Savitzky-Golay, window 11" in page
    rows = pd.read_parquet(study / "results.parquet")
    assert rows["test_nmse"].notna().all()
    assert rows["rollout_error"].notna().all()
    assert rows["energy_drift"].isna().all()
    # held out: one of six trajectories, of 300 rows each; 5 at each end of the others are not used
    assert set(rows["data.n_train"]) == {5 * (300 - 10)}
