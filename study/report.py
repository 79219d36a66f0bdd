"""The report of a study, from its tables: answers, figures, page; or of several studies together.

Knows: which parts there are, and in what order they are made. Does not know: how any is made.

    python -m study.report outputs/<study>
    python -m study.report outputs/reference     # a folder of studies: one verdict a question
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow
import yaml

from study import results
from study.commands import Parser, is_study, no_study, studies_in
from study.results import TableError
from study.terminal import busy, one_line, plain, quiet_pipe

HELP = """\
The report of a study, from its tables: answers, figures, page; or of several studies together.

    python -m study.report outputs/n_vs_p       # tables, answers and page, from the cells
    python -m study.report outputs/reference    # a folder of studies: one verdict a question
    python -m study.report outputs              # the same across your own
"""


def write(folder: str | Path) -> Path:
    """Gather the blocks of a study into tables and write its answers, figures and page.

    Without `cells/` the tables that are there are taken as they are.

    **Arguments:**

    - `folder`: `outputs/<study>`.

    **Returns:** the path of the page.

    **Raises:** `TableError` if the folder is no study or has no finished block.
    """
    # here, so that an error about the folder does not wait for the plotting libraries
    from study.analysis import answers, cells, figures, page, style

    folder = Path(folder)
    rows, curves = _tables(folder)
    settings = _settings(folder)
    missing = _missing(folder, rows, settings)
    rows, curves, thinned = _shown(rows, curves)
    found = answers.answer(rows, curves)
    answers.write(found, folder / "answers.json")
    saved = style.save(figures.plots(rows, curves), folder / "report" / "figures")
    table = cells.cell_table(rows)
    table.data.to_csv(folder / "report" / "figures" / "cells.csv", index=False)
    notes = _measured(rows, settings)
    text = page.render(rows, table, found, saved, settings, [*thinned, *missing], notes)
    target = folder / "report" / "index.html"
    page.write(text, target)
    return target


def _shown(rows, curves):
    """The rows and curves that a page can hold, and what is to be said of it."""
    from study.analysis.thinning import thinned

    shown, sentence = thinned(rows)
    if not sentence:
        return rows, curves, []
    kept = curves["cell"].isin(shown["cell"].unique())
    return shown, curves.loc[kept].reset_index(drop=True), [sentence]


def write_across(folder: str | Path) -> Path:
    """One verdict for every question, from all studies in a folder, with the figures.

    Studies that are missing or whose tables cannot be read are named on the page.

    **Arguments:**

    - `folder`: holds one folder a study; gets `answers.json` and `report/index.html`.

    **Returns:** the path of the page.

    **Raises:** `TableError` if no study in it can be read.
    """
    from study.analysis import across, across_page, answers, page
    from study.analysis.evidence import Study

    folder = Path(folder)
    studies, settings, missing = [], {}, []
    for path in studies_in(folder):
        try:
            rows, curves = _tables(path)
            settings[path.name] = _settings(path)
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
    saved = across_page.save(across_page.plots(studies, found), folder)
    text = across_page.render(folder.name, studies, settings, sections, saved, missing)
    target = folder / "report" / "index.html"
    page.write(text, target)
    return target


def _tables(folder: Path):
    if not is_study(folder):
        raise TableError(no_study(folder))
    try:
        if (folder / "cells").is_dir():
            return results.compact(folder)
        if not (folder / "results.parquet").exists():
            raise TableError(f"{folder} has no cells/ and no results.parquet: nothing was trained")
        return results.load(folder), results.load_curves(folder)
    except pyarrow.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise TableError(f"{folder} holds a table that cannot be read: {reason}") from None


def _settings(folder: Path) -> dict[str, Any]:
    """What `study.yaml` says; nothing if there is none."""
    path = folder / "study.yaml"
    if not path.exists():
        return {}
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), results.YAML_LOADER)
    except yaml.YAMLError as error:
        raise TableError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    return dict(found) if isinstance(found, Mapping) else {}


def _missing(folder: Path, rows, settings: Mapping[str, Any]) -> list[str]:
    """A sentence for what the study asked for and the tables do not hold."""
    from study.analysis.design import Design
    from study.analysis.wording import plural

    lines = []
    cells = settings.get("cells")
    wanted = [str(cell) for cell in cells] if isinstance(cells, list) else []
    have = rows.groupby("cell").size()
    absent = [cell for cell in wanted if cell not in have.index]
    failed = {path.parent.name for path in (folder / "cells").glob("*/block-*.failed-*.json")}
    if absent:
        crashed = [cell for cell in absent if cell in failed]
        reason = f", of which {len(crashed)} failed" if crashed else ""
        lines.append(
            f"Missing: {len(absent)} of {plural(len(wanted), 'cell')} have no finished block"
            f"{reason} ({_some(absent)})."
        )
    replicates = settings.get("replicates")
    if isinstance(replicates, int):
        short = [c for c in have.index if have[c] < replicates and (not wanted or c in wanted)]
        if short:
            lines.append(
                f"Incomplete: {plural(len(short), 'cell')} with fewer than "
                f"{plural(replicates, 'replicate')} ({_some(short)})."
            )
    if wanted and (extra := [c for c in have.index if c not in wanted]):
        lines.append(
            f"From earlier commands: {plural(len(extra), 'cell')} that the last command did not "
            f"ask for ({_some(extra)}) are part of all answers and figures."
        )
    lines += rows.attrs.get("unreadable", [])
    alike = Design(rows).alike
    if alike:
        lines.append(
            f"{plural(alike, 'cell')} agree in every factor of the table and differ in a setting "
            "it does not hold: they are told apart as setting 1, 2 and so on."
        )
    return lines


def _measured(rows, settings: Mapping[str, Any]) -> list[str]:
    """A sentence for what was measured, and what was estimated from it."""
    if "data.file" not in rows:
        return []
    names = ["data.file", "data.estimate", "system", "coordinates", "data.n_trajectories"]
    asked = settings.get("config")
    data = asked.get("data") if isinstance(asked, Mapping) else None
    path = data.get("path") if isinstance(data, Mapping) else None
    lines = []
    for _, row in rows.dropna(subset="data.file").drop_duplicates(names).iterrows():
        how = str(row["data.estimate"])
        how = "" if how == "measured" else f", {how}"
        what = (
            "The true system is not known: rollouts are compared with held-out measured "
            "trajectories, and what needs the true system (energy, error budget, the true mass "
            "matrix) is missing."
            if row["system"] == "unknown"
            else "Test labels and rollouts are the true system's, from held-out measured states."
        )
        n = int(row["data.n_trajectories"])
        lines.append(
            f"Measured data: {Path(str(path)).name if path else 'a file'} (content "
            f"{row['data.file']}), {row['coordinates']}{how}; trained on {n} "
            f"{'trajectory' if n == 1 else 'trajectories'}. {what}"
        )
    return lines


def _some(cells: list[str]) -> str:
    return ", ".join(cells[:5]) + (f" and {len(cells) - 5} more" if len(cells) > 5 else "")


def main(arguments: list[str] | None = None) -> int:
    """The command. Prints the verdicts and where the page is."""
    parser = Parser("python -m study.report", HELP)
    parser.add_argument("folder", type=Path, help="outputs/<study>, or a folder of studies")
    folder = parser.read(arguments).folder
    try:
        with busy("tables, answers, figures, page"):
            target = write_across(folder) if studies_in(folder) else write(folder)
    except TableError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        print(one_line(f"error: {folder}: the report cannot be written: {error}"), file=sys.stderr)
        return 2
    with quiet_pipe():
        print_answers(folder)
        print(f"\n{plain(target)}", flush=True)
        for sentence in results.unreadable(folder):
            print(f"error: {one_line(sentence)}", file=sys.stderr)
    return 0


def print_answers(folder: str | Path) -> None:
    """Print the verdicts of `answers.json` for the terminal."""
    for each in json.loads((Path(folder) / "answers.json").read_text(encoding="utf-8")):
        print(f"{each['verdict']:<10}{one_line(each['question'])}")
        sentence = one_line(each["sentence"])
        print(textwrap.fill(sentence, 96, initial_indent=" " * 10, subsequent_indent=" " * 10))


if __name__ == "__main__":
    raise SystemExit(main())
