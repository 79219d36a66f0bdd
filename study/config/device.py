"""Where a cell is trained: whether this machine has the device, and whether C++ is wanted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from study.config.errors import ConfigError


def check_device(device: str) -> None:
    """Refuse a device that this machine lacks. **Raises:** `ConfigError`."""
    if device == "cpu":
        return
    # asked in another way, a process could not use the device once it is forked
    import torch

    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    if not torch.cuda.is_available():
        raise ConfigError("device=cuda: torch finds no CUDA device on this machine: use device=cpu")


def wants_cpp(config: Mapping[str, Any]) -> bool:
    """Whether a single cell is to be compiled: if that is asked for, and by `auto` on the CPU.

    On the CPU it costs seconds once a machine; another device compiles anew for each shape.
    """
    return config["compile"] is True or (config["compile"] == "auto" and config["device"] == "cpu")
