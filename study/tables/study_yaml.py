"""The reader of a study's `study.yaml`, and the error of tables.

This module imports neither pandas nor torch, because `study.status` reads the file too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from study.config.errors import first_line

YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class TableError(ValueError):
    """A table that is missing or not of its schema: one sentence."""


def read_study(folder: Path) -> dict[str, Any]:
    """What `study.yaml` says; empty if there is none. **Raises:** `TableError`."""
    path = folder / "study.yaml"
    try:
        study = yaml.load(path.read_text(encoding="utf-8"), YAML_LOADER)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise TableError(f"{folder} is not a study: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise TableError(f"{path} cannot be read: {first_line(error)}") from None
    return study if isinstance(study, dict) else {}
