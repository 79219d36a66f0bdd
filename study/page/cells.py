"""The cells of a study: the table of them, and which of them a page rests on.

Answers and figures take time for each cell and curve, and nobody reads a hundred curves in one
figure: so a grid that is too large is made coarser, by whole ladders with fewer rungs.
"""

from typing import Any

import numpy as np
import pandas as pd

from study.analysis.answer import curve
from study.analysis.design import Design, counted, sort_key
from study.analysis.statistics.limits import AT_END
from study.analysis.words import count, estimate, plural
from study.tables.measures import MEASURES, VALID_TIME, diverged

MOST_CELLS = 512  # that answers and figures rest on


def cell_table(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row a cell, in the order of the factors that vary: numbers for the CSV, and the same as
    text for a reader, in fewer columns, by the cells' labels."""
    design = Design(rows.drop(columns=["tuned", "role"], errors="ignore"))  # values as they are
    by = [*design.varying, "n_params"]
    place = {str(c): sort_key(tuple(row)) for c, row in design.cells.loc[:, by].iterrows()}
    cells = tuple(sorted(place, key=lambda cell: place[cell]))
    order = design.cells.loc[list(cells)]
    of_cell = dict(list(rows.groupby("cell")))
    parts = [of_cell[cell] for cell in cells]
    sizes = [len(part) for part in parts]
    n_diverged = [int(diverged(part).to_numpy().sum()) for part in parts]
    data: dict[str, list] = {"cell": list(cells)}
    for factor in [*design.factors, "n_params", "n_equations", "n_over_p", "equations_per_param"]:
        data[factor] = order[factor].to_list()
    data |= {"replicates": sizes, "diverged": n_diverged}
    text: dict[str, list] = {"cell": list(cells)}
    text |= {factor: [_text(v) for v in order[factor]] for factor in design.varying}
    text["P"] = [count(v) for v in order["n_params"]]
    text["N·D/P"] = [f"{v:.3g}" for v in order["equations_per_param"]]
    text["replicates"] = [count(v) for v in sizes]
    shown = [m for m in MEASURES.values() if m.shown and m.column in rows]
    for measure in [m for m in shown if not m.share]:
        medians = curve(rows, cells, measure)
        # a measure that no replicate has though none diverged was not measured: energy, say,
        # without a known system
        estimates = [
            None if not n and part[measure.column].isna().to_numpy().all() else medians.estimate(k)
            for k, (part, n) in enumerate(zip(parts, n_diverged, strict=True))
        ]
        for end, attribute in (("", "value"), ("_low", "low"), ("_high", "high")):
            data[measure.column + end] = [getattr(e, attribute, np.nan) for e in estimates]
        name = measure.words + (f" ({measure.unit})" if measure.unit else "")
        text[name] = ["not measured" if e is None else estimate(e) for e in estimates]
        if measure is VALID_TIME and "rollout.horizon" in order:
            caps = AT_END * order["rollout.horizon"].to_numpy(float)
            text[name] = [
                t if e is None or e.value < cap else f"{t}, at the cap"
                for t, e, cap in zip(text[name], estimates, caps, strict=True)
            ]
    for measure in [m for m in shown if m.share]:
        middle = np.mean if rows[measure.column].dtype == bool else np.median
        shares = [float(middle(part[measure.column].to_numpy(float))) for part in parts]
        data[measure.column] = shares
        text[measure.words] = [
            f"{100 * share:.3g} %" if np.isfinite(share) else "unknown" for share in shares
        ]
    text["diverged"] = [count(v) for v in n_diverged]
    labels = [design.label(cell) for cell in cells]
    return pd.DataFrame(data), pd.DataFrame(text, index=labels)


def _text(value) -> str:
    if isinstance(value, int | np.integer):
        return count(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def thinned(rows: pd.DataFrame, most: int = MOST_CELLS) -> tuple[pd.DataFrame, str]:
    """The rows of at most `most` cells and of all trials of searches, and a sentence that says so;
    empty if all are kept.

    Every second value is left out, again and again, of the number with the longest ladder.
    """
    evidence = counted(rows)
    cells = evidence.drop_duplicates("cell").set_index("cell").loc[:, "system":"precision"]
    varying = [name for name in cells.columns if len(cells[name].unique()) > 1]
    numbers = [name for name in varying if pd.api.types.is_numeric_dtype(cells[name])]
    kept = cells.sort_values(varying, kind="stable") if varying else cells
    while len(kept) > most:
        places = {name: _places(kept, name, varying) for name in numbers}
        longest = max(places, key=lambda name: places[name][1].max(), default=None)
        if longest is None or places[longest][1].max() <= 2:
            even = np.linspace(0, len(kept) - 1, most).round().astype(int)
            kept = kept.iloc[np.unique(even)]
            break
        place, length = places[longest]
        kept = kept.loc[(place % 2 == 0) | (place == length - 1)]
    if len(kept) == len(cells):
        return rows, ""
    parts = [
        f"{count(kept[name].nunique())} of the {count(cells[name].nunique())} values of {name}"
        for name in varying
        if kept[name].nunique() < cells[name].nunique()
    ]
    spread = f", with {', '.join(parts)}" if parts else ""
    sentence = (
        f"{count(len(cells))} cells are more than one page can show: answers and figures rest on "
        f"{plural(len(kept), 'cell')}, spread evenly{spread}. results.parquet and curves.parquet "
        "hold all."
    )
    shown = evidence.loc[evidence["cell"].isin(kept.index)].reset_index(drop=True)
    if evidence is not rows:
        shown = pd.concat([shown, rows.loc[rows["role"] == "trial"]], ignore_index=True)
    return shown, sentence


def _places(cells: pd.DataFrame, name: str, varying: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The place of each cell on its ladder along `name`, from 0, and the length of that ladder."""
    others: Any = [other for other in varying if other != name] or np.zeros(len(cells))
    ladders = cells.groupby(others, sort=False, dropna=False)[name]
    places = ladders.rank(method="first", na_option="top").to_numpy(int) - 1
    return places, ladders.transform("size").to_numpy(int)
