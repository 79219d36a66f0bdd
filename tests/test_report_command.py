"""`python -m study.report`: the page stands alone, says what is missing, escapes everything."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from study import report, results
from study.page import write
from tests.analysis import synthetic
from tests.analysis.synthetic import Law
from tests.report_page import table_in


class Page(HTMLParser):
    """Tags, their attributes and the text of a page; open tags must close."""

    VOID = frozenset({"meta", "img", "br", "link", "hr", "input"})

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.text, self._open = [], [], []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if not self._open or self._open[-1] not in ("style", "script"):
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)> & \"quotes\""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study with its report, one cell missing and one without all replicates."""
    table = synthetic.rows(synthetic.n_vs_p(), Law())
    first, second = sorted(set(table["cell"]))[:2]
    short = table[~(table["cell"].eq(first) & table["replicate"].gt(2))]
    folder = synthetic.write_study(
        tmp_path_factory.mktemp("outputs") / "mine",
        short[short["cell"] != second],
        question=HOSTILE,
        cells=sorted(set(table["cell"])),
        config={"model": {"name": HOSTILE}, HOSTILE: [1, 2]},
        replicates=5,
    )
    (folder / "cells" / second).mkdir()
    (folder / "cells" / second / "block-000.failed-1.json").write_text("{}")
    write.write(folder)
    return folder


@pytest.fixture(scope="module")
def page(study):
    return Page((study / "report" / "index.html").read_text(encoding="utf-8"))


def test_page_is_one_file_without_network(study, page):
    text = (study / "report" / "index.html").read_text(encoding="utf-8")
    assert len(text) < 3_000_000
    for image in page.all("img"):
        assert image["src"].startswith("data:image/")
        assert len(image["alt"]) > 20
    hidden = "".join(
        base64.b64decode(image["src"].split(",")[1]).decode("utf-8", "ignore")
        for image in page.all("img")
    )
    assert 'href="http' not in hidden.replace('xmlns:xlink="http', "")
    assert not re.search(r"https?://", re.sub(r'base64,[^"]*', "", text))
    assert all(set(script) <= {"type", "id"} for script in page.all("script")), (
        "none from elsewhere"
    )
    assert not page.all("link")


def test_links_lead_somewhere(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        target = link["href"]
        assert target[1:] in ids if target[0] == "#" else len(table_in(target))


def test_hostile_text_is_text(page):
    assert HOSTILE in "".join(page.text)
    assert all("onerror" not in attributes for _, attributes in page.tags)


def test_page_says_what_is_missing(page):
    text = " ".join("".join(page.text).split())
    assert "Missing: 1 of 12 cells have no finished block, of which 1 failed" in text
    assert "Incomplete: 1 cell with fewer than 5 replicates" in text


def test_answers_and_table_are_on_the_page(study, page):
    text = " ".join("".join(page.text).split())
    for each in json.loads((study / "answers.json").read_text()):
        assert each["question"] in text
        assert each["sentence"] in text
    table = results.load(study)
    assert all(cell in text for cell in set(table["cell"]))
    medians = table.groupby("cell")["test_nmse_median"].median()
    csv = pd.read_csv(study / "report" / "figures" / "cells.csv").set_index("cell")
    pd.testing.assert_series_equal(
        csv["test_nmse_median"].sort_index(), medians, check_names=False, check_exact=False
    )


def test_a_second_report_is_the_same(study):
    target = study / "report" / "index.html"
    before = target.read_bytes()
    write.write(study)
    assert target.read_bytes() == before


def test_tables_alone_make_the_same_report(study, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("results.parquet", "curves.parquet"):
        shutil.copy(study / name, folder)
    write.write(folder)
    assert (folder / "answers.json").read_text() == (study / "answers.json").read_text()
    assert (folder / "report" / "index.html").exists()


def run(*arguments):
    command = [sys.executable, "-W", "ignore", "-m", "study.report", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_command_prints_verdicts_and_path(study):
    done = run(study)
    assert done.returncode == 0, done.stderr
    assert "Do more points lower the acceleration error?" in done.stdout
    assert done.stdout.strip().endswith("index.html")


def empty(folder):
    folder.mkdir()


def unfinished(folder):
    (folder / "cells" / "0123456789ab").mkdir(parents=True)


def broken(folder):
    folder.mkdir()
    pd.DataFrame({"a": [1]}).to_parquet(folder / "results.parquet")


def unreadable(folder):
    folder.mkdir()
    (folder / "results.parquet").write_text("no table")


@pytest.mark.parametrize("make", [None, empty, unfinished, broken, unreadable])
def test_a_folder_that_cannot_be_reported_is_one_sentence(tmp_path, make, capsys):
    folder = tmp_path / "none"
    if make:
        make(folder)
    assert report.main([str(folder)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert str(folder) in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_a_broken_study_yaml_is_one_sentence(tmp_path, capsys):
    folder = synthetic.write_study(tmp_path / "mine", synthetic.rows([{}], Law()))
    (folder / "study.yaml").write_text("a: [1,\n")
    assert report.main([str(folder)]) == 2
    assert "study.yaml cannot be read" in capsys.readouterr().err


def test_one_cell_with_one_replicate_makes_a_page(tmp_path):
    folder = synthetic.write_study(tmp_path / "one", synthetic.rows([{}], Law(), replicates=1))
    assert write.write(folder).exists()


def test_a_study_of_which_tables_alone_are_kept_is_not_called_unfinished(tmp_path):
    kept = Path(__file__).parents[1] / "outputs" / "reference" / "epochs"
    folder = shutil.copytree(kept, tmp_path / "epochs")
    assert not (folder / "cells").exists()
    page = write.write(folder).read_text()
    assert "Not finished" not in page


@pytest.mark.slow
def test_a_command_given_where_the_studies_are(tmp_path):
    (tmp_path / "levers").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "study.report", "levers"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: levers is no study")
    assert done.stderr.count("\n") == 1
