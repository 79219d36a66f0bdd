"""Error and valid time of a setting on a system that was not studied, with 90 % intervals.

For each model a ridge regression on products of two of the logarithms. Intervals are those of the
jackknife+ over systems (Barber, Candes, Ramdas and Tibshirani 2021, there CV+): the residuals of
each system come from a fit without it, so that the spread between systems is in the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.advice.table import FOUND, HORIZON, LEAST, LEAST_TIME, MODEL, WORST

Array = np.ndarray
LEVEL = 0.9
RIDGE = 3.0  # in units of the mean square of a standardised regressor times the rows' number
QUIET = 1e-3  # label noise below which less makes no difference
TARGETS = {"error": (LEAST, WORST), "time": (LEAST_TIME, HORIZON)}


def regressors(rows: pd.DataFrame) -> Array:
    """(rows, k): logarithms of data, size, steps and of what the pilots found."""
    pilots = np.log10(rows[FOUND].to_numpy(float))
    return np.column_stack(
        [
            np.log10(rows["n"] * rows["dof"]),
            np.log10(rows["noise"] + QUIET),
            np.log10(rows["trajectories"]),
            np.log10(rows["n_params"]),
            np.log10(np.where(rows["iterations"] > 0, rows["iterations"], rows["steps"]) + 1),
            pilots,
            np.minimum(pilots[:, 0], pilots[:, 2]),  # of the pilot that suits the system
        ]
    )


@dataclass(frozen=True)
class Ridge:
    """A linear regression on regressors and their products, all but the mean shrunk."""

    mean: Array
    scale: Array
    coefficients: Array
    level: float

    @classmethod
    def fit(cls, x: Array, y: Array) -> Ridge:
        mean, scale = x.mean(0), x.std(0) + 1e-12
        products = _products((x - mean) / scale)
        gram = products.T @ products + RIDGE * np.eye(products.shape[1])
        level = y.mean()
        return cls(mean, scale, np.linalg.solve(gram, products.T @ (y - level)), level)

    def predict(self, x: Array) -> Array:
        return self.level + _products((x - self.mean) / self.scale) @ self.coefficients


def _products(z: Array) -> Array:
    """Each column and each product of two, centred where a standard normal column is."""
    first, second = np.triu_indices(z.shape[1])
    return np.hstack([z, z[:, first] * z[:, second] - (first == second)])


@dataclass(frozen=True)
class Forecast:
    """Predictions of one measure of one model, in log10.

    - `without`: fits to all systems but one.
    - `residuals`: of each row, from the fit without its system, number `left_out`.
    """

    without: list[Ridge]
    residuals: Array
    left_out: Array
    bounds: tuple[float, float]

    @classmethod
    def fit(cls, rows: pd.DataFrame, target: str) -> Forecast:
        """From rows of one model."""
        x, y = regressors(rows), np.log10(rows[target].to_numpy(float))
        systems, left_out = np.unique(rows["system"], return_inverse=True)
        without = [Ridge.fit(x[left_out != k], y[left_out != k]) for k in range(len(systems))]
        residuals = np.empty(len(y))
        for k, fitted in enumerate(without):
            residuals[left_out == k] = y[left_out == k] - fitted.predict(x[left_out == k])
        return cls(without, residuals, left_out, TARGETS[target])

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Columns value, low and high: median and 90 % interval, within the bounds."""
        x = regressors(rows)
        centres = np.stack([fitted.predict(x) for fitted in self.without], axis=1)
        draws = centres[:, self.left_out] + self.residuals
        tails = (0.5, (1 - LEVEL) / 2, (1 + LEVEL) / 2)
        values = np.quantile(draws, tails, axis=1).T.clip(*np.log10(self.bounds))
        return pd.DataFrame(10**values, rows.index, ["value", "low", "high"])


class Forecasts:
    """Those of every model: `Forecasts(table)(rows, "error")`."""

    def __init__(self, table: pd.DataFrame):
        self.by_model = {
            model: {target: Forecast.fit(rows, target) for target in TARGETS}
            for model, rows in table.groupby(MODEL)
        }

    def __call__(self, rows: pd.DataFrame, target: str) -> pd.DataFrame:
        """Columns value, low and high in the order of the rows."""
        parts = [self.by_model[model][target](part) for model, part in rows.groupby(MODEL)]
        return pd.concat(parts).loc[rows.index]
