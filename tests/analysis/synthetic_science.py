"""Tables of the studies that measure more than errors: what `synthetic.rows` gives, and columns.

Each builder puts in a known cause, so that a test knows what has to be found.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from study.tables import schema
from study.tables.measures import THRESHOLDS
from tests.analysis import synthetic
from tests.analysis.synthetic import Law

MODELS = ["lnn", "structured_lnn", "acceleration_mlp"]
ADAM = {"optimizer": "adam"}
ADAM_LM = {"optimizer": "adam_lm", "optimizer.iterations": 100}
LM = {
    "optimizer": "levenberg_marquardt",
    "optimizer.iterations": 300,
    "optimizer.steps": 0,
    "optimizer.batch_size": 0,
    "optimizer.lr": 0.0,
    "optimizer.schedule": "constant",
    "optimizer.clip": np.nan,
    "precision": "float64",
}


def with_budget(
    table: pd.DataFrame,
    matched: float = 1.2,
    white: float = 8.0,
    integrator: float = 3e-7,
    initial: float = 3e-4,
    lyapunov: float = 0.2,
    seed: int = 0,
) -> pd.DataFrame:
    """The controls: the model's error is `matched` times the smooth and conservative ones'."""
    rng = np.random.default_rng(seed)

    def scatter():
        return np.exp(0.2 * rng.normal(size=len(table)))

    error = table["rollout_error"]
    return table.assign(
        budget_smooth=np.minimum(1, error / matched * scatter()),
        budget_conservative=np.minimum(1, error / matched * scatter()),
        budget_white=np.minimum(1, error / white * scatter()),
        budget_integrator=integrator,
        budget_reference=1e-10,
        budget_initial=initial,
        lyapunov=lyapunov,
    )


def levers() -> list[dict]:
    """A grid like that of the experiment of this name."""
    settings = []
    small = {"model.width": 16, "model.depth": 2}
    for optimizer in (ADAM, ADAM_LM):
        for model in MODELS:
            prior = 0.0 if model == "acceleration_mlp" else 1.0
            for n in (256, 1024, 4096):
                more = {"model": model, "model.mass_prior": prior, "data.n_train": n}
                settings.append(small | optimizer | more)
        settings += [small | optimizer | {"model.width": w} for w in (8, 32)]
    return [*settings, small | LM]


def efficiency(points=(10, 40, 100, 250, 800, 2500, 10_000)) -> list[dict]:
    """A grid like that of `data_efficiency`."""
    return [
        {
            "model": model,
            "model.mass_prior": 0.0 if model == "acceleration_mlp" else 1.0,
            "data.n_train": n,
        }
        for model in MODELS
        for n in points
    ]


def published(models=MODELS, **more) -> pd.DataFrame:
    """Wide double pendulum to t = 100, one cell a model; `more`: model -> mean final drift."""
    settings = [
        {
            "system": "double_pendulum_wide",
            "data.sampler": "uniform",
            "rollout.horizon": 100.0,
            "model": model,
            "model.width": 64,
            "model.depth": 3,
        }
        for model in models
    ]
    table = synthetic.rows(settings, Law(scatter=0.05))
    rng = np.random.default_rng(1)
    drift = table["model"].map(more).to_numpy(float) * np.exp(0.05 * rng.normal(size=len(table)))
    return table.assign(energy_drift_final_mean=drift)


def identifiability() -> list[dict]:
    """A grid like that of the experiment of this name."""
    small = {"model.width": 8, "model.depth": 2, "model.beta": 1.0}
    own = {
        "data.n_train": 4096,
        "model.width": 32,
        "model.depth": 4,
        "model.beta": 0.5,
        "model.encoding": "raw",
        "model.mass_prior": 0.0,
        "model.init": "torch_default",
    }
    return [
        *[small | {"n_over_p": ratio} for ratio in (0.125, 0.25, 0.5, 1, 4)],
        small | {"data.n_train": 1024, "model.mass_prior": 0.0},
        small | {"data.n_train": 1024, "model.beta": 0.25},
        own,
    ]


def with_ranks(table: pd.DataFrame, hidden: dict[float, tuple[int, int, int]] | None = None):
    """Ranks P - gauge but for `hidden`: beta -> how many more are unseen at each threshold.

    **Returns:** the table and its spectra.
    """
    table = table.copy()
    spectra = []
    for index, row in table.iterrows():
        P, equations = row["n_params"], row["n_equations"]
        gauge = 1 if row["model.mass_prior"] > 0 else 2
        lost = (hidden or {}).get(row["model.beta"], (0, 0, 0))
        for threshold, more in zip(THRESHOLDS, lost, strict=True):
            rank = P - gauge - more
            table.loc[index, f"initial_rank_{threshold}"] = rank
            table.loc[index, f"jacobian_rank_{threshold}"] = min(rank, equations)
        table.loc[index, "effective_dimension"] = 0.8 * min(P, equations)
        table.loc[index, "jacobian_condition"] = 1e6
        seen = P - gauge
        x = np.arange(1, P + 1)
        value = np.where(x <= seen, 10.0 ** (-7 * x / P - 6 * (x > seen - lost[0])), 1e-17)
        for metric, kept in (("initial", P), ("trained", min(P, equations))):
            spectra.append(
                pd.DataFrame(
                    {
                        "cell": row["cell"],
                        "replicate": row["replicate"],
                        "curve": "spectrum",
                        "x": x[:kept].astype(float),
                        "metric": metric,
                        "value": value[:kept] / value[0],
                    }
                )
            )
    return table, schema.CURVES.validate(pd.concat(spectra, ignore_index=True))


def betas(extra: dict[tuple[str, float], float] | None = None) -> list[dict]:
    """Activations by beta, each with the initial scale moving along and held."""
    return synthetic.product(
        model__activation=["softplus", "tanh", "gelu"],
        model__beta=[0.5, 1.0, 2.0, 4.0],
        model__init=["fan_in", "beta_matched"],
    )
