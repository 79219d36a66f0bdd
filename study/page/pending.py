"""What an unfinished study still waits for: the curves and comparisons of its design.

Knows: the factors of the cells it asks for, and which of them have rows. Does not know: who runs
them, when, or what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from study.analysis.answer import Answer
from study.analysis.design import Design
from study.analysis.statistics.medians import ENOUGH
from study.analysis.words import plural

MOST_CELLS = 1000  # of a design that is worth taking apart


@dataclass(frozen=True)
class Part:
    """A curve or a comparison, and how much of it is there.

    - `name`: for a reader; `cells`: hashes.
    - `complete`: cells with all their replicates; `replicates`, `wanted`: over all its cells.
    """

    name: str
    cells: frozenset[str]
    complete: int
    replicates: int
    wanted: int


@dataclass(frozen=True)
class Standing:
    """A study that is not finished.

    - `done`, `total`: blocks.
    - `lines`: sentences for the reader.
    - `parts`: the curves and comparisons that lack most; `more`: how many others lack something.
    - `waits`: what an answer waits for, by its id.
    """

    title: str
    done: int
    total: int
    lines: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    more: int = 0
    waits: dict[str, str] = field(default_factory=dict)


def parts(planned: pd.DataFrame, rows: pd.DataFrame | None, replicates: int) -> list[Part]:
    """Every curve and comparison that the finished study will have, those first that lack most.

    **Arguments:**

    - `planned`: one row a cell: `cell` and the factors, as the results have them.
    - `rows`: the results so far; None where there is none.
    - `replicates`: wanted of each cell.
    """
    design = Design(planned)
    named = [
        (f"along {axis}: {ladder.label}", ladder.cells)
        for axis in ("N", "P")
        for ladder in design.ladders(axis)
    ]
    for each in design.comparisons():
        named.append((f"{each.name}: {' or '.join(each.levels)}", each.cells))
    named = named or [("all cells", tuple(planned["cell"]))]
    have = {} if rows is None else rows.groupby("cell").size().to_dict()
    found = []
    for name, cells in named:
        there = [min(replicates, have.get(cell, 0)) for cell in cells]
        complete = sum(n == replicates for n in there)
        found.append(Part(name, frozenset(cells), complete, sum(there), replicates * len(there)))
    return sorted(found, key=lambda part: part.replicates / part.wanted)


def remarks(
    answers: Sequence[Answer], found: Sequence[Part], rows: pd.DataFrame, replicates: int
) -> dict[str, str]:
    """What each answer waits for: the id -> how much there is of the smallest part that has its
    cells, or of the study where it rests on all cells; answers on what is complete are left out.

    **Arguments:** as `parts` has them.
    """
    have = rows.groupby("cell").size().to_dict()
    planned = frozenset[str]().union(*(part.cells for part in found))
    there = sum(min(replicates, have.get(cell, 0)) for cell in planned)
    study = Part("", planned, 0, there, replicates * len(planned))
    waits = {}
    for each in answers:
        holders = [part for part in found if set(each.rows) <= part.cells]
        whole = set(each.rows) == set(have) or not holders
        part = study if whole else min(holders, key=lambda part: len(part.cells))
        if part.replicates < part.wanted:
            waits[each.id] = f"so far {part.replicates} of {plural(part.wanted, 'replicate')}"
    return waits


def undecided(answers: Sequence[Answer], asked: int) -> str:
    """A sentence on the answers that are open, and on what they lack; empty where none is.

    **Arguments:** `asked`: replicates of each cell that the study asks for.
    """
    still = [each for each in answers if each.verdict == "undecided"]
    if not still:
        return ""
    few = [each for each in still if each.n_replicates < ENOUGH * each.n_cells]
    sentence = f"Undecided so far: {len(still)} of {plural(len(answers), 'answer')}"
    if few:
        sentence += (
            f", {len(few)} of them for fewer than {ENOUGH} replicates a cell, which a verdict needs"
        )
        if asked < ENOUGH:
            sentence += f" (this study asks for {asked}: replicates={ENOUGH} would bring them)"
    return sentence + "."
