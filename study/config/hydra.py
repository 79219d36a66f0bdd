"""The config tree as Hydra sees it: where it lies, the options of `system`, errors as sentences.

Systems have no files in `conf/`: the group `system` has one option for each entry of the core's
registry, and those for a user's own file and for measurements alone.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from study.config import credentials
from study.config.errors import ConfigError, first_line, nearest
from study.config.schema import FROM_FILE
from study.core.systems import SYSTEMS

# Inside the package in a wheel, beside it in a checkout.
_HERE = Path(__file__).resolve().parents[1]
CONF = next((p for p in (_HERE / "conf", _HERE.parent / "conf") if p.is_dir()), _HERE / "conf")
ROOT = "config"
LAUNCHER = "hydra/launcher"
OWN_SYSTEM = "system.path"  # the file of system=file: code, so only a command says which
# keys that one option of a group has -> that option
ONLY = {OWN_SYSTEM: "system=file", "data.path": "data=file"} | {
    f"data.{key}": "data=file" for key in FROM_FILE if key != "sha256"
}


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def register() -> None:
    """Tell Hydra what `conf/` does not hold: the systems, and what this process can use."""
    OmegaConf.register_new_resolver("cores", lambda *_: cores(), replace=True)
    # never the URL itself, which would be saved with the config
    OmegaConf.register_new_resolver(
        "study_storage", lambda *_: credentials.default_storage(), replace=True
    )
    OmegaConf.register_new_resolver(
        "by_budget",
        lambda smoke, laptop, full, *, _root_: {"smoke": smoke, "laptop": laptop, "full": full}[
            _root_.budget
        ],
        replace=True,
    )
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
