"""What configs, tables and file names hold is text on the page, in its figures and its links.

The measure is the same study with harmless words: its page has the same elements and attributes.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from study import report as command
from study.page import across
from study.page import write as report
from study.tables import schema
from tests.analysis import synthetic
from tests.analysis import synthetic_science as science
from tests.analysis.synthetic import Law
from tests.report_page import table_in
from tests.test_report_command import Page

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "[red]bold[/] \x1b[31m",
    "javascript:alert(1)",
    "nothing \x00\x0b",
    "{{ 7*7 }}{% raw %}",
    r"$\frac$",
    "$x^{$ & $_$",
    "</style></text></svg><script>alert(2)</script>",
    "]]>&lt;script&gt;",
    "%s {0} {study}",
    "-->",
    "../../up",
]
pytestmark = pytest.mark.filterwarnings("ignore:Glyph")  # no font draws a control character
HARMLESS = [f"word {k}" for k in range(len(HOSTILE))]
TEXT = [
    name for name, column in schema.RESULTS.columns.items() if str(column.dtype).startswith("str")
]
FREE = [name for name in TEXT if name not in ("study", "cell", "role")]
VARIED = ("system", "model", "model.activation", "optimizer")  # what it costs is a figure each
FOLDER = {True: 'a"><img src=x onerror=alert(1)>#?%41', False: "mine"}
# what matplotlib makes a picture of; nothing in it runs or loads
DRAWN = {
    *("svg", "g", "defs", "path", "use", "text", "tspan", "style", "clipPath", "rect", "metadata"),
    *("RDF", "Work", "type", "format", "creator", "Agent", "title", "image", "date"),
}


def table(words: list[str], replicates: int) -> pd.DataFrame:
    """Columns of text have another of the words each, some beside what is usual; a new one all."""
    fixed = {name: words[k % len(words)] for k, name in enumerate(FREE) if name not in VARIED}
    settings = synthetic.product(data__n_train=[64, 1024])
    for k, name in enumerate(VARIED):
        settings += synthetic.product(data__n_train=[64, 1024], **{name: [words[k]]})
    rows = synthetic.rows([fixed | each for each in settings], Law(), replicates=replicates)
    rows["stop_reason"] = words[0]
    # a column that this project does not know, in cells that are equal but for it
    usual = [rows[name].eq(synthetic.BASE[name]) for name in (*VARIED, "data.n_train")]
    own = rows.loc[np.logical_and.reduce(usual)]
    parts = [rows]
    for k, word in enumerate(words):
        names = {cell: f"{k:02x}{cell[2:]}" for cell in set(own["cell"])}
        parts.append(own.assign(cell=own["cell"].map(names), **{f"later.{words[0]}": word}))
    rows = pd.concat(parts, ignore_index=True)
    rows[f"later.{words[0]}"] = rows[f"later.{words[0]}"].fillna("usual")
    return rows


def write(home: Path, words: list[str], hostile: bool, replicates: int = 2) -> Path:
    """A study's folder that holds the words wherever a word may be."""
    rows = table(words, replicates)
    cells = [*dict.fromkeys(rows["cell"]), "0123456789ab"]
    said = " ".join(words)
    folder = synthetic.write_study(
        home / FOLDER[hostile],
        rows,
        block_size=replicates,
        question=said,
        budget=words[1],
        command=said,
        config={word: {"system": {"constants": {word: [1.0, word]}}} for word in words},
        grid=[{word: [word]} for word in words],
        decisions={words[0]: words[1]},
        provenance={word: word for word in words} | {"versions": {w: w for w in words}},
        cells=cells,
    )
    missing = folder / "cells" / cells[-1]
    missing.mkdir()
    record = {"run": said, "error": said, "traceback": said, "host": said, "time": 1}
    (missing / "block-000.failed-1.json").write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """The reported folders, by whether they are hostile."""
    home = tmp_path_factory.mktemp("pages")
    folders = {
        hostile: write(home / str(hostile), HOSTILE if hostile else HARMLESS, hostile)
        for hostile in (True, False)
    }
    for folder in folders.values():
        report.write(folder)
    return folders


def read(folder: Path) -> Page:
    return Page((folder / "report" / "index.html").read_text(encoding="utf-8"))


def shape(page: Page) -> Counter[tuple[str, tuple[str, ...]]]:
    return Counter((tag, tuple(attributes)) for tag, attributes in page.tags)


def text_of(page: Page) -> str:
    return " ".join("".join(page.text).split())


def in_html(text: str) -> str:
    """How a parser of HTML has it."""
    return " ".join(text.replace("\x00", "\ufffd").split())


def test_the_page_has_the_elements_of_a_harmless_one(pages: dict[bool, Path]) -> None:
    assert shape(read(pages[True])) == shape(read(pages[False]))


def test_what_is_hostile_is_shown_as_it_is(pages: dict[bool, Path]) -> None:
    text = text_of(read(pages[True]))
    for word in HOSTILE:
        if "\x00" not in word:
            assert in_html(word) in text
    assert FOLDER[True] in text


def test_links_lead_to_the_page_or_hold_a_table(pages: dict[bool, Path]) -> None:
    folder = pages[True]
    page = read(folder)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        target = link["href"]
        if target.startswith("#"):
            assert unquote(target[1:]) in ids
        else:
            assert len(table_in(target))
    figures = folder / "report" / "figures"
    assert all(path.parent == figures for path in figures.rglob("*"))
    assert sorted(path.name for path in folder.parent.iterdir()) == [FOLDER[True]]


def pictures(folder: Path) -> list[ElementTree.Element]:
    found = [path.read_bytes() for path in (folder / "report" / "figures").glob("*.svg")]
    for image in read(folder).all("img"):
        kind, data = image["src"].split(";base64,")
        assert kind in ("data:image/png", "data:image/svg+xml")
        if kind.endswith("svg+xml"):
            found.append(base64.b64decode(data))
    return [ElementTree.fromstring(svg) for svg in found]


def test_pictures_hold_nothing_that_runs_or_loads(pages: dict[bool, Path]) -> None:
    texts = []
    for picture in pictures(pages[True]):
        for element in picture.iter():
            assert element.tag.rpartition("}")[2] in DRAWN
            for name, value in element.attrib.items():
                assert not name.lower().startswith("on")
                if name.endswith("href"):
                    assert value.startswith(("#", "data:image/png;base64,"))
            texts.append("".join(element.itertext()))
    drawn = " ".join("\n".join(texts).split())
    for word in HOSTILE:
        assert re.sub("[\x00\x0b\x1b]", "\ufffd", word) in drawn


def test_answers_are_json_and_the_terminal_gets_no_escapes(
    pages: dict[bool, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    answers = json.loads((pages[True] / "answers.json").read_text())
    assert any(HOSTILE[0] in each["sentence"] + each["question"] for each in answers)
    report.print_answers(pages[True])
    said = capsys.readouterr().out
    assert r"\x1b[31m" in said
    assert "[red]bold[/]" in said
    assert "\x1b" not in said


def test_tables_sent_by_others_make_the_same_page(pages: dict[bool, Path], tmp_path: Path) -> None:
    folder = tmp_path / FOLDER[True]
    folder.mkdir()
    for name in ("results.parquet", "curves.parquet", "study.yaml"):
        (folder / name).write_bytes((pages[True] / name).read_bytes())
    report.write(folder)
    tables = shape(read(folder))
    assert set(tables) <= set(shape(read(pages[False])))


def test_the_page_of_several_studies(tmp_path: Path) -> None:
    shapes = []
    for hostile in (True, False):
        words = HOSTILE if hostile else HARMLESS
        home = tmp_path / str(hostile) / FOLDER[hostile]
        for k in (0, 1):
            name = f"{FOLDER[hostile]} {k}"
            settings = synthetic.product(n_over_p=[0.25, 0.5, 1.0, 2.0, 4.0], model__width=[8, 16])
            for setting in settings:
                setting["system"], setting["model.activation"] = words[k], words[5]
            rows = science.with_budget(synthetic.rows(settings, Law(scatter=0.1), replicates=5))
            synthetic.write_study(home / name, rows, question=" ".join(words))
        broken = home / f"{FOLDER[hostile]} broken"
        broken.mkdir()
        (broken / "results.parquet").write_text(words[0])
        across.write(home)
        page = read(home)
        shapes.append(shape(page))
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        for link in page.all("a"):
            target = link["href"]
            assert unquote(target[1:]) in ids if target[0] == "#" else len(table_in(target))
        if hostile:
            text = text_of(page)
            assert all(in_html(word) in text for word in words if "\x00" not in word)
            assert f"{FOLDER[True]} 1" in text
            pictures_of_it = pictures(home)
            assert pictures_of_it
    assert shapes[0] == shapes[1]


ODD = {
    "question": [["a"], {"a": 1}, 5, float("nan"), "\ud800"],
    "cells": [5, "abc", {"a": 1}, None],
    "provenance": [5, {"started": float("inf")}, {"started": 1e300}, {"versions": ["a"]}],
    "replicates": ["x", -1, 1e300],
    "budget": [["<i>"]],
    "config": [[1], "<i>"],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, vs in ODD.items() for v in vs])
def test_an_odd_study_yaml_makes_a_page_or_one_sentence(
    key: str, value: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = synthetic.rows([{}], Law(), replicates=1)
    folder = synthetic.write_study(tmp_path / "mine", rows, **{key: value})
    left = command.main([str(folder)])
    said = capsys.readouterr().err
    assert left == 0 or (left == 2 and len(said.strip().splitlines()) == 1)
    if left == 0:
        assert not read(folder).all("i")


def test_dollars_are_no_mathematics(tmp_path: Path) -> None:
    """Each of these ends matplotlib where it is taken for a formula."""
    words = [r"$\frac$", r"$\sqrt{$ $", "$^$", "$$$$"]
    settings = synthetic.product(data__n_train=[64, 256], model__activation=words)
    folder = synthetic.write_study(tmp_path / "mine", synthetic.rows(settings, Law()))
    report.write(folder)
    drawn = " ".join("".join(p.itertext()) for p in pictures(folder))
    assert all(word in drawn for word in words)
    assert not re.search(r"mathdefault|10\^", drawn)
