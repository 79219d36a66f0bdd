"""Write the report of a study: tables, answers, figures, page, in this order."""

import dataclasses
import json
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
from joblib import Parallel, cpu_count, delayed

from study.analysis.design import counted, curves_of
from study.analysis.words import plural
from study.config.errors import first_line
from study.config.terminal import is_study, no_study, one_line
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
    """Gather the blocks of a study into tables, write answers, figures and page; the page's path.

    Without `cells/` the existing tables are used. A study of which nothing is done yet has a page
    too, which says so. **Raises:** `TableError` if the folder is no study.

    - `live`: whether its sweep runs now.
    - `stop`: called between the parts; once it returns True, the rest is not written.
    - `processes`: how many find answers and draw; 1 for this process alone.
    """
    joblib = {"n_jobs": min(processes, cpu_count(), MOST), "batch_size": 1, "max_nbytes": None}
    if joblib["n_jobs"] > 1:
        start(joblib, "study.analysis.answers")
    # here, so that an error about the folder does not wait for the plotting libraries
    from study.analysis import answers, style, summary
    from study.analysis.answer import Tables
    from study.analysis.motion import motions
    from study.analysis.searches import searches
    from study.page import advice, cells, notes, page

    folder = Path(folder)
    target, figures = folder / "report" / "index.html", folder / "report" / "figures"
    settings = read_study(folder)
    try:
        every, all_curves = tables(folder)
    except gather.NothingYet:
        if (now := notes.unfinished(folder, settings, live=live)) is None:
            raise
        style.save([], figures)
        answers.write([], folder / "answers.json")
        (folder / "report" / "summary.json").unlink(missing_ok=True)
        (figures / "cells.csv").unlink(missing_ok=True)
        write_text(target, page.render(folder.resolve().name, settings, now))
        return target
    searched = searches(gather.load_trials(folder), gather.load_searches(folder))
    rows, sentence = cells.thinned(every)
    curves = curves_of(rows, all_curves) if sentence else all_curves
    if stop():
        return target
    parts = [delayed(answers.drawn)(part, rows, curves, searched) for part in answers.PARTS]
    results: Any = Parallel(**joblib, return_as="generator")(
        [delayed(answers.answer)(rows, curves, searched, strict=False), *parts]
    )
    verdicts, drawn = next(results), list[style.Drawn]()
    for part in results:
        drawn += part
        if stop():
            return target
    style.save(drawn, figures)
    now = notes.unfinished(folder, settings, every, verdicts, live=live)
    missing = [sentence] if sentence else []
    missing += [] if now else notes.missing(folder, every, settings)
    missing += notes.missing_of_searches(every, searched, settings)
    missing += notes.remarks(every, settings)
    answers.write(verdicts, folder / "answers.json")
    told = summary.summary(rows, verdicts)
    text = json.dumps(dataclasses.asdict(told), indent=1, ensure_ascii=False)
    write_text(folder / "report" / "summary.json", text + "\n", fsync=False)
    count = counted(rows)
    shown = rows if count.empty else count  # of a search of which nothing was trained again, all
    numbers, table = cells.cell_table(shown)
    numbers.to_csv(figures / "cells.csv", index=False)
    text = page.render(
        str(shown["study"].iloc[0]),
        settings,
        now,
        rows=shown,
        table=table,
        answers=verdicts,
        told=told,
        numbers=numbers,
        drawn=drawn,
        motions=motions(Tables(rows, curves)),
        missing=missing,
        notes=[
            *notes.searched(rows, searched),
            *notes.measured(rows, settings),
            *advice.lines(shown),
        ],
    )
    write_text(target, text)
    return target


def tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Results and curves, gathered anew if there are cells. **Raises:** `TableError`."""
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


def print_summary(folder: str | Path) -> None:
    """Print the summary of a study for the terminal, or the primary verdicts of several studies."""
    folder = Path(folder)
    path = folder / "report" / "summary.json"
    if path.exists():
        told = json.loads(path.read_text(encoding="utf-8"))
        lines, more = told["lines"], told["more"]
    else:  # several studies together
        told, every = {}, _answers(folder)
        lines = [{**one, "effect": ""} for one in every if one.get("primary", True)]
        more = len(every) - len(lines)
    for line in lines:
        _say(line["verdict"], f"{line['question']} {line['effect']}")
    for key in ("best", "undecided"):
        if told.get(key):
            _say("", told[key])
    if more:
        _say("", f"{plural(more, 'other answer')}: python -m study.report {folder} --all")


def print_answers(folder: str | Path) -> None:
    """Print all verdicts of `answers.json` for the terminal, with their sentences."""
    for answer in _answers(Path(folder)):
        _say(answer["verdict"], answer["question"])
        _say("", answer["sentence"])


def _answers(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "answers.json").read_text(encoding="utf-8"))


def _say(verdict: str, words: str) -> None:
    """Print one paragraph beside its verdict."""
    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    first, others = f"{verdict:<10}", " " * 10
    print(textwrap.fill(one_line(words), width, initial_indent=first, subsequent_indent=others))
