"""The Hydra sweeper `study`: one class that hands a sweep to the project.

Knows: Hydra's plugin interface. Does not know: grids, claims, tables. Hydra executes this module
whenever it looks for plugins, even for `--help`, so nothing heavy is imported here.
"""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

TARGET = "hydra_plugins.study_sweeper.study_sweeper.StudySweeper"

# `hydra/sweeper=study` has no settings of its own: they are the study's. A plain dict, since a
# dataclass looks for its module in sys.modules, where Hydra's scan has not put it yet.
ConfigStore.instance().store(
    group="hydra/sweeper", name="study", node={"_target_": TARGET}, provider="study"
)


class StudySweeper(Sweeper):
    """Expands, claims and resumes through `study.sweeping`; one launched job is one worker."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._set_up = (hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> Any:
        """Run the study that `arguments`, the task's overrides, describe; leaves by `SystemExit`
        where not all of it is done."""
        from study.sweep import conduct

        return conduct(*self._set_up, arguments)
