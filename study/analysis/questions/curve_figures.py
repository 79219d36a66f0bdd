"""Figures of curves: rollouts against the truth, energy over time, training.

Knows: the long table `curves`. Does not know: ladders, comparisons.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from study.analysis.answer import Question, curve
from study.analysis.design import Design
from study.analysis.style import COLOURS, Plot, canvas, decade_axis, finish, look
from study.analysis.wording import number, span
from study.core.systems import SYSTEMS
from study.tables.measures import ROLLOUT

MOST_TRAINED = 7  # cells in the figure of training curves


def plots(rows: pd.DataFrame, curves: pd.DataFrame, design: Design) -> Iterator[Plot]:
    """Rollouts and energies of the best and the middle cell, error growth, and training."""
    ranked = _ranked(rows, design)
    drawn = _with_rollouts(ranked, curves)
    chosen = {"best": drawn[:1], "middle": drawn[len(drawn) // 2 :][:1]}
    if len(drawn) < 2:
        chosen.pop("middle")
    for which, cells in chosen.items():
        for cell in cells:
            yield _rollouts(curves, design, cell, which)
    measured = set(curves.loc[curves["metric"] == "true.energy[0]", "cell"])
    for which, cells in chosen.items():
        for cell in [cell for cell in cells if cell in measured]:
            yield _energy(curves, design, cell, which)
    rollout = curves.loc[(curves["curve"] == "rollout") & (curves["metric"] == "error")]
    if len(rollout):
        yield _growth(rollout, design, _spread(ranked))
    training = curves.loc[curves["curve"] == "training"]
    if len(training):
        yield _training(training, design, _spread(ranked))


def _ranked(rows: pd.DataFrame, design: Design) -> list[str]:
    cells = tuple(design.cells.index)
    values = curve(rows, cells, ROLLOUT).middle
    return [cells[k] for k in np.argsort(values, kind="stable")]


def _spread(ranked: list[str]) -> list[str]:
    """A few cells from the best to the worst, evenly by rank."""
    ranks = np.linspace(0, len(ranked) - 1, min(len(ranked), MOST_TRAINED))
    return [ranked[k] for k in np.unique(ranks.round().astype(int))]


def _with_rollouts(ranked: list[str], curves: pd.DataFrame) -> list[str]:
    have = set(curves.loc[curves["metric"] == "true.q0[0]", "cell"])
    return [cell for cell in ranked if cell in have]


def _shown_rollouts(curves: pd.DataFrame, cell: str) -> pd.DataFrame:
    """The rollouts of one cell's first replicate that has them, one column a metric."""
    chosen = curves.loc[(curves["cell"] == cell) & (curves["curve"] == "rollout")]
    first = chosen.loc[chosen["metric"] == "true.q0[0]", "replicate"].min()
    chosen = chosen.loc[
        (chosen["replicate"] == first) & chosen["metric"].str.match(r"(true|learned)\.")
    ]
    return chosen.pivot_table(index="x", columns="metric", values="value", dropna=False)


def _rollouts(curves: pd.DataFrame, design: Design, cell: str, which: str) -> Plot:
    wide = _shown_rollouts(curves, cell)
    D = sum(1 for name in wide if name.startswith("true.q") and name.endswith("[0]"))
    coordinates = _coordinates(design, cell, D)
    true = "measured" if design.cells.loc[cell, "system"] == "unknown" else "true"
    figure, axes = canvas(D, height=1.1 + 1.45 * D, sharex=True)
    data = {"time": wide.index.to_numpy()}
    for i, axis in enumerate(axes):
        name, unit = coordinates[i]
        for k in (0, 1):
            if f"true.q{i}[{k}]" not in wide:
                continue
            pair = wide[[f"true.q{i}[{k}]", f"learned.q{i}[{k}]"]].to_numpy()
            if unit == "rad":
                pair = _continuous(pair)
            data[f"true.{name}[{k}]"], data[f"learned.{name}[{k}]"] = pair.T
            _pair(axis, wide.index, pair, k, true)
        _limit(axis, np.concatenate([v for c, v in data.items() if c.startswith(f"true.{name}[")]))
        axis.set_ylabel(f"{_greek(name)} ({unit})")
    axes[-1].set_xlabel("time (s)")
    title = f"Rollouts of the {which} cell"
    finish(figure, axes[0])
    return Plot(
        id=f"rollouts_{which}",
        title=title,
        caption=(
            f"Two held-out trajectories by the learned dynamics (dashed) and {_of[true]} (solid); "
            f"first replicate (n = 1) of the cell {_rank(which)} median rollout error "
            f"({design.label(cell) or cell}). A curve out of the frame has left the {true} range."
        ),
        alt=f"Coordinates over {number(float(wide.index.to_numpy().max()))} s, learned against "
        f"{true}, two trajectories.",
        data=pd.DataFrame(data),
        figure=figure,
    )


_of = {"true": "the true", "measured": "as measured"}


def _coordinates(design: Design, cell: str, D: int) -> list[tuple[str, str]]:
    """(name, unit) of each coordinate: the table's, or the system's where a table has none."""
    row = design.cells.loc[cell]
    listed = re.findall(r"([^,()]+) \(([^()]*)\)", str(row.get("coordinates")))
    if len(listed) == D:
        return [(name.strip(), unit) for name, unit in listed]
    system = SYSTEMS.get(str(row["system"]))
    return list(system.coordinates) if system else [(f"q{i}", "rad or m") for i in range(D)]


def _energy(curves: pd.DataFrame, design: Design, cell: str, which: str) -> Plot:
    wide = _shown_rollouts(curves, cell)
    figure, (axis,) = canvas(height=3.1)
    data = {"time": wide.index.to_numpy()}
    for k in (0, 1):
        if f"true.energy[{k}]" not in wide:
            continue
        pair = wide[[f"true.energy[{k}]", f"learned.energy[{k}]"]].to_numpy()
        data[f"true.energy[{k}]"], data[f"learned.energy[{k}]"] = pair.T
        _pair(axis, wide.index, pair, k)
    axis.set_xlabel("time (s)")
    axis.set_ylabel("energy / energy scale")
    title = f"Energy along the rollouts of the {which} cell"
    finish(figure, axis)
    return Plot(
        id=f"energy_{which}",
        title=title,
        caption="True energy function along the learned (dashed) and the true trajectories (solid),"
        f" over the system's energy scale; the two rollouts of the cell {_rank(which)} median "
        "rollout error.",
        alt="Energy over time along two learned and two true trajectories.",
        data=pd.DataFrame(data),
        figure=figure,
    )


def _growth(rollout: pd.DataFrame, design: Design, cells: list[str]) -> Plot:
    figure, (axis,) = canvas(height=4.4)
    data = _medians(rollout.loc[rollout["cell"].isin(cells)], design)
    for k, cell in enumerate(cells):
        part = data.loc[(data["cell"] == cell) & (data["x"] > 0) & (data["median"] > 0)]
        _thin_line(axis, part, design.label(cell) or cell, k, len(cells), "-")
    axis.axhline(0.5, color="#777777", linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    axis.set_xlabel("time (s)")
    axis.set_ylabel("error / standard deviation of the coordinate")
    decade_axis(axis)
    title = "How the error grows along a rollout"
    finish(figure, axis)
    return Plot(
        id="error_growth",
        title=title,
        caption="Median over held-out trajectories, then over "
        f"{span(data['replicates'], 'replicate')}, of cells from the best to the worst. Dashed "
        "line: 0.5, where the valid time ends. Intervals over replicates are drawn for the rollout "
        "error, not here.",
        alt="Normalised error against time on a logarithmic axis for "
        f"{len(cells)} cells from the best to the worst.",
        data=data,
        figure=figure,
    )


def _training(training: pd.DataFrame, design: Design, cells: list[str]) -> Plot:
    chosen = training.loc[
        training["cell"].isin(cells) & training["metric"].isin(["train_nmse", "test_nmse_median"])
    ]
    figure, (axis,) = canvas(height=4.4)
    data = _medians(chosen, design)
    for k, cell in enumerate(cells):
        for metric, line in (("test_nmse_median", "-"), ("train_nmse", ":")):
            part = data.loc[(data["cell"] == cell) & (data["metric"] == metric)]
            label = (design.label(cell) or cell) if line == "-" else None
            _thin_line(axis, part.loc[part["median"] > 0], label, k, len(cells), line)
    axis.set_xlabel("optimiser step")
    axis.set_ylabel("error (normalised square)")
    decade_axis(axis)
    title = "Training"
    finish(figure, axis)
    return Plot(
        id="training",
        title=title,
        caption="Median test error (solid) and mean train error (dotted) over the training, median "
        f"of {span(data['replicates'], 'replicate')}, of cells from the best to the worst in "
        "rollout error. Intervals over replicates are drawn for the final errors, not here.",
        alt=f"Test and train error against optimiser steps for {len(cells)} cells.",
        data=data,
        figure=figure,
    )


def _medians(curves: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Median over replicates at each x; what is not finite counts as infinite."""
    filled = curves.assign(value=curves["value"].where(np.isfinite(curves["value"]), np.inf))
    grouped = filled.groupby(["cell", "metric", "x"], sort=True)["value"]
    found = grouped.agg(median="median", replicates="size").reset_index()
    labels = {cell: design.label(cell) for cell in found["cell"].unique()}
    return found.assign(setting=[labels[cell] for cell in found["cell"]])


def _thin_line(axis, part: pd.DataFrame, label: str | None, k: int, total: int, line: str) -> None:
    shown = part.loc[np.isfinite(part["median"].to_numpy(float))].sort_values(by="x")
    axis.plot(
        shown["x"],
        shown["median"],
        linestyle=line,
        label=label,
        markevery=(k, max(1, len(shown) // 6)),
        **look(k, total) | {"markersize": 4},
    )


def _pair(axis, x, pair: np.ndarray, k: int, true: str = "true") -> None:
    axis.plot(
        x,
        pair[:, 0],
        color=COLOURS[k],
        linewidth=1.6,
        alpha=0.55,
        label=f"trajectory {k + 1}, {true}",
    )
    axis.plot(
        x,
        pair[:, 1],
        color=COLOURS[k],
        linewidth=1.3,
        linestyle=(0, (4, 2)),
        label=f"trajectory {k + 1}, learned",
    )


def _continuous(pair: np.ndarray) -> np.ndarray:
    """Two angles without jumps of 2 pi, both starting on the same turn; NaN ends a curve."""
    out = pair.copy()
    for column in out.T:
        finite = np.isfinite(column)
        column[finite] = np.unwrap(column[finite])
    out[:, 1] += 2 * np.pi * np.round((out[0, 0] - out[0, 1]) / (2 * np.pi))
    return out


def _limit(axis, truth: np.ndarray) -> None:
    """The frame shows the true range and some more; a diverged curve may leave it."""
    low, high = np.nanmin(truth), np.nanmax(truth)
    pad = 0.35 * max(high - low, 1e-9)
    axis.set_ylim(low - pad, high + pad)


def _rank(which: str) -> str:
    return "with the lowest" if which == "best" else "with the middle"


def _greek(name: str) -> str:
    return name.replace("theta", "θ").translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


QUESTION = Question(
    lambda t: (),
    lambda t: () if t.curves is None else plots(t.rows, t.curves, t.design),
    place=100,
)
