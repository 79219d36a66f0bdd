"""True and learned motion side by side, for the page's moving picture and for a GIF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from study.analysis.answer import Tables
from study.analysis.questions.curves import (
    axis_label,
    continuous,
    coordinates_of,
    shown_cells,
    trajectories,
)
from study.analysis.style import COLOURS, RC
from study.core.systems import SYSTEMS, System

RATE = 10  # frames of the GIF in a second of the motion, which it plays at its own speed
COLOURS_OF_GIF = 16  # lines on white need no more


@dataclass(frozen=True)
class Motion:
    """One rollout from a held-out start.

    - `name`: which it is ('best cell, trajectory 1'); `number`: of the trajectory, from 0.
    - `label`: the cell's factors that vary.
    - `times`: (T,) seconds; `axes`: name and unit of each coordinate, as on an axis.
    - `coordinates`: (2, T, D) true and learned, angles continuous; NaN after a curve ended.
    - `bodies`: (2, T, K, 2) where the bodies are, in metres; None if the system states none.
    """

    name: str
    number: int
    label: str
    times: np.ndarray
    axes: tuple[str, ...]
    coordinates: np.ndarray
    bodies: np.ndarray | None


def motions(tables: Tables) -> list[Motion]:
    """The trajectories of the cells that are best and middle in rollout error."""
    return [
        motion
        for which, cell in shown_cells(tables).items()
        for motion in _of_cell(tables, which, cell)
    ]


def _of_cell(tables: Tables, which: str, cell: str) -> list[Motion]:
    assert tables.curves is not None
    wide, row = trajectories(tables.curves, cell), tables.design.cells.loc[cell]
    D = sum(f"true.q{i}[0]" in wide for i in range(wide.shape[1]))
    named = coordinates_of(row, D)
    system, made = _system(row), []
    for k in (0, 1):
        if f"true.q0[{k}]" not in wide:
            continue
        pairs = [wide[[f"true.q{i}[{k}]", f"learned.q{i}[{k}]"]].to_numpy(float) for i in range(D)]
        q = np.stack(
            [
                (continuous(pair) if unit == "rad" else pair).T
                for pair, (_, unit) in zip(pairs, named, strict=True)
            ],
            axis=2,
        )
        bodies = None
        if system is not None and system.bodies is not None and system.n_dof == D:
            bodies = np.stack([system.bodies(one, system.parameters) for one in q])
        axes = tuple(axis_label(*pair) for pair in named)
        name, label = f"{which} cell, trajectory {k + 1}", tables.design.label(cell) or cell
        made.append(Motion(name, k, label, wide.index.to_numpy(float), axes, q, bodies))
    return made


def _system(row: pd.Series) -> System | None:
    """The cell's system with its constants; None if it is none of the registry, or if the table
    names constants that it has not."""
    system, changed = SYSTEMS.get(str(row["system"])), str(row.get("system.constants"))
    if system is None or "=" not in changed:
        return system
    try:
        pairs = (pair.split("=") for pair in changed.split(", "))
        return system.with_constants(**{name: float(value) for name, value in pairs})
    except (ValueError, KeyError):
        return None


def gif(motions: Sequence[Motion], path: str | Path) -> Path:
    """Write motions side by side as a GIF: the bodies, and below them the first coordinate; the
    true system in black, the learned one in colour. All have bodies."""
    with mpl.rc_context(RC):
        figure = Figure(figsize=(2.8 * len(motions), 3.6), dpi=80, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        panels = figure.subplots(2, len(motions), height_ratios=[2.4, 1], squeeze=False)
        moving = [_prepare(panels[0, k], panels[1, k], motion) for k, motion in enumerate(motions)]
        figure.legend(handles=moving[0][0], loc="outside lower center", ncols=2)
        frames = []
        times = motions[0].times
        for time in np.arange(times[0], times[-1], 1 / RATE):
            at = int(np.argmin(np.abs(times - time)))
            for motion, (lines, mark) in zip(motions, moving, strict=True):
                assert motion.bodies is not None
                for line, bodies in zip(lines, motion.bodies, strict=True):
                    line.set_data(*bodies[at].T)
                mark.set_xdata([motion.times[at]] * 2)
            canvas.draw()
            if not frames:
                figure.set_layout_engine("none")
            picture = Image.fromarray(np.asarray(canvas.buffer_rgba()))
            # one palette for all, so that a frame stores only what moved
            of_first, no = frames[0] if frames else None, Image.Dither.NONE
            frames.append(picture.convert("RGB").quantize(COLOURS_OF_GIF, None, 0, of_first, no))
    options = {"save_all": True, "duration": 1000 // RATE, "loop": 0, "optimize": True}
    frames[0].save(path, append_images=frames[1:], **options)
    return Path(path)


def _prepare(plane, below, motion: Motion):
    """Draw what stands still; the lines that move: those of the bodies, and the mark in time."""
    assert motion.bodies is not None
    places = motion.bodies[0].reshape(-1, 2)
    low, high = np.nanmin(places, axis=0), np.nanmax(places, axis=0)
    (x, y), half = (low + high) / 2, 0.6 * (high - low).max()
    plane.set(xlim=(x - half, x + half), ylim=(y - half, y + half), aspect="equal")
    plane.set(title=motion.name)
    plane.set_axis_off()
    looks = [
        {"color": "black", "lw": 1.6, "label": "true"},
        {"color": COLOURS[1], "lw": 1.4, "ls": (0, (4, 2)), "label": "learned"},
    ]
    lines = [plane.plot([], [], marker="o", markersize=7, **look)[0] for look in looks]
    for look, q in zip(looks, motion.coordinates, strict=True):
        below.plot(motion.times, q[:, 0], **look)
    below.set(xlabel="time (s)", ylabel=motion.axes[0])
    return lines, below.axvline(motion.times[0], color="#777777", lw=1.0)
