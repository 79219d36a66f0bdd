"""Velocities and accelerations from sampled positions, along one trajectory.

By local polynomials (Savitzky and Golay 1964, Anal. Chem. 36, 1627) or quintic splines. Both are of
fourth order in the step for the second derivative of exact positions. Noise in the positions is
amplified by about 1 / (step window)^2: use a longer window, or a smoothing spline. Angles have to
be unwrapped.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy  # its submodules are loaded on first use
from jaxtyping import Float

Array = np.ndarray

DEGREE = 4  # of the local polynomials: the second derivative's error is then of order step^4
SHORTEST_WINDOW = DEGREE + 3  # odd, and with one point to spare
SPLINE_DEGREE = 5
SPLINE_MARGIN = 3  # points at each end of a spline with derivatives of lower order
UNEVEN = 1e-3  # of the usual step: local polynomials need even steps


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to estimate derivatives.

    **Arguments:**

    - `name`: `savgol` or `spline`.
    - `window`: points of a local polynomial, odd.
    - `smoothing`: standard deviation of the noise that a spline does not follow.
    """

    name: str
    window: int
    smoothing: float

    @property
    def margin(self) -> int:
        """Points at each end of a trajectory with a one-sided estimate: not to be used."""
        return self.window // 2 if self.name == "savgol" else SPLINE_MARGIN

    @property
    def fewest(self) -> int:
        """Points that a trajectory needs to keep two."""
        return 2 * self.margin + 2

    def __call__(
        self, times: Float[Array, " n"], values: Float[Array, "n D"]
    ) -> tuple[Float[Array, "n D"], Float[Array, "n D"], Float[Array, "n D"]]:
        """The values themselves, smoothed, and their first and second time derivatives."""
        if self.name == "savgol":
            step = (times[-1] - times[0]) / (len(times) - 1)
            a, b, c = (
                np.asarray(
                    scipy.signal.savgol_filter(values, self.window, DEGREE, order, step, axis=0)
                )
                for order in range(3)
            )
            return a, b, c
        if not self.smoothing:
            spline = scipy.interpolate.make_interp_spline(times, values, k=SPLINE_DEGREE)
            return values, spline(times, 1), spline(times, 2)
        allowed = len(times) * self.smoothing**2
        columns = [
            scipy.interpolate.UnivariateSpline(times, v, k=SPLINE_DEGREE, s=allowed)
            for v in values.T
        ]
        a, b, c = (np.stack([s(times, order) for s in columns], axis=1) for order in range(3))
        return a, b, c


def uneven_step(times: Float[Array, " n"]) -> int | None:
    """The first step that differs from the median by more than a thousandth; None if none."""
    steps = np.diff(times)
    usual = np.median(steps)
    off = np.abs(steps - usual) > UNEVEN * usual
    return int(off.argmax()) if off.any() else None
