"""Workers as jobs of a Hydra launcher: on this machine, by joblib unless another is chosen."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from study.config.hydra import cores, plain, sentences
from study.sweeping import local

# modules of a worker, and of the process that it forks to train
NEEDED = ("study.sweep", "study.sweeping.worker", "study.block.run")


@dataclasses.dataclass(frozen=True)
class Launcher:
    """What Hydra hands to its sweeper, enough to compose configs and to launch jobs."""

    context: HydraContext
    function: TaskFunction
    config: DictConfig
    work: Callable[[str], object]  # runs a worker on a study's folder, without Hydra

    @property
    def name(self) -> str:
        """As on the command line: `hydra/launcher=<name>`."""
        return str(OmegaConf.select(self.config, "hydra.runtime.choices")["hydra/launcher"])

    @property
    def settings(self) -> dict[str, Any]:
        """Those of `hydra.launcher`."""
        return _settings(self.config)

    @property
    def overrides(self) -> list[str]:
        """Those of `config`, Hydra's own settings apart."""
        return [str(override) for override in self.config.hydra.overrides.task]

    def compose(self, choices: Mapping[str, Any]) -> dict[str, Any]:
        """The plain config with these choices of groups. **Raises:** `ConfigError`."""
        chosen = self.config.hydra.runtime.choices
        if all(chosen.get(group) == str(choice) for group, choice in choices.items()):
            return plain(self.config)
        others = [o for o in self.overrides if o.partition("=")[0] not in choices]
        named = [f"{group}={choice}" for group, choice in choices.items()]
        with sentences():
            loader = self.context.config_loader
            return plain(loader.load_sweep_config(self.config, [*others, *named]))

    def launch(self, variables: Mapping[str, str], workers: int) -> None:
        """Run that many workers, until they are back. **Raises:** what a job raised."""
        # each job is told its environment, because its process may be older than the plan
        told = [f"+hydra.job.env_set.{name}='{value}'" for name, value in variables.items()]
        if joblib := _joblib(self.config, workers):
            with open_dict(self.config):
                self.config.hydra.launcher.n_jobs = joblib["n_jobs"]
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=self.function, config=self.config
        )
        for job in launcher.launch([[*self.overrides, *told]] * workers, initial_job_idx=0):
            _ = job.return_value  # raises what the job raised


def start_processes(config: DictConfig) -> None:
    """Start those of a new study's workers: they take seconds to load, in which the head plans."""
    joblib = _joblib(config, workers) if (workers := _waiting(config)) else None
    known = Path(str(config.outputs), str(config.study), "study.yaml").exists()
    if joblib and not (known or config.dry_run):
        os.environ[local.HEAD] = str(os.getpid())
        local.start(joblib, *NEEDED)


def _settings(config: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(config.hydra.launcher, resolve=True))


def _joblib(config: DictConfig, workers: int) -> dict[str, Any] | None:
    """How Hydra's launcher has joblib start that many workers; None for another launcher."""
    settings = _settings(config)
    if not str(settings.pop("_target_")).endswith(".JoblibLauncher"):
        return None
    # with n_jobs=1 joblib would use this process, which must outlive its workers
    return {**settings, "backend": "loky", "n_jobs": max(2, _waiting(config) or workers)}


def _waiting(config: DictConfig) -> int:
    """How many processes may wait for work: `workers`, if each has a core; else 0."""
    workers = config.workers
    return workers if isinstance(workers, int) and 0 < workers <= cores() else 0
