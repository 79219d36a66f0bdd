"""The main command: train a grid of cells, answer, draw the page.

    python -m study.sweep +experiment=n_vs_p
    python -m study.sweep +experiment=n_vs_p budget=smoke
    python -m study.sweep study=mine data.n_train=64,256,1024 model.width=8,16,32
    python -m study.sweep ... dry_run=true

Knows: Hydra's main, and what follows what. Does not know: how any of it is done. The same command
again resumes. Exit status: 0 when every block is done, 1 when one is not or the config cannot be
right, 130 when interrupted.
"""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import hydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from study.config import (
    command_line,
    compose,
    credentials,
    guard,
    help,
    own_system,
    terminal,
)
from study.config import hydra as config_tree
from study.config.cell import check_device
from study.config.errors import ConfigError
from study.sweeping import local

if TYPE_CHECKING:  # Hydra scans plugins before anything is known to be needed
    from rich.console import Console

    from study.sweeping.head import Finish, Outcome
    from study.sweeping.monitor import Monitor
    from study.sweeping.plan import Plan

INTERRUPTED = "interrupted: the same command goes on from what is done"

config_tree.register()


@hydra.main(version_base="1.3", config_path=str(config_tree.CONF), config_name=config_tree.ROOT)
def task(config: DictConfig) -> None:
    """What each launched job does: work on the study until nothing is left of it."""
    from study.sweeping.head import outputs_folder
    from study.sweeping.worker import work

    work(outputs_folder(config.study).root)


def main() -> None:
    """Check the command line, then let Hydra run it.

    **Raises:** `SystemExit` with one sentence for a setting that cannot be right, and for Ctrl-C.
    """
    try:
        _main()
    except KeyboardInterrupt:
        local.end()
        print("\n" + INTERRUPTED, file=sys.stderr)
        sys.exit(130)


def _main() -> None:
    try:
        if help.asked(sys.argv[1:]):
            help.show(help.SWEEP, compose.describe(sys.argv[1:]))
            return
        config = compose.check(sys.argv[1:])
        sys.argv[1:] = guard.flags_first(sys.argv[1:])
    except ConfigError as error:
        sys.exit(f"error: {error}")
    own_system.allow(())  # nothing, before a plan says what
    if config is not None:
        _start_processes(config)
    task()


def _start_processes(config: DictConfig) -> None:
    """Those of a new study's workers: they take seconds to load, in which this one plans."""
    asks = config.dry_run or any(argument.startswith("-") for argument in sys.argv[1:])
    known = Path("outputs", str(config.study), "study.yaml").exists()
    if asks or known or not _waiting(config):
        return
    if joblib := _joblib(config, _waiting(config)):
        local.start_workers(joblib)


def conduct(
    context: HydraContext, function: TaskFunction, config: DictConfig, arguments: Sequence[str]
) -> None:
    """Run a whole study from inside Hydra's sweeper: plan, train, compact, answer, draw.

    **Raises:** `SystemExit` unless every block is done.
    """
    from study.sweeping.files import StudyError

    try:
        _conduct(context, function, config, arguments)
    except (ConfigError, StudyError) as error:
        if _joblib(config, 0):
            local.end()
        sys.exit(f"error: {error}")


def _conduct(
    context: HydraContext, function: TaskFunction, config: DictConfig, arguments: Sequence[str]
) -> None:
    from study.sweeping import head, slurm
    from study.sweeping.plan import make_plan
    from study.sweeping.preview import print_plan

    def composed(overrides: Sequence[str]) -> dict[str, Any]:
        with config_tree.sentences():
            return config_tree.plain(
                context.config_loader.load_sweep_config(config, list(overrides))
            )

    command = command_line.read_overrides(arguments, context.config_loader)
    asked = config_tree.plain(OmegaConf.masked_copy(config, ["study", "budget"]))
    folder = head.outputs_folder(str(asked["study"]))
    plan = make_plan(command, composed, head.earlier_decision(folder, str(asked["budget"])))
    # what its workers may run of the user's own: nothing but what this command named
    own = own_system.allow(plan.own_code())
    on_cluster = config.hydra.launcher._target_ == slurm.LAUNCHER
    if not on_cluster:  # its nodes may have what we lack
        for device in {cell.device for cell in plan.cells}:
            check_device(device)
        if plan.run.detach:
            raise ConfigError(
                f"detach=true: workers of hydra/launcher={_launcher(config)} end with this "
                "command; use hydra/launcher=submitit_slurm, or leave detach out"
            )
    credentials.refuse_settings(plan.config)
    if plan.run.dry_run:
        print_plan(plan, folder, terminal.console(width=None if sys.stdout.isatty() else 160))
        return
    if on_cluster:
        settings = cast(dict[str, Any], OmegaConf.to_container(config.hydra.launcher, resolve=True))
        queue = slurm.Queue(folder, settings, {**config.hydra.job.env_set, **own})
        finish = functools.partial(slurm.attend, queue=queue)
    else:
        # said to each job, as its process may be older than the plan
        said = [f"+hydra.job.env_set.{name}='{value}'" for name, value in own.items()]
        launch = functools.partial(_launch, context, function, config, [*command.fixed, *said])
        finish = functools.partial(local.launch_until_finished, launch=launch)
    finish = functools.partial(_beside_page, finish)
    head.check_places(plan, folder)
    console = terminal.console(stderr=True)
    print_plan(plan, folder, console, table=False)
    try:
        outcome = head.run_plan(
            plan, folder, finish, shlex.join(["python", "-m", "study.sweep", *sys.argv[1:]])
        )
    except KeyboardInterrupt:
        if not (folder.root / "study.yaml").exists():  # so early that there is no study
            raise
        console.print("\n" + head.interrupted(folder))
        sys.exit(130)
    if plan.run.detach and outcome.missing:
        from study.page import write

        write.write(folder.root, live=True)
        console.print(head.detached(folder))
    else:
        _finish(outcome, console, plan.run.workers)


def _launch(
    context: HydraContext,
    function: TaskFunction,
    config: DictConfig,
    overrides: Sequence[str],
    workers: int,
) -> None:
    """Have Hydra's launcher run that many workers, until they are back."""
    if settings := _joblib(config, workers):
        with open_dict(config):
            config.hydra.launcher.n_jobs = settings["n_jobs"]
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=function, config=config
    )
    jobs = launcher.launch([list(overrides)] * workers, initial_job_idx=0)
    for job in jobs:
        _ = job.return_value  # raises what the job raised


def _joblib(config: DictConfig, workers: int) -> dict[str, Any] | None:
    """How Hydra's launcher has joblib start that many workers; None for another launcher."""
    settings = cast(dict[str, Any], OmegaConf.to_container(config.hydra.launcher, resolve=True))
    if not str(settings.pop("_target_")).endswith(".JoblibLauncher"):
        return None
    # asked for one process, joblib takes this one, which must outlive its workers
    n_jobs = max(2, _waiting(config) or workers)
    return {**settings, "backend": "loky", "n_jobs": n_jobs}


def _waiting(config: DictConfig) -> int:
    """How many processes may wait for work: as many as were asked for, if each has a core."""
    workers = config.workers
    return workers if isinstance(workers, int) and 0 < workers <= config_tree.cores() else 0


def _beside_page(finish: Finish, plan: Plan, monitor: Monitor, say: Callable[[str], None]) -> str:
    """Have workers do what is left, beside a page of what is done."""
    from study.page.live_page import LivePage

    with LivePage(monitor.root, say):
        return finish(plan, monitor, say)


def _launcher(config: DictConfig) -> str:
    return str(OmegaConf.select(config, "hydra.runtime.choices")["hydra/launcher"])


def _finish(outcome: Outcome, console: Console, workers: int) -> None:
    """Tables, answers and page of what is done, by as many processes; then the last word."""
    from study.page import write
    from study.sweeping.head import summarise
    from study.tables import files, gather

    page = outcome.folder / "report" / "index.html"
    trouble = None
    if outcome.trained + outcome.kept or page.exists():
        try:
            old = not page.exists() or page.stat().st_mtime < outcome.changed
            if outcome.trained or old or gather.unreadable(outcome.folder):
                with terminal.busy("tables, answers, figures, page"):
                    write.write(outcome.folder, processes=workers)
            write.print_answers(outcome.folder)
            if damaged := gather.unreadable(outcome.folder):
                trouble = "\n".join(f"error: {sentence}" for sentence in damaged)
        except (files.TableError, OSError) as error:
            trouble = f"error: the page cannot be made: {error}"
    summarise(outcome, page if page.exists() else None, console)
    if trouble or not outcome.complete:
        sys.exit(trouble or 1)


if __name__ == "__main__":
    # by its own name, so that workers import what they are sent
    from study.sweep import main as main_by_name

    main_by_name()
