"""The figure of a pooled verdict: one line a system and their mean."""

import pandas as pd

from study.analysis.evidence import Pooled
from study.analysis.style import REFERENCE, Plot, canvas, dot_plot, finish, log_axis
from study.analysis.words import number, plural

MEAN = "mean"


def forest(answer: Pooled) -> Plot | None:
    """Each system's ratio and their random-effects mean; None with fewer than two systems."""
    if len(answer.by_system) < 2:
        return None
    lines = {s.replace("_", " "): e for s, e in sorted(answer.by_system.items(), key=_by_value)}
    lines[MEAN] = (answer.value, *answer.interval)
    values = pd.DataFrame(lines.values(), columns=["median", "low", "high"])
    data = values.assign(system=list(lines), question=answer.id)
    figure, (axis,) = canvas(height=0.9 + 0.24 * len(lines))
    single = data.assign(median=data["median"].where(data["system"] != MEAN))
    mean = data.assign(median=data["median"].where(data["system"] == MEAN))
    dot_plot(axis, list(lines), {"one system": single, "random-effects mean": mean})
    axis.axvline(1.0, color=REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    log_axis(axis, "x")
    axis.set_xlabel("ratio of median errors (N·D/P for the threshold)")
    finish(figure, axis)
    caption = (
        "One line a system: the ratio that decides, averaged over its ladders "
        "or levers, with its 95 % interval; the last is the random-effects mean over systems. "
        "Dashed: 1."
    )
    ends = f"{number(answer.value)} [{number(answer.interval[0])}, {number(answer.interval[1])}]"
    alt = f"Dot plot of {plural(len(lines) - 1, 'system')}; the mean is {ends}."
    return Plot(f"systems.{answer.id}", answer.question, caption, alt, data, figure)


def _by_value(item: tuple[str, tuple[float, float, float]]) -> float:
    return item[1][0]
