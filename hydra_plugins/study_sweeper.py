"""The Hydra sweeper `study`: one class that hands a sweep to the project.

Hydra executes this module whenever it looks for plugins, even for `--help`, so nothing heavy is
imported here.
"""

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

# `hydra/sweeper=study` has no settings of its own: they are the study's. A plain dict, since a
# dataclass looks for its module in sys.modules, where Hydra's scan has not put it yet.
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="study",
    node={"_target_": "hydra_plugins.study_sweeper.StudySweeper"},
    provider="study",
)


class StudySweeper(Sweeper):
    """Expands, claims and resumes through `study.sweeping`; one launched job is one worker."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._set_up = (hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> Any:
        """Run the study that `arguments` describe; leaves by `SystemExit` unless all is done."""
        from study.sweep import conduct

        return conduct(*self._set_up, arguments)
