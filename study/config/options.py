"""Options of the group `system`, which has no files in `conf/`: one list of systems is enough.

Knows: Hydra's config store, which override names the file of a system of the user's own. Does not
know: how a config is composed (`config_tree.py`), what is in such a file (`own_system.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override

from study.config import own_system
from study.config.errors import ConfigError
from study.config.schema import FROM_FILE
from study.core.systems import SYSTEMS

OWN_SYSTEM = "system.path"  # the file of system=file: code, so only a command says which
# keys that one option of a group has -> that option
ONLY = {OWN_SYSTEM: "system=file", "data.path": "data=file"} | {
    f"data.{key}": "data=file" for key in FROM_FILE if key != "sha256"
}


def offer_systems() -> None:
    """One option for each entry of the registry; `file` and `unknown`."""
    store = ConfigStore.instance()
    for name, system in SYSTEMS.items():
        store.store(group="system", name=name, node={"name": name, **system.constants})
    store.store(group="system", name="unknown", node={"name": "unknown"})
    offer_own_system({})


def offer_own_system(constants: Mapping[str, float]) -> None:
    """`system=file`, with the constants of the user's system once they are known."""
    node = {"name": "file", "path": None, **constants}
    ConfigStore.instance().store(group="system", name="file", node=node)


def load_own_system(parsed: Sequence[Override], base: Mapping[str, Any]) -> bool:
    """Run the file of system=file, if there is one, and offer its constants as keys.

    **Arguments:**

    - `parsed`: the command line's overrides.
    - `base`: what is composed without its single keys: a config of the user's own may name the
      file too.

    **Returns:** whether there was one.

    **Raises:** `ConfigError` for a file that cannot be used, or several.
    """
    system = base.get("system")
    own = system if isinstance(system, Mapping) and system.get("name") == "file" else {}
    path = own.get("path")
    for override in parsed:
        if override.key_or_group == OWN_SYSTEM and own:
            if override.is_sweep_override():
                raise ConfigError(
                    f"{override.input_line} names several systems, each with constants of its own: "
                    "give each a study"
                )
            path = override.value()
    if path is None:
        return False
    offer_own_system(own_system.system(own_system.load(str(path))).constants)
    return True
