"""A recording that the project makes itself, because none may be shipped: it is simulated.

A double pendulum with friction in both joints is let go from rest, `RUNS` times. Encoders of
`COUNTS` a turn read the angles, with a little noise, at times that jitter. The file holds what such
an instrument writes: the run, the time and the two angles in degrees. Nothing else is told.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from study.core.files import cache_folder, write_text
from study.core.systems import SYSTEMS

VERSION = 1  # of what is made: another number for another file
RUNS, SECONDS, RATE = 20, 8.0, 100.0  # runs, their length, samples a second
COUNTS, NOISE = 4096, 5e-4  # of an encoder a turn; standard deviation in rad
JITTER = 2e-4  # standard deviation of a time, s


def path() -> Path:
    """The file, which is made if it is not in the cache."""
    file = cache_folder() / f"made-recording-{VERSION}.csv"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text(), fsync=False)
    return file


def text() -> str:
    """The content of the file."""
    random, system = np.random.default_rng(VERSION), SYSTEMS["damped_double_pendulum"]
    rest = random.uniform(-1.5, 1.5, (RUNS, 2))
    even = np.arange(round(SECONDS * RATE)) / RATE
    times, noises = [], []
    for _ in range(RUNS):
        jittered = even + JITTER * random.standard_normal(len(even)).clip(-3, 3)
        times.append(jittered - jittered[0])
        noises.append(NOISE * random.standard_normal((len(even), 2)))
    every = np.unique(times)  # all runs are integrated at once
    angles, _ = system.rollout(rest, np.zeros_like(rest), every, tolerance=1e-9)
    rows = []
    for run, (own, noise) in enumerate(zip(times, noises, strict=True)):
        read = angles[run, np.searchsorted(every, own)] + noise
        degrees = np.round(read * COUNTS / (2 * np.pi)) * 360 / COUNTS
        rows.append(np.column_stack([np.full(len(own), run), own, degrees]))
    out = io.StringIO()
    table, form = np.concatenate(rows), ["%d", "%.6f", "%.4f", "%.4f"]
    np.savetxt(out, table, form, ",", header="run,t,theta1,theta2", comments="")
    return out.getvalue()
