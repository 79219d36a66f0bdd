"""The config tree as Hydra sees it: where it lies, the options of `system`, errors as sentences.

Systems have no files in `conf/`: the group `system` has one option for each entry of the core's
registry, and those for a user's own file and for measurements alone.

A config may not make Hydra run or import what it names, because it may come from a folder of
somebody else's. A launcher's own settings, `setup` of a SLURM job for instance, are shell commands
by nature, and belong to whoever runs the command.
"""

import contextlib
import os
import re
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.experimental.callback import Callback
from hydra.plugins.launcher import Launcher
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from study.config.errors import FROM_VARIABLE, VARIABLE, ConfigError, first_line, leaves, nearest
from study.core.systems import SYSTEMS

# Inside the package in a wheel, beside it in a checkout.
_HERE = Path(__file__).resolve().parents[1]
CONF = next((p for p in (_HERE / "conf", _HERE.parent / "conf") if p.is_dir()), _HERE / "conf")
ROOT = "config"
LAUNCHER = "hydra/launcher"
LAUNCHER_MORE = "hydra.launcher.additional_parameters"  # any other option of sbatch
OWN_SYSTEM = "system.path"  # the file of system=file: code, so only a command says which

SWEEPER = "hydra_plugins.study_sweeper.StudySweeper"
_FORMATTER = "colorlog.ColoredFormatter"  # of Hydra's colorlog plugin
_LOGGING = re.compile(r"logging\.(handlers\.)?\w*(Handler|Formatter)")
_CALLBACK = re.compile(r"hydra\.callbacks\.(\w+(?P<target>\._target_)?|.*)")
_STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
# mappings that take any key
FREE = (
    "hydra.job.env_set.",
    "hydra.job_logging.",
    "hydra.hydra_logging.",
    "search.sampler_options",
)
WOULD_RUN = (
    "names something to run: remove it; callbacks are given on the command line alone, "
    "'+hydra.callbacks.NAME._target_=package.Class', and tracker=mlflow hears of each block"
)
# a setting of Hydra's other sweepers -> what it is here
_OF_SWEEPERS = {
    "n_trials": "search.n_trials",
    "n_jobs": "workers",
    "max_batch_size": "workers",
    "sampler": "search=tpe, with search.seed and search.sampler_options",
    "direction": "search.objectives, which are all minimised",
    "storage": "storage",
    "study_name": "study",
}
_RANGE = "optimizer.lr='tag(log,interval(1e-4,1e-1))'"
# an interpolation may stand for a text elsewhere in the config, or for a variable
_PLAIN = re.compile(r"\$\{([\w.\[\]]+|oc\.env:[\w ,./-]+)\}")
# other variables can make a job load or run another program: LD_PRELOAD, CXX, OMP_TOOL_LIBRARIES
_THREADS = ("MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_ENVIRONMENT = ("CUDA_VISIBLE_DEVICES", "STUDY_CACHE", *_THREADS)


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def made_recording() -> str:
    """The path of the recording that the project makes itself."""
    from study.core.data import made_recording  # and scipy, which only its experiment needs

    return str(made_recording.path())


def register() -> None:
    """Tell Hydra what `conf/` does not hold: the systems, and what this process can use."""

    def by_budget(smoke: Any, laptop: Any, full: Any, *, _root_: Any) -> Any:
        return {"smoke": smoke, "laptop": laptop, "full": full}[_root_.budget]

    resolvers = {"by_budget": by_budget, "made_recording": lambda *_: made_recording()}
    for resolver, function in {
        "study.cores": lambda *_: cores(),
        # never the URL, which would be saved
        "study.storage": lambda *_: FROM_VARIABLE if os.environ.get(VARIABLE) else None,
        **{f"study.{name}": function for name, function in resolvers.items()},
        **resolvers,  # as experiments of before name them
    }.items():
        OmegaConf.register_new_resolver(resolver, function, replace=True)
    # conf/hydra/launcher/ gives values to the plugin's own schema, which is what is wanted
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/submitit_\w+' is validated against")
    store = ConfigStore.instance()
    for name, system in SYSTEMS.items():
        store.store(group="system", name=name, node={"name": name, **system.constants})
    store.store(group="system", name="unknown", node={"name": "unknown"})
    offer_own_system({})


def offer_own_system(constants: Mapping[str, float]) -> None:
    """Offer `system=file`, with the constants of the user's system once they are known."""
    node = {"name": "file", "path": None, **constants}
    ConfigStore.instance().store(group="system", name="file", node=node)


def plain(config: DictConfig) -> dict[str, Any]:
    """Plain data of a composed config, interpolations resolved, without Hydra's own part."""
    with sentences():
        bare = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        container = OmegaConf.to_container(bare, resolve=True, throw_on_missing=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


@contextlib.contextmanager
def sentences() -> Iterator[None]:
    """Turn Hydra's and OmegaConf's exceptions into `ConfigError`s of one sentence."""
    try:
        yield
    except OverrideParseException as error:
        text = str(error.override)
        if (CONF / "experiment" / f"{text}.yaml").is_file():
            raise ConfigError(f"{text} is an experiment: write +experiment={text}") from None
        if reason := re.search(r"ValueError while evaluating '.*?': (.*)", str(error)):
            raise ConfigError(f"{text}: {reason[1]}") from None
        raise ConfigError(
            f"{text} is not an override: write key=value without spaces, "
            "and quote a value with brackets or other signs"
        ) from None
    except MissingConfigException as error:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        if not group or not error.options:
            raise ConfigError(f"the config cannot be composed: {_bare_line(error)}") from None
        raise ConfigError(f"unknown {group} {name}: {nearest(name, error.options)}") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        place = f"{where.name}, line {where.line + 1}: " if where else ""
        problem = getattr(error, "problem", None) or _bare_line(error)
        raise ConfigError(f"a config cannot be read: {place}{problem}") from None
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
        lines = "; ".join(_bare_line(e) for e in (error, cause) if e)
        raise ConfigError(f"the config cannot be composed: {lines}") from None


def _bare_line(error: Exception) -> str:
    return first_line(error).rstrip(". ")


@contextlib.contextmanager
def opened(own: Path | None = None) -> Iterator[ConfigLoader]:
    """A loader of `conf/`, and of a folder of the user's `own` configs as --config-dir has it."""
    with initialize_config_dir(str(CONF), job_name="sweep", version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        if own is not None:
            places = loader.get_search_path()
            places.prepend("command-line", f"file://{own}", SearchPathQuery(provider="schema"))
            loader = type(loader)(places)  # type: ignore[call-arg]
            GlobalHydra.instance().hydra.config_loader = loader  # type: ignore[union-attr]
        yield loader


def refuse_of_sweepers(key: str, value: Any) -> None:
    """Refuse a setting of another sweeper, in words of this one. **Raises:** `ConfigError`."""
    if key == "hydra/sweeper" and value != "study":
        raise ConfigError(
            f"hydra/sweeper={value} is not for a study to choose: leave it out; {_RANGE} is "
            "searched by Optuna, and search=gp names another sampler"
        )
    parent, _, name = key.replace("/", ".").partition("hydra.sweeper.")
    if parent or not name or "_target_" in f"{key}={value}":  # what it names is refused as such
        return
    name = name.partition(".")[0]
    if name in ("params", "search_space"):
        raise ConfigError(
            f"{key}={value}: here a range is the value of its own key, {_RANGE} for instance; in a "
            "config it stands in grid, as a list, or in search.space"
        )
    meant = f"here it is {_OF_SWEEPERS[name]}" if name in _OF_SWEEPERS else "here it is search.*"
    raise ConfigError(f"{key}={value} is a setting of another sweeper: {meant}")


def check_composed(config: DictConfig, given: Collection[tuple[str, Any]]) -> None:
    """Refuse a composed config by which Hydra would run or import something that it names.

    `given`: keys and values of the command line itself, which alone may name callbacks.

    **Raises:** `ConfigError`.
    """
    hydra: Any = OmegaConf.to_container(config.hydra, resolve=False)
    launchers = [f"{c.__module__}.{c.__name__}" for c in Plugins.instance().discover(Launcher)]
    targets = {"hydra.launcher._target_": launchers, "hydra.sweeper._target_": [SWEEPER]}
    for key, value in leaves(hydra, "hydra"):
        name, text = key.rpartition(".")[2], str(value)
        refuse_of_sweepers(key, text)
        logs = key.startswith(("hydra.job_logging.", "hydra.hydra_logging."))
        runs = name.startswith("_") and name.endswith("_") and key not in targets
        called = logs and name == "()" and text != _FORMATTER
        if callback := _CALLBACK.fullmatch(key):
            if (key, value) not in given or "${" in text or (runs and not callback["target"]):
                raise ConfigError(f"{key}={text} {WOULD_RUN}")
            continue
        if runs or called:
            raise ConfigError(f"{key}={text} {WOULD_RUN}")
        if key in targets and value not in targets[key]:
            raise ConfigError(
                f"{key}={text} is no plugin of Hydra's: {nearest(text, targets[key])}"
            )
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
    # a study lies in one folder, and nothing of it anywhere else
    own = f"{config.outputs}/{config.study}"
    places = {"run.dir": own, "sweep.dir": own, "sweep.subdir": ".", "output_subdir": None}
    for key, right in {"mode": "MULTIRUN", **places, "job.chdir": False}.items():
        value = OmegaConf.select(config.hydra, key)
        value = getattr(value, "name", value)
        if value != right:
            instead = f"write outputs=FOLDER, and the study lies in FOLDER/{config.study}"
            raise ConfigError(
                f"hydra.{key}={value} is not for a study to choose: leave it out (it is {right}); "
                + (instead if right == own else "study.yaml says what was run")
            )


def callbacks_of(config: DictConfig) -> Callbacks:
    """Hydra's callbacks of a checked config: they hear of the start and the end of a study.

    **Raises:** `ConfigError` for what is no callback; nothing of it is called then.
    """
    for name, settings in (OmegaConf.select(config, "hydra.callbacks") or {}).items():
        if not isinstance(settings, Mapping) or "_target_" not in settings:
            raise ConfigError(
                f"hydra.callbacks.{name}={settings} names no class: write "
                f"+hydra.callbacks.{name}._target_=package.Class"
            )
        key = f"hydra.callbacks.{name}._target_={settings['_target_']}"
        try:
            kind = get_class(settings["_target_"])
        except Exception as error:  # whatever an import raises
            reason = first_line(error.__cause__ or error)
            raise ConfigError(f"{key} is no class that can be imported: {reason}") from None
        if not issubclass(kind, Callback):
            raise ConfigError(f"{key} is no subclass of hydra.experimental.callback.Callback")
        jobs = [
            method
            for method in ("on_job_start", "on_job_end", "on_run_start", "on_run_end")
            if getattr(kind, method) is not getattr(Callback, method)
        ]
        if jobs:
            print(
                f"note: {key}: {' and '.join(jobs)} will not be called, because blocks are no jobs "
                "of Hydra's: tracker=csv (or mlflow, tensorboard, wandb) hears of each",
                file=sys.stderr,
            )
    try:
        return Callbacks(config)
    except Exception as error:  # whatever its constructor raises
        raise ConfigError(f"hydra.callbacks: {first_line(error.__cause__ or error)}") from None


def _hides(config: DictConfig, text: str) -> bool:
    """Whether an interpolation calls a resolver, or stands for a mapping, which is not seen."""
    if "${" in _PLAIN.sub("", text):
        return True
    with contextlib.suppress(OmegaConfBaseException):  # some of Hydra's own are known in a job
        places = (OmegaConf.select(config, name) for name in _PLAIN.findall(text))
        return any(OmegaConf.is_config(place) for place in places)
    return False
