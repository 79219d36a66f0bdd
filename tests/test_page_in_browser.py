"""The page as a reader has it: in a browser, on a telephone and on a screen.

Pages are made by the real commands: a finished study, one that is not, one of which nothing is
done, one full of what is long and hostile, and one across several studies.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from study.page import across, write
from tests.analysis import test_page_safety as hostile
from tests.report_page import table_in
from tests.servers.browser import browser, opened

pytestmark = pytest.mark.filterwarnings("ignore:Glyph")  # no font draws a control character

ROOT = Path(__file__).parents[1]
WIDTHS = (400, 1400)
KINDS = ("finished", "unfinished", "empty", "hostile", "across")
# `make test` looks at the finished study, `make test-all` at every kind
MARKED = [KINDS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])]
SMALLEST = 12  # CSS pixels of text
SMALLEST_DRAWN = 7.5  # of text in a figure that is scaled down to a telephone

# what reaches beyond the window, or is cut off, where nothing scrolls
TOO_WIDE = """() => {
  const found = [];
  const scrolls = e => ['auto', 'scroll'].includes(getComputedStyle(e).overflowX);
  for (const e of document.body.querySelectorAll('*')) {
    const box = e.getBoundingClientRect();
    if (!box.width) continue;
    let home = e.parentElement;
    while (home && !scrolls(home)) home = home.parentElement;
    if (!home && (box.right > innerWidth + 0.5 || box.left < -0.5))
      found.push(`${e.tagName} ${e.className}: ${box.left} to ${box.right}`);
    if (!scrolls(e) && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display != 'inline')
      found.push(`${e.tagName} ${e.className} holds ${e.scrollWidth} in ${e.clientWidth}`);
  }
  return found;
}"""
FONTS = """() => [...document.body.querySelectorAll('*')]
  .filter(e => [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()) && e.offsetWidth)
  .map(e => parseFloat(getComputedStyle(e).fontSize))"""


@pytest.fixture(scope="module")
def chromium() -> Browser:
    with browser() as running:
        yield running


class Pages(dict[str, Path]):
    """Kind of page -> its file, made when a test first needs it."""

    def __init__(self, finished: Path, home: Path):
        self.finished, self.home = finished, home

    def __missing__(self, kind: str) -> Path:
        self[kind] = path = getattr(self, f"make_{kind}")()
        return path

    def make_finished(self) -> Path:
        return self.finished / "report" / "index.html"

    def make_unfinished(self, kept: int = 2, name: str = "unfinished") -> Path:
        folder = shutil.copytree(self.finished, self.home / name)
        for block in sorted(folder.glob("cells/*/block-000"))[kept:]:
            shutil.rmtree(block)
        for path in folder.glob("*.parquet"):
            path.unlink()
        return write.write(folder)

    def make_empty(self) -> Path:
        return self.make_unfinished(0, "empty")

    def make_hostile(self) -> Path:
        return write.write(hostile.write(self.home, hostile.HOSTILE, hostile=True))

    def make_across(self) -> Path:
        several = self.home / "several"
        for name in ("seed_question", "epochs"):
            shutil.copytree(ROOT / "outputs" / "reference" / name, several / name)
        return across.write(several)


@pytest.fixture(scope="module")
def pages(smoke_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Pages:
    return Pages(smoke_study, tmp_path_factory.mktemp("pages"))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", MARKED)
def test_nothing_is_said_asked_or_too_wide(kind, width, pages, chromium):
    with opened(chromium, pages[kind], width) as view:
        page = view.page
        assert page.locator("h1").is_visible()
        for closed in (True, False):
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.evaluate(TOO_WIDE) == []
            if closed:
                page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
        assert min(page.evaluate(FONTS)) >= SMALLEST
        assert [url for url in view.asked if not url.startswith("data:image/")] == [page.url]
        assert view.said == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", MARKED)
def test_axe_finds_nothing(kind, width, pages, chromium):
    """Contrast, names of images and regions, order of headings: axe-core's rules, all of them."""
    with opened(chromium, pages[kind], width) as view:
        view.page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
        found = Axe().run(view.page)
        assert found.response["passes"]
        said = [
            f"{each['id']}: {each['help']}: {node['html'][:200]}"
            for each in found.response["violations"]
            for node in each["nodes"]
        ]
        assert said == []


@pytest.mark.parametrize("kind", MARKED)
def test_links_lead_somewhere(kind, pages, chromium):
    with opened(chromium, pages[kind], 1400) as view:
        page = view.page
        links = [link.get_attribute("href") for link in page.locator("a").all()]
        assert links
        for link in links:
            if link.startswith("data:"):
                assert len(table_in(link)), link[:60]
                continue
            address, place = urldefrag(urljoin(page.url, link))
            assert address.startswith("file:")
            if address == page.url:
                assert page.locator(f'[id="{unquote(place)}"]').count() == 1, link
            else:
                assert Path(unquote(urlparse(address).path)).stat().st_size > 1000, link
        for figure in page.locator("figure figcaption").all():
            assert figure.locator("a[download]").count() == 1


@pytest.mark.parametrize("width", WIDTHS)
def test_a_link_shows_its_figure(width, pages, chromium):
    with opened(chromium, pages["finished"], width) as view:
        page = view.page
        link = page.locator(".tiles a").first
        target = page.locator(f'[id="{unquote(str(link.get_attribute("href"))[1:])}"]')
        link.click()
        box = target.bounding_box()
        assert box is not None
        assert 0 <= box["y"] < 450
        assert target.locator("img").count() == 1


@pytest.mark.parametrize("width", WIDTHS)
def test_verdicts_come_first_then_figures_table_settings(width, pages, chromium):
    with opened(chromium, pages["finished"], width) as view:
        order = (".tiles .verdict", "main figure", "#cells ~ .scroll table", "dl", "pre")
        tops = [
            view.page.locator(what).first.evaluate(
                "e => e.closest('details:not([open])')?.offsetTop ?? e.getBoundingClientRect().top"
            )
            for what in order
        ]
        assert tops == sorted(tops)
        assert tops[0] < 450, "verdicts are seen before anything is scrolled"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", [MARKED[0], *MARKED[3:]])
def test_figures_are_drawn_named_and_legible(kind, width, pages, chromium):
    with opened(chromium, pages[kind], width) as view:
        for image in view.page.locator("img").all():
            assert len(image.get_attribute("alt") or "") > 20
            natural, drawn = image.evaluate(
                "e => e.decode().then(() => [e.naturalWidth, e.getBoundingClientRect().width])"
            )
            assert natural > 100, "it cannot be decoded"
            width_asked = float(image.get_attribute("width") or 0)
            # the smallest text of a figure is 8.5 points
            assert 8.5 * 4 / 3 * drawn / width_asked >= SMALLEST_DRAWN


@pytest.mark.slow
def test_the_page_of_an_unfinished_study_says_what_is_missing(pages, chromium):
    with opened(chromium, pages["unfinished"], 400) as view:
        said = view.page.locator(".standing").inner_text()
        assert "2 of 6 cells complete" in said
        assert "2 of 6 blocks" in said
        assert "Nothing runs now" in said
        rows = view.page.locator(".standing tbody tr").all_inner_texts()
        assert any("0 of 2" in row for row in rows)
        bar = view.page.locator("progress")
        assert (bar.get_attribute("value"), bar.get_attribute("max")) == ("2", "6")
        assert view.page.locator(".answers .basis").all_inner_texts()
    with opened(chromium, pages["empty"], 400) as view:
        assert "no answer and no figure before the first block" in view.page.inner_text(".standing")
    with opened(chromium, pages["finished"], 400) as view:
        assert view.page.locator(".standing").count() == 0
