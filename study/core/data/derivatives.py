"""Velocities and accelerations from sampled positions, along one trajectory.

By local polynomials (Savitzky and Golay 1964, Anal. Chem. 36, 1627) or quintic splines. Both are of
fourth order in the step for the second derivative of exact positions. Noise in the positions is
amplified by about 1 / (step window)^2: use a longer window, or a smoothing spline. Angles have to
be unwrapped. If steps are uneven, the polynomials are fitted at the true times; times that are
rounded from an even grid are taken to be on it.
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
SNAPPED = 1e-9  # of a step: times on an even grid to so much are on it
DECIMALS = 9  # decimals that times may be rounded to


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
        if (step := even_step(times)) is not None:
            times = times[0] + step * np.arange(len(times))
        if self.name == "savgol" and step is None:
            return local_polynomials(times, values, self.window)
        if self.name == "savgol":
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


def even_step(times: Float[Array, " n"]) -> float | None:
    """The step of the even grid that the times are on, or are rounded from; None if on none.

    Times with k decimals are rounded from a grid if they are off it by three quarters of a unit of
    the last one at most: half a unit, and what the grid itself is off by.
    """
    counts = np.arange(len(times))
    step = float(times[-1] - times[0]) / (len(times) - 1)
    finest = SNAPPED * step + 2 * np.spacing(np.abs(times).max())
    if np.abs(times - times[0] - step * counts).max() <= finest:
        return step
    start, step = np.polynomial.polynomial.polyfit(counts, times, 1)
    off = np.abs(times - start - step * counts).max()
    for unit in 10.0 ** -np.arange(DECIMALS + 1):
        if 0.75 * unit >= off and np.abs(np.rint(times / unit) * unit - times).max() <= finest:
            return float(step)
    return None


def local_polynomials(
    times: Float[Array, " n"], values: Float[Array, "n D"], window: int
) -> tuple[Float[Array, "n D"], Float[Array, "n D"], Float[Array, "n D"]]:
    """Value and first two derivatives of the polynomial that fits the `window` points about each.

    At even steps they are Savitzky and Golay's.
    """
    n = len(times)
    first = np.clip(np.arange(n) - window // 2, 0, n - window)
    reach = np.abs(times[np.stack([first, first + window - 1])] - times).max(0)
    moments, products = np.zeros((2 * DEGREE + 1, n)), np.zeros((DEGREE + 1, *values.shape))
    for k in range(window):  # normal equations in times of order one, from each point's own
        powers = np.vander((times[first + k] - times) / reach, 2 * DEGREE + 1, increasing=True).T
        moments += powers
        products += powers[: DEGREE + 1, :, None] * (values[first + k] - values)
    order = np.arange(DEGREE + 1)
    gram = moments[order[:, None] + order].transpose(2, 0, 1)
    fitted = np.linalg.solve(gram, products.transpose(1, 0, 2))
    reach = reach[:, None]
    return values + fitted[:, 0], fitted[:, 1] / reach, 2 * fitted[:, 2] / reach**2
