"""The Hydra sweeper `study`: one class that hands a sweep to the project.

Knows: Hydra's plugin interface. Does not know: grids, claims, tables. Hydra executes this module
whenever it looks for plugins, even for `--help`, so nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class StudySweeperConf:
    """`hydra/sweeper=study` has no settings of its own: they are the study's."""

    _target_: str = "hydra_plugins.study_sweeper.study_sweeper.StudySweeper"


ConfigStore.instance().store(
    group="hydra/sweeper", name="study", node=StudySweeperConf, provider="study"
)


class StudySweeper(Sweeper):
    """Expands, claims and resumes through `study.sweeping`; one launched job is one worker."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def sweep(self, arguments: list[str]) -> Any:
        """Run the study that `arguments`, the task's overrides, describe; leaves by `SystemExit`
        where not all of it is done."""
        from study.sweep import conduct

        return conduct(self.hydra_context, self.task_function, self.config, arguments)
