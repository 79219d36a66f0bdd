"""The head of a sweep: plan, check, write the orders, have workers run, take stock.

It trains nothing, and the page of the study is made by what is handed in: pages lie above.
"""

import functools
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from study.config import own_system
from study.config.command_line import read_overrides
from study.config.device import check_device
from study.config.errors import ConfigError, refuse_passwords
from study.config.terminal import console
from study.core.files import write_text
from study.sweeping import claims, ledger, local, slurm
from study.sweeping.folder import Orders, StudyFolder, as_yaml
from study.sweeping.launch import Launcher
from study.sweeping.monitor import Monitor
from study.sweeping.orders import check_writable, earlier_decision, outputs_folder, write_orders
from study.sweeping.plan import Plan, make_plan
from study.sweeping.progress import Outcome, ProgressBar, print_plan
from study.sweeping.repair import repair
from study.sweeping.storage import open_storage, record_of
from study.tracking.trackers import check_installed

Say = Callable[[str], None]
Pages = Callable[[Path, Say], AbstractContextManager[object]]
"""Keeps the page of the study in a folder while its `with` block runs."""
Finish = Callable[[Plan, Monitor, Say], str]
"""Has workers do what is left, says what a reader should know, returns what went wrong last."""


def conduct(
    launcher: Launcher, arguments: Sequence[str], command: str, pages: Pages
) -> Outcome | None:
    """Run what is missing of the study that a command line's overrides describe.

    `command` is how it was given, for the record. With `dry_run=true` the plan is only printed, and
    None returned.

    **Raises:** `ConfigError`, `StudyError`: one sentence. `SystemExit(130)` for Ctrl-C, unless that
    comes before the study has orders; what is committed is kept.
    """
    overrides = read_overrides(tuple(arguments), launcher.context.config_loader)
    folder = outputs_folder(str(launcher.config.study), str(launcher.config.outputs))
    decided = earlier_decision(folder, str(launcher.config.budget))
    plan = make_plan(overrides, launcher.compose, decided)
    # workers may run the files of the user's own that this command names, and no others
    own = own_system.allow(plan.own_code())
    on_cluster = launcher.settings["_target_"] == slurm.LAUNCHER
    if not on_cluster:  # nodes of a cluster may have devices that this machine lacks
        for device in {cell.device for cell in plan.cells}:
            check_device(device)
        if plan.run.detach:
            raise ConfigError(
                f"detach=true: workers of hydra/launcher={launcher.name} end with this "
                "command; use hydra/launcher=submitit_slurm, or leave detach out"
            )
    hydras: Any = OmegaConf.to_container(launcher.config.hydra, resolve=False)
    refuse_passwords({**plan.config, "hydra": hydras})
    check_installed(plan.run.tracker, f"tracker={plan.run.tracker}")
    if plan.run.dry_run:
        print_plan(plan, folder, console(width=None if sys.stdout.isatty() else 160))
        return None
    if on_cluster:
        if "sqlite:" in (storage := record_of(plan.run.storage) or ""):
            raise ConfigError(
                f"storage={storage}: folders that nodes of a cluster share do not keep the locks "
                "of SQLite: use storage=null, or PostgreSQL"
            )
        environment = {**launcher.config.hydra.job.env_set, **own}
        queue = slurm.Queue(folder, launcher.settings, environment, launcher.work)
        finish = functools.partial(slurm.attend, queue=queue)
    else:
        launch = functools.partial(launcher.launch, own)
        finish = functools.partial(local.launch_until_finished, launch=launch)
    if plan.run.storage is not None:  # a wrong one is told before anything is made
        open_storage(plan.run.storage, folder.root / "ledger.log", patience=5.0)
    check_writable(folder)
    terminal = console(stderr=True)
    print_plan(plan, folder, terminal, table=False)
    try:
        keep = functools.partial(_keep_hydra, launcher.config, arguments, folder.root / ".hydra")
        outcome = run_plan(plan, folder, finish, pages, command, keep)
    except KeyboardInterrupt:
        if not (folder.root / "study.yaml").exists():  # so early that there is no study
            raise
        now = Monitor(folder.root).look()
        terminal.print(
            f"\ninterrupted: {now.done} of {now.total} blocks are kept in {folder.root}; "
            "the same command goes on from there"
        )
        sys.exit(130)
    if outcome.detached:
        terminal.print(
            f"detached: python -m study.status {folder.root} shows how far it is; the same command "
            "without detach=true waits for it, and makes the page"
        )
    return outcome


def run_plan(
    plan: Plan,
    folder: StudyFolder,
    finish: Finish,
    pages: Pages,
    command: str,
    keep: Callable[[], None],
) -> Outcome:
    """Write a plan's orders, have workers run what is missing, and take stock.

    `keep` is called if the orders are new ones.
    """
    began, before = time.time(), folder.changed()
    orders = write_orders(plan, folder, command)
    if folder.changed() != before:
        keep()
    if repaired := repair(folder, orders):
        print(repaired, file=sys.stderr)
    monitor = Monitor(folder.root, orders)
    before = monitor.look()
    trouble = ""
    if not before.finished:
        with ProgressBar(monitor) as bar, pages(folder.root, bar.say):
            trouble = finish(plan, monitor, bar.say)
    after = monitor.look()
    _tidy(folder, orders)
    committed = folder.last_commit(orders)
    if repaired or after.done > before.done or _changed(folder.root / "ledger.log") < committed:
        try:
            ledger.reconcile(ledger.open_ledger(folder, orders.storage, 30.0), folder, orders)
        except Exception as error:
            print(f"the ledger is not complete: {error}", file=sys.stderr)
    return Outcome(
        folder=folder.root,
        trained=after.done - before.done,
        kept=before.done,
        failed=after.failed,
        missing=after.missing,
        changed=max(committed, _changed(folder.root / "study.yaml")),
        seconds=time.time() - began,
        trouble=trouble,
        detached=plan.run.detach and after.missing > 0,
        earlier=len(folder.read_yaml().get("earlier_cells") or ()),
    )


def _keep_hydra(config: DictConfig, arguments: Sequence[str], folder: Path) -> None:
    """Write what Hydra writes of a job, for those who look for it: the first cell's config."""
    own = [str(key) for key in config if key != "hydra"]
    folder.mkdir(exist_ok=True)
    for name, text in {
        "config.yaml": OmegaConf.to_yaml(OmegaConf.masked_copy(config, own)),
        "hydra.yaml": OmegaConf.to_yaml(OmegaConf.masked_copy(config, "hydra")),
        "overrides.yaml": as_yaml(list(arguments)),
    }.items():
        write_text(folder / name, text, fsync=False)


def _tidy(folder: StudyFolder, orders: Orders) -> None:
    """Remove what dead workers and heads left: half-written files, locks of done blocks."""
    claims.sweep(folder.root)
    for cell in orders.cells:
        if not any("." in name for name in folder.names(cell) - {"config.yaml"}):
            continue
        claims.sweep(folder.cell(cell))
        for block in (folder.block(cell, number) for number in range(orders.n_blocks)):
            if block.done:
                claims.discard(block.lock)
                if not block.lock.exists():
                    block.progress.unlink(missing_ok=True)
                    block.checkpoint.unlink(missing_ok=True)


def _changed(path: Path) -> float:
    """Seconds since the epoch; 0 for a file that is not there."""
    return path.stat().st_mtime if path.exists() else 0.0
