"""The report of a study, from its tables: answers, figures, page; or of several studies together.

Knows: which parts there are, and in what order they are made. Does not know: how any is made.

    python -m study.report outputs/<study>
    python -m study.report outputs/reference     # a folder of studies: one verdict a question
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow
from joblib import Parallel, cpu_count, delayed

from study.config.errors import first_line
from study.config.folder_argument import is_study, no_study, studies_in
from study.config.terminal import one_line
from study.sweeping.local import start
from study.tables import gather
from study.tables import searches as searched
from study.tables.study_yaml import TableError, read_study

if TYPE_CHECKING:
    from study.page.pending import Standing

MOST = 4  # processes; more would wait for the longest of answers and figures


def write(
    folder: str | Path,
    *,
    live: bool = False,
    stop: Callable[[], bool] = lambda: False,
    processes: int = 1,
) -> Path:
    """Gather the blocks of a study into tables and write its answers, figures and page.

    Without `cells/` the tables that are there are taken as they are. A study of which nothing is
    done yet has a page too, which says so.

    **Arguments:**

    - `folder`: `outputs/<study>`.
    - `live`: whether its sweep runs as this is written.
    - `stop`: asked between the parts; once it says so, what is left is not written.
    - `processes`: how many find answers and draw; with one it is this process alone.

    **Returns:** the path of the page.

    **Raises:** `TableError` if the folder is no study.
    """
    joblib = {"n_jobs": min(processes, cpu_count(), MOST), "batch_size": 1, "max_nbytes": None}
    if joblib["n_jobs"] > 1:
        start(joblib, "study.analysis.answers")
    # here, so that an error about the folder does not wait for the plotting libraries
    from study.analysis import answers, style
    from study.analysis.design import counted
    from study.analysis.searches import searches
    from study.page import cells, page, remarks, search_notes, standing

    folder = Path(folder)
    target = folder / "report" / "index.html"
    settings = read_study(folder)
    asked = remarks.asked(settings)
    try:
        rows, curves = _tables(folder)
    except gather.NothingYet:
        now = standing.standing(folder, None, (), asked, live=live)
        if now is None:
            raise
        return _write_empty(folder, settings, now)
    searched_for = searches(searched.load_trials(folder), searched.load_searches(folder))
    every = rows
    rows, curves, lines = _shown(rows, curves)
    if stop():
        return target
    parts = [delayed(answers.drawn)(k, rows, curves, searched_for) for k in answers.PARTS]
    made: Any = Parallel(**joblib, return_as="generator")(
        [delayed(answers.answer)(rows, curves, searched_for), *parts]
    )
    found, drawn = next(made), list[style.Drawn]()
    for some in made:
        drawn += some
        if stop():
            return target
    style.save(drawn, folder / "report" / "figures")
    now = standing.standing(folder, every, found, asked, live=live)
    lines += [] if now else remarks.missing(folder, every, settings)
    lines += search_notes.missing(every, searched_for, remarks.new_seeds(settings))
    lines += remarks.remarks(every, settings)
    answers.write(found, folder / "answers.json")
    shown = counted(rows)
    shown = rows if shown.empty else shown
    table = cells.cell_table(shown)
    table.data.to_csv(folder / "report" / "figures" / "cells.csv", index=False)
    notes = [*search_notes.notes(rows, searched_for), *remarks.measured(rows, settings)]
    text = page.render(shown, table, found, drawn, settings, lines, notes, now)
    page.write(text, target)
    return target


def begin(folder: str | Path) -> Path:
    """Write the page of a sweep that has begun, whatever is done by now.

    **Returns:** the path of the page. **Raises:** `TableError` if the folder is no study.
    """
    from study.page import remarks, standing

    folder = Path(folder)
    settings = read_study(folder)
    now = standing.standing(folder, None, (), remarks.asked(settings), live=True)
    if now is None:
        raise TableError(no_study(folder))
    return _write_empty(folder, settings, now)


def _write_empty(folder: Path, settings: Mapping[str, Any], now: Standing) -> Path:
    """A page without an answer and a figure."""
    from study.analysis import answers, style
    from study.page import page

    target = folder / "report" / "index.html"
    answers.write([], folder / "answers.json")
    style.save([], folder / "report" / "figures")
    (folder / "report" / "figures" / "cells.csv").unlink(missing_ok=True)
    page.write(page.render_empty(folder.resolve().name, settings, now), target)
    return target


def _shown(rows, curves):
    """The rows and curves that a page can hold, and what is to be said of it."""
    from study.analysis.design import counted, curves_of
    from study.page.thinning import thinned

    count = counted(rows)
    if count.empty:
        return rows, curves, []
    shown, sentence = thinned(count)
    if not sentence:
        return rows, curves, []
    if count is not rows:  # trials of searches are not thinned
        shown = pd.concat([shown, rows.loc[rows["role"] == "trial"]], ignore_index=True)
    return shown, curves_of(shown, curves), [sentence]


def write_across(folder: str | Path) -> Path:
    """One verdict for every question, from all studies in a folder, with the figures.

    Studies that are missing or whose tables cannot be read are named on the page.

    **Arguments:**

    - `folder`: holds one folder a study; gets `answers.json` and `report/index.html`.

    **Returns:** the path of the page.

    **Raises:** `TableError` if no study in it can be read.
    """
    from study.analysis import across, answers, style
    from study.analysis.design import counted, curves_of
    from study.analysis.evidence import Study
    from study.page import across as across_page
    from study.page import page

    folder = Path(folder)
    studies, settings, missing = [], {}, []
    for path in studies_in(folder):
        try:
            rows, curves = _tables(path)
            if (count := counted(rows)) is not rows:
                rows, curves = count, curves_of(count, curves)
            if rows.empty:
                missing.append(f"{path.name}: a search, of which nothing was trained again.")
                continue
            settings[path.name] = read_study(path)
            rows, curves, thinned = _shown(rows, curves)
            missing += [f"{path.name}: {sentence}" for sentence in thinned]
        except TableError as error:
            missing.append(f"Not read: {error}.")
            continue
        studies.append(Study(path.name, rows, curves, answers.answer(rows, curves)))
    if not studies:
        raise TableError(f"{folder} holds no study whose tables can be read: {' '.join(missing)}")
    names = {study.name for study in studies}
    absent = [name for name in across.expected() if name not in names]
    if absent:
        missing.append(f"Missing studies: {', '.join(absent)}.")
    sections = {
        "The question": across.answer(studies, across.QUESTIONS),
        "Beside it": across.answer(studies, across.BESIDE),
    }
    found = [each for section in sections.values() for each in section]
    across_page.write_json(found, folder / "answers.json")
    drawn = [style.draw(plot) for plot in across_page.plots(studies, found)]
    style.save(drawn, folder / "report" / "figures")
    text = across_page.render(folder.name, studies, settings, sections, drawn, missing)
    target = folder / "report" / "index.html"
    page.write(text, target)
    return target


def _tables(folder: Path):
    if not is_study(folder):
        raise TableError(no_study(folder))
    try:
        if (folder / "cells").is_dir():
            return gather.compact(folder)
        if not (folder / "results.parquet").exists():
            raise TableError(f"{folder} has no cells/ and no results.parquet: nothing was trained")
        return gather.load(folder), gather.load_curves(folder)
    except pyarrow.ArrowException as error:
        raise TableError(
            f"{folder} holds a table that cannot be read: {first_line(error)}"
        ) from None


def print_answers(folder: str | Path) -> None:
    """Print the verdicts of `answers.json` for the terminal."""
    for each in json.loads((Path(folder) / "answers.json").read_text(encoding="utf-8")):
        print(f"{each['verdict']:<10}{one_line(each['question'])}")
        sentence = one_line(each["sentence"])
        print(textwrap.fill(sentence, 96, initial_indent=" " * 10, subsequent_indent=" " * 10))
