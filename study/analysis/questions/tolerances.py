"""Where interpolation ends, for every tolerance: the curve behind the one number of a threshold.

What counts as fitted is a choice. If a ladder's threshold stays where it is while the tolerance
goes through decades, it is the network's; if it moves along, it is the optimiser's.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from study.analysis.answer import Tables, curve
from study.analysis.design import Ladder
from study.analysis.questions import ladder_curves
from study.analysis.statistics.thresholds import at_tolerance, tolerance
from study.analysis.style import REFERENCE, Plot, canvas, decade_axis, finish, lines, log_axis
from study.analysis.words import plural
from study.tables.measures import TRAIN

TOLERANCES = np.geomspace(1e-6, 1, 13)  # times the variance of the noise, or of the targets


def curves_of(tables: Tables) -> dict[str, pd.DataFrame]:
    """For each ladder along N through N*D = P with label noise: N*D/P where fitting ends against
    the tolerance; without the tolerances at which it ends beyond the ladder."""
    every = ladder_curves.networks(tables.design, "N")
    ladders = [ladder for _, ladder in every if ladder.noise > 0 and ladder_curves.crosses(ladder)]
    return {ladder.label: _curve(tables.rows, ladder) for ladder in ladders}


def _curve(rows: pd.DataFrame, ladder: Ladder) -> pd.DataFrame:
    train = curve(rows, ladder.cells, TRAIN)
    records = []
    for share in TOLERANCES:
        ratio = at_tolerance(train, ladder, share * ladder.noise**2)
        if 0 < ratio.value < np.inf:
            ends = {"median": ratio.value, "low": ratio.low, "high": ratio.high}
            records.append({"tolerance": share, **ends, "replicates": ratio.n})
    columns = ["tolerance", "median", "low", "high", "replicates"]
    return pd.DataFrame(records, columns=columns).assign(line=ladder.label)


def plots(tables: Tables) -> Iterator[Plot]:
    found = {label: table for label, table in curves_of(tables).items() if len(table)}
    if not found:
        return
    figure, (panel,) = canvas()
    lines(panel, "tolerance", found)
    data = pd.concat(found.values(), ignore_index=True)
    panel.axhline(1.0, color=REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    panel.axvline(tolerance(1.0), color=REFERENCE, linewidth=0.9, linestyle=":", zorder=0)
    log_axis(panel, "x")
    decade_axis(panel)
    panel.set_xlabel("train error that counts as fitted / variance of the label noise")
    panel.set_ylabel("N·D/P of the largest N fitted")
    finish(figure, panel)
    caption = (
        "The threshold of each ladder with label noise against what counts as fitted. Dashed: "
        "N·D = P; dotted: the tolerance of the verdicts. A tolerance at which fitting ends beyond "
        f"the ladder has no point. {ladder_curves.medians_are(data)}."
    )
    alt = f"Threshold against tolerance, {plural(len(found), 'line')}."
    title = "Where interpolation ends, by tolerance"
    yield Plot("threshold_by_tolerance", title, caption, alt, data, figure)
