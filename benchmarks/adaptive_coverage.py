"""How far optional stopping narrows the intervals of `replicates=auto`: coverage, by simulation.

    python benchmarks/adaptive_coverage.py            # JSON beside this file
    python benchmarks/adaptive_coverage.py --cells 400 --no-write

Cells whose errors scatter log-normally get blocks of five until the interval of their median is
narrow enough, by the project's own rule, precision and limit. How often does it hold the true
median, and how often does that of a fixed number of replicates? Fixed are as many blocks as auto
used on average, rounded, and the first block alone. Cells stop where their interval happens to be
narrow, so coverage falls below what it would be without a choice.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from study.analysis.statistics.medians import LEVEL
from study.config.adaptive import estimate, half_width

BLOCK = 5
SCATTER = (0.1, 0.2, 0.3, 0.5, 0.8)  # standard deviations of the errors' logarithm
MEASURE = "test_nmse_median"


def holds(sample: np.ndarray) -> tuple[bool, float]:
    """Whether the interval of the sample's median holds the true one, 1; and its half-width."""
    known = estimate(sample, np.arange(len(sample)), MEASURE)
    return known.low <= 1 <= known.high, half_width(known)


def simulate(scatter: float, cells: int, precision: float, most: int) -> dict[str, Any]:
    """Coverage by auto and by fixed numbers of replicates, on the same draws."""
    random = np.random.default_rng([11, round(1000 * scatter)])
    errors = np.exp(scatter * random.normal(size=(cells, BLOCK * most)))
    used, auto, reached = np.zeros(cells, int), np.zeros(cells, bool), np.zeros(cells, bool)
    for c, row in enumerate(errors):
        for blocks in range(1, most + 1):
            auto[c], width = holds(row[: BLOCK * blocks])
            used[c] = blocks
            if width <= precision:
                reached[c] = True
                break
    mean = max(1, round(float(used.mean())))

    def fixed(blocks: int) -> float:
        return float(np.mean([holds(row[: BLOCK * blocks])[0] for row in errors]))

    return {
        "scatter": scatter,
        "cells": cells,
        "blocks": {
            "mean": float(used.mean()),
            "shares": (np.bincount(used, minlength=most + 1)[1:] / cells).tolist(),
        },
        "reached": float(reached.mean()),
        "auto": float(auto.mean()),
        "auto_where_reached": float(auto[reached].mean()) if reached.any() else None,
        "fixed_blocks": mean,
        "fixed": fixed(mean),
        "one_block": fixed(1),
        "standard_error": float(np.sqrt(0.05 * 0.95 / cells)),
    }


def main() -> None:
    """Simulate, print, write the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--precision", type=float, default=0.25)
    parser.add_argument("--most", type=int, default=8)
    parser.add_argument("--no-write", action="store_true")
    given = parser.parse_args()
    rows = []
    for scatter in SCATTER:
        rows.append(simulate(scatter, given.cells, given.precision, given.most))
        row = rows[-1]
        print(
            f"scatter {scatter:.1f}: {row['blocks']['mean']:.2f} blocks, reached "
            f"{row['reached']:.3f}; coverage auto {row['auto']:.3f}, "
            f"{row['fixed_blocks']} blocks {row['fixed']:.3f}, one {row['one_block']:.3f}",
            flush=True,
        )
    found = {"level": LEVEL, "precision": given.precision, "most": given.most, "rows": rows}
    if not given.no_write:
        Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
