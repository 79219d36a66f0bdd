"""The page under a reader's hand: it sorts, filters, tells of points and moves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from playwright.sync_api import Page

from study.analysis import style
from study.analysis.answer import Tables, curve
from study.analysis.motion import gif, motions
from study.analysis.questions import points_and_parameters
from study.analysis.words import count, number
from study.page import cells, page
from study.page.sections import Group
from study.tables.measures import TEST
from tests.analysis import synthetic
from tests.analysis.synthetic import Law
from tests.servers.browser import browser, opened

SETTINGS = synthetic.product(
    n_over_p=[0.125, 0.25, 0.5, 1.0, 2.0, 4.0], optimizer=["adam", "levenberg_marquardt"]
)
ROWS = synthetic.rows(SETTINGS, Law())
TABLES = Tables(ROWS, synthetic.curves(ROWS))
LARGEST = 3_000_000  # bytes of a page


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One figure, its answers, the table of cells and the motion, without the rest of a study."""
    with mpl.rc_context(style.RC):
        plot = next(iter(points_and_parameters.QUESTION.plots(TABLES)))
    numbers, table = cells.cell_table(ROWS)
    text = page.render(
        "synthetic",
        {},
        None,
        rows=ROWS,
        table=table,
        numbers=numbers,
        answers=list(points_and_parameters.QUESTION.answers(TABLES)),
        drawn=[style.draw(plot)],
        motions=motions(TABLES),
    )
    target = tmp_path_factory.mktemp("page") / "index.html"
    target.write_text(text, encoding="utf-8")
    return target


@pytest.fixture(scope="module")
def both(file: Path) -> Iterator[tuple[Page, Page]]:
    """With scripts, and without."""
    with browser() as chromium, opened(chromium, file, 400) as view:
        plain = chromium.new_context(java_script_enabled=False).new_page()
        plain.goto(file.as_uri())
        yield view.page, plain
        assert view.said == []


@pytest.fixture
def view(both: tuple[Page, Page]) -> Page:
    both[0].fill("#filter", "")
    return both[0]


def column(view: Page, head: str) -> list[str]:
    heads = view.locator("#table th").all_inner_texts()
    k = next(k for k, text in enumerate(heads) if text.startswith(head)) + 1
    return view.locator(f"#table tbody tr:visible td:nth-child({k})").all_inner_texts()


def test_a_head_sorts_by_number_both_ways(view: Page) -> None:
    head = view.locator("#table th", has_text="median test error").first
    errors = np.sort(curve(ROWS, tuple(ROWS["cell"].unique()), TEST).middle)
    head.locator("button").press("Enter")  # by keyboard
    assert head.get_attribute("aria-sort") == "ascending"
    shown = column(view, "median test error")
    by_number = view.evaluate("texts => texts.map(number)", shown)
    np.testing.assert_allclose(by_number, errors, rtol=0.06)  # two digits are shown
    head.locator("button").click()
    assert view.locator("#table th[aria-sort=descending]").count() == 1
    assert view.evaluate("texts => texts.map(number)", column(view, "median test error")) == sorted(
        by_number, reverse=True
    )


def test_numbers_are_read_as_they_are_written(view: Page) -> None:
    values = [4.2e-4, 4.2e-11, 1234.0, 1.0e12, -3.1, 12345.0]
    texts = [number(value, digits=5) + " [1, 2]" for value in values]
    read = view.evaluate("texts => texts.map(number)", texts)
    np.testing.assert_allclose(read, values)
    assert view.evaluate("text => number(text) === 10000", count(10_000))
    assert view.evaluate("text => number(text) === Infinity", number(np.inf))
    assert view.evaluate("['not measured', 'lnn', ''].map(number).every(isNaN)")


def test_terms_filter(view: Page) -> None:
    first = ROWS.drop_duplicates("cell")
    middle = int(first["data.n_train"].median())
    view.fill("#filter", f"optimizer=adam N>{middle}")
    wanted = (first["optimizer"] == "adam") & (first["data.n_train"] > middle)
    assert 0 < wanted.sum() < len(first)
    assert set(column(view, "cell")) == set(first.loc[wanted, "cell"])
    assert view.inner_text("form output") == f"{wanted.sum()} of {len(first)} cells"
    view.fill("#filter", "levenberg")
    assert set(column(view, "optimizer")) == {"levenberg_marquardt"}
    view.fill("#filter", "colour=red")
    assert "no column for colour=red" in view.inner_text("form output")


def test_a_point_tells_its_cell_and_a_click_chooses_it(view: Page) -> None:
    figure = view.locator("figure[data-points]").first
    figure.scroll_into_view_if_needed()
    points = json.loads(str(figure.get_attribute("data-points")))
    x, y, cell, words = points[-1]
    box = figure.locator("img").bounding_box()
    assert box is not None
    view.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    told = view.inner_text("#tip")
    median = curve(ROWS, (cell,), TEST).estimate(0)
    assert words in told
    assert f"n = {median.n}" in told
    assert cell in told
    assert view.evaluate("text => number(text)", told) == pytest.approx(median.value, rel=0.06)
    view.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    assert column(view, "cell") == [cell]


def test_points_stand_where_they_are_drawn() -> None:
    """In the picture itself: around a marked place there is the colour of its marker."""
    figure, (axis,) = style.canvas()
    table = ROWS.groupby("cell", as_index=False)["test_nmse"].agg(
        median="median", low="min", high="max", replicates="size"
    )
    style.errorbars(axis, np.arange(len(table)), table, color="#ff0000", linestyle="none")
    axis.set_yscale("log")
    drawn = style.draw(style.Plot("points", "t", "c", "a", table, figure))
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())  # type: ignore[attr-defined]
    height, width = pixels.shape[:2]
    assert len(drawn.points) == len(table)
    for x, y, *_ in drawn.points:
        i, j = round(y * height), round(x * width)
        near = pixels[i - 2 : i + 3, j - 2 : j + 3, 1]
        assert near.min() < 60, "no red here"


def test_the_motion_plays_and_the_slider_moves(view: Page) -> None:
    pixels = "document.querySelector('.motion canvas').toDataURL()"
    start = view.evaluate(pixels)
    assert len(start) > 1000
    slider, button = view.locator(".motion input"), view.locator(".motion button")
    slider.fill("5")
    assert view.inner_text(".motion output") == "5.00 s"
    assert view.evaluate(pixels) != start
    button.click()
    assert button.inner_text() == "Pause"
    view.wait_for_function("parseFloat(document.querySelector('.motion output').textContent) > 5")
    button.click()
    assert button.inner_text() == "Play"
    view.select_option(".motion select", index=1)
    assert view.inner_text(".motion output") == "0.00 s"


def test_answers_to_one_question_are_a_table_by_setting(view: Page) -> None:
    row = view.locator("#answer-raise_n\\.1")
    assert row.locator("td").first.inner_text() == "Levenberg-Marquardt"
    group = view.locator(".answers > li", has=row)
    assert group.locator("tbody tr").count() == 2
    assert not group.locator("details li").first.is_visible()


@pytest.mark.parametrize(
    ("verdicts", "verdict"),
    [("yes yes", "yes"), ("yes no undecided", "depends"), ("no undecided", "undecided")],
)
def test_some_undecided_do_not_make_it_depend(verdicts: str, verdict: str) -> None:
    answers: Any = [SimpleNamespace(verdict=one) for one in verdicts.split()]
    assert Group(answers, []).verdict == verdict


def test_it_is_small_narrow_and_readable_without_scripts(
    file: Path, both: tuple[Page, Page]
) -> None:
    with_script, plain = both
    assert file.stat().st_size < LARGEST
    assert with_script.evaluate("document.documentElement.scrollWidth") == 400
    assert plain.locator("#table tbody tr").count() == len(SETTINGS)
    assert plain.locator("#table th").first.inner_text() == "cell"
    assert plain.locator("figure img").first.is_visible()
    for of_script in (".filter", ".motion", "#tip"):
        assert not plain.locator(of_script).is_visible()


def test_a_gif_moves_at_the_speed_of_the_motion(tmp_path: Path) -> None:
    from PIL import Image, ImageSequence

    (first, *_) = motions(TABLES)
    short = first.times <= 0.5
    assert first.bodies is not None
    part = {"times": first.times[short], "bodies": first.bodies[:, short]}
    first = dataclasses.replace(first, **part, coordinates=first.coordinates[:, short])
    with Image.open(gif([first], tmp_path / "motion.gif")) as picture:
        frames = ImageSequence.Iterator(picture)
        seconds = sum(frame.info["duration"] for frame in frames) / 1000
    assert seconds == pytest.approx(np.ptp(first.times), abs=0.11)
