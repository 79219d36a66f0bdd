"""The text of `report/index.html`: one file with everything in it, which needs no network.

The templates escape everything that comes from a config, a table or a file name. Without its
scripts the page can be read too: it then only does not sort, filter, tell and move.
"""

import base64
import contextlib
import gzip
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import numpy as np
import pandas as pd
import yaml

from study.analysis.answer import Answer
from study.analysis.design import POINTS
from study.analysis.motion import Motion
from study.analysis.statistics.limits import EQUIVALENT
from study.analysis.statistics.medians import ENOUGH
from study.analysis.style import Drawn
from study.analysis.summary import NONE, Summary
from study.analysis.words import count, plural
from study.page.sections import sections

HERE = Path(__file__).parent / "templates"
MOST_ROWS = 400  # of the table on the page; the CSV beside it has all
LARGEST_CSV = 30_000  # bytes of a table; a larger one is embedded compressed, as .csv.gz
LARGE = 150_000  # bytes of SVG, above which the PNG is smaller and is shown instead
RULES = (
    "Brackets are 95 % percentile bootstrap intervals, over replicates for one cell or curve and "
    "over cells and replicates where cells are pooled. A verdict is yes or no only where the whole "
    "interval lies on one side of its threshold, and two errors within a factor of "
    f"{EQUIVALENT:g} count as equal; one on medians is undecided below {ENOUGH} "
    "replicates a cell, one on pooled replicates where most rollouts are near their ceiling. "
    "A peak is called one only if it stands out by more than noise makes on a curve without one in "
    "199 of 200 draws. Replicates on the same data are drawn together. "
    "A replicate without a finite value counts as the worst possible and is never dropped. Errors "
    "are squared acceleration errors over the variance of the test targets, coordinate by "
    "coordinate; rollout error is the geometric mean over time of the relative error of the state; "
    "valid time is how long the error stays below half a standard deviation, at most the horizon: "
    "one at this cap says how long was looked."
)
DETAILS = {"config": "Config, as composed", "grid": "Grid", "decisions": "Decisions"}


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
    study: str,
    settings: Mapping[str, Any],
    now: Unfinished | None,
    *,
    rows: pd.DataFrame | None = None,
    table: pd.DataFrame | None = None,
    numbers: pd.DataFrame | None = None,
    answers: Sequence[Answer] = (),
    told: Summary = NONE,
    drawn: Sequence[Drawn] = (),
    motions: Sequence[Motion] = (),
    missing: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """The page of one study as text.

    - `settings`: the content of `study.yaml`; may be empty.
    - `now`: what is still missing, if the study is not finished.
    - `numbers`, `table`: of `cell_table`, None before the first block.
    - `told`: the summary of the answers, which comes first.
    - `missing`: a sentence for each thing that is not there; `notes`: what else to read first.
    """
    provenance = settings.get("provenance")
    provenance = provenance if isinstance(provenance, Mapping) else {}
    verdicts = [answer.verdict for answer in answers]
    counts = {verdict: verdicts.count(verdict) for verdict in ("yes", "no", "undecided")}
    table = pd.DataFrame() if table is None else table
    rows = pd.DataFrame() if rows is None else rows
    figures = [figure(one) for one in drawn]
    return filled(
        "page.html.jinja",
        plural=plural,
        study=study,
        title=settings.get("question") or study,
        budget=settings.get("budget"),
        started=_date(provenance.get("started")),
        n_cells=plural(len(table), "cell"),
        n_replicates=plural(len(rows), "replicate"),
        missing=missing,
        notes=notes,
        now=now,
        verdicts=", ".join(f"{n} {verdict}" for verdict, n in counts.items() if n),
        told=told,
        figures={one["id"]: one for one in figures},
        sections=sections(answers, figures, rows),
        hero=next((line.figure for line in told.lines if line.figure), ""),
        rules=RULES,
        columns=list(table.columns),
        table=list(zip(table.index, table.to_numpy().tolist(), strict=True))[:MOST_ROWS],
        example=_example(table),
        motions=[_moving(motion) for motion in motions],
        n_hidden=max(0, len(table) - MOST_ROWS),
        csv="" if numbers is None else _embedded(numbers.to_csv(index=False)),
        provenance=_provenance(settings, provenance),
        settings=[(DETAILS[key], _yaml(settings[key])) for key in DETAILS if settings.get(key)],
    )


def _example(table: pd.DataFrame) -> str:
    """Terms for the filter that hold for some cells, of the first factors that vary."""
    names = list(table.columns)
    factors = names[1 : names.index("P")] if "P" in names else []
    of_middle = table.iloc[len(table) // 2 :].head(1)
    values = {name: str(of_middle[name].iloc[0]) for name in factors}
    terms = [
        f"N>{value}" if name == POINTS else f"{name.rpartition('.')[2]}={value}"
        for name, value in values.items()
        if " " not in value
    ]
    return " ".join(terms[:2])


def filled(template: str, *, plural: Callable[..., str], **values: Any) -> str:
    """A template with the page's style, scripts and these values."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plural"] = plural
    css, *scripts = (
        markupsafe.Markup((HERE / name).read_text(encoding="utf-8"))
        for name in ("page.css", "page.js", "motion.js")
    )
    return environment.get_template(template).render(css=css, scripts=scripts, **values)


def figure(drawn: Drawn) -> dict[str, Any]:
    """A figure as a template shows it: the smaller of SVG and PNG, embedded."""
    large = len(drawn.svg) > LARGE and len(drawn.png) < len(drawn.svg)
    kind, data = ("png", drawn.png) if large else ("svg+xml", drawn.svg)
    width, height = (round(96 * inches) for inches in drawn.size)
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    size = {"width": width, "height": height}
    return {**vars(drawn), "source": source, **size, "csv": _embedded(drawn.csv)}


def _moving(motion: Motion) -> dict[str, Any]:
    """A motion as `motion.js` reads it: None for a number that is not finite."""
    arrays = {"coordinates": motion.coordinates, "bodies": motion.bodies, "times": motion.times}
    lists = {
        name: None if values is None else _finite(np.round(values, 3).tolist())
        for name, values in arrays.items()
    }
    return {"name": motion.name, "label": motion.label, "axes": motion.axes, **lists}


def _finite(values: Any) -> Any:
    if isinstance(values, list):
        return [_finite(value) for value in values]
    return values if math.isfinite(values) else None


def _embedded(csv: str) -> str:
    """A table as a link that holds it, so that the page can be mailed as one file."""
    data, kind = csv.encode(), "text/csv"
    if len(data) > LARGEST_CSV:
        data, kind = gzip.compress(data, mtime=0), "application/gzip"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _provenance(settings: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines: dict[str, Any] = {
        "command": settings.get("command") or recorded.get("command"),
        "replicates": settings.get("replicates"),
        "block size": settings.get("block_size"),
        "started": _date(recorded.get("started")),
    }
    lines |= {str(k).replace("_", " "): v for k, v in recorded.items() if k not in lines}
    if isinstance(versions := lines.pop("versions", None), Mapping):
        lines["versions"] = ", ".join(f"{k} {v}" for k, v in versions.items())
    return [(name, _plain(value)) for name, value in lines.items() if value is not None]


def _plain(value: Any) -> str:
    if isinstance(value, dict | list):
        return _yaml(value)
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
