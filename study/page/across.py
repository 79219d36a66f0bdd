"""The page of several studies: every verdict, what it rests on, and the figures.

Everything that comes from a config, a table or a file name is escaped.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from study.analysis import answers as of_study
from study.analysis.evidence import Pooled, Study
from study.analysis.style import Drawn, Plot
from study.analysis.words import number
from study.core.files import write_text
from study.page import page

TITLE = "N, P and the trajectory of a Lagrangian network: the verdicts"


def plots(studies: Sequence[Study], answers: Sequence[Pooled]) -> list[Plot]:
    """The figures that the answers refer to, each once, named `study.figure`."""
    wanted = list(dict.fromkeys((each.study, each.figure) for each in answers if each.study))
    found: dict[tuple[str, str], Plot] = {}
    for study in studies:
        own = {figure for name, figure in wanted if name == study.name}
        if not own:
            continue
        for plot in of_study.plots(study.rows, study.curves):
            if plot.id in own:
                found[study.name, plot.id] = dataclasses.replace(
                    plot,
                    id=figure_id(study.name, plot.id),
                    title=f"{plot.title} ({study.name})",
                )
    return [found[key] for key in wanted if key in found]


def figure_id(study: str, figure: str) -> str:
    """The name of one study's figure on the page and in its folder."""
    return f"{study}.{figure}"


def render(
    folder: str,
    studies: Sequence[Study],
    settings: Mapping[str, Mapping[str, Any]],
    sections: Mapping[str, Sequence[Pooled]],
    drawn: Sequence[Drawn],
    missing: Sequence[str],
) -> str:
    """The page as text.

    **Arguments:**

    - `folder`: its name, for the reader.
    - `settings`: of each study, what its `study.yaml` holds.
    - `sections`: heading -> verdicts.
    - `missing`: a sentence for each thing that is not there.
    """
    shown = {each.id: each.title for each in drawn}
    keys = {(e.study, e.figure): figure_id(e.study, e.figure) for s in sections.values() for e in s}
    return page.filled(
        "across.html.jinja",
        plural=_plural,
        title=TITLE,
        folder=folder,
        studies=[_study(study, settings.get(study.name, {})) for study in studies],
        missing=missing,
        sections=list(sections.items()),
        effect=_effect,
        rules=page.RULES,
        figures=[page.figure(each) for each in drawn],
        figure_ids=keys,
        figure_titles={key: shown[id] for key, id in keys.items() if id in shown},
    )


def write_json(answers: Sequence[Pooled], path: Path) -> None:
    """Write `answers.json`, whole or not at all; of the evidence what names it."""
    entries = []
    for each in answers:
        entry = {f.name: getattr(each, f.name) for f in dataclasses.fields(each)}
        entry["evidence"] = [
            {"study": e.study, **dataclasses.asdict(e.answer)} for e in each.evidence
        ]
        entries.append(of_study.plain(entry))
    text = json.dumps(entries, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def _study(study: Study, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": study.name,
        "question": str(settings.get("question") or ""),
        "n_cells": study.rows["cell"].nunique(),
        "n_replicates": len(study.rows),
        "n_answers": len(study.answers),
    }


def _effect(each: Pooled) -> str:
    """The figure that decides, with its interval."""
    if not np.isfinite(each.value):
        return ""
    low, high = (number(v) for v in each.interval)
    return f"{number(each.value)} [{low}, {high}] · "


def _plural(n: int, one: str, many: str | None = None) -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"
