"""The page of a fitted recording, its tables, and the model for use elsewhere."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd

from study.analysis import style
from study.analysis.style import Plot, canvas, finish
from study.analysis.words import number, plural
from study.block.fit import Fit, Value
from study.core.files import write_text
from study.core.models import portable
from study.page import page

FLOOR = 3.0  # errors within this factor count as alike: of the noise, of another model
FALLS = 1.5  # an error that falls by so much from half the pieces to all falls on
LOSES = 0.05  # of the energy in a motion: a smaller loss of energy is none
OTHER = (
    "one that grows otherwise than the velocity (dry friction, drag of the air) or an input that "
    "was not recorded"
)
GRID = 121  # points of a curve over a coordinate
CURVES = 2  # held-out trajectories that are drawn
CHOICES = {
    "window": "samples of a smoothing polynomial",
    "half_width": "half a test function, s",
    "scale": "inverse length of the features, scaled units",
    "n_params": "unknowns",
    "n_features": "features",
    "held_out": "error that chose all this, scaled units",
    "indefinite": "share of the states at which M is not positive definite",
}


def summary(fit: Fit) -> list[str]:
    """What came of it, in a few sentences."""
    own, *others = fit.scores
    lines = [
        f"{own.name}: error of held-out accelerations {_value(own.acceleration)} (median square "
        f"over variance), a rollout right for {_value(own.valid_time)} of {number(fit.horizon)} s."
    ]
    lines += [
        f"Beside it, {score.name}: {_value(score.acceleration)} and {_value(score.valid_time)} s."
        for score in others
    ]
    lines += [*_forces(fit), *_mass(fit), _limits(fit), *(f"{remark}." for remark in fit.remarks)]
    return [line[0].upper() + line[1:] for line in lines]


def write(fit: Fit, folder: Path, file: str) -> Path:
    """Write page, figures, `fit.json` and the model into a folder; the page's path."""
    target = folder / "report" / "index.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    portable.save(fit.fitted.portable(), folder / "model.npz")
    shutil.copy(portable.__file__, folder / "lagrangian.py")
    write_text(folder / "fit.json", json.dumps(_numbers(fit), indent=1))
    with mpl.rc_context(style.RC):
        drawn = [style.draw(plot) for plot in plots(fit)]
    style.save(drawn, folder / "report" / "figures")
    text = page.filled(
        "fitted.html.jinja",
        plural=plural,
        title=f"The law of motion in {file}",
        summary=summary(fit),
        figures=[page.figure(one) for one in drawn],
        scores=[
            (s.name, _value(s.acceleration), _value(s.valid_time), number(s.seconds, 2))
            for s in fit.scores
        ],
        horizon=number(fit.horizon),
        choices=[
            (CHOICES.get(name, name.replace("_", " ")), number(v) if isinstance(v, float) else v)
            for name, v in dataclasses.asdict(fit.fitted.choices).items()
        ],
        noise=[
            (name, f"{number(sigma)} {unit}")
            for (name, unit), sigma in zip(fit.system.coordinates, fit.fitted.noise, strict=True)
        ],
        pieces=(len(fit.recording.training), len(fit.recording.held_out)),
    )
    write_text(target, text)
    return target


def _value(value: Value) -> str:
    """With its interval, to as many digits as tell its ends apart, four at most."""
    if np.isnan(value[1]):
        return f"{number(value[0])} (one piece, no interval)"
    digits = next((n for n in (2, 3, 4) if number(value[1], n) != number(value[2], n)), 2)
    middle, low, high = (number(x, digits) for x in value)
    return f"{middle} [{low}, {high}]"


def _forces(fit: Fit) -> list[str]:
    """Friction and inputs over the mass, free of the scale of L, with intervals."""
    fitted, lines = fit.fitted, list[str]()
    names = [name for name, _ in fit.system.coordinates]
    over_mass = "(entries {} of M⁻¹{} at the mean M)"
    if not fitted.forced.forces.n_friction:
        lines.append(_conservative(fit))
    else:
        if np.isfinite(fit.friction_gain):
            lines.append(
                "The motion loses energy: friction lowers the error of held-out motion "
                f"{number(fit.friction_gain)}-fold."
            )
        rates = fitted.rates
        low, high = rates.interval()
        each = (
            f"{name} {_value((rates.mean[i, i], low[i, i], high[i, i]))}"
            for i, name in enumerate(names)
        )
        of = over_mass.format("i, i", "C")
        lines.append(f"Friction over mass {of}, 1/s: {', '.join(each)}.")
    if fit.inputs:
        matrix = np.linalg.solve(fitted.mean_mass, fitted.input_matrix)
        each = (
            f"{given} on {name} {number(matrix[i, j], 3)}"
            for j, given in enumerate(fit.inputs)
            for i, name in enumerate(names)
        )
        of = over_mass.format("i, j", "B")
        lines.append(f"Inputs over mass {of}, in SI units: {', '.join(each)}.")
    return lines


def _conservative(fit: Fit) -> str:
    """What a fit without friction says of friction."""
    if not np.isfinite(fit.friction_gain):
        return "Whether the motion is conservative was not asked: friction=none."
    changes = (
        "with friction in proportion to the velocity the error of held-out motion is "
        f"{number(1 / fit.friction_gain)} times as large"
    )
    lost, seconds = fit.energy_lost()
    if abs(lost) < LOSES:
        return f"The motion is conservative within its noise: {changes}."
    return (
        f"The motion {'loses' if lost > 0 else 'gains'} energy, {number(100 * abs(lost))} % of "
        f"the range of its potential or kinetic energy in {number(seconds)} s (median over the "
        f"pieces), and {changes}: another force is at work, {OTHER}."
    )


def _mass(fit: Fit) -> list[str]:
    """A warning of a mass matrix that no mechanics has."""
    if not (share := fit.fitted.choices.indefinite):
        return []
    return [
        f"The fitted mass matrix is not positive definite at {number(100 * share)} % of the "
        "recorded states: accelerations are wrong near them. More motion, or the network, would "
        "cure it."
    ]


def _limits(fit: Fit) -> str:
    """What limits the result: noise, data, forces, features or model."""
    error, network, free = (score.acceleration[0] for score in fit.scores)
    if error < FLOOR * fit.noise_floor:
        return (
            "The noise of the positions limits what can be seen: the error on the estimated "
            f"accelerations, {number(error)}, is within a factor of {FLOOR:g} of the "
            f"{number(fit.noise_floor)} that it leaves in them, and the Lagrangian may be better "
            "than that."
        )
    if fit.half > FALLS * error:
        return (
            f"The data limit it: with half of the pieces the error is {number(fit.half)}, with "
            f"all {number(error)}; more, or other, motion would lower it."
        )
    seen = (
        f"Neither noise (floor {number(fit.noise_floor)}) nor the number of pieces (with half of "
        f"them {number(fit.half)}) limits the error of {number(error)}"
    )
    if min(error, network) > FLOOR * max(free, fit.noise_floor):
        return (
            f"{seen}: the forces do. Without mechanics it is {number(free)}, so that the "
            f"Lagrangian lacks a force: {OTHER}."
        )
    if error > FLOOR * network:
        return (
            f"{seen}: the features of this fit do. The network of the same mechanics has "
            f"{number(network)}: take that, by study.fit(..., model='structured_lnn')."
        )
    return f"{seen}: the model does. The first suspect is another force: {OTHER}."


def _numbers(fit: Fit) -> dict:
    """All figures of the page; null where one is unknown, which JSON has no NaN for."""
    fitted, rates = fit.fitted, fit.fitted.rates

    def known(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    return {
        "scores": [
            {
                "model": s.name,
                "acceleration": [known(x) for x in s.acceleration],
                "valid_time": [known(x) for x in s.valid_time],
                "seconds": s.seconds,
            }
            for s in fit.scores
        ],
        "horizon": fit.horizon,
        "noise": fitted.noise.tolist(),
        "noise_floor": fit.noise_floor,
        "friction_gain": known(fit.friction_gain),
        "half": known(fit.half),
        "choices": {
            name: known(value) if isinstance(value, float) else value
            for name, value in dataclasses.asdict(fitted.choices).items()
        },
        "friction_over_mass": rates.mean.tolist(),
        "friction_over_mass_errors": rates.error.tolist(),
        "input_matrix": fitted.input_matrix.tolist(),
        "remarks": fit.remarks,
    }


def plots(fit: Fit) -> list[Plot]:
    """Rollouts, the Lagrangian over the coordinates, energy, and the errors side by side."""
    return [_errors(fit), _rollouts(fit), _terms(fit), _energy(fit)]


def _errors(fit: Fit) -> Plot:
    rows = [(s.name, *s.acceleration) for s in fit.scores]
    data = pd.DataFrame(rows, columns=["model", "median", "low", "high"])
    figure, (axis,) = canvas(height=0.9 + 0.35 * len(data))
    style.dot_plot(axis, list(data["model"]), {"": data})
    if fit.noise_floor:
        axis.axvline(fit.noise_floor, color=style.REFERENCE, linestyle=(0, (4, 3)), linewidth=0.9)
    style.log_axis(axis, "x")
    axis.set_xlabel("error of held-out accelerations (median square over variance)")
    finish(figure)
    n = plural(len(fit.recording.held_out), "held-out piece")
    caption = f"Median over the states of {n}, with 95 % bootstrap intervals over blocks." + (
        " Dashed: what noise of the positions leaves in the accelerations it is compared with."
        if fit.noise_floor
        else ""
    )
    alt = "; ".join(f"{name}: {number(middle)}" for name, middle, _, _ in rows)
    return Plot("errors", "How good is it?", caption, alt, data, figure)


def _rollouts(fit: Fit) -> Plot:
    D, times, K = fit.system.n_dof, fit.held_out.times, min(CURVES, len(fit.held_out.states))
    figure, axes = canvas(D, K, height=0.6 + 1.8 * D, sharex=True)
    curves = {"measured": fit.held_out.states, **{s.name: s.rolled for s in fit.scores}}
    parts = []
    for k in range(K):
        for i, (name, unit) in enumerate(fit.system.coordinates):
            axis = axes[i * K + k]
            measured = curves["measured"][k, :, i]
            pad = 0.3 * max(np.ptp(measured), 1e-9)
            for c, (label, states) in enumerate(curves.items()):
                look: dict[str, Any] = {"color": "black", "lw": 2.2} if not c else {"lw": 1.1}
                axis.plot(times, states[k, :, i], label=label, **look)
                about = {"trajectory": k, "coordinate": name, "curve": label}
                parts.append(pd.DataFrame({"t": times, "value": states[k, :, i], **about}))
            axis.set_ylim(measured.min() - pad, measured.max() + pad)
            axis.set_ylabel(f"{name} ({unit})")
    for axis in axes[-K:]:
        axis.set_xlabel("time (s)")
    finish(figure, axes[0], columns=4)
    caption = (
        f"Motion from {plural(K, 'held-out start')}: as it was measured, and as each model rolls "
        "it out. No interval: single trajectories."
    )
    alt = f"Curves of {D} coordinates against time for {K} trajectories."
    return Plot("rollouts", "Where does it go?", caption, alt, pd.concat(parts), figure)


def _terms(fit: Fit) -> Plot:
    D, q = fit.system.n_dof, fit.recording.points.q
    figure, axes = canvas(2, D, height=4.6, sharex="col", sharey="row")
    middle, parts = np.median(q, axis=0), []
    names = [name for name, _ in fit.system.coordinates]
    lower = [(a, b) for a in range(D) for b in range(a + 1)]
    labels = [f"M {names[a]} {names[b]}" if D > 1 else "M" for a, b in lower]
    for i, (name, unit) in enumerate(fit.system.coordinates):
        low, high = np.quantile(q[:, i], [0.005, 0.995])
        along = np.tile(middle, (GRID, 1))
        along[:, i] = np.linspace(low, high, GRID)
        still = np.zeros_like(along)
        mass, potential = fit.fitted.mass_matrix(along, still), fit.fitted.energy(along, still)
        for label, (a, b) in zip(labels, lower, strict=True):
            axes[i].plot(along[:, i], mass[:, a, b], label=label)
        axes[D + i].plot(along[:, i], potential - potential.min(), label="V")
        axes[D + i].set_xlabel(f"{name} ({unit})")
        columns = {label: mass[:, a, b] for label, (a, b) in zip(labels, lower, strict=True)}
        about = {"coordinate": name, "at": along[:, i], "V": potential - potential.min()}
        parts.append(pd.DataFrame(about | columns))
    axes[0].set_ylim(bottom=min(0.0, axes[0].get_ylim()[0]))
    axes[0].set_ylabel("mass matrix")
    axes[D].set_ylabel("potential")
    finish(figure, axes[0], columns=6)
    scale = (
        "in SI units, which an input fixes"
        if fit.fitted.absolute
        else "in units in which the mean of tr M is D: accelerations do not see the scale of L"
    )
    caption = (
        "Entries of the mass matrix and the potential over each coordinate, the others at their "
        f"medians, {scale}. Drawn where the recording was; no interval: one fit."
    )
    alt = f"Curves of the mass matrix and the potential over {plural(D, 'coordinate')}."
    return Plot("terms", "What is the Lagrangian?", caption, alt, pd.concat(parts), figure)


def _energy(fit: Fit) -> Plot:
    motion, fitted = max(fit.recording.held_out, key=lambda m: m.duration), fit.fitted
    energy = fitted.energy(motion.q, motion.qdot)
    span = max(float(np.ptp(fitted.energy(motion.q, 0 * motion.q))), 1e-300)
    change = (energy - energy[0]) / span
    curves = {"energy": change}
    names = ["friction"] if fitted.forced.forces.n_friction else []
    by = " and ".join([*names, *fit.inputs])
    if by:
        power = fitted.power(motion.qdot, motion.u)
        steps = np.diff(motion.times) * (power[1:] + power[:-1]) / 2
        curves[f"work of {by}"] = np.concatenate([[0.0], np.cumsum(steps)]) / span
    figure, (axis,) = canvas(height=2.8)
    times = motion.times - motion.times[0]
    for label, values in curves.items():
        axis.plot(times, values, label=label)
    axis.set_xlabel("time (s)")
    axis.set_ylabel("change of energy\n/ range of V")
    finish(figure, axis)
    caption = (
        "The fitted energy along the longest held-out piece, as measured, from its begin, over the "
        "range of the potential there"
        + (f", and the work of {by}, as fitted" if by else "")
        + ". One trajectory, no interval."
    )
    alt = f"Energy against time; it ends at {number(change[-1])}."
    return Plot(
        "energy", "Is energy kept?", caption, alt, pd.DataFrame({"t": times, **curves}), figure
    )
