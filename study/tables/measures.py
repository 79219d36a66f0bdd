"""What each measured column is called, its unit, and what a replicate without a number counts as.

Knows: the measures of `results.parquet`. Does not know: statistics, figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Measure:
    """One column of the results.

    - `column`: its name in the table.
    - `label`: for an axis, without the unit.
    - `words`: in a sentence.
    - `unit`: '' for a pure number.
    - `worst`: what a non-finite value counts as; never dropped, so that a diverged replicate
      makes a cell look worse and not better.
    """

    column: str
    label: str
    words: str
    unit: str = ""
    worst: float = np.inf

    @property
    def axis(self) -> str:
        """Label with unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def lower_is_better(self) -> bool:
        return self.worst == np.inf


_ALL = [
    Measure("test_nmse_median", "median test error (normalised square)", "median test error"),
    Measure("test_nmse", "mean test error (normalised square)", "mean test error"),
    Measure(
        "test_nmse_in_range",
        "mean test error in the training range (normalised square)",
        "mean test error in the training range",
    ),
    Measure("train_nmse", "mean train error (normalised square)", "mean train error"),
    Measure("rollout_error", "rollout error (relative, 0 to 1)", "rollout error"),
    Measure("valid_time", "valid time", "valid time", "s", worst=0.0),
    Measure("energy_drift", "energy drift / energy scale", "energy drift"),
]
MEASURES = {measure.column: measure for measure in _ALL}

TEST = MEASURES["test_nmse_median"]
TEST_MEAN = MEASURES["test_nmse"]
TEST_IN_RANGE = MEASURES["test_nmse_in_range"]
TRAIN = MEASURES["train_nmse"]
ROLLOUT = MEASURES["rollout_error"]
VALID_TIME = MEASURES["valid_time"]
ENERGY = MEASURES["energy_drift"]


def diverged(rows: pd.DataFrame) -> pd.Series:
    """Which replicates' training blew up: no finite test error, or frozen on the way."""
    lost = ~np.isfinite(rows[TEST.column].to_numpy(float))
    return pd.Series(lost, index=rows.index) | rows["stop_reason"].eq("diverged")
