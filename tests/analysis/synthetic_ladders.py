"""A double-descent study made from known laws: thresholds, peaks, slopes, variance components.

Networks with P = 137 and D = 2: fitted up to N*D = 0.7 P; test error a power law of N on either
side, with a peak at the threshold that grows with the label noise. Beside them the control of
`control.py`, whose errors are computed and not made up.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from study.tables import schema
from tests.analysis import control, synthetic

REPLICATES = 20
FITTED = 0.7  # N*D/P of the threshold put in
SLOPE = 1.0
DATA, INIT, REST = 0.25, 0.08, 0.12  # standard deviations of log error
NOISES = (0.0, 0.1, 0.3)
ALONG_N = (
    0.03125,
    0.0625,
    0.125,
    0.1875,
    0.25,
    0.3125,
    0.375,
    0.4375,
    0.5,
    0.625,
    0.75,
    1.0,
    2.5,
    8.0,
)
LM = {
    "optimizer": "levenberg_marquardt",
    "optimizer.lr": 0.0,
    "optimizer.steps": 0,
    "optimizer.batch_size": 0,
    "optimizer.schedule": "constant",
    "optimizer.clip": np.nan,
    "optimizer.iterations": 500,
    "precision": "float64",
}
CONTROL = LM | {
    "model": "random_features",
    "model.width": control.FEATURES,
    "model.depth": 1,
    "model.mass_prior": 0.0,
    "optimizer": "least_squares",
    "optimizer.iterations": 0,
    "data.noise": control.NOISE,
}


def networks() -> list[dict]:
    """N along at P = 137 for each noise, P along at N = 68 for two."""
    base = LM | {"model.width": 8, "model.depth": 2}
    return [
        *[base | s for s in synthetic.product(data__noise=NOISES, n_over_p=ALONG_N)],
        *[
            base | s
            for s in synthetic.product(
                data__noise=NOISES[:2],
                data__n_train=[68],
                model__width=[3, 4, 5, 6, 7, 9, 10, 12, 14, 16, 20],
            )
        ],
    ]


def controls() -> list[dict]:
    """The random features' ladder along N."""
    return [CONTROL | {"data.n_train": int(n)} for n in control.POINTS]


def double_descent(
    height: float = 1.0, initialisations: int | None = 2, seed: int = 0
) -> pd.DataFrame:
    """Its replicates; `height` 0 takes the peaks out, `initialisations` None pairs the seeds."""
    table = synthetic.rows(
        [*networks(), *controls()], synthetic.Law(), replicates=REPLICATES, seed=seed
    )
    rng = np.random.default_rng(seed)
    table["data_seed"] = table["replicate"] // (initialisations or 1)
    table["init_seed"] = table["replicate"] % (initialisations or REPLICATES)
    of_control = table["model"] == "random_features"
    _fix_sizes(table, of_control)
    data, init = DATA * rng.normal(size=REPLICATES), INIT * rng.normal(size=REPLICATES)
    for cell in table["cell"].unique():
        here = table["cell"] == cell
        rows = table.loc[here]
        if of_control[here].any():
            k = list(control.POINTS).index(rows["data.n_train"].iloc[0])
            test, train = (errors[:, k] for errors in control.errors(REPLICATES))
        else:
            test, train = _network(rows, height, rng)
            scatter = data[rows["data_seed"]] + init[rows["init_seed"]]
            test = test * np.exp(scatter + REST * rng.normal(size=REPLICATES))
        for name in [name for name in table if name.startswith("test_nmse")]:
            table.loc[here, name] = test
        table.loc[here, "train_nmse"] = train
        rank = np.minimum(rows["n_equations"], rows["n_params"] - 2 * (1 - of_control[here]))
        table.loc[here, "jacobian_rank_1e-10"] = rank.astype(float)
    return schema.RESULTS.validate(table)


def _fix_sizes(table: pd.DataFrame, of_control: pd.Series) -> None:
    """P of random features is one weight a feature and output."""
    table.loc[of_control, "n_params"] = synthetic.D * control.FEATURES
    table["n_over_p"] = table["data.n_train"] / table["n_params"]
    table["equations_per_param"] = table["n_equations"] / table["n_params"]


def _network(rows: pd.DataFrame, height: float, rng) -> tuple[np.ndarray, np.ndarray]:
    """Test and train errors (replicates,) of one cell without what its seeds add."""
    first = rows.iloc[0]
    noise, ratio = first["data.noise"], first["equations_per_param"]
    bump = np.exp(height * 8 * noise * np.exp(-((np.log2(ratio / FITTED)) ** 2) / 0.3))
    test = (1e-3 + 0.1 * noise**2) * ratio**-SLOPE * bump
    whole = noise**2 if noise > 0 else 1e-4
    left = max(1e-5, 1 - FITTED / ratio)
    return np.full(REPLICATES, test), whole * left * np.exp(0.1 * rng.normal(size=REPLICATES))


def training(table: pd.DataFrame, bump: float = 0.0) -> pd.DataFrame:
    """Training curves of a table; with noise 0.3 the test error has a peak of log height `bump`."""
    rng, parts = np.random.default_rng(1), []
    step = np.unique(np.geomspace(1, 4000, 24).round())
    for row in table.to_dict("records"):
        train = row["train_nmse"] * (1 + 300 * np.exp(-step / 300))
        test = row["test_nmse_median"] * (1 + 30 * np.exp(-step / 60))
        if row["data.noise"] == 0.3:
            test *= np.exp(bump * np.exp(-((np.log(step / 500)) ** 2) / 0.5))
        test *= np.exp(0.05 * rng.normal(size=len(step)))
        for metric, value in (("train_nmse", train), ("test_nmse_median", test)):
            parts.append(
                pd.DataFrame(
                    {
                        "cell": row["cell"],
                        "replicate": row["replicate"],
                        "curve": "training",
                        "x": step,
                        "metric": metric,
                        "value": value,
                    }
                )
            )
    return schema.CURVES.validate(pd.concat(parts, ignore_index=True))
