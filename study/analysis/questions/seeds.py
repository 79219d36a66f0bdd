"""Does the choice of the data scatter the error more than that of the initialisation?

Asked of cells whose data seeds and initialisation seeds are crossed; see `statistics.variance`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, Question, Tables, make
from study.analysis.design import CONTROL, Design
from study.analysis.statistics.variance import Components, crossed, pooled
from study.analysis.style import Plot, canvas, dot_plot, finish
from study.analysis.words import estimate, name_of, plural, span
from study.tables.measures import TEST

FIGURE = "variance"
ASKED = "Does the choice of the data scatter the error more than that of the initialisation?"
PARTS = {"data": "by the data", "init": "by the initialisation", "rest": "by neither alone"}


def _crossed_cells(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Cell -> log test errors (data seeds, initialisation seeds), if both seeds are crossed."""
    logs = {str(cell): crossed(part, TEST) for cell, part in rows.groupby("cell", sort=False)}
    return {cell: table for cell, table in logs.items() if table is not None}


def _pooled(logs: dict[str, np.ndarray], cells: Sequence[str]) -> tuple[Components, list[str]]:
    """The components of the cells with the most common number of seeds, and those cells."""
    shapes = [logs[cell].shape for cell in cells]
    most = max(shapes, key=shapes.count)
    alike = [cell for cell in cells if logs[cell].shape == most]
    return pooled([logs[cell] for cell in alike]), alike


def _answers(tables: Tables) -> Iterator[Answer]:
    rows, logs = tables.rows, _crossed_cells(tables.rows)
    controls = set(rows.loc[rows["model"] == CONTROL, "cell"])
    for k, of_control in enumerate((False, True)):
        cells = [cell for cell in logs if (cell in controls) == of_control]
        if not cells:
            continue
        components, cells = _pooled(logs, cells)
        what = "log test error" + (f" of the {name_of(CONTROL)}" if of_control else "")
        n_all = len(controls) if of_control else len(set(rows["cell"]) - controls)
        sentence = (
            f"Over {plural(len(cells), 'cell')} with {plural(components.n_data, 'data seed')} "
            f"crossed with {plural(components.n_init, 'initialisation')}, the standard deviation "
            f"of the {what} is {estimate(components.data)} by the data, "
            f"{estimate(components.init)} by the initialisation, {estimate(components.rest)} by "
            "neither alone (their interaction and the rest). The variance by the data is "
            f"{estimate(components.ratio)} times that by the initialisation."
        )
        if n := n_all - len(cells):
            sentence += f" {plural(n, 'cell')} with diverged or missing replicates left out."
        id, ratio = f"variance.{k}", components.ratio
        yield make(id, ASKED, ratio.verdict(), sentence, ratio, rows, tuple(cells), FIGURE)


def _plots(tables: Tables) -> Iterator[Plot]:
    rows, logs = tables.rows, _crossed_cells(tables.rows)
    networks = set(rows.loc[rows["model"] != CONTROL, "cell"]) & set(logs)
    if networks:  # the control's scatter at its peak would hide all else
        logs = {cell: table for cell, table in logs.items() if cell in networks}
    if not logs:
        return
    lines = _lines(tables.design, list(logs))
    data = pd.concat(
        [_table(name, *_pooled(logs, cells)) for name, cells in lines.items()], ignore_index=True
    )
    figure, (axis,) = canvas(height=1.2 + 0.55 * len(lines))
    by_part = {words: data.loc[data["part"] == part] for part, words in PARTS.items()}
    dot_plot(axis, list(lines), by_part, value="deviation")
    axis.set_xlim(0, 2.5 * max(data["deviation"]))
    axis.set_xlabel(f"standard deviation of log {TEST.words}")
    finish(figure, axis)
    caption = (
        f"Parts of the standard deviation of the log {TEST.words} (1 is a factor of e) over "
        f"{span(data['data_seeds'], 'data seed')} crossed with "
        f"{span(data['initialisations'], 'initialisation')}, by two-way random effects, "
        f"truncated at 0; {plural(len(logs), 'cell')}, those of a line pooled. Bars: 95 % "
        "generalised intervals, which for few seeds reach beyond the frame."
    )
    alt = (
        "Standard deviation of log test error by data, by initialisation and by neither, for "
        f"{plural(len(lines), 'line')}."
    )
    yield Plot(FIGURE, "Scatter by the data and by the initialisation", caption, alt, data, figure)


def _table(line: str, components: Components, cells: list[str]) -> pd.DataFrame:
    limits = pd.DataFrame([asdict(getattr(components, part)) for part in PARTS])
    deviations = limits.loc[:, ["value", "low", "high"]].rename(columns={"value": "deviation"})
    sizes = {"data_seeds": components.n_data, "initialisations": components.n_init}
    about = pd.DataFrame({"line": line, "part": list(PARTS)})
    return about.join(deviations).assign(cells=len(cells), **sizes)


def _lines(design: Design, cells: list[str]) -> dict[str, list[str]]:
    """Label -> cells: by the ladder along N, else along P, that a cell is on, else by itself."""
    names = {cell: design.label(cell) or "all settings" for cell in cells}
    for axis in ("P", "N"):
        for ladder in design.ladders(axis):
            names |= {cell: ladder.label for cell in ladder.cells if cell in names}
    lines: dict[str, list[str]] = {}
    for cell in sorted(cells, key=lambda cell: names[cell]):
        lines.setdefault(names[cell], []).append(cell)
    return lines


QUESTION = Question(_answers, _plots, place=70)
