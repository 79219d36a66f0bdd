"""What `--help` prints of `study.sweep` and `study.trial`: experiments, groups, keys, examples.

The schema says what a key means. With `system=kepler --help` the keys are that system's.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from rich.table import Table

from study.config import terminal
from study.config.cell import Cell
from study.config.command_line import compose_first, read_flags, read_overrides
from study.config.errors import flat
from study.config.hydra import CONF, LAUNCHER, opened, plain
from study.config.run import Run, SearchConfig
from study.config.schema import GROUPS, ColumnsConfig, meanings

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


def asked(flags: Sequence[str]) -> bool:
    """Whether a command line asks for help."""
    return bool({"-h", "--help"} & set(flags))


def show(text: str, arguments: Sequence[str]) -> None:
    """Print `text`, what a command does, and what it takes beside its `arguments`.

    **Raises:** `ConfigError`.
    """
    flags = read_flags(arguments)
    with opened(flags.config_dir) as loader:
        command = read_overrides(flags.overrides, loader)
        config = compose_first(command, loader)
        groups = [group for group in loader.list_groups("") if group not in ("hydra", "experiment")]
        options = {group: loader.get_group_options(group) for group in (*groups, LAUNCHER)}
    first = {key: values[0] for key, values in command.swept.items()}
    chosen = config.hydra.runtime.choices
    with terminal.quiet_pipe():
        console = terminal.console(width=None if sys.stdout.isatty() else PIPED)
        console.print(text, soft_wrap=True)
        for title, rows in {
            "Experiments: +experiment=NAME": _experiments(),
            "Groups: group=option, [chosen]": (
                (group, ", ".join(f"[{o}]" if o == chosen.get(group) else o for o in names))
                for group, names in options.items()
            ),
            "Keys: key=value": _keys(dict(flat(plain(config))) | first),
        }.items():
            table = Table.grid(padding=(0, 2))
            for row in rows:
                table.add_row("", *row)
            console.print(f"\n{title}")
            console.print(table)
        console.print(
            "\nA key of the command replaces the experiment's own. --config-dir=FOLDER adds "
            "configs of yours.\n"
            "See also: python -m study.status --help, python -m study.report --help",
            soft_wrap=True,
        )


def _experiments() -> Iterator[tuple[str, str]]:
    """Each with the question that it asks."""
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        question = QUESTION.search(path.read_text(encoding="utf-8"))
        yield path.stem, question[1].strip() if question else ""


def _keys(values: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Key, value, meaning; those at the top first."""
    prefixes = {"": Cell, **{f"{group}.": kind for group, kind in GROUPS.items()}}
    prefixes |= {"search.": SearchConfig, "data.columns.": ColumnsConfig}
    texts = meanings(Run)
    for prefix, kind in prefixes.items():
        texts |= meanings(kind, prefix)
    for key in sorted(values, key=lambda key: ("." in key, key not in TOP, key.partition(".")[0])):
        named = key in GROUPS or (key.endswith((".name", ".sampler")) and key != "search.sampler")
        inner = isinstance(values[key], Mapping) and values[key]
        if not named and not inner and key.partition(".")[0] != "grid":
            yield key, _text(values[key]), texts.get(key, "")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    dumped = yaml.safe_dump(value, default_flow_style=True, width=1000)
    return dumped.strip().removesuffix("...").strip()
