"""The page of several studies: every verdict, what it rests on, and the figures."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from study.analysis import across, answers, pooled_questions, style
from study.analysis.design import counted, curves_of
from study.analysis.evidence import Pooled, Study
from study.analysis.forest import forest
from study.analysis.words import number
from study.config.terminal import studies_in
from study.core.files import write_text
from study.page import cells, page
from study.page.write import tables
from study.tables.records import TableError, read_study

TITLE = "N, P and the trajectory of a Lagrangian network: the verdicts"


def write(folder: str | Path) -> Path:
    """Write one verdict for every question, from all studies in a folder, and the figures.

    The page names studies that are missing or whose tables cannot be read.

    **Returns:** the path of the page. **Raises:** `TableError` if no study can be read.
    """
    folder = Path(folder)
    studies, questions, missing = [], {}, []
    for path in studies_in(folder):
        try:
            rows, curves = tables(path)
            if (count := counted(rows)) is not rows:
                rows, curves = count, curves_of(count, curves)
            if rows.empty:
                missing.append(f"{path.name}: a search, of which nothing was trained again.")
                continue
            questions[path.name] = str(read_study(path).get("question") or "")
        except TableError as error:
            missing.append(f"Not read: {error}.")
            continue
        rows, sentence = cells.thinned(rows)
        if sentence:
            curves = curves_of(rows, curves)
            missing.append(f"{path.name}: {sentence}")
        studies.append(Study(path.name, rows, curves, answers.answer(rows, curves)))
    if not studies:
        raise TableError(f"{folder} holds no study whose tables can be read: {' '.join(missing)}")
    names = {study.name for study in studies}
    if absent := [name for name in across.expected() if name not in names]:
        missing.append(f"Missing studies: {', '.join(absent)}.")
    sections = {
        "The question": across.answer(studies, pooled_questions.QUESTIONS),
        "Beside it": across.answer(studies, pooled_questions.BESIDE),
    }
    pooled = [answer for section in sections.values() for answer in section]
    answers.write([_entry(answer) for answer in pooled], folder / "answers.json")
    ids = {(a.study, a.figure): f"{a.study}.{a.figure}" for a in pooled if a.study}
    with mpl.rc_context(style.RC):
        forests = [plot for answer in pooled if (plot := forest(answer))]
    drawn = [style.draw(plot) for plot in (*forests, *_plots(studies, ids))]
    style.save(drawn, folder / "report" / "figures")
    titles = {one.id: one.title for one in drawn}
    text = page.filled(
        "across.html.jinja",
        plural=lambda n, one, many="": f"{n} {one if n == 1 else many or one + 's'}",
        title=TITLE,
        folder=folder.name,
        studies=[
            {
                "name": study.name,
                "question": questions[study.name],
                "n_cells": study.rows["cell"].nunique(),
                "n_replicates": len(study.rows),
                "n_answers": len(study.answers),
            }
            for study in studies
        ],
        missing=missing,
        sections=list(sections.items()),
        effect=_effect,
        standing=_standing,
        rules=page.RULES,
        # without points: there is no table of cells here that a click could filter
        figures=[{**page.figure(one), "points": ()} for one in drawn],
        figure_ids=ids,
        figure_titles={key: titles[name] for key, name in ids.items() if name in titles},
    )
    target = folder / "report" / "index.html"
    write_text(target, text)
    return target


def _entry(answer: Pooled) -> dict[str, Any]:
    """The answer's entry in `answers.json`; without the tables of its evidence."""
    evidence = [{"study": e.study, **vars(e.answer)} for e in answer.evidence]
    return {**vars(answer), "evidence": evidence}


def _plots(studies: Sequence[Study], ids: Mapping[tuple[str, str], str]) -> list[style.Plot]:
    """The figures that answers refer to: (study, figure) -> its name on the page."""
    plots = {}
    for study in studies:
        if any(name == study.name for name, _ in ids):
            for plot in answers.plots(study.rows, study.curves):
                title = f"{plot.title} ({study.name})"
                plots[study.name, plot.id] = dataclasses.replace(plot, title=title)
    return [dataclasses.replace(plots[key], id=ids[key]) for key in ids if key in plots]


def _standing(answer: Pooled) -> str:
    """Whether it is one of the claims that the studies were made for."""
    if not answer.primary:
        return "exploratory"
    return f"primary claim, p = {number(answer.p_adjusted)} (Holm)"


def _effect(answer: Pooled) -> str:
    """The estimate that decides, with its interval."""
    if not np.isfinite(answer.value):
        return ""
    low, high = (number(v) for v in answer.interval)
    return f"{number(answer.value)} [{low}, {high}] · "
