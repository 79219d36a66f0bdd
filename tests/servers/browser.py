"""A headless Chromium, Debian's, driven by Playwright.

Knows: how it is started, and what it must not do. Does not know: what is on a page. It is offline:
a page that asked a network for anything would be told by its requests, and get nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.servers import need


@dataclasses.dataclass(frozen=True)
class View:
    """A page as it was opened: `said`: all on the console and every error of a script; `asked`:
    every address it requested, in order."""

    page: Page
    said: list[str]
    asked: list[str]


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Chromium without a window, gone afterwards."""
    need(["chromium"], "chromium fonts-dejavu-core")
    with sync_playwright() as playwright:
        # no sandbox: root, as in a container, may have none; the pages are our own
        running = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield running
        running.close()


@contextlib.contextmanager
def opened(running: Browser, path: Path, width: int, height: int = 900) -> Iterator[View]:
    """A file, opened at a width of so many CSS pixels."""
    context = running.new_context(viewport={"width": width, "height": height}, offline=True)
    page = context.new_page()
    view = View(page, [], [])
    page.on("console", lambda message: view.said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: view.said.append(f"error: {error}"))
    page.on("request", lambda request: view.asked.append(request.url))
    page.goto(path.resolve().as_uri())
    yield view
    context.close()
