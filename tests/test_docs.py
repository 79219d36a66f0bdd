"""The site of the documentation is made, and its links lead somewhere."""

import runpy
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]


class Page(HTMLParser):
    def __init__(self, path: Path):
        super().__init__()
        self.ids, self.links, self.sources = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given.get("id"), given.get("name")}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        self.sources += [given[k] for k in ("src", "href") if tag != "a" and given.get(k)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    build = runpy.run_path(str(ROOT / "docs" / "build.py"))["build"]
    return build(tmp_path_factory.mktemp("site")).parent


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html")}


def test_links_lead_to_a_page_and_its_heading(site, pages):
    assert len(pages) > 12
    for path, page in pages.items():
        for link in page.links:
            place, _, anchor = unquote(link).partition("#")
            if "://" in place or place.startswith("mailto:"):
                continue
            target = (path.parent / place).resolve() if place else path
            assert target.is_file(), f"{path.relative_to(site)}: {link}"
            if anchor and target in pages:
                assert anchor in pages[target].ids, f"{path.relative_to(site)}: {link}"


def test_nothing_is_loaded_from_the_network(site, pages):
    for path, page in pages.items():
        for source in page.sources:
            inside = source.startswith("data:") or (path.parent / unquote(source)).is_file()
            assert inside, f"{path.relative_to(site)}: {source[:80]}"


def test_the_library_is_documented(site):
    text = (site / "api" / "study" / "core" / "learned.html").read_text(encoding="utf-8")
    for name in ("rollout", "mass_matrix", "to_torch"):
        assert f'id="LearnedModel.{name}"' in text
    assert 'id="fit"' in (site / "api" / "study" / "library.html").read_text(encoding="utf-8")
