"""What a config may not make Hydra do: run or import what it names.

A study's own settings are plain values of a strict schema. What remains is Hydra's part of the
config, which may come from a folder of somebody else's. A launcher's own settings, `setup` of a
SLURM job for instance, are shell commands by nature, and belong to whoever runs the command.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from study.config.credentials import leaves
from study.config.errors import ConfigError, nearest

SWEEPER = "hydra_plugins.study_sweeper.study_sweeper.StudySweeper"
_FORMATTER = "colorlog.ColoredFormatter"  # of Hydra's colorlog plugin
_LOGGING = re.compile(r"logging\.(handlers\.)?\w*(Handler|Formatter)")
_STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
# an interpolation may stand for a text elsewhere in the config, or for a variable
_PLAIN = re.compile(r"\$\{([\w.\[\]]+|oc\.env:[\w ,./-]+)\}")
# other variables can make a job load or run another program: LD_PRELOAD, CXX, OMP_TOOL_LIBRARIES
_ENVIRONMENT = (
    "CUDA_VISIBLE_DEVICES",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "STUDY_CACHE",
)


def check_composed(config: DictConfig) -> None:
    """Refuse a composed config by which Hydra would run or import something that it names.

    **Raises:** `ConfigError`.
    """
    hydra: Any = OmegaConf.to_container(config.hydra, resolve=False)
    launchers = [f"{c.__module__}.{c.__name__}" for c in Plugins.instance().discover(Launcher)]
    targets = {"hydra.launcher._target_": launchers, "hydra.sweeper._target_": [SWEEPER]}
    for key, value in leaves(hydra, "hydra"):
        name, text = key.rpartition(".")[2], str(value)
        logs = key.startswith(("hydra.job_logging.", "hydra.hydra_logging."))
        if name.startswith("_") and name.endswith("_") and key not in targets:
            raise ConfigError(f"{key}={text} names something to run: remove it")
        if key in targets and value not in targets[key]:
            raise ConfigError(
                f"{key}={text} is no plugin of Hydra's: {nearest(text, targets[key])}"
            )
        if key.startswith("hydra.callbacks.") or (logs and name == "()" and text != _FORMATTER):
            raise ConfigError(f"{key}={text} names something to run: remove it")
        if logs and name == "class" and not _LOGGING.fullmatch(text):
            raise ConfigError(f"{key}={text} is not one of Python's logging handlers or formatters")
        if logs and re.match(r"(ext|cfg)://", text) and text not in _STREAMS:
            raise ConfigError(f"{key}={text} would be imported: use {' or '.join(_STREAMS)}")
        if key.startswith("hydra.job.env_set.") and name not in _ENVIRONMENT:
            raise ConfigError(
                f"{key} can make a job load or run another program: set it in your shell, whose "
                "variables jobs inherit"
            )
        if "${" in text and (_hides(config, text) or (logs and name == "stream")):
            raise ConfigError(f"{key}={text} hides what it names: write it out")
    _check_places(config)


def _hides(config: DictConfig, text: str) -> bool:
    """Whether an interpolation calls a resolver, or stands for a mapping, which is not seen."""
    if "${" in _PLAIN.sub("", text):
        return True
    with contextlib.suppress(OmegaConfBaseException):  # some of Hydra's own are known in a job
        places = (OmegaConf.select(config, name) for name in _PLAIN.findall(text))
        return any(OmegaConf.is_config(place) for place in places)
    return False


def _check_places(config: DictConfig) -> None:
    """A study lies in outputs/<study>/, and nothing of it anywhere else."""
    own = f"outputs/{config.study}"
    wanted = {
        "hydra.mode": "MULTIRUN",
        "hydra.run.dir": own,
        "hydra.sweep.dir": own,
        "hydra.sweep.subdir": ".",
        "hydra.job.chdir": False,
        "hydra.output_subdir": None,
    }
    for key, right in wanted.items():
        value = OmegaConf.select(config, key)
        value = getattr(value, "name", value)
        if value != right:
            raise ConfigError(
                f"{key}={value} is not for a study to choose: leave it out (it is {right}); cd to "
                "where outputs/ is to be, or make outputs/ a link"
            )
