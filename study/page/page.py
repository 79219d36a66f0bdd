"""The text of `report/index.html`: one file with everything in it, which needs no network.

Everything that comes from a config, a table or a file name is escaped.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import pandas as pd
import yaml

from study.analysis.answer import Answer
from study.analysis.statistics.medians import ENOUGH
from study.analysis.style import Drawn
from study.analysis.words import count, plural
from study.page.cells import CellTable

HERE = Path(__file__).parent / "templates"
MOST_ROWS = 400  # of the table on the page; the CSV beside it has all
LARGE = 150_000  # bytes of SVG, above which the PNG is smaller and is shown instead
RULES = (
    "Brackets are 95 % percentile bootstrap intervals, over replicates for one cell or curve and "
    "over cells and replicates where cells are pooled. A verdict is yes or no only where the whole "
    f"interval lies on one side of its threshold; one on medians is undecided below {ENOUGH} "
    "replicates a cell, one on pooled replicates where most rollouts are near their ceiling. "
    "A peak is called one only if it stands out by more than noise makes on a curve without one in "
    "199 of 200 draws. Replicates on the same data are drawn together. "
    "A replicate without a finite value counts as the worst possible and is never dropped. Errors "
    "are squared acceleration errors over the variance of the test targets, coordinate by "
    "coordinate; rollout error is the geometric mean over time of the relative error of the state; "
    "valid time is how long the error stays below half a standard deviation."
)


@dataclass(frozen=True)
class Part:
    """A curve or a comparison, and how much of it is done.

    - `cells`: hashes; `complete`: how many of them have all their replicates.
    - `replicates`, `wanted`: over all its cells.
    """

    name: str
    cells: frozenset[str]
    complete: int
    replicates: int
    wanted: int


@dataclass(frozen=True)
class Unfinished:
    """A study that is not finished.

    - `done`, `total`: blocks.
    - `lines`: sentences for the reader.
    - `parts`: the curves and comparisons that lack most; `more`: how many others lack something.
    - `waits`: answer id -> what the answer waits for.
    """

    title: str
    done: int
    total: int
    lines: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    more: int = 0
    waits: dict[str, str] = field(default_factory=dict)


def render(
    rows: pd.DataFrame,
    table: CellTable,
    answers: Sequence[Answer],
    drawn: Sequence[Drawn],
    settings: Mapping[str, Any],
    missing: Sequence[str],
    notes: Sequence[str] = (),
    now: Unfinished | None = None,
) -> str:
    """The page as text.

    **Arguments:**

    - `rows`: the results; `table`: the cells with their medians, as the CSV has them.
    - `settings`: what `study.yaml` holds; may be empty.
    - `missing`: a sentence for each thing that is not there; `notes`: what else to read first.
    - `now`: what is still missing, if the study is not finished.
    """
    study = str(rows["study"].iloc[0])
    shown = table.text.head(MOST_ROWS)
    return _render(
        study,
        settings,
        n_cells=plural(len(table.data), "cell"),
        n_replicates=plural(len(rows), "replicate"),
        missing=missing,
        notes=notes,
        now=now,
        groups=_grouped(answers),
        figures=[figure(each) for each in drawn],
        figure_titles={each.id: each.title for each in drawn},
        columns=list(shown.columns),
        table=shown.to_numpy().tolist(),
        n_hidden=len(table.text) - len(shown),
    )


def render_empty(study: str, settings: Mapping[str, Any], now: Unfinished) -> str:
    """The page of a study of which nothing is done yet, as text."""
    return _render(
        study,
        settings,
        n_cells=plural(0, "cell"),
        n_replicates=plural(0, "replicate"),
        missing=(),
        notes=(),
        now=now,
        groups=[],
        figures=[],
        figure_titles={},
        columns=[],
        table=[],
        n_hidden=0,
    )


def _render(study: str, settings: Mapping[str, Any], **more: Any) -> str:
    provenance = settings.get("provenance")
    provenance = provenance if isinstance(provenance, Mapping) else {}
    return filled(
        "page.html.jinja",
        plural=plural,
        study=study,
        title=settings.get("question") or study,
        budget=settings.get("budget"),
        started=_date(provenance.get("started")),
        verdicts=_verdicts(more["groups"]),
        rules=RULES,
        provenance=_provenance(settings, provenance),
        settings=[
            (title, _yaml(settings[key]))
            for key, title in (
                ("config", "Config, as composed"),
                ("grid", "Grid"),
                ("decisions", "Decisions"),
            )
            if settings.get(key)
        ],
        **more,
    )


def filled(template: str, *, plural: Callable[..., str], **values: Any) -> str:
    """A template with the page's style and these values."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plural"] = plural
    css = markupsafe.Markup((HERE / "page.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(css=css, **values)


def _grouped(answers: Sequence[Answer]) -> list[list[Answer]]:
    """The answers in one list a question, in the order of each question's first answer."""
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(answer.question, []).append(answer)
    return list(groups.values())


def _verdicts(groups: Sequence[Sequence[Answer]]) -> str:
    """How many there are of each."""
    verdicts = [answer.verdict for group in groups for answer in group]
    counts = [(verdict, verdicts.count(verdict)) for verdict in ("yes", "no", "undecided")]
    return ", ".join(f"{n} {verdict}" for verdict, n in counts if n)


def figure(drawn: Drawn) -> dict[str, Any]:
    """A figure as a template shows it: the smaller of SVG and PNG, embedded."""
    large = len(drawn.svg) > LARGE and len(drawn.png) < len(drawn.svg)
    kind, data = ("png", drawn.png) if large else ("svg+xml", drawn.svg)
    width, height = (96 * inches for inches in drawn.size)
    return {
        "id": drawn.id,
        "title": drawn.title,
        "caption": drawn.caption,
        "alt": drawn.alt,
        "source": f"data:image/{kind};base64,{base64.b64encode(data).decode()}",
        "width": round(width),
        "height": round(height),
    }


def _provenance(settings: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = [
        ("command", settings.get("command") or recorded.get("command")),
        ("replicates", settings.get("replicates")),
        ("block size", settings.get("block_size")),
        ("started", _date(recorded.get("started"))),
    ]
    skip = {"command", "started", "versions"}
    lines += [(str(k).replace("_", " "), v) for k, v in recorded.items() if k not in skip]
    versions = recorded.get("versions")
    if isinstance(versions, Mapping):
        lines.append(("versions", ", ".join(f"{k} {v}" for k, v in versions.items())))
    return [
        (name, _yaml(value) if isinstance(value, dict | list) else _plain(value))
        for name, value in lines
        if value is not None
    ]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return count(value) if isinstance(value, int) else str(value)


def _date(value: Any) -> str | None:
    """Seconds since the epoch as a date in UTC; text as it is."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):  # no date that a calendar has
            return f"{pd.Timestamp(value, unit='s'):%Y-%m-%d %H:%M} UTC"
    return None if value is None else str(value)


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).strip()
