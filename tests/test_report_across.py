"""`python -m study.report` on a folder of studies, and the ends of a pipe."""

import json
import subprocess
import sys

import pytest

from study import report, results
from study.analysis import pooled_questions
from study.tables import gather
from tests.analysis import synthetic
from tests.analysis import synthetic_science as science
from tests.analysis.synthetic import Law
from tests.report_page import table_in
from tests.test_report_command import HOSTILE, Page


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two studies as finished tables, one that cannot be read, and a folder that is none."""
    home = tmp_path_factory.mktemp("reference")
    rows = science.with_budget(synthetic.rows(synthetic.n_vs_p(), Law(slope=0.05, scatter=0.1)))
    synthetic.write_study(home / "n_vs_p", rows, question=HOSTILE)
    own = synthetic.write_study(home / "seed_question", synthetic.rows(synthetic.question(), Law()))
    gather.compact(own)
    for path in sorted((own / "cells").rglob("*"), reverse=True):  # as the committed tables are
        path.unlink() if path.is_file() else path.rmdir()
    (own / "cells").rmdir()
    (home / "older").mkdir()
    rows.drop(columns="stop_reason").to_parquet(home / "older" / "results.parquet")
    (home / "notes").mkdir()
    report.main([str(home)])
    return home


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report" / "index.html").read_text(encoding="utf-8"))


def text_of(page):
    return " ".join("".join(page.text).split())


def test_answers_are_on_the_page_and_in_json(folder, page):
    found = json.loads((folder / "answers.json").read_text(), parse_constant=pytest.fail)
    assert [each["id"] for each in found] == [
        q.id for q in (*pooled_questions.QUESTIONS, *pooled_questions.BESIDE)
    ]
    text = text_of(page)
    for each in found:
        assert each["question"] in text
        assert each["sentence"] in text
        assert " ".join(each["rule"].split()) in text
    needed = next(each for each in found if each["id"] == "needed_adam")
    assert needed["verdict"] == "no"
    assert needed["study"] == "n_vs_p"
    table = results.load(folder / "n_vs_p")
    assert set(needed["evidence"][0]["rows"]) <= set(table["cell"])


def test_missing_and_unreadable_studies_are_named(page):
    text = text_of(page)
    assert "Missing studies: systems, systems_levers, double_descent" in text
    assert "Not read:" in text
    assert "older" in text
    assert "notes" not in text


def test_page_stands_alone_and_its_links_lead_somewhere(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        target = link["href"]
        assert target[1:] in ids if target[0] == "#" else len(table_in(target))
    assert page.all("img")
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    assert not page.all("script")
    assert HOSTILE in "".join(page.text)


def test_studies_themselves_are_left_as_they_are(folder):
    assert not (folder / "seed_question" / "report").exists()
    assert not (folder / "seed_question" / "answers.json").exists()


def test_a_folder_of_nothing_readable_is_one_sentence(tmp_path, capsys):
    (tmp_path / "one" / "cells").mkdir(parents=True)
    assert report.main([str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "holds no study whose tables can be read" in said.err
    assert len(said.err.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_reader_that_goes_away_leaves_no_traceback(tmp_path):
    folder = synthetic.write_study(tmp_path / "one", synthetic.rows(synthetic.n_vs_p(), Law()))
    command = [sys.executable, "-W", "ignore", "-m", "study.report", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()  # before a word is printed
        said = running.stderr.read()
        assert running.wait() == 0
    assert said == b""
    assert (folder / "report" / "index.html").exists()
