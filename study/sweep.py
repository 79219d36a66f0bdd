"""The main command: train a grid of cells or search among them, answer, draw the page.

The same command again resumes. Exit status: 0 if every block is done, 1 if one is not or the config
cannot be right, 130 if interrupted.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra._internal.callbacks import Callbacks
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from study.config import help, own_system, terminal
from study.config import hydra as config_tree
from study.config.as_typed import quoted
from study.config.command_line import (
    Flags,
    compose_first,
    each_experiment,
    read_flags,
    read_overrides,
    with_plus,
)
from study.config.errors import ConfigError, in_full
from study.sweeping import launch, local

if TYPE_CHECKING:  # what loads pandas is imported once a command is known to need it
    from study.sweeping.progress import Outcome

config_tree.register()


@hydra.main(version_base="1.3", config_path=str(config_tree.CONF), config_name=config_tree.ROOT)
def task(config: DictConfig) -> None:
    """What each launched job does: work on the study until nothing is left of it."""
    from study.sweeping.orders import outputs_folder
    from study.sweeping.worker import work

    work(outputs_folder(config.study, config.outputs).root)


def main() -> None:
    """Check the command line and compose it, then let Hydra's sweeper run it: it calls `conduct`.

    **Raises:** `SystemExit` with one sentence for a setting that cannot be right, and for Ctrl-C.
    """
    try:
        if "--version" in sys.argv[1:]:
            print(terminal.VERSION)
        elif help.asked(sys.argv[1:]):
            help.show(help.SWEEP, sys.argv[1:])
        else:
            own_system.allow(())  # no file of the user's own, until the plan names some
            _run()
    except ConfigError as error:
        in_full(error)
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        local.end()
        print("\ninterrupted: the same command goes on from what is done", file=sys.stderr)
        sys.exit(130)


def _run() -> None:
    """Hand a checked command line to the sweeper, or to Hydra if a flag asks Hydra for a text."""
    flags = read_flags(sys.argv[1:])
    several = each_experiment(flags.overrides)
    if several and not (flags.completion or flags.for_hydra):
        _run_each(flags, several)
        return
    if not flags.completion:
        with config_tree.opened(flags.config_dir) as loader:
            command = read_overrides(flags.overrides, loader)
            config = compose_first(command, loader)
            if flags.for_hydra and "--hydra-help" not in sys.argv:
                for key in (*command.swept, *command.ranges):
                    raise ConfigError(
                        f"{key} has several values, and Hydra shows the config of one: give one"
                    )
            if not flags.for_hydra:
                callbacks = config_tree.callbacks_of(config)
                launch.start_processes(config)
                callbacks.on_multirun_start(config=config, config_name=config_tree.ROOT)
                sweeper = Plugins.instance().instantiate_sweeper(
                    hydra_context=HydraContext(config_loader=loader, callbacks=Callbacks()),
                    task_function=task,
                    config=config,
                )
                sweeper.sweep(list(flags.overrides))
                callbacks.on_multirun_end(config=config, config_name=config_tree.ROOT)
                return
    # the flags first: Hydra's parser takes no override after flags among them
    others = [argument for argument in sys.argv[1:] if argument not in flags.overrides]
    if others[-1:] in (["--info"], ["-i"]):  # or it would take the first of them for its own
        others[-1] = "--info=all"
    overrides = with_plus(flags.overrides)
    if "--hydra-help" in others:  # which composes Hydra's own part alone
        overrides = [override for override in overrides if override.startswith("hydra")]
    sys.argv[1:] = [*others, *map(quoted, overrides)]
    task()


def _run_each(flags: Flags, several: Sequence[Sequence[str]]) -> None:
    """Run one study after the other, each as a command of its own, once all are known to compose.

    **Raises:** `ConfigError`; `SystemExit` unless every study is done.
    """
    for overrides in several:
        with config_tree.opened(flags.config_dir) as loader:
            compose_first(read_overrides(tuple(overrides), loader), loader)
    others = [argument for argument in sys.argv[1:] if argument not in flags.overrides]
    worst = 0
    for overrides in several:
        process = subprocess.Popen([sys.executable, "-m", "study.sweep", *others, *overrides])
        while process.poll() is None:
            with contextlib.suppress(KeyboardInterrupt):  # it hears Ctrl-C too, and ends in order
                process.wait()
        worst = max(worst, abs(process.returncode))
        if worst == 130:
            break
    if worst:
        sys.exit(worst)


def conduct(
    context: HydraContext, function: TaskFunction, config: DictConfig, arguments: Sequence[str]
) -> None:
    """Run a whole study from inside Hydra's sweeper: plan, train, then tables, answers and page.

    **Raises:** `SystemExit` unless every block is done.
    """
    from study.page.live import LivePage
    from study.sweeping import head
    from study.sweeping.folder import StudyError
    from study.sweeping.worker import work
    from study.tracking.follow import Follower

    launcher = launch.Launcher(context, function, config, work)
    follower = Follower(str(config.tracker))

    def pages(folder: Path, say: Callable[[str], None]) -> LivePage:
        follower.start(folder)
        return LivePage(folder, say)

    command = shlex.join(["python", "-m", "study.sweep", *sys.argv[1:]])
    try:
        outcome = head.conduct(launcher, arguments, command, pages)
    except (ConfigError, StudyError) as error:
        local.end()
        in_full(error)
        sys.exit(f"error: {error}")
    if outcome is not None:
        try:
            _finish(outcome, config.workers)
        finally:
            if warning := follower.finish(outcome.folder):
                print(warning, file=sys.stderr)


def _finish(outcome: Outcome, workers: int) -> None:
    """Make tables, answers and page of what is done, by that many processes; say what came of it.

    **Raises:** `SystemExit` unless every block is done and every table is whole.
    """
    from study.page import write
    from study.sweeping.progress import summarise
    from study.tables import gather

    folder = outcome.folder
    page = folder / "report" / "index.html"
    if outcome.detached:
        write.write(folder, live=True)
        return
    trouble = ""
    if outcome.trained + outcome.kept or page.exists():
        try:
            old = not page.exists() or page.stat().st_mtime < outcome.changed
            if outcome.trained or old or gather.unreadable(folder):
                with terminal.busy("tables, answers, figures, page"):
                    write.write(folder, processes=workers)
            write.print_summary(folder)
            trouble = "\n".join(f"error: {sentence}" for sentence in gather.unreadable(folder))
        except (gather.TableError, OSError) as error:
            trouble = f"error: the page cannot be made: {error}"
    summarise(outcome, page if page.exists() else None)
    if trouble or not outcome.complete:
        sys.exit(trouble or 1)


if __name__ == "__main__":
    # by its own name, so that workers import what they are sent
    from study.sweep import main as main_by_name

    main_by_name()
