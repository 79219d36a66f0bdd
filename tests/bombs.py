"""What makes a folder where it is unpickled; the fixture `crater` is that folder."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path):
        self._target = str(target)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self._target,)


def as_pickle(path: Path, bomb: Bomb) -> None:
    path.write_bytes(pickle.dumps(bomb))
