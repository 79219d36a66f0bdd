"""The noise of measured columns, and the error that it leaves in the measured accelerations.

Noise is taken to be white. It is drawn anew, added to the held-out trajectories and put through the
estimate of the rates that they went through themselves: what changes is the error of the labels.
What the estimate bends of the motion itself is not in it.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from study.core.data.derivatives import Method
from study.core.data.smoothing import is_noise, noise
from study.core.data.trajectory import Trajectory

Array = np.ndarray

DRAWS = 20_000  # accelerations
COLUMNS = ("q", "qdot", "qddot")
WORDS = {"q": ("", ""), "qdot": ("the rate of ", "/s"), "qddot": ("the acceleration of ", "/s²")}


@dataclasses.dataclass(frozen=True)
class Noise:
    """The noise of one recording, SI units.

    - `columns`: standard deviation (D) of the positions, and of the rates that were measured.
    - `told`: whether it is told from the motion; it is an upper bound if not.
    - `labels`: errors (m, D) that it leaves in accelerations, drawn; `source`: the columns that the
      accelerations come from.
    """

    columns: Mapping[str, Float[Array, " D"]]
    told: Mapping[str, Bool[Array, " D"]]
    labels: Float[Array, "m D"]
    source: str

    @classmethod
    def of(
        cls, training: Sequence[Trajectory], held_out: Sequence[Trajectory], method: Method
    ) -> Noise | None:
        """That of trajectories whose missing rates `method` estimates; None if all are short."""
        pieces, columns, told = [*training, *held_out], {}, {}
        given = [name for name in COLUMNS if getattr(pieces[0], name) is not None]
        for name in given:
            tracks = [(piece.times, getattr(piece, name)) for piece in pieces]
            try:
                columns[name] = noise(tracks)
            except ValueError:
                return None
            told[name] = is_noise(tracks)
        order = COLUMNS[::-1].index(source := given[-1])
        rows = sum(len(piece) for piece in held_out)
        copies, rng, drawn = -(-DRAWS // rows), np.random.default_rng(0), list[Array]()
        for piece in held_out:
            shape = (len(piece), copies, piece.q.shape[1])
            added = columns[source] * rng.standard_normal(shape)
            if order:
                added = _through(method, piece.times, getattr(piece, source), added, order)
            drawn.append(added.reshape(-1, shape[2]))
        return cls(columns, told, np.concatenate(drawn), source)

    @property
    def deviations(self) -> Float[Array, " D"]:
        """Standard deviation of the errors of the accelerations, (rad or m) / s^2."""
        return np.sqrt(np.square(self.labels).mean(0))

    def floors(self, variance: Float[Array, " D"]) -> tuple[float, float]:
        """Mean and median of their normalised square; NaN if motion may be all there is.

        - `variance`: of the accelerations that errors are normalised by.
        """
        if not self.told[self.source].all():
            return np.nan, np.nan
        errors = (np.square(self.labels) / variance).mean(1)
        return float(errors.mean()), float(np.median(errors))

    def remark(
        self,
        coordinates: Sequence[tuple[str, str]],
        variance: Float[Array, " D"],
    ) -> str:
        """One sentence on all columns, with units; `variance` as for `floors`."""
        each = [
            f"{words}{name} {'' if told else 'at most '}{sigma:.2g} {unit}{per}"
            for key, (words, per) in WORDS.items()
            if key in self.columns
            for (name, unit), sigma, told in zip(
                coordinates, self.columns[key], self.told[key], strict=True
            )
        ]
        noise_is = f"the noise is {', '.join(each)} (standard deviations)"
        mean, median = self.floors(variance)
        if np.isnan(mean):
            return (
                f"{noise_is}; samples are too few, too exact or too far apart to tell it from "
                "motion, and so what it leaves in the accelerations is not known"
            )
        left = ", ".join(
            f"{size:.2g} {unit}/s² of {name}"
            for size, (name, unit) in zip(self.deviations, coordinates, strict=True)
        )
        return (
            f"{noise_is}; it leaves {left} in the accelerations: {mean:.2g} of their variance "
            f"(median {median:.2g})"
        )


def _through(
    method: Method,
    times: Array,
    values: Float[Array, "n D"],
    added: Float[Array, "n k D"],
    order: int,
) -> Float[Array, "m k D"]:
    """What k draws of noise, added to a smooth curve, change in its derivative of this order."""
    n, k, D = added.shape
    if method.smoothing and method.name == "spline":  # which noise itself bends
        curve, *rates = method(times, values)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of single draws that are hard to fit
            noisy = method(times, (curve[:, None] + added).reshape(n, k * D))[order]
        changed = noisy.reshape(added.shape) - rates[order - 1][:, None]
    else:
        changed = method(times, added.reshape(n, k * D))[order].reshape(added.shape)
    return changed[method.margin : n - method.margin]
