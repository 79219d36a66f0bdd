"""How far the best cell of a study is from the advice for its data, in a line."""

from __future__ import annotations

import pandas as pd

from study.analysis.advice import choice
from study.analysis.words import count, name_of, number
from study.tables.measures import TEST


def lines(rows: pd.DataFrame) -> list[str]:
    """One sentence, for the data and the seconds of the cell with the least median error; none for
    data or systems that the advice's study does not have."""
    own = rows.loc[rows["data.sampler"].eq("trajectories") & rows["system.constants"].eq("default")]
    if "data.position_noise" in own:
        own = own.loc[own["data.position_noise"].fillna(0).eq(0)]
    if own.empty or own[TEST.column].isna().all():
        return []
    errors = own.groupby("cell")[TEST.column].median()
    cell = own.loc[own["cell"] == errors.idxmin()]
    first = cell.iloc[0]
    data = [first[f"data.{key}"] for key in ("n_train", "noise", "n_trajectories")]
    known = choice.pilots(first["system"], *data)
    if known is None:
        return []
    advised = choice.choose(known, float(cell["train_seconds"].median()))
    features = f", {advised.features} features" if advised.features else ""
    error, low, high = advised.error
    ratio = errors.min() / error
    return [
        f"Advice for the data and the seconds of the best cell here (N = {count(data[0])} of "
        f"{count(data[2])} trajectories, noise {data[1]:g}): {name_of(advised.model)}{features}, "
        f"P = {count(advised.n_params)}, by {name_of(advised.optimizer)}, expected error "
        f"{number(error)} [{number(low)}, {number(high)}]; the best cell has "
        f"{number(errors.min())}, {number(ratio)} times that (study.advise)."
    ]
