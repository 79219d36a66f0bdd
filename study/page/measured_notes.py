"""What a page says of measured data: how a file was taken, and what rollouts were compared over."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from study.analysis.statistics.limits import AT_END
from study.analysis.words import number, plural
from study.config.physical_units import UNITS

_CONVERTED = {unit.si for unit in UNITS.values()}


def taken(row: Mapping[str, Any]) -> Iterator[str]:
    """How the rows, times and units of a file were taken.

    Rows of earlier versions lack most of these columns.
    """
    step, gaps, short, empty = (
        row.get(name, 0) for name in ("time_step", "n_gaps", "n_short", "n_empty")
    )
    if step > 0:
        yield f"The median step is {number(step, 3)} s."
    if gaps > 0:
        cut = "cuts a trajectory" if gaps == 1 else "cut trajectories"
        yield f"{plural(int(gaps), 'gap')} {cut} into pieces."
    if short > 0:
        rows, are = plural(int(row["n_short_rows"]), "row"), "is" if short == 1 else "are"
        yield f"{plural(int(short), 'piece')} {are} left out as too short ({rows})."
    if empty > 0:
        are = "is" if empty == 1 else "are"
        yield f"{plural(int(empty), 'row')} without a number {are} left out."
    if row["system"] == "unknown":
        for name, unit in re.findall(r"([^,()]+) \(([^()]*)\)", str(row["coordinates"])):
            if unit not in _CONVERTED:
                yield f"{name.strip()} is in {unit}: it is taken as no angle, and not converted."


def labels(rows: pd.DataFrame) -> Iterator[str]:
    """How far what was trained on is from the true system, if that is known."""
    if "label_nmse" not in rows or np.isnan(rows["label_nmse"].to_numpy(float)).all():
        return
    known = {name: rows[name].dropna() for name in ("label_nmse", "noise_floor") if name in rows}
    off, noise = (
        float(np.median(known[name])) if len(known.get(name, ())) else float("nan")
        for name in ("label_nmse", "noise_floor")
    )
    yield (
        "The accelerations trained on are off from the true system's by "
        f"{number(off)} of their variance, of which noise explains {number(noise)}."
    )


def compared(rows: pd.DataFrame) -> Iterator[str]:
    """Over which horizon rollouts were compared, how many, and how many valid times are at it."""
    horizons = rows["rollout.horizon"].to_numpy(float)
    ends = [number(end, 3) for end in sorted({float(horizons.min()), float(horizons.max())})]
    if "rollout.n_trajectories" in rows:
        counts = rows["rollout.n_trajectories"].to_numpy(int)
        most = plural(int(counts.max()), "rollout")
        several = most if counts.min() == counts.max() else f"{counts.min()} to {most}"
        yield f"Each model has {several} over {' to '.join(ends)} s."
    capped = int((rows["valid_time"].to_numpy(float) >= AT_END * horizons).sum())
    if capped:
        yield (
            f"The valid time of {capped} of {plural(len(rows), 'model')} is at its cap, this "
            "horizon: it says how long was looked, and the model may be right for longer."
        )
