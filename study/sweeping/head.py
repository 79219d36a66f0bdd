"""The head of a sweep: check everything, write the orders, start workers, take stock.

Knows: the plan, the folder, the ledger. Does not know: where workers run (it is handed what starts
them), how a block is trained, or what becomes of the tables: the command above it makes the page.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from study.config import inputs
from study.config.cell import Cell, check_study
from study.config.errors import ConfigError
from study.config.terminal import one_line
from study.sweeping import claims, ledger
from study.sweeping.files import StudyError, check_space, read_config, write_config, write_yaml
from study.sweeping.folder import Orders, StudyFolder, Survey
from study.sweeping.monitor import Failed, Monitor
from study.sweeping.plan import Plan
from study.sweeping.progress import ProgressBar, duration
from study.sweeping.provenance import code_version, provenance
from study.sweeping.storage import open_storage, record_of

Finish = Callable[[Plan, Monitor, Callable[[str], None]], str]
"""Has workers do what is left, says what a reader should know, returns what went wrong last."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a command came to.

    - `trained`: blocks this command added; `kept`: those that were there before.
    - `failed`, `missing`: blocks that are not done.
    - `changed`: when its orders or blocks last did, in seconds since the epoch.
    - `seconds`: of wall-clock time.
    - `trouble`: the last error of the launcher itself, if it had one.
    """

    folder: Path
    trained: int
    kept: int
    failed: tuple[Failed, ...]
    missing: int
    changed: float
    seconds: float
    trouble: str

    @property
    def complete(self) -> bool:
        return not self.failed and not self.missing


def outputs_folder(study: str) -> StudyFolder:
    """`outputs/<study>/` under the current folder; `outputs` itself may be a link.

    **Raises:** `ConfigError` for a name that leads anywhere else.
    """
    check_study(study)
    return StudyFolder((Path("outputs") / study).resolve())


def earlier_decision(folder: StudyFolder, budget: str) -> bool | None:
    """What `compile` came to in the study's last command; None if it had another budget or none."""
    before = _read(folder)
    decided = before.get("decisions", {}).get("compile")
    return decided if isinstance(decided, bool) and before.get("budget") == budget else None


def check_places(plan: Plan, folder: StudyFolder) -> None:
    """Whether a study can be recorded; makes its folder.

    **Raises:** `ConfigError` if the storage or the folder cannot be written.
    """
    if plan.run.storage is not None:
        # a wrong one is told before anything is made
        open_storage(plan.run.storage, folder.root / "ledger.log", patience=5.0)
    check_writable(folder)


def run_plan(plan: Plan, folder: StudyFolder, finish: Finish, command: str) -> Outcome:
    """Run what is missing of a plan.

    **Arguments:**

    - `plan`: the checked study.
    - `folder`: where it lives, checked too.
    - `finish`: has workers do it, on this machine or a cluster.
    - `command`: how the study was asked for, for the record.

    **Raises:** `ConfigError` if the folder cannot be written. `KeyboardInterrupt` passes through;
    what is committed is kept.
    """
    began = time.time()
    orders = write_orders(plan, folder, command)
    monitor = Monitor(folder.root, orders)
    before = monitor.look()
    trouble = ""
    if not before.finished:
        with ProgressBar(monitor) as bar:
            trouble = finish(plan, monitor, bar.say)
    after = monitor.look()
    _tidy(folder, orders)
    committed = folder.last_commit(orders)
    if after.done > before.done or _changed(folder.root / "ledger.log") < committed:
        _reconcile(folder, orders)
    return Outcome(
        folder=folder.root,
        trained=after.done - before.done,
        kept=before.done,
        failed=after.failed,
        missing=after.missing,
        changed=max(committed, _changed(folder.root / "study.yaml")),
        seconds=time.time() - began,
        trouble=trouble,
    )


def write_orders(plan: Plan, folder: StudyFolder, command: str = "") -> Orders:
    """Write `study.yaml` and each cell's config; leave those of a finished study as they are.

    Whoever runs a worker on the folder then needs no command.

    **Arguments:**

    - `plan`: the checked study.
    - `folder`: where it lives; made if it is not there.
    - `command`: how the study was asked for, for the record.

    **Returns:** what the workers and the monitor read in `study.yaml`.

    **Raises:** `ConfigError` if the folder cannot be written.
    """
    with _writing(folder):
        return _write_orders(plan, folder, command)


def _write_orders(plan: Plan, folder: StudyFolder, command: str) -> Orders:
    run = plan.run
    (folder.root / "cells").mkdir(parents=True, exist_ok=True)
    before = _read(folder)
    if _asks_nothing_new(plan, folder, before):
        return folder.read_orders()
    for cell in plan.cells:
        config = cell.as_dict()
        inputs.keep(config, folder.root)
        write_config(folder.cell(cell.hash) / "config.yaml", config)
    for search in plan.searches:
        for config in search.configs.values():
            inputs.keep(config, folder.root)
    cells = [cell.hash for cell in plan.cells]
    study = {
        "study": run.study,
        "budget": run.budget,
        "question": plan.config.get("question"),
        "replicates": run.replicates,
        "block_size": run.block_size,
        "retries": run.retries,
        "time_limit": run.time_limit,
        "code": code_version(),
        "storage": record_of(run.storage),
        "decisions": {"compile": plan.compile},
        "provenance": {"command": command, **provenance()},
        "history": [*before.get("history", []), *_last(before)],
        "config": dict(plan.config),
        "grid": [dict(arm) for arm in plan.arms],
        "swept": {key: list(values) for key, values in plan.swept.items()},
        "cells": cells,
        "earlier_cells": _earlier_cells(folder, before, run.budget, plan.cells),
        "seconds_per_block": dict(plan.seconds),
        "search": dataclasses.asdict(run.search),
        "searches": [search.as_dict() for search in plan.searches],
    }
    write_yaml(folder.root / "study.yaml", study)
    return folder.orders_in(study)


def _read(folder: StudyFolder) -> dict[str, Any]:
    try:
        return folder.read_yaml()
    except StudyError:
        return {}


def _last(before: Mapping[str, Any]) -> list[Any]:
    return [before["provenance"]] if "provenance" in before else []


def _asks_nothing_new(plan: Plan, folder: StudyFolder, before: Mapping[str, Any]) -> bool:
    """The same study again, all of it done: who made it and when is not to be overwritten."""
    asked = [cell.hash for cell in plan.cells]
    same = before.get("cells") == asked and before.get("replicates") == plan.run.replicates
    if plan.searches or before.get("searches"):
        same = before.get("search") == dataclasses.asdict(plan.run.search)
        same &= before.get("searches") == [search.as_dict() for search in plan.searches]
        return same and Monitor(folder.root).look().finished
    return same and all(block.done for block in folder.blocks(folder.read_orders()))


def _earlier_cells(
    folder: StudyFolder, before: Mapping[str, Any], budget: str, cells: Sequence[Cell]
) -> list[str]:
    """Cells of earlier commands of the same budget, with something done, that this one lacks.

    They stay part of the study's tables, unless they are this command's own networks in blocks of
    another size or trained by other code: those would count twice. Another budget's cells stay on
    disk, but belong to another answer.
    """
    if before.get("budget") != budget:
        return []
    known = [*before.get("cells", []), *before.get("earlier_cells", [])]
    now = {cell.hash for cell in cells}
    asked = {_networks(cell.as_dict()) for cell in cells}
    kept = []
    for cell in dict.fromkeys(known):
        done = cell not in now and any(folder.cell(cell).glob("block-*/replicates.parquet"))
        if done and _networks(read_config(folder.cell(cell) / "config.yaml")) not in asked:
            kept.append(cell)
    return kept


def _networks(config: Mapping[str, Any]) -> str:
    """What a cell's networks are, whatever the blocks and the compiler that train them."""
    plain = {key: value for key, value in config.items() if key not in ("block_size", "compile")}
    return json.dumps(plain, sort_keys=True)


def _tidy(folder: StudyFolder, orders: Orders) -> None:
    """Remove what workers and heads that died left: half-written files, locks of done blocks."""
    claims.sweep(folder.root)
    untidy = folder.untidy(orders)
    for cell in untidy:
        claims.sweep(folder.cell(cell))
    for block, done, _, _ in Survey(
        folder, dataclasses.replace(orders, cells=tuple(untidy))
    ).look():
        beside = [block.lock, block.progress, block.checkpoint]
        if done and any(path.exists() for path in beside):
            claims.discard(block.lock)
            if not block.lock.exists():
                block.progress.unlink(missing_ok=True)
                block.checkpoint.unlink(missing_ok=True)


def _reconcile(folder: StudyFolder, orders: Orders) -> None:
    try:
        ledger.reconcile(ledger.open_ledger(folder, orders.storage, 30.0), folder, orders)
    except Exception as error:
        print(f"the ledger is not complete: {error}", file=sys.stderr)


def _changed(path: Path) -> float:
    """Seconds since the epoch; 0 for a file that is not there."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def check_writable(folder: StudyFolder) -> None:
    """Make the study's folder. **Raises:** `ConfigError` if nothing can be written there."""
    with _writing(folder):
        (folder.root / "cells").mkdir(parents=True, exist_ok=True)
        check_space(folder.root)


@contextlib.contextmanager
def _writing(folder: StudyFolder) -> Iterator[None]:
    """Say in one sentence that the folder cannot be written to."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some of it" if full else "run in a folder that you can write to"
        raise ConfigError(
            f"study={folder.name} cannot be written to {folder.root}: {error.strerror}; {remedy}"
        ) from None


def interrupted(folder: StudyFolder) -> str:
    """What is kept after Ctrl-C, in one line."""
    now = Monitor(folder.root).look()
    return (
        f"interrupted: {now.done} of {now.total} blocks are kept in {folder.root}; "
        "the same command goes on from there"
    )


def detached(folder: StudyFolder) -> str:
    """How to find again what goes on without this command, in one line."""
    return (
        f"detached: python -m study.status {folder.root} shows how far it is; the same command "
        "without detach=true waits for it, and makes the page"
    )


def summarise(outcome: Outcome, page: Path | None, console: Console) -> None:
    """Say in the terminal what a command came to: counts, why what failed did, where all is."""
    parts = [f"{outcome.trained} trained", f"{outcome.kept} were done before"]
    if outcome.failed:
        parts.append(f"{len(outcome.failed)} failed")
    if outcome.missing:
        parts.append(f"{outcome.missing} missing")
    console.print(f"{', '.join(parts)}; {duration(outcome.seconds)}", highlight=False)
    for failure in outcome.failed:
        console.print(
            f"  failed: cell {failure.cell}, block {failure.block}, after {failure.attempts} "
            f"attempts: {one_line(failure.error)}",
            style="red",
            highlight=False,
            markup=False,
        )
    if page is not None:
        tables = outcome.folder / "results.parquet"
        table = f"table: {tables}\n" if tables.exists() else ""
        console.print(f"{table}page:  {page}", highlight=False, soft_wrap=True)
    if outcome.missing and outcome.trouble:
        console.print(f"  the launcher's last error: {one_line(outcome.trouble)}", markup=False)
