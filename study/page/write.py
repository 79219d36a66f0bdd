"""Write the report of a study, or of several: tables, answers, figures, page, in this order."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
from joblib import Parallel, cpu_count, delayed

from study.config.errors import first_line
from study.config.terminal import is_study, no_study, one_line, studies_in
from study.core.files import write_text
from study.sweeping.local import start
from study.tables import gather
from study.tables.records import TableError, read_study

MOST = 4  # processes; more would wait for the longest of answers and figures


def write(
    folder: str | Path,
    *,
    live: bool = False,
    stop: Callable[[], bool] = lambda: False,
    processes: int = 1,
) -> Path:
    """Gather the blocks of a study into tables and write its answers, figures and page.

    Without `cells/` the existing tables are used. A study of which nothing is done yet has a page
    too, which says so.

    **Arguments:**

    - `folder`: `outputs/<study>`.
    - `live`: whether its sweep runs now.
    - `stop`: asked between the parts; once it returns True, the rest is not written.
    - `processes`: how many find answers and draw; 1 for this process alone.

    **Returns:** the path of the page.

    **Raises:** `TableError` if the folder is no study.
    """
    joblib = {"n_jobs": min(processes, cpu_count(), MOST), "batch_size": 1, "max_nbytes": None}
    if joblib["n_jobs"] > 1:
        start(joblib, "study.analysis.answers")
    # here, so that an error about the folder does not wait for the plotting libraries
    from study.analysis import answers, style
    from study.analysis.searches import searches
    from study.page import notes, page
    from study.page.cells import cell_table
    from study.page.unfinished import unfinished

    folder = Path(folder)
    target = folder / "report" / "index.html"
    settings = read_study(folder)
    wanted = notes.wanted_replicates(settings)
    try:
        every, all_curves = _tables(folder)
    except gather.NothingYet:
        return _write_empty(folder, live=live)
    searched = searches(gather.load_trials(folder), gather.load_searches(folder))
    rows, curves, missing = _thinned(every, all_curves)
    if stop():
        return target
    figures = [delayed(answers.drawn)(part, rows, curves, searched) for part in answers.PARTS]
    results: Any = Parallel(**joblib, return_as="generator")(
        [delayed(answers.answer)(rows, curves, searched), *figures]
    )
    verdicts, drawn = next(results), list[style.Drawn]()
    for some in results:
        drawn += some
        if stop():
            return target
    style.save(drawn, folder / "report" / "figures")
    now = unfinished(folder, every, verdicts, wanted, live=live)
    missing += [] if now else notes.missing(folder, every, settings)
    missing += notes.missing_of_searches(every, searched, notes.new_seeds(settings))
    missing += notes.remarks(every, settings)
    answers.write(verdicts, folder / "answers.json")
    shown = _counted(rows)
    table = cell_table(shown)
    table.data.to_csv(folder / "report" / "figures" / "cells.csv", index=False)
    lines = [*notes.searched(rows, searched), *notes.measured(rows, settings)]
    write_text(target, page.render(shown, table, verdicts, drawn, settings, missing, lines, now))
    return target


def _write_empty(folder: Path, *, live: bool) -> Path:
    """A page without an answer and a figure. **Raises:** `TableError`."""
    from study.analysis import answers, style
    from study.page import notes, page
    from study.page.unfinished import unfinished

    settings = read_study(folder)
    now = unfinished(folder, None, (), notes.wanted_replicates(settings), live=live)
    if now is None:
        raise gather.NothingYet(f"{folder} holds no finished block yet")
    target = folder / "report" / "index.html"
    style.save([], folder / "report" / "figures")
    answers.write([], folder / "answers.json")
    (folder / "report" / "figures" / "cells.csv").unlink(missing_ok=True)
    write_text(target, page.render_empty(folder.resolve().name, settings, now))
    return target


def _counted(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that count; all rows of a search of which nothing was trained again."""
    from study.analysis.design import counted

    count = counted(rows)
    return rows if count.empty else count


def _thinned(
    rows: pd.DataFrame, curves: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """The rows and curves that a page can hold, and a sentence if these are not all."""
    from study.analysis.design import counted, curves_of
    from study.page.cells import thinned

    count = counted(rows)
    shown, sentence = (count, "") if count.empty else thinned(count)
    if not sentence:
        return rows, curves, []
    if count is not rows:  # trials of searches are not thinned
        shown = pd.concat([shown, rows.loc[rows["role"] == "trial"]], ignore_index=True)
    return shown, curves_of(shown, curves), [sentence]


def write_across(folder: str | Path) -> Path:
    """One verdict for every question, from all studies in a folder, with the figures.

    The page names studies that are missing or whose tables cannot be read.

    **Arguments:**

    - `folder`: holds one folder a study; gets `answers.json` and `report/index.html`.

    **Returns:** the path of the page.

    **Raises:** `TableError` if no study in it can be read.
    """
    from study.analysis import across, answers, style
    from study.analysis.design import counted, curves_of
    from study.analysis.evidence import Study
    from study.page import across as page

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
        except TableError as error:
            missing.append(f"Not read: {error}.")
            continue
        rows, curves, thinned = _thinned(rows, curves)
        missing += [f"{path.name}: {sentence}" for sentence in thinned]
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
    pooled = [answer for section in sections.values() for answer in section]
    page.write_json(pooled, folder / "answers.json")
    drawn = [style.draw(plot) for plot in page.plots(studies, pooled)]
    style.save(drawn, folder / "report" / "figures")
    target = folder / "report" / "index.html"
    write_text(target, page.render(folder.name, studies, settings, sections, drawn, missing))
    return target


def _tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Results and curves. **Raises:** `TableError`."""
    if not is_study(folder):
        raise TableError(no_study(folder))
    try:
        if (folder / "cells").is_dir():
            return gather.compact(folder)
        if not (folder / "results.parquet").exists():
            raise TableError(f"{folder} has no cells/ and no results.parquet: nothing was trained")
        return gather.load(folder), gather.load_curves(folder)
    except pyarrow.ArrowException as error:
        reason = first_line(error)
        raise TableError(f"{folder} holds a table that cannot be read: {reason}") from None


def print_answers(folder: str | Path) -> None:
    """Print the verdicts of `answers.json` for the terminal."""
    for answer in json.loads((Path(folder) / "answers.json").read_text(encoding="utf-8")):
        print(f"{answer['verdict']:<10}{one_line(answer['question'])}")
        sentence = one_line(answer["sentence"])
        print(textwrap.fill(sentence, 96, initial_indent=" " * 10, subsequent_indent=" " * 10))
