"""Noise of sampled positions, and local polynomials that smooth them, at even or uneven times.

The estimate of the noise uses combinations of k + 1 neighbouring samples that vanish for every
polynomial of degree k - 1 (von Neumann 1941, Ann. Math. Statist. 12, 367, for k = 1). Of a smooth
motion they leave less the higher k is, of noise always its own size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
from jaxtyping import Bool, Float

from study.core.data.derivatives import DEGREE, SHORTEST_WINDOW, Method

Array = np.ndarray

Track = tuple[Float[Array, " _"], Float[Array, "_ D"]]  # times and values of one trajectory

ORDERS = range(2, 9)  # k of the differences; among them the motion is smooth enough for some
WINDOWS = (7, 9, 11, 15, 21, 31, 41, 61, 81, 121, 161)  # points that are chosen among
SETTLED = 0.8  # noise leaves 1 of another estimate of it, motion less
USUAL = 0.6745  # the median size of a normal deviate
LARGEST = 0.5  # of a column's own deviation: more is motion that is sampled too seldom
MOST = 20_000  # differences of a trajectory, spread evenly: more change an estimate by under 1 %
TINY = np.finfo(float).tiny


def noise(tracks: Sequence[Track]) -> Float[Array, " D"]:
    """Standard deviation of each coordinate's noise.

    It is an upper bound if the motion is not smooth on the scale of a few samples.

    **Raises:** `ValueError` if no trajectory has more samples than the lowest order.
    """
    return np.min([np.sqrt(np.square(r).mean(0)) for r in _by_order(tracks)], axis=0)


def is_noise(tracks: Sequence[Track]) -> Bool[Array, " D"]:
    """Whether `noise` is that of each coordinate, and not an upper bound.

    Of noise the estimate is the same for all high orders, and by the median as by the mean square;
    of motion that is sampled too seldom it falls on, or belongs to its fastest moments.
    """
    residuals, spread = _by_order(tracks), np.concatenate([x for _, x in tracks]).std(0)
    if len(residuals) < 3:
        return np.zeros(len(spread), bool)
    before, last = (np.sqrt(np.square(residuals[k]).mean(0)) for k in (-3, -1))
    usual = np.median(np.abs(residuals[-1]), axis=0) / USUAL
    return (last >= SETTLED * before) & (usual >= SETTLED * last) & (last <= LARGEST * spread)


def _by_order(tracks: Sequence[Track]) -> list[Float[Array, "m D"]]:
    """The differences of each order."""
    differences = [
        np.concatenate(own)
        for k in ORDERS
        if (own := [_differences(t, x, k) for t, x in tracks if len(t) > k])
    ]
    if not differences:
        raise ValueError(f"no trajectory has more than {ORDERS[0]} samples")
    return differences


def _differences(t: Float[Array, " n"], x: Float[Array, "n D"], k: int) -> Float[Array, "m D"]:
    """Divided differences of order k, scaled to weights of unit norm."""
    every = -(-len(t) // MOST)
    windows = np.lib.stride_tricks.sliding_window_view(t, k + 1)[::every]
    apart = windows[:, :, None] - windows[:, None, :]
    apart = apart / (windows[:, -1:] - windows[:, :1])[:, :, None] + np.eye(k + 1)
    weights = 1 / apart.prod(2)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    values = np.lib.stride_tricks.sliding_window_view(x, k + 1, axis=0)[::every]
    return np.einsum("mk,mdk->md", weights, values)


def local_polynomial(
    times: Float[Array, " n"], values: Float[Array, "n D"], window: int
) -> Float[Array, "3 n D"]:
    """The values smoothed, and their first and second time derivatives, by `derivatives.Method`.

    Near the ends the window stays inside, so that the estimate there is one-sided.
    """
    return np.stack(Method("savgol", window, 0.0)(times, values))


def chosen_window(tracks: Sequence[Track], sigma: Float[Array, " D"]) -> int:
    """The window with the least estimated error of the smoothed positions.

    Mallows' C_p (1973, Technometrics 15, 661): the mean square of the residual plus 2 sigma^2 tr(S)
    / n, each coordinate in units of its noise.
    """
    risks = {}
    for window in WINDOWS:
        residuals = [
            (x - local_polynomial(t, x, window)[0])[window // 2 : len(t) - window // 2]
            for t, x in tracks
            if len(t) >= 2 * window
        ]
        if not residuals:
            break
        middle = scipy.signal.savgol_coeffs(window, DEGREE)[window // 2]
        square = (np.concatenate(residuals) ** 2).mean(0) / np.maximum(sigma**2, TINY)
        risks[window] = float((square + 2 * middle).mean())
    return min(risks, key=risks.__getitem__) if risks else SHORTEST_WINDOW
