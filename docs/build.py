"""The documentation as a small site: README and docs/, the notebooks, and the public docstrings.

    python docs/build.py              # build/site/index.html; or the folder that is given

The site keeps the folders of the project, so that links between texts stay as they are. It asks
the network for nothing.
"""

from __future__ import annotations

import re
import shutil
import sys
import warnings
from pathlib import Path

import markdown2
import pdoc
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).parents[1]
TEXTS = ("README.md", "docs/*.md", "CONTRIBUTING.md", "CHANGELOG.md", "notebooks/LOG.md")
NOTEBOOKS = "notebooks/*.ipynb"
PUBLIC = ("study.library", "study.results", "study.core.learned", "study.core.systems")
EXTRAS = ["tables", "header-ids", "fenced-code-blocks", "cuddled-lists"]
MENU = {
    "README.html": "study",
    "docs/answer.html": "The answer",
    "docs/commands.html": "Commands",
    "docs/settings.html": "Settings",
    "docs/going_further.html": "Going further",
    "docs/speed.html": "Speed",
    "notebooks/the_question.html": "Notebook",
    "api/index.html": "Python",
    "notebooks/LOG.html": "Log",
}
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0 auto; padding: 1rem; max-width: 60rem; font: 16px/1.5 system-ui, sans-serif; }}
nav a {{ margin-right: 1rem; }}
img {{ max-width: 100%; height: auto; background: #fff; }}
pre {{ overflow-x: auto; padding: .6rem; border: 1px solid #8884; }}
table {{ display: block; overflow-x: auto; border-collapse: collapse; font-size: .875rem; }}
th, td {{ padding: .2rem .6rem; border-bottom: 1px solid #8884; text-align: left; }}
{style}
</style>
</head>
<body>
<nav>{menu}</nav>
<main>{body}</main>
</body>
</html>
"""
LINK = re.compile(r'((?:href|src)=")([^"#:]+)((?:#[^"]*)?")')


def build(site: Path) -> Path:
    """Write the site into a folder; its first page."""
    exporter = HTMLExporter(template_name="basic")
    for pattern in TEXTS:
        for source in sorted(ROOT.glob(pattern)):
            html = markdown2.markdown(source.read_text(encoding="utf-8"), extras=EXTRAS)
            _write(site, source.relative_to(ROOT), str(html))
    for source in sorted(ROOT.glob(NOTEBOOKS)):
        _write(site, source.relative_to(ROOT), exporter.from_filename(str(source))[0])
    pdoc.render.configure(docformat="markdown", search=False)
    # what is imported only for types is shown as it is written
    warnings.filterwarnings("ignore", "Error parsing type annotation")
    pdoc.pdoc(*PUBLIC, output_directory=site / "api")
    return Path(shutil.copy(site / "README.html", site / "index.html"))


def _write(site: Path, source: Path, body: str) -> None:
    """A page in the place of its source; what it links to is copied, or linked as a page."""

    def linked(found: re.Match) -> str:
        target = (ROOT / source.parent / found[2]).resolve()
        name = found[2]
        if target.suffix in (".md", ".ipynb"):
            name = str(Path(name).with_suffix(".html"))
        elif target.is_file():
            copy = site / target.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(target, copy)
        return f"{found[1]}{name}{found[3]}"

    up = "../" * (len(source.parts) - 1)
    menu = " ".join(f'<a href="{up}{page}">{name}</a>' for page, name in MENU.items())
    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    title = re.search(r"<h1[^>]*>(.*?)</h1>", body)
    filled = PAGE.format(
        title=re.sub("<[^>]+>", "", title[1]) if title else source.stem,
        style=light, menu=menu, body=LINK.sub(linked, body),
    )  # fmt: skip
    path = site / source.with_suffix(".html")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(filled, encoding="utf-8")


if __name__ == "__main__":
    print(build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "site"))
