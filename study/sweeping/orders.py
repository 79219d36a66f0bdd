"""What a command asks of a study: `study.yaml` and each cell's config, which workers read."""

import contextlib
import dataclasses
import errno
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from study.config import data_files
from study.config.cell import Cell
from study.config.errors import ConfigError
from study.config.run import check_study
from study.sweeping.cell_config import read_config, write_config
from study.sweeping.folder import Orders, StudyError, StudyFolder, check_space, write_yaml
from study.sweeping.monitor import Monitor
from study.sweeping.plan import Plan
from study.sweeping.provenance import code_version, provenance
from study.sweeping.storage import record_of


def outputs_folder(study: str, outputs: str = "outputs") -> StudyFolder:
    """`<outputs>/<study>/`; `outputs` itself may be a link.

    **Raises:** `ConfigError` for a name that leads anywhere else.
    """
    check_study(study, outputs)
    return StudyFolder((Path(outputs) / study).resolve())


def earlier_decision(folder: StudyFolder, budget: str) -> bool | None:
    """What `compile` came to in the study's last command; None if it had another budget or none."""
    before = _read(folder)
    decided = before.get("decisions", {}).get("compile")
    return decided if isinstance(decided, bool) and before.get("budget") == budget else None


def write_orders(plan: Plan, folder: StudyFolder, command: str = "") -> Orders:
    """Write `study.yaml` and each cell's config; leave those of a finished study as they are.

    `command` is how the study was asked for, for the record. Returns what workers and monitor read.

    **Raises:** `ConfigError` if the folder cannot be written.
    """
    run, before = plan.run, _read(folder)
    cells = [cell.hash for cell in plan.cells]
    search = dataclasses.asdict(run.search)
    searches = [spec.as_dict() for spec in plan.searches]
    same = before.get("cells") == cells and before.get("replicates") == run.replicates
    same &= run.keep_earlier or not before.get("earlier_cells")
    if searches or before.get("searches"):
        same &= before.get("search") == search and before.get("searches") == searches
        finished = same and Monitor(folder.root).look().finished
    else:
        finished = same and all(block.done for block in folder.blocks(folder.read_orders()))
    if finished:  # who made it, and when, is not overwritten
        return folder.read_orders()
    cpp = any(cell.compile and cell.device == "cpu" for cell in plan.cells)
    if searches:
        cpp = plan.compile and plan.config["device"] == "cpu"
    last = [before["provenance"]] if "provenance" in before else []
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
        "compiled": cpp,
        "remarks": plan.remarks,
        "findings": plan.findings,
        "provenance": {"command": command, **provenance()},
        "history": [*before.get("history", []), *last],
        "config": dict(plan.config),
        "grid": [dict(arm) for arm in plan.arms],
        "swept": {key: list(values) for key, values in plan.swept.items()},
        "cells": cells,
        "earlier_cells": _earlier_cells(folder, before, run.budget, plan.cells)
        if run.keep_earlier
        else [],
        "seconds_per_block": dict(plan.seconds),
        "search": search,
        "searches": searches,
    }
    with _writing(folder):
        (folder.root / "cells").mkdir(parents=True, exist_ok=True)
        for cell in plan.cells:
            config = cell.as_dict()
            data_files.keep(config, folder.root)
            write_config(folder.cell(cell.hash) / "config.yaml", config)
        for spec in plan.searches:
            for config in spec.configs.values():
                data_files.keep(config, folder.root)
        write_yaml(folder.root / "study.yaml", study)
    return folder.orders_in(study)


def check_writable(folder: StudyFolder) -> None:
    """Make the study's folder. **Raises:** `ConfigError` if nothing can be written there."""
    with _writing(folder):
        (folder.root / "cells").mkdir(parents=True, exist_ok=True)
        check_space(folder.root)


def _read(folder: StudyFolder) -> dict[str, Any]:
    """What `study.yaml` says; nothing if there is none that can be read."""
    try:
        return folder.read_yaml()
    except StudyError:
        return {}


def _earlier_cells(
    folder: StudyFolder, before: Mapping[str, Any], budget: str, cells: Iterable[Cell]
) -> list[str]:
    """Cells that earlier commands of the same budget trained, at least in part, and this one lacks.

    They stay in the study's tables, unless this command has the same networks in blocks of another
    size or compiled otherwise: those would count twice.
    """
    if before.get("budget") != budget:
        return []
    known = dict.fromkeys([*before.get("cells", []), *before.get("earlier_cells", [])])
    networks = {cell.hash: _networks(cell.as_dict()) for cell in cells}
    return [
        cell
        for cell in known
        if cell not in networks
        and any(folder.cell(cell).glob("block-*/replicates.parquet"))
        and _networks(read_config(folder.cell(cell) / "config.yaml")) not in networks.values()
    ]


def _networks(config: Mapping[str, Any]) -> str:
    """A cell's config as text, without its blocks and its compiler."""
    plain = {key: value for key, value in config.items() if key not in ("block_size", "compile")}
    return json.dumps(plain, sort_keys=True)


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
