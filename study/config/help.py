"""What `--help` prints of `study.sweep` and `study.trial`: experiments, groups, keys, examples.

Knows: Hydra's config as a command line leaves it, and what the comments in `conf/` say of a key.
Does not know: what a setting does. With `system=kepler --help` the keys are that system's.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from study.config import terminal
from study.config.compose import Composed
from study.config.hydra import CONF

SWEEP = """\
Train a grid of cells, or search among them; answer, draw the page. The same command resumes.

    python -m study.sweep +experiment=n_vs_p budget=smoke
    python -m study.sweep study=mine data.n_train=64,256,1024 model.width=8,16 dry_run=true
    python -m study.sweep study=lr model.width=8,16 'optimizer.lr=tag(log,interval(1e-4,1e-1))'

Lists are a grid; a key with interval(a,b) or tag(log,interval(a,b)) is searched, and so are then
those with choice(...) and range(...)."""
TRIAL = """\
Train one cell, no sweep, and print its measures; done before, it is only printed.

    python -m study.trial model.width=32 data.n_train=4096
    python -m study.trial system=kepler optimizer=levenberg_marquardt budget=smoke
    python -m study.trial study=mine model=structured_lnn model.activation=tanh"""
PIPED = 120  # columns where there is no terminal
TOP = ("study", "seed", "replicates", "block_size", "workers")  # the first of the top keys
QUESTION = re.compile(r"^question: *(.*)$", re.MULTILINE)
COMMENTED = re.compile(r"^( *)([\w.]+):[^#]*?(?:# *(.*))?$")


def asked(flags: Sequence[str]) -> bool:
    """Whether a command line asks for help."""
    return bool({"-h", "--help"} & set(flags))


def show(text: str, composed: Composed) -> None:
    """Print how a command is used.

    **Arguments:**

    - `text`: what it does, and examples.
    - `composed`: the config of the rest of the command line.
    """
    with terminal.quiet_pipe():
        _show(terminal.console(width=None if sys.stdout.isatty() else PIPED), text, composed)


def _show(console: Console, text: str, composed: Composed) -> None:
    console.print(text, soft_wrap=True)
    _print(console, "Experiments: +experiment=NAME", _experiments())
    _print(console, "Groups: group=option, [chosen]", _groups(composed))
    _print(console, "Keys: key=value", _keys(composed))
    console.print(
        "\nA key of the command replaces the experiment's own. --config-dir=FOLDER adds configs of "
        "yours.\nSee also: python -m study.status --help, python -m study.report --help",
        soft_wrap=True,
    )


def _print(console: Console, title: str, rows: Iterator[tuple[str, ...]]) -> None:
    table = Table.grid(padding=(0, 2))
    for row in rows:
        table.add_row("", *row)
    console.print(f"\n{title}")
    console.print(table)


def _experiments() -> Iterator[tuple[str, str]]:
    """Each with the question that it asks."""
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        found = QUESTION.search(path.read_text(encoding="utf-8"))
        yield path.stem, found[1].strip() if found else ""


def _groups(composed: Composed) -> Iterator[tuple[str, str]]:
    for group, options in composed.options.items():
        chosen = composed.choices.get(group)
        if group != "experiment":
            yield group, ", ".join(f"[{o}]" if o == chosen else o for o in options)


def _keys(composed: Composed) -> Iterator[tuple[str, str, str]]:
    """Key, value, meaning; those at the top first."""
    comments = _comments(None)
    for group, option in composed.choices.items():
        comments |= _comments(f"{group}/{option}")
    keys = {key: value for key, value in _flat(composed.config) if key.partition(".")[0] != "grid"}
    for key in sorted(keys, key=lambda key: ("." in key, key not in TOP, key.partition(".")[0])):
        if not key.endswith((".name", ".sampler")) or key == "search.sampler":
            yield key, _text(keys[key]), comments.get(key, "")


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _comments(config: str | None) -> dict[str, str]:
    """What a file of `conf/` says beside its keys; a comment may go on below."""
    path = CONF / f"{config or 'config'}.yaml"
    if not path.is_file():
        return {}
    found: dict[str, str] = {}
    group = f"{config.rpartition('/')[0]}." if config else ""
    parents: list[str] = []
    key = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("#"):
            if key in found and line.startswith(" "):
                found[key] += f" {line.lstrip(' #')}"
        elif match := COMMENTED.match(line):
            parents[len(match[1]) // 2 :] = [match[2]]
            key = group + ".".join(parents)
            if match[3]:
                found[key] = match[3].strip()
    return found


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    dumped = yaml.safe_dump(value, default_flow_style=True, width=1000)
    return dumped.strip().removesuffix("...").strip()
