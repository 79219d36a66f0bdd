"""What tests start for themselves: real servers (SLURM, PostgreSQL) and a browser (Chromium).

Each comes from Debian's packages. Where they are missing a test says in one line how to get them;
under CI, which installs them, a missing server is a failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

import pytest

SBIN = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


def need(programs: Sequence[str], packages: str) -> None:
    """Go on only where `programs` are installed; else say which Debian `packages` bring them."""
    missing = [name for name in programs if shutil.which(name, path=SBIN) is None]
    if not missing:
        return
    sentence = (
        f"{', '.join(missing)} not found: apt-get install -y --no-install-recommends {packages}"
    )
    if os.environ.get("CI"):
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)
