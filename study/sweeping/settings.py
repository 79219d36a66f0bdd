"""Setting one dotted key of a plain config.

Knows: which keys fix one another. Does not know: what a key means, or where its value comes from.
"""

from __future__ import annotations

from typing import Any

from study.config.command_line import COMMAND_KEYS
from study.config.errors import ConfigError, unknown_key
from study.config.hydra import flat_keys

# Either fixes the other, so whoever sets one of them unsets its twin.
TWINS = {"data.n_train": "data.n_over_p", "data.n_over_p": "data.n_train"}


def set_key(plain: dict[str, Any], key: str, value: Any) -> None:
    """Set one dotted key of a plain config. **Raises:** `ConfigError` where there is none."""
    *parents, last = key.split(".")
    node: Any = plain
    for part in parents:
        node = node.get(part) if isinstance(node, dict) else None
    if not isinstance(node, dict) or last not in node:
        known = flat_keys({k: v for k, v in plain.items() if k not in COMMAND_KEYS})
        raise ConfigError(unknown_key(key, known))
    node[last] = value
    if key in TWINS and value is not None:
        node[TWINS[key].partition(".")[2]] = None
