"""What the benchmarks share: what machine they ran on, and where their figures go."""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import torch


def machine() -> dict[str, Any]:
    """The processor, its cores and the versions that matter."""
    names = [platform.processor(), platform.machine()]
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line.split(":", 1) for line in info.read_text().splitlines() if ":" in line]
        names = [value.strip() for key, value in lines if key.strip() == "model name"] + names
    return {
        "processor": next(name for name in names if name),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def tell(page: str, name: str, lines: list[str]) -> None:
    """Replace what a page of the project shows of a benchmark, between its two comments."""
    path = Path(__file__).parents[1] / page
    before, begin, rest = path.read_text().partition(f"<!-- {name}: ")
    if not begin:
        raise ValueError(f"{page} has no place for {name}")
    opening, _, rest = rest.partition("-->")
    after = rest.partition(f"<!-- /{name} -->")[2]
    told = "\n".join([f"{begin}{opening}-->", "", *lines, "", f"<!-- /{name} -->"])
    path.write_text(before + told + after)


def write(benchmark: str, found: dict[str, Any]) -> None:
    """The figures of a benchmark, named by its `__file__`, as JSON beside it."""
    path = Path(benchmark).with_suffix(".json")
    text = json.dumps({"machine": machine(), **found}, indent=1)
    # lists of numbers on one line
    text = re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), text)
    path.write_text(text + "\n")
    print(f"written to {path.name}")
