"""The text of `report/index.html`: one file with everything in it, which needs no network.

The templates escape everything that comes from a config, a table or a file name. Answers and
figures take time for each cell and curve, and nobody reads a hundred curves in one figure: so a
grid that is too large is made coarser, by whole ladders with fewer rungs.
"""

import base64
import contextlib
import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import numpy as np
import pandas as pd
import yaml

from study.analysis.answer import Answer, curve
from study.analysis.design import Design, counted, sort_key
from study.analysis.statistics.limits import AT_END, EQUIVALENT
from study.analysis.statistics.medians import ENOUGH
from study.analysis.style import Drawn
from study.analysis.summary import NONE, Summary
from study.analysis.words import count, estimate, plural
from study.tables.measures import MEASURES, VALID_TIME, diverged

HERE = Path(__file__).parent / "templates"
MOST_CELLS = 512  # that answers and figures rest on
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
    rows: Sequence[Any] | pd.DataFrame = (),
    cells: pd.DataFrame | None = None,
    numbers: pd.DataFrame | None = None,
    answers: Sequence[Answer] = (),
    told: Summary = NONE,
    drawn: Sequence[Drawn] = (),
    missing: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """The page of one study as text.

    - `settings`: the content of `study.yaml`; may be empty.
    - `now`: what is still missing, if the study is not finished.
    - `numbers`, `cells`: of `cell_table`, None before the first block.
    - `told`: the summary of the answers, which comes first.
    - `missing`: a sentence for each thing that is not there; `notes`: what else to read first.
    """
    provenance = settings.get("provenance")
    provenance = provenance if isinstance(provenance, Mapping) else {}
    verdicts = [answer.verdict for answer in answers]
    counts = {verdict: verdicts.count(verdict) for verdict in ("yes", "no", "undecided")}
    cells = pd.DataFrame() if cells is None else cells
    figures = [figure(one) for one in drawn]
    return filled(
        "page.html.jinja",
        plural=plural,
        study=study,
        title=settings.get("question") or study,
        budget=settings.get("budget"),
        started=_date(provenance.get("started")),
        n_cells=plural(len(cells), "cell"),
        n_replicates=plural(len(rows), "replicate"),
        missing=missing,
        notes=notes,
        now=now,
        verdicts=", ".join(f"{n} {verdict}" for verdict, n in counts.items() if n),
        told=told,
        figures={one["id"]: one for one in figures},
        sections=_sections(answers, figures),
        hero=next((line.figure for line in told.lines if line.figure), ""),
        rules=RULES,
        columns=list(cells.columns),
        table=cells.head(MOST_ROWS).to_numpy().tolist(),
        n_hidden=max(0, len(cells) - MOST_ROWS),
        csv="" if numbers is None else _embedded(numbers.to_csv(index=False)),
        provenance=_provenance(settings, provenance),
        settings=[(DETAILS[key], _yaml(settings[key])) for key in DETAILS if settings.get(key)],
    )


@dataclass(frozen=True)
class Section:
    """A figure, if there is one, with the answers that it shows: a group for each question."""

    figure: dict[str, Any] | None
    groups: list[list[Answer]]


def _sections(answers: Sequence[Answer], figures: Sequence[dict[str, Any]]) -> list[Section]:
    """In the order of the answers; figures that no answer names, and answers without one, last."""
    by_id = {figure["id"]: figure for figure in figures}
    groups: dict[str, dict[str, list[Answer]]] = {}
    for answer in answers:
        home = answer.figure if answer.figure in by_id else ""
        groups.setdefault(home, {}).setdefault(answer.question, []).append(answer)
    alone = groups.pop("", {})
    sections = [Section(by_id[id], list(of.values())) for id, of in groups.items()]
    sections += [Section(None, list(alone.values()))] if alone else []
    return sections + [Section(one, []) for id, one in by_id.items() if id not in groups]


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


def figure(drawn: Drawn) -> dict[str, Any]:
    """A figure as a template shows it: the smaller of SVG and PNG, embedded."""
    large = len(drawn.svg) > LARGE and len(drawn.png) < len(drawn.svg)
    kind, data = ("png", drawn.png) if large else ("svg+xml", drawn.svg)
    width, height = (round(96 * inches) for inches in drawn.size)
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    size = {"width": width, "height": height}
    return {**vars(drawn), "source": source, **size, "csv": _embedded(drawn.csv)}


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


def cell_table(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row a cell, in the order of the factors that vary: numbers for the CSV, and the same as
    text for a reader, in fewer columns."""
    design = Design(rows.drop(columns=["tuned", "role"], errors="ignore"))  # values as they are
    by = [*design.varying, "n_params"]
    place = {str(c): sort_key(tuple(row)) for c, row in design.cells.loc[:, by].iterrows()}
    cells = tuple(sorted(place, key=lambda cell: place[cell]))
    order = design.cells.loc[list(cells)]
    of_cell = dict(list(rows.groupby("cell")))
    parts = [of_cell[cell] for cell in cells]
    sizes = [len(part) for part in parts]
    n_diverged = [int(diverged(part).to_numpy().sum()) for part in parts]
    data: dict[str, list] = {"cell": list(cells)}
    for factor in [*design.factors, "n_params", "n_equations", "n_over_p", "equations_per_param"]:
        data[factor] = order[factor].to_list()
    data |= {"replicates": sizes, "diverged": n_diverged}
    text: dict[str, list] = {"cell": list(cells)}
    text |= {factor: [_text(v) for v in order[factor]] for factor in design.varying}
    text["P"] = [count(v) for v in order["n_params"]]
    text["N·D/P"] = [f"{v:.3g}" for v in order["equations_per_param"]]
    text["replicates"] = [count(v) for v in sizes]
    shown = [m for m in MEASURES.values() if m.shown and m.column in rows]
    for measure in [m for m in shown if not m.share]:
        medians = curve(rows, cells, measure)
        # a measure that no replicate has though none diverged was not measured: energy, say,
        # without a known system
        estimates = [
            None if not n and part[measure.column].isna().to_numpy().all() else medians.estimate(k)
            for k, (part, n) in enumerate(zip(parts, n_diverged, strict=True))
        ]
        for end, attribute in (("", "value"), ("_low", "low"), ("_high", "high")):
            data[measure.column + end] = [getattr(e, attribute, np.nan) for e in estimates]
        name = measure.words + (f" ({measure.unit})" if measure.unit else "")
        text[name] = ["not measured" if e is None else estimate(e) for e in estimates]
        if measure is VALID_TIME and "rollout.horizon" in order:
            caps = AT_END * order["rollout.horizon"].to_numpy(float)
            text[name] = [
                t if e is None or e.value < cap else f"{t}, at the cap"
                for t, e, cap in zip(text[name], estimates, caps, strict=True)
            ]
    for measure in [m for m in shown if m.share]:
        middle = np.mean if rows[measure.column].dtype == bool else np.median
        shares = [float(middle(part[measure.column].to_numpy(float))) for part in parts]
        data[measure.column] = shares
        text[measure.words] = [
            f"{100 * share:.3g} %" if np.isfinite(share) else "unknown" for share in shares
        ]
    text["diverged"] = [count(v) for v in n_diverged]
    return pd.DataFrame(data), pd.DataFrame(text)


def _text(value) -> str:
    if isinstance(value, int | np.integer):
        return count(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def thinned(rows: pd.DataFrame, most: int = MOST_CELLS) -> tuple[pd.DataFrame, str]:
    """The rows of at most `most` cells and of all trials of searches, and a sentence that says so;
    empty if all are kept.

    Every second value is left out, again and again, of the number with the longest ladder.
    """
    evidence = counted(rows)
    cells = evidence.drop_duplicates("cell").set_index("cell").loc[:, "system":"precision"]
    varying = [name for name in cells.columns if len(cells[name].unique()) > 1]
    numbers = [name for name in varying if pd.api.types.is_numeric_dtype(cells[name])]
    kept = cells.sort_values(varying, kind="stable") if varying else cells
    while len(kept) > most:
        places = {name: _places(kept, name, varying) for name in numbers}
        longest = max(places, key=lambda name: places[name][1].max(), default=None)
        if longest is None or places[longest][1].max() <= 2:
            even = np.linspace(0, len(kept) - 1, most).round().astype(int)
            kept = kept.iloc[np.unique(even)]
            break
        place, length = places[longest]
        kept = kept.loc[(place % 2 == 0) | (place == length - 1)]
    if len(kept) == len(cells):
        return rows, ""
    parts = [
        f"{count(kept[name].nunique())} of the {count(cells[name].nunique())} values of {name}"
        for name in varying
        if kept[name].nunique() < cells[name].nunique()
    ]
    spread = f", with {', '.join(parts)}" if parts else ""
    sentence = (
        f"{count(len(cells))} cells are more than one page can show: answers and figures rest on "
        f"{plural(len(kept), 'cell')}, spread evenly{spread}. results.parquet and curves.parquet "
        "hold all."
    )
    shown = evidence.loc[evidence["cell"].isin(kept.index)].reset_index(drop=True)
    if evidence is not rows:
        shown = pd.concat([shown, rows.loc[rows["role"] == "trial"]], ignore_index=True)
    return shown, sentence


def _places(cells: pd.DataFrame, name: str, varying: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The place of each cell on its ladder along `name`, from 0, and the length of that ladder."""
    others: Any = [other for other in varying if other != name] or np.zeros(len(cells))
    ladders = cells.groupby(others, sort=False, dropna=False)[name]
    places = ladders.rank(method="first", na_option="top").to_numpy(int) - 1
    return places, ladders.transform("size").to_numpy(int)
