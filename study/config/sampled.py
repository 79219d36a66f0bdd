"""What `data.sampling_rate` and `data.window=auto` stand for: numbers that follow from the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from study.config import measured
from study.config.errors import altered
from study.core.data.datasets import Source
from study.core.data.derivatives import SHORTEST_WINDOW
from study.core.data.smoothing import chosen_window, noise
from study.core.data.trajectory import Trajectory
from study.core.systems import System

if TYPE_CHECKING:
    from study.config.schema import DataConfig

_chosen: dict[tuple, int] = {}  # the cells of a grid share their data


def chosen(data: DataConfig, system: System, seed: int) -> DataConfig:
    """The group with numbers in the place of both.

    The window is that of the first replicate's positions, or of what a file trains on.

    **Raises:** `ConfigError` for a file that cannot be used.
    """
    if data.sampler != "file" and (rate := data.sampling_rate):
        samples = 1 + round(rate * system.data_span)
        data = altered(data, pool_size=data.n_trajectories * samples, sampling_rate=None)
    if data.window != "auto":
        return data
    if data.sampler == "file" and data.columns is not None and data.sha256 is not None:
        reading = measured.Reading(data.sha256, data.columns, data.method, data.held_out)
        return altered(data, window=of_file(reading, system))
    made = Source(system, data.sampler, data.pool_size, data.n_trajectories, data.position_noise)
    return altered(data, window=_of_made(made, seed))


def of_file(reading: measured.Reading, system: System) -> int:
    """The window that suits the noise of a recording. **Raises:** `ConfigError`."""
    about = (system.coordinates, system.angles, system.name)
    key = (reading, *about)
    if key not in _chosen:
        _chosen[key] = _window(measured.trajectories(reading, *about)[0])
    return _chosen[key]


def _of_made(source: Source, seed: int) -> int:
    system = source.system
    motion = (system.lagrangian, system.forces, system.drive, repr(system.constants))
    begun = (system.initial_conditions, system.data_span)
    key = (*motion, *begun, source.pool_size, source.n_trajectories, source.position_noise, seed)
    if key not in _chosen:
        samples, rest = divmod(source.pool_size, source.n_trajectories)
        if rest or samples < 2 * SHORTEST_WINDOW:
            return SHORTEST_WINDOW  # the cell refuses them
        _chosen[key] = _window(source.sampled(10_000 * seed))
    return _chosen[key]


def _window(pieces: list[Trajectory]) -> int:
    tracks = [(piece.times, piece.q) for piece in pieces]
    return chosen_window(tracks, noise(tracks))
