"""Made data are kept in `cache_folder()`, named by a hash of everything they depend on.

Any number of workers may make the same data at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Callable

import numpy as np

from study.core.files import cache_folder, write_whole
from study.core.systems.mechanics import DataError, Signals, System

Array = np.ndarray

MOMENTS = 1000  # at which the name of a dataset knows its inputs
VERSION = 3  # raise it when the numbers a dataset holds change


def cached(system: System, key: list, make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """The result of `make`, from the cache if it is there whole; made anew if the file is torn."""
    plain = json.dumps([VERSION, _fingerprint(system), *key], sort_keys=True)
    name = f"{system.name}-{key[0]}-{hashlib.sha256(plain.encode()).hexdigest()[:16]}.npz"
    path = cache_folder() / name
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {k: stored[k] for k in stored.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # absent or torn: made anew
    # in the memory order of arrays that come from the cache: numpy sums in that order, so that with
    # another the process that makes data would get other last bits than those that read them
    made = {field: np.ascontiguousarray(values) for field, values in make().items()}
    for field, values in made.items():
        if not np.isfinite(values).all():
            raise DataError(f"{system.name}: made {field} that are not finite ({key})")
    with contextlib.suppress(OSError):  # a cache that cannot be written costs only time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: np.savez(file, **made))  # type: ignore[arg-type]
    return made


def _fingerprint(system: System) -> list:
    """The system's content in numbers, which a changed formula or domain changes."""
    rng = np.random.default_rng(0)
    start = system.initial_conditions(rng, 3, system.parameters)
    drawn = system.box_states(rng, 1000)
    safe = system.is_safe(drawn)
    moved = system.rhs(np.concatenate([start, drawn[safe][:3]]) + 0.01)
    numbers = np.concatenate([start, drawn[:3], moved]).ravel()
    domain = np.packbits(safe).tobytes().hex()
    known = [system.data_span, system.angles, domain, [f"{x:.9e}" for x in numbers]]
    if system.drive:  # and what each input does
        pushed = [system.rhs(start, np.tile(u, (3, 1))) for u in np.eye(len(system.inputs))]
        known.append([f"{x:.9e}" for x in np.ravel(pushed)])
    return known


def inputs_digest(signals: Signals | None, n: int, seconds: float) -> list[str]:
    """The inputs of n trajectories in a word, at `MOMENTS` times; nothing without any."""
    if signals is None:
        return []
    u = signals(np.tile(np.linspace(0, seconds, MOMENTS), (n, 1)))
    return [hashlib.sha256(" ".join(f"{x:.9e}" for x in u.ravel()).encode()).hexdigest()]
