"""Did every training end in finite numbers? Rollouts, energies and training as curves."""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from study.analysis.answer import Answer, Question, Tables, curve, make
from study.analysis.design import Design
from study.analysis.statistics.medians import ENOUGH, Estimate
from study.analysis.statistics.ratios import share
from study.analysis.style import COLOURS, REFERENCE, Plot, canvas, decade_axis, finish, look
from study.analysis.words import count, number, plural, span
from study.core.systems import SYSTEMS
from study.tables.measures import ROLLOUT, diverged

GAINED = "gained"  # its own energy, by a model with forces
WORK = {"friction": "work of friction", "inputs": "work of the inputs"}
MOST_CELLS = 7  # in the figures of error growth and of training


def _answers(tables: Tables) -> Iterator[Answer]:
    rows = tables.rows
    n, dead = len(rows), diverged(rows).to_numpy()
    met = rows["converged"].to_numpy(bool)
    lost, converged = (share(int(ended.sum()), n) for ended in (dead, met))
    singular = rows["singular_fraction"].to_numpy(float)
    # NaN if a model has no mass matrix, or the true system is not known
    judged = np.isfinite(singular) | dead
    ill = int((np.nan_to_num(singular, nan=1.0)[judged] > 0.01).sum())
    mass = (
        f"{count(ill)} have a near-singular or indefinite mass matrix on more than 1 % of the test "
        f"points (median share {_median_percent(singular)})"
        if judged.any()
        else "no mass matrix could be judged"
    )
    sentence = (
        f"Of {plural(n, 'replicate')}, {_percent(lost)} have no finite test error and "
        f"{_percent(converged)} met the convergence rule; {mass}, and "
        f"{_median_percent(rows['diverged_fraction'].to_numpy(float))} of the rollouts of the "
        "median replicate diverge."
    )
    finite = Estimate(1 - lost.value, 1 - lost.high, 1 - lost.low, max(n, ENOUGH))
    question = "Did the training of every replicate end in finite numbers?"
    verdict = "yes" if lost.value == 0 else "no"
    cells = tuple(rows["cell"])
    yield make("trust", question, verdict, sentence, finite, rows, cells, "training", trained=False)


def _percent(e: Estimate) -> str:
    return f"{number(100 * e.value)} % [{number(100 * e.low)}, {number(100 * e.high)}]"


def _median_percent(values: np.ndarray) -> str:
    finite = values[np.isfinite(values)]
    return f"{number(100 * float(np.median(finite)))} %" if len(finite) else "unknown"


def _plots(tables: Tables) -> Iterator[Plot]:
    curves, design = tables.curves, tables.design
    if curves is None:
        return
    ranked, chosen = _ranked(tables), shown_cells(tables)
    for which, cell in chosen.items():
        yield _rollouts(curves, design, cell, which)
    with_energy = _with_curve(curves, "energy")
    for which, cell in chosen.items():
        if cell in with_energy:
            yield _energy(curves, cell, which)
    gained = (
        (curves["metric"] == f"power.{GAINED}[0]") & curves["value"].notna() & (curves["x"] > 0)
    )
    with_forces = set(curves.loc[gained, "cell"])
    for which, cell in chosen.items():
        if cell in with_forces:
            yield _power(curves, cell, which)
    ranks = np.linspace(0, len(ranked) - 1, min(len(ranked), MOST_CELLS))
    spread = [ranked[k] for k in np.unique(ranks.round().astype(int))]
    shown = curves.loc[curves["cell"].isin(spread)]
    growth = shown.loc[(shown["curve"] == "rollout") & (shown["metric"] == "error")]
    training = shown.loc[shown["curve"] == "training"]
    for draw, lines in ((_growth, growth), (_training, training)):
        if len(lines):
            yield draw(lines, design, spread)


def shown_cells(tables: Tables) -> dict[str, str]:
    """The cells whose rollouts are shown: `best` and `middle` in rollout error, as far as there
    are any with curves."""
    if tables.curves is None or tables.rows.empty:
        return {}
    with_curve = _with_curve(tables.curves, "q0")
    have = [cell for cell in _ranked(tables) if cell in with_curve]
    middle = {"middle": have[len(have) // 2]} if len(have) > 1 else {}
    return {"best": have[0], **middle} if have else {}


def _ranked(tables: Tables) -> list[str]:
    """All cells, ascending in the median rollout error."""
    cells = tuple(tables.design.cells.index)
    errors = curve(tables.rows, cells, ROLLOUT).middle
    return [cells[k] for k in np.argsort(errors, kind="stable")]


def _with_curve(curves: pd.DataFrame, metric: str) -> set[str]:
    return set(curves.loc[curves["metric"] == f"true.{metric}[0]", "cell"])


def trajectories(curves: pd.DataFrame, cell: str) -> pd.DataFrame:
    """The trajectories of a cell's first replicate that has them: a row a time, in seconds, and
    the columns `true.q0[k]`, `learned.q0[k]` and so on."""
    own = curves.loc[(curves["cell"] == cell) & (curves["curve"] == "rollout")]
    first = own.loc[own["metric"] == "true.q0[0]", "replicate"].min()
    own = own.loc[(own["replicate"] == first) & own["metric"].str.match(r"(true|learned)\.")]
    return own.pivot_table(index="x", columns="metric", values="value", dropna=False)


def _rollouts(curves: pd.DataFrame, design: Design, cell: str, which: str) -> Plot:
    """The coordinates along two rollouts."""
    metrics = set(curves.loc[curves["cell"] == cell, "metric"])
    D = sum(1 for metric in metrics if re.fullmatch(r"true\.q\d+\[0\]", metric))
    coordinates = coordinates_of(design.cells.loc[cell], D)
    measured = design.cells.loc[cell, "system"] == "unknown"
    true, truth = ("measured", "as measured") if measured else ("true", "the true")
    figure, axes = canvas(D, height=1.1 + 1.45 * D, sharex=True)
    data = {}
    for i, (axis, (name, unit)) in enumerate(zip(axes, coordinates, strict=True)):
        pairs = _pairs(axis, curves, cell, f"q{i}", name, true, angle=unit == "rad")
        data |= pairs
        # the frame shows the true range and some more; a diverged curve may leave it
        shown = np.concatenate([y for column, y in pairs.items() if column.startswith("true.")])
        shown = shown[np.isfinite(shown)]
        low, high = min(shown, default=0.0), max(shown, default=0.0)
        pad = 0.35 * max(high - low, 1e-9)
        axis.set(ylim=(low - pad, high + pad), ylabel=axis_label(name, unit))
    axes[-1].set_xlabel("time (s)")
    finish(figure, axes[0])
    title = f"Rollouts of the {which} cell"
    shown = "Two held-out trajectories" if "true.q0[1]" in metrics else "One held-out trajectory"
    caption = (
        f"{shown} by the learned dynamics (dashed) and {truth} (solid); "
        f"first replicate (n = 1) of the cell {_RANK[which]} median rollout error "
        f"({design.label(cell) or cell}). A curve out of the frame has left the {true} range."
    )
    alt = (
        f"Coordinates over {number(float(data['time'].max()))} s, learned against "
        f"{true}, {shown.partition(' ')[0].lower()} held out."
    )
    return Plot(f"rollouts_{which}", title, caption, alt, pd.DataFrame(data), figure)


_RANK = {"best": "with the lowest", "middle": "with the middle"}
_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def axis_label(name: str, unit: str) -> str:
    """A coordinate as a physicist writes it: θ₁ (rad)."""
    return f"{name.replace('theta', 'θ').translate(_LOWERED)} ({unit})"


def coordinates_of(cell: pd.Series, D: int) -> list[tuple[str, str]]:
    """(name, unit) of each coordinate: the table's, or the system's if the table has none."""
    listed = re.findall(r"([^,()]+) \(([^()]*)\)", str(cell.get("coordinates")))
    if len(listed) == D:
        return [(name.strip(), unit) for name, unit in listed]
    system = SYSTEMS.get(str(cell["system"]))
    return list(system.coordinates) if system else [(f"q{i}", "rad or m") for i in range(D)]


def _energy(curves: pd.DataFrame, cell: str, which: str) -> Plot:
    """The true energy function along two rollouts."""
    figure, (axis,) = canvas(height=3.1)
    data = _pairs(axis, curves, cell, "energy", "energy")
    axis.set(xlabel="time (s)", ylabel="energy / energy scale")
    finish(figure, axis)
    title = f"Energy along the rollouts of the {which} cell"
    caption = (
        "True energy function along the learned (dashed) and the true trajectories (solid),"
        f" over the system's energy scale; the two rollouts of the cell {_RANK[which]} median "
        "rollout error."
    )
    alt = "Energy over time along two learned and two true trajectories."
    return Plot(f"energy_{which}", title, caption, alt, pd.DataFrame(data), figure)


def _power(curves: pd.DataFrame, cell: str, which: str) -> Plot:
    """Where the energy goes along the first rollout, by the model's own Lagrangian and forces."""
    own = curves.loc[(curves["cell"] == cell) & curves["metric"].str.startswith("power.")]
    own = own.loc[own["replicate"] == own["replicate"].min()]
    wide = own.pivot_table(index="x", columns="metric", values="value", dropna=False)
    parts = {name: wide[f"power.{name}[0]"].to_numpy(float) for name in (GAINED, *WORK)}
    rest = parts[GAINED] - sum(parts[name] for name in WORK)
    figure, (axis,) = canvas(height=3.1)
    data = {"time": wide.index.to_numpy(float), **parts, "rest": rest}
    for k, (name, label) in enumerate({GAINED: "energy gained", **WORK}.items()):
        if np.nanmax(np.abs(parts[name])) > 0:
            axis.plot(data["time"], parts[name], color=COLOURS[k], linewidth=1.5, label=label)
    axis.plot(data["time"], rest, color=REFERENCE, linewidth=1.2, ls=(0, (4, 2)), label="the rest")
    axis.set(xlabel="time (s)", ylabel="energy / mean kinetic energy")
    finish(figure, axis)
    caption = (
        "Energy that the learned Lagrangian says was gained since the start of the first rollout, "
        "and the work of the learned forces on the way; the rest is zero but for the errors of the "
        f"solver, at most {number(float(np.nanmax(np.abs(rest))))}. One network of the cell "
        f"{_RANK[which]} median rollout error."
    )
    alt = "Energy gained, and the work of friction and inputs, over time along one rollout."
    title = f"Where the energy goes, {which} cell"
    return Plot(f"power_{which}", title, caption, alt, pd.DataFrame(data), figure)


def _pairs(
    axis: Axes,
    curves: pd.DataFrame,
    cell: str,
    metric: str,
    name: str,
    true: str = "true",
    angle: bool = False,
) -> dict[str, np.ndarray]:
    """Draw two trajectories of a cell's first replicate that has them, true (solid) and learned
    (dashed).

    **Returns:** what was drawn: `time`, `true.<name>[k]` and `learned.<name>[k]`.
    """
    wide = trajectories(curves, cell)
    time = wide.index.to_numpy()
    drawn = {"time": time}
    for k in (0, 1):
        if f"true.{metric}[{k}]" not in wide:
            continue
        pair = wide[[f"true.{metric}[{k}]", f"learned.{metric}[{k}]"]].to_numpy()
        pair = continuous(pair) if angle else pair
        drawn[f"true.{name}[{k}]"], drawn[f"learned.{name}[{k}]"] = solid, dashed = pair.T
        label, colour = f"trajectory {k + 1}", COLOURS[k]
        axis.plot(time, solid, color=colour, lw=1.6, alpha=0.55, label=f"{label}, {true}")
        axis.plot(time, dashed, color=colour, lw=1.3, ls=(0, (4, 2)), label=f"{label}, learned")
    return drawn


def _growth(growth: pd.DataFrame, design: Design, cells: list[str]) -> Plot:
    figure, (axis,) = canvas(height=4.4)
    data = _lines(axis, growth, design, cells, {"error": "-"}, after=0.0)
    axis.axhline(0.5, color=REFERENCE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    axis.set(xlabel="time (s)", ylabel="error / standard deviation of the coordinate")
    decade_axis(axis)
    finish(figure, axis)
    caption = (
        f"Median over held-out trajectories, then over {span(data['replicates'], 'replicate')}, of "
        "cells from the best to the worst. Dashed line: 0.5, where the valid time ends. Intervals "
        "over replicates are drawn for the rollout error, not here."
    )
    alt = (
        f"Normalised error against time on a logarithmic axis for {len(cells)} cells from the best "
        "to the worst."
    )
    return Plot("error_growth", "How the error grows along a rollout", caption, alt, data, figure)


def _training(training: pd.DataFrame, design: Design, cells: list[str]) -> Plot:
    figure, (axis,) = canvas(height=4.4)
    data = _lines(axis, training, design, cells, {"test_nmse_median": "-", "train_nmse": ":"})
    axis.set(xlabel="optimiser step", ylabel="error (normalised square)")
    decade_axis(axis)
    finish(figure, axis)
    caption = (
        "Median test error (solid) and mean train error (dotted) over the training, median of "
        f"{span(data['replicates'], 'replicate')}, of cells from the best to the worst in rollout "
        "error. Intervals over replicates are drawn for the final errors, not here."
    )
    alt = f"Test and train error against optimiser steps for {len(cells)} cells."
    return Plot("training", "Training", caption, alt, data, figure)


def _lines(
    axis: Axes,
    curves: pd.DataFrame,
    design: Design,
    cells: list[str],
    styles: dict[str, str],
    after: float = -np.inf,
) -> pd.DataFrame:
    """Draw medians over replicates against x, one thin line for each metric of `styles` and cell;
    solid ones are in the legend. A value that is not finite counts as infinite."""
    curves = curves.loc[curves["metric"].isin(list(styles))]
    filled = curves.assign(value=curves["value"].where(np.isfinite(curves["value"]), np.inf))
    grouped = filled.groupby(["cell", "metric", "x"], sort=True)["value"]
    data = grouped.agg(median="median", replicates="size").reset_index()
    labels = {cell: design.label(cell) for cell in data["cell"].unique()}
    drawn = data.loc[(data["median"] > 0) & np.isfinite(data["median"]) & (data["x"] > after)]
    for metric, line in styles.items():
        for k, cell in enumerate(cells):
            own = drawn.loc[(drawn["cell"] == cell) & (drawn["metric"] == metric)]
            label = (design.label(cell) or cell) if line == "-" else None
            thin = {"ms": 4, "markevery": (k, max(1, len(own) // 6)), **look(k, len(cells))}
            axis.plot(own["x"], own["median"], ls=line, label=label, **thin)
    return data.assign(setting=[labels[cell] for cell in data["cell"]])


def continuous(pair: np.ndarray) -> np.ndarray:
    """Two angles without jumps of 2 pi, both starting on the same turn; NaN ends a curve."""
    out = pair.copy()
    for column in out.T:
        finite = np.isfinite(column)
        column[finite] = np.unwrap(column[finite])
    out[:, 1] += 2 * np.pi * np.round((out[0, 0] - out[0, 1]) / (2 * np.pi))
    return out


QUESTION = Question(_answers, _plots, place=100)
