"""A progress bar for Python code: in a notebook, on a terminal, or none."""

from __future__ import annotations

import contextlib
import html
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from study.config.terminal import console

AFTER = 1.0  # seconds: what is done by then needs no bar


@contextlib.contextmanager
def bar(title: str) -> Iterator[Callable[..., None]]:
    """Show how far something is while the `with` block runs, once that takes a second.

    **Yields:** a function of the share that is done, 0 to 1, and of words if they change.
    """
    began = time.monotonic()
    with contextlib.ExitStack() as opened:
        draw: Callable[[float, str], None] | None = None

        def show(share: float, words: str = title) -> None:
            nonlocal draw
            if draw is None and time.monotonic() - began > AFTER:
                draw = opened.enter_context(_in_notebook() if _kernel() else _on_terminal())
            if draw is not None:
                draw(share, words)

        yield show


def _kernel() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


@contextlib.contextmanager
def _in_notebook() -> Iterator[Callable[[float, str], None]]:
    """By HTML alone: rich's bar needs ipywidgets."""
    from IPython.display import HTML, display  # type: ignore[import-not-found]

    handle: Any = display(HTML(""), display_id=True)

    def draw(share: float, words: str) -> None:
        filled = f"<progress value={share:.3f} style='width:20em'></progress>"
        handle.update(HTML(f"{filled} {html.escape(words)}"))

    try:
        yield draw
    finally:
        handle.update(HTML(""))


@contextlib.contextmanager
def _on_terminal() -> Iterator[Callable[[float, str], None]]:
    from rich.progress import Progress

    shown = console(stderr=True)
    with Progress(console=shown, transient=True, disable=not shown.is_terminal) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda share, words: progress.update(task, completed=share, description=words)
