"""Error against N or P as a power law with a floor, E(x) = A x^-alpha + E_inf, one side at a time.

A law cannot hold a peak, so the under- and overparameterised sides are fitted apart. A fit that
the data do not support says why.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from study.analysis.statistics.medians import Estimate, Medians
from study.analysis.statistics.peaks import peak
from study.analysis.statistics.ratios import rises

FEWEST = 5  # points: three parameters leave two to disagree
LEAST_R2 = 0.9  # in log error
WIDEST = 1.0  # of the interval of alpha
MISFIT = 3.0  # residual over the standard error of the medians; and at least
VISIBLE = 0.1  # so large in log error
STEEPEST = 8.0  # alpha at its bound
# The loss turns from squares to absolute values at so many standard errors of the medians, where
# Huber's estimator is 95 % as efficient as least squares on normal scatter. Hoffmann et al. take
# 1e-3, far below the scatter here: three parameters then go exactly through three of the points.
HUBER = 1.345
REFITS = 1000  # bootstrap draws
ITERATIONS = 100  # of Gauss-Newton at most
RISES, LOW_R2 = "the curve rises", "R² too low"
BEYOND = "residuals beyond the replicates' scatter"
AGAINST = {RISES, LOW_R2, BEYOND}  # what speaks against a law
DEEPEST = 12.0  # how far below the smallest median, in log, a floor may lie
FLAT = 1e-3  # of the loss: fits as good as that are equal, and the least exponent is taken


@dataclass(frozen=True)
class Law:
    """A fit of one side of a curve.

    - `alpha`, `floor`: with bootstrap intervals; `amplitude`: A, the law less its floor at x = 1.
    - `r2`: in log error. `residual`: root mean square in log error; `scatter`: standard error of
      the medians in log error, over replicates.
    - `x`: the points. `reasons`: why the data do not support the law; empty if they do.
    """

    alpha: Estimate
    floor: Estimate
    amplitude: float
    r2: float
    residual: float
    scatter: float
    x: np.ndarray
    reasons: tuple[str, ...]

    @property
    def supported(self) -> bool:
        return not self.reasons

    @property
    def refuted(self) -> bool:
        """Whether the data speak against the law, and not only too faintly for it."""
        return bool(set(self.reasons) & AGAINST)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The error that the law gives at x."""
        return self.amplitude * x**-self.alpha.value + self.floor.value


def fit(curve: Medians, x: np.ndarray, chosen: Sequence[int] | np.ndarray) -> Law | None:
    """The law of the chosen points of a curve; None below `FEWEST` or without finite medians.

    The logarithms of the medians are fitted with a Huber loss from many starts (Hoffmann et al.
    2022, arXiv 2203.15556, section 3.3), and each bootstrap draw anew, to the end: optimisers that
    stop early made published intervals too narrow (Besiroglu et al. 2024, arXiv 2404.10102).

    - `x`: (K,) positive, ascending; `chosen`: indices of one side.
    """
    curve, x = curve.at(np.asarray(chosen, int)), x[chosen]
    if len(x) < FEWEST or not (np.isfinite(curve.middle) & (curve.middle > 0)).all():
        return None
    scale = np.log(x) - np.log(x).mean()
    logs = np.log(curve.middle)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = np.log(curve.draws[:REFITS])
    n_draws = len(drawn)
    drawn = drawn[np.isfinite(drawn).all(axis=1)]
    error = drawn.std(axis=0) if len(drawn) > 1 else np.zeros(len(x))
    scatter = float(np.sqrt(np.mean(error**2)))
    best, refits = _fits(scale.tobytes(), logs.tobytes(), drawn.tobytes(), scatter)

    def floors(values: np.ndarray) -> np.ndarray:
        """E_inf; zero if it is less than 1 % of the smallest error."""
        return np.where(values > logs.min() + np.log(0.01), np.exp(values), 0.0)

    residual = logs - _log_law(best, scale)
    spread = float(((logs - logs.mean()) ** 2).sum())
    law = Law(
        alpha=curve.estimated(best[1], refits[:, 1]),
        floor=curve.estimated(floors(best[2]), floors(refits[:, 2])),
        amplitude=float(np.exp(best[0] + best[1] * np.log(x).mean())),
        r2=round(1 - float((residual**2).sum()) / spread, 12) if spread > 0 else float("nan"),
        residual=float(np.sqrt(np.mean(residual**2))),
        scatter=scatter,
        x=x,
        reasons=(),
    )
    return replace(law, reasons=_reasons(law, curve, lost=1 - len(drawn) / n_draws))


def _reasons(law: Law, side: Medians, lost: float) -> tuple[str, ...]:
    top = peak(side.table, law.x, side.groups)
    peaks = top is not None and top.verdict == "yes"
    doubts = {
        "too few replicates": not law.alpha.enough,
        "diverged replicates": lost > 0.05,
        RISES: peaks or any(rise.sure for rise in rises(side)),
        LOW_R2: not law.r2 >= LEAST_R2,
        "exponent at a bound": law.alpha.low <= 1e-3 or law.alpha.high >= 0.99 * STEEPEST,
        "interval of the exponent too wide": law.alpha.high - law.alpha.low > WIDEST,
        BEYOND: law.residual > VISIBLE and law.residual > MISFIT * law.scatter,
    }
    return tuple(reason for reason, holds in doubts.items() if holds)


@functools.lru_cache(maxsize=128)  # answers and figures need the same fits
def _fits(scale: bytes, logs: bytes, drawn: bytes, scatter: float) -> tuple[np.ndarray, np.ndarray]:
    """Best (a, alpha, e), and that of each draw (draws, 3)."""
    at, y = np.frombuffer(scale), np.frombuffer(logs)
    turn = HUBER * max(scatter, 1e-3)
    best = _best(at, y, turn, _starts(at, y))
    draws = np.frombuffer(drawn).reshape(-1, len(at))
    return best, _refits(at, draws, turn, best) if len(draws) else best[None]


def _refits(scale: np.ndarray, draws: np.ndarray, turn: float, best: np.ndarray) -> np.ndarray:
    """Best (a, alpha, e) of each row of log errors: (draws, 3)."""
    slope, intercept = np.polyfit(scale, draws.T, 1)
    line = np.stack([intercept, np.maximum(-slope, 0.1), draws.min(axis=1) - 3], axis=1)
    (first, loss), (second, other) = (
        _descended(scale, draws, turn, start)
        for start in (np.broadcast_to(best, line.shape).copy(), line)
    )
    return np.where((other < loss)[:, None], second, first)


def _descended(scale: np.ndarray, draws: np.ndarray, turn: float, theta: np.ndarray):
    """Damped Gauss-Newton with Huber's weights within the bounds: theta (B, 3), loss (B).

    All draws at once: the same minimum as scipy's in a twentieth of the time.
    """
    lower, upper = (bound.T for bound in _bounds(draws.min(axis=1), draws.max(axis=1)))
    theta = np.clip(theta, lower, upper)
    damping = np.full(len(draws), 1e-2)
    loss = _losses(theta, scale, draws, turn)
    for _ in range(ITERATIONS):
        rest = _log_law(theta.T[:, :, None], scale) - draws
        weights = 1 / np.maximum(1, np.abs(rest) / turn)
        slopes = _slopes(theta.T[:, :, None], scale)
        gram = np.einsum("bki,bk,bkj->bij", slopes, weights, slopes)
        pull = np.einsum("bki,bk,bk->bi", slopes, weights, rest)
        diagonal = np.einsum("bii->bi", gram) * damping[:, None] + 1e-9
        step = np.linalg.solve(gram + np.eye(3) * diagonal[:, None, :], pull[..., None])[..., 0]
        tried = np.clip(theta - step, lower, upper)
        after = _losses(tried, scale, draws, turn)
        better = after < loss
        gained = np.max((loss - after)[better], initial=0.0)
        theta = np.where(better[:, None], tried, theta)
        loss = np.where(better, after, loss)
        damping = np.clip(np.where(better, damping / 4, damping * 6), 1e-12, 1e12)
        if gained < 1e-10 and damping.min() > 1e3:
            break
    return theta, loss


def _losses(theta: np.ndarray, scale: np.ndarray, draws: np.ndarray, turn: float) -> np.ndarray:
    """Huber losses (B,) over the square of the turning point."""
    rest = np.abs(_log_law(theta.T[:, :, None], scale) - draws) / turn
    return np.where(rest <= 1, rest**2 / 2, rest - 0.5).sum(axis=1)


def _bounds(low, high) -> tuple[np.ndarray, np.ndarray]:
    """Of (a, alpha, e), for the lowest and highest log error of the data."""
    nothing = np.zeros_like(low)
    return (
        np.array([low - 20, nothing, low - DEEPEST]),
        np.array([high + 20, nothing + STEEPEST, high]),
    )


def _log_law(theta: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """log(exp(a - alpha s) + exp(e)) at theta = (a, alpha, e), s = log x about its mean."""
    a, alpha, e = theta
    return np.logaddexp(a - alpha * scale, e)


def _slopes(theta: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Derivatives (..., 3) of `_log_law` with respect to theta."""
    a, alpha, _ = theta
    share = np.exp(a - alpha * scale - _log_law(theta, scale))  # of the power law in the error
    return np.stack([share, -share * scale, 1 - share], axis=-1)


def _starts(scale: np.ndarray, logs: np.ndarray) -> list[np.ndarray]:
    """Slopes and floors to start from, the plain line first."""
    slope, intercept = np.polyfit(scale, logs, 1)
    low = logs.min()
    starts = [np.array([intercept, max(-slope, 0.1), low - 3])]
    for alpha in (max(-2 * slope, 0.5), 0.3, 1.0, 2.0, 4.0):
        for floor in (low - 0.1, low - 1.0, low - 6.0):
            starts.append(np.array([logs[0] + alpha * scale[0], alpha, floor]))
    return starts


def _best(scale: np.ndarray, logs: np.ndarray, turn: float, starts) -> np.ndarray:
    lower, upper = _bounds(logs.min(), logs.max())
    fits = [
        optimize.least_squares(
            lambda theta: _log_law(theta, scale) - logs,
            np.clip(start, lower, upper),
            lambda theta: _slopes(theta, scale),  # type: ignore[arg-type]
            (lower, upper),
            loss="huber",
            f_scale=turn,
            ftol=1e-12,
            xtol=1e-10,
            gtol=1e-10,
        )
        for start in starts
    ]
    least = min(fit.cost for fit in fits)
    equal = [fit.x for fit in fits if fit.cost <= least * (1 + FLAT)]
    theta = min(equal, key=lambda theta: theta[1])
    return np.where(theta - lower < 1e-9, lower, theta)  # scipy's iterates stay inside the bounds
