"""What a page says of its study's tables before all else: what is missing, odd, or measured.

Knows: settings, rows, the study's folder. Does not know: answers, figures, pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.analysis.design import Design, counted
from study.analysis.words import plural


def missing(folder: Path, rows, settings: Mapping[str, Any]) -> list[str]:
    """A sentence for what the study asked for and the tables do not hold."""
    lines = []
    wanted = _wanted(settings)
    have = rows.groupby("cell").size()
    absent = [cell for cell in wanted if cell not in have.index]
    failed = {path.parent.name for path in (folder / "cells").glob("*/block-*.failed-*.json")}
    if absent:
        crashed = [cell for cell in absent if cell in failed]
        reason = f", of which {len(crashed)} failed" if crashed else ""
        lines.append(
            f"Missing: {len(absent)} of {plural(len(wanted), 'cell')} have no finished block"
            f"{reason} ({_some(absent)})."
        )
    replicates = settings.get("replicates")
    if isinstance(replicates, int) and not settings.get("searches"):
        short = [c for c in have.index if have[c] < replicates and (not wanted or c in wanted)]
        if short:
            lines.append(
                f"Incomplete: {plural(len(short), 'cell')} with fewer than "
                f"{plural(replicates, 'replicate')} ({_some(short)})."
            )
    return lines


def remarks(rows, settings: Mapping[str, Any]) -> list[str]:
    """A sentence for what a reader of the tables would not expect."""
    lines = []
    have, wanted = rows.groupby("cell").size(), _wanted(settings)
    if wanted and (extra := [c for c in have.index if c not in wanted]):
        lines.append(
            f"From earlier commands: {plural(len(extra), 'cell')} that the last command did not "
            f"ask for ({_some(extra)}) are part of all answers and figures."
        )
    lines += rows.attrs.get("unreadable", [])
    count = counted(rows)
    alike = 0 if count.empty else Design(count).alike
    if alike:
        lines.append(
            f"{plural(alike, 'cell')} agree in every factor of the table and differ in a setting "
            "it does not hold: they are told apart as setting 1, 2 and so on."
        )
    return lines


def measured(rows, settings: Mapping[str, Any]) -> list[str]:
    """A sentence for what was measured, and what was estimated from it."""
    if "data.file" not in rows:
        return []
    names = ["data.file", "data.estimate", "system", "coordinates", "data.n_trajectories"]
    asked = settings.get("config")
    data = asked.get("data") if isinstance(asked, Mapping) else None
    path = data.get("path") if isinstance(data, Mapping) else None
    lines = []
    for _, row in rows.dropna(subset="data.file").drop_duplicates(names).iterrows():
        how = str(row["data.estimate"])
        how = "" if how == "measured" else f", {how}"
        what = (
            "The true system is not known: rollouts are compared with held-out measured "
            "trajectories, and what needs the true system (energy, error budget, the true mass "
            "matrix) is missing."
            if row["system"] == "unknown"
            else "Test labels and rollouts are the true system's, from held-out measured states."
        )
        n = int(row["data.n_trajectories"])
        lines.append(
            f"Measured data: {Path(str(path)).name if path else 'a file'} (content "
            f"{row['data.file']}), {row['coordinates']}{how}; trained on {n} "
            f"{'trajectory' if n == 1 else 'trajectories'}. {what}"
        )
    return lines


def asked(settings: Mapping[str, Any]) -> int:
    """Replicates that the study asks for of each cell; 1 if it does not say."""
    n = settings.get("replicates")
    return n if isinstance(n, int) and n > 0 else 1


def new_seeds(settings: Mapping[str, Any]) -> int | None:
    """How many new seeds the best of each search is to be trained with; None for none."""
    search, replicates = settings.get("search"), settings.get("replicates")
    asked = isinstance(search, Mapping) and search.get("rerun") is True
    return replicates if asked and isinstance(replicates, int) else None


def _wanted(settings: Mapping[str, Any]) -> list[str]:
    cells = settings.get("cells")
    return [str(cell) for cell in cells] if isinstance(cells, list) else []


def _some(cells: list[str]) -> str:
    return ", ".join(cells[:5]) + (f" and {len(cells) - 5} more" if len(cells) > 5 else "")
