"""The registry of measures: every measured column of `results.parquet`, named once.

To add a measure, add one entry with its `compute`:

    Measure("fastest", "largest acceleration", unit="m/s²",
            compute=lambda predictions: np.abs(predictions.accelerations).max())
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from study.core.data.datasets import TestSet, Trajectories
    from study.core.systems import System


@dataclass(frozen=True)
class Predictions:
    """What one trained network predicts, in physical units.

    - `accelerations`: (n, D) at the n states of `test.points`.
    - `states`: (K, T, 2 D), rolled out from the first states of `truth`; `diverged`: (K,), which of
      the rollouts diverged.
    - `system`: the true one; `system.known` is False if it is not known.
    """

    accelerations: np.ndarray
    test: TestSet
    states: np.ndarray
    diverged: np.ndarray
    truth: Trajectories
    system: System


@dataclass(frozen=True)
class Measure:
    """One measured column of the results.

    - `column`: its name in the table.
    - `label`: for an axis, without the unit; `words`: in a sentence. Both default to the column's
      name with spaces.
    - `unit`: '' for a pure number.
    - `worst`: what a non-finite value counts as; never dropped, so that a diverged replicate
      makes a cell look worse and not better.
    - `low`, `high`: the range of its values; None for no bound. NaN stands for 'not measured'.
    - `shown`: whether the page's table of cells and the ledger have it.
    - `share`: whether it is a share of something, which the page shows in per cent.
    - `required`: whether every table must have it; tables of earlier versions lack the others.
    - `compute`: its value for one replicate; None if `block/measures.py` computes it with others.
    """

    column: str
    label: str = ""
    words: str = ""
    unit: str = ""
    worst: float = np.inf
    low: float | None = 0.0
    high: float | None = None
    shown: bool = True
    share: bool = False
    required: bool = False
    compute: Callable[[Predictions], float] | None = None

    def __post_init__(self) -> None:
        words = self.words or self.label or self.column.replace("_", " ")
        object.__setattr__(self, "words", words)
        object.__setattr__(self, "label", self.label or words)

    @property
    def axis(self) -> str:
        """Label with unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def lower_is_better(self) -> bool:
        return self.worst == np.inf


THRESHOLDS = ("1e-08", "1e-10", "1e-12")  # of a singular value over the largest
_CONTROLS = ("integrator", "reference", "initial", "white", "smooth", "conservative")
BUDGET = [f"budget_{control}" for control in _CONTROLS]
OWN = "budget_own"  # that of the model's own error along the true trajectories
IDENTIFIABILITY = [
    *[f"initial_rank_{threshold}" for threshold in THRESHOLDS],
    *[f"jacobian_rank_{threshold}" for threshold in THRESHOLDS],
    "effective_dimension",
    "jacobian_condition",
]

NOISE_FLOOR, NOISE_FLOOR_MEDIAN = "noise_floor", "noise_floor_median"
DESIGN = ("design_rank", "design_condition", "largest_leverage")


def _error(column: str, words: str) -> Measure:
    return Measure(column, f"{words} (normalised square)", words, required=True)


def _table_only(*columns: str, **more: Any) -> list[Measure]:
    """Measures that the page's table of cells and the ledger do not have."""
    return [Measure(column, shown=False, **more) for column in columns]


# The order of the page's table of cells.
_ALL = [
    # Acceleration error: mean square, normalised coordinate by coordinate by the variance of the
    # test targets; mean, median and 99th percentile over points.
    _error("test_nmse_median", "median test error"),
    _error("test_nmse", "mean test error"),
    _error("test_nmse_in_range", "mean test error in the training range"),
    _error("train_nmse", "mean train error"),
    *_table_only(
        "test_mse",
        "test_nmse_out_of_range",
        "test_nmse_median_in_range",
        "test_nmse_median_out_of_range",
        required=True,
    ),
    Measure(
        "test_nmse_p99",
        "99th percentile (normalised square)",
        "99th percentile of the test error",
        shown=False,
        required=True,
    ),
    # the second: of measured labels against the true system's accelerations, if both are known
    *_table_only("train_nmse_median", "label_nmse"),
    # Of measured data: what noise of the columns leaves in the accelerations, mean and median, and
    # the median test error of a constant.
    *_table_only(NOISE_FLOOR, NOISE_FLOOR_MEDIAN, "constant_nmse_median"),
    # Rollouts from held-out initial conditions.
    Measure(
        "rollout_error", "rollout error (relative, 0 to 1)", "rollout error", high=1, required=True
    ),
    Measure("valid_time", "valid time", "valid time", "s", worst=0, required=True),
    *_table_only("valid_time_lyapunov", worst=0, required=True),
    Measure("energy_drift", "energy drift / energy scale", "energy drift", required=True),
    *_table_only("energy_drift_final", required=True),
    *_table_only("energy_drift_final_mean"),
    # Of models that learn friction: own energy less the work of their own friction along rollouts;
    # and the error of the accelerations that forces make, against the true system's.
    *_table_only("power_balance", "force_nmse"),
    # Rollout errors of the controls, and the median finite-time Lyapunov exponent in 1/s; NaN if
    # diagnostics.error_budget is false.
    *_table_only(*BUDGET, OWN, high=1),
    *_table_only("lyapunov", unit="1/s", low=None),
    # Of d(qddot)/d(theta), as initialised on ample data and as trained on the training points; NaN
    # if diagnostics.identifiability is false.
    *_table_only(*IDENTIFIABILITY[:-1], worst=0),
    *_table_only("jacobian_condition"),
    # of the equations that least squares solved
    *_table_only(DESIGN[0], worst=0),
    *_table_only(*DESIGN[1:]),
    *_table_only("train_seconds", "rollout_seconds", unit="s", required=True),
    *_table_only("relative_gradient"),  # of log loss along log parameters at the end of training
    *_table_only("floored_fraction", share=True, high=1),
    Measure(
        "singular_fraction",
        "share of indefinite states",
        "share of test states with an indefinite or nearly singular mass matrix",
        share=True,
        high=1,
        required=True,
    ),
    Measure("diverged_fraction", share=True, high=1, required=True),
    Measure("converged", share=True, high=1, required=True),
]
MEASURES = {measure.column: measure for measure in _ALL}

TEST = MEASURES["test_nmse_median"]
TEST_MEAN = MEASURES["test_nmse"]
TEST_P99 = MEASURES["test_nmse_p99"]
SINGULAR = MEASURES["singular_fraction"]
TEST_IN_RANGE = MEASURES["test_nmse_in_range"]
TRAIN = MEASURES["train_nmse"]
ROLLOUT = MEASURES["rollout_error"]
VALID_TIME = MEASURES["valid_time"]


def diverged(rows: pd.DataFrame) -> pd.Series:
    """Which replicates' training blew up: no finite test error, or frozen on the way."""
    lost = ~np.isfinite(rows[TEST.column].to_numpy(float))
    return pd.Series(lost, index=rows.index) | rows["stop_reason"].eq("diverged")
