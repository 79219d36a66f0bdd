"""What `replicates=auto` reached: how well each cell is known, and why it got no more blocks.

Knows: rows, the settings, the decisions on record. Does not know: who decided, pages.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from study.analysis.answer import Answer
from study.analysis.wording import number, plural, span
from study.config.adaptive import WORST, estimate, half_width
from study.page.cells import CellTable
from study.tables.measures import MEASURES


@dataclasses.dataclass(frozen=True)
class Reached:
    """One cell: the half-width of its interval relative to the median, its replicates.

    `why` it got no more: empty where that is not decided yet.
    """

    half_width: float
    replicates: int
    why: str


@dataclasses.dataclass(frozen=True)
class Precision:
    """All cells of a study with `replicates=auto`: the measure, the aim, what was reached."""

    measure: str
    aim: float
    cells: Mapping[str, Reached]

    @property
    def words(self) -> str:
        return MEASURES[self.measure].words

    def note(self) -> str:
        """One sentence or two for the top of the page."""
        found = self.cells.values()
        met = sum(each.half_width <= self.aim for each in found)
        why = Counter(each.why or "not decided yet" for each in found if each.half_width > self.aim)
        rest = "; ".join(f"{reason}: {plural(n, 'cell')}" for reason, n in why.most_common())
        return (
            f"Replicates where they help: {span((e.replicates for e in found), 'replicate')} a "
            f"cell, added where the interval of the {self.words} was widest. It is known within "
            f"{percent(self.aim)} in {met} of {plural(len(self.cells), 'cell')}"
            + (f" ({rest})" if rest else "")
            + ". A cell stops where its interval happens to be narrow, so intervals are slightly "
            "too narrow."
        )

    def of(self, cells: Sequence[str]) -> str:
        """What it is for the cells that an answer rests on."""
        found = [self.cells[cell] for cell in cells if cell in self.cells]
        if not found:
            return ""
        widest = max(each.half_width for each in found)
        missed = [each for each in found if each.half_width > self.aim]
        text = f"{self.words} of each cell within {percent(widest)}"
        if missed:
            why = "; ".join(dict.fromkeys(each.why or "not decided yet" for each in missed))
            text += f"; {percent(self.aim)} missed in {len(missed)} of {len(found)} ({why})"
        return text


def percent(half_width: float) -> str:
    """A relative half-width for a reader."""
    return f"{number(100 * half_width)} %" if math.isfinite(half_width) else "no bound"


def precision(
    rows: pd.DataFrame, settings: Mapping[str, Any], decisions: Sequence[Mapping[str, Any]]
) -> Precision | None:
    """What was reached; None for a study whose replicates are a number.

    **Arguments:**

    - `settings`: what `study.yaml` holds; `decisions`: what `auto/` does.
    """
    auto = settings.get("auto")
    if settings.get("replicates") != "auto" or not isinstance(auto, Mapping):
        return None
    measure, aim = str(auto.get("measure")), auto.get("precision")
    if measure not in WORST or not isinstance(aim, int | float):
        return None
    wanted = settings.get("cells")
    last = decisions[-1] if decisions else {}
    stopped = last.get("stopped", {})
    cells = {}
    for cell, part in rows.sort_values("replicate").groupby("cell"):
        if isinstance(wanted, list) and cell not in wanted:
            continue  # of an earlier command
        known = estimate(part[measure].to_numpy(float), part["data_seed"].to_numpy(), measure)
        why = str(stopped.get(cell, {}).get("why", ""))
        cells[str(cell)] = Reached(half_width(known), len(part), why)
    return Precision(measure, float(aim), cells)


def told(answers: Sequence[Answer], reached: Precision) -> list[Answer]:
    """The answers, each with what was reached on its cells."""
    return [dataclasses.replace(each, precision=reached.of(each.rows)) for each in answers]


def with_columns(table: CellTable, reached: Precision) -> CellTable:
    """The table of cells with two columns more: what was reached, and why a cell stopped."""
    nothing = Reached(math.nan, 0, "")
    found = [reached.cells.get(cell, nothing) for cell in table.data["cell"]]
    return CellTable(
        table.data.assign(
            half_width=[each.half_width for each in found], stopped=[each.why for each in found]
        ),
        table.text.assign(
            **{
                f"± of the {reached.words}": [
                    "unknown" if math.isnan(e.half_width) else percent(e.half_width) for e in found
                ],
                "got no more for": [each.why for each in found],
            }
        ),
    )
