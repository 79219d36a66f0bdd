"""One effect from those of several systems and studies, and what is left of it among many claims.

Effects are ratios, pooled in logarithms by a random-effects mean: each system has its own effect,
and the mean, the spread between systems and their scatter within are estimated (Paule and Mandel
1982). Its interval is Hartung and Knapp's (2001, doi 10.1002/sim.791), which holds what it claims
with few systems too; `tests/analysis/test_pooling.py` simulates it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special, stats

from study.analysis.statistics.limits import Turn
from study.analysis.statistics.medians import LEVEL, Estimate

Z = float(special.ndtri((1 + LEVEL) / 2))  # standard errors of half an interval


@dataclass(frozen=True)
class Pool:
    """A random-effects mean of ratios.

    - `value`, `error`: its logarithm and the standard error of that; `freedom`: of Student's t.
    - `spread`: standard deviation of log effects between systems; `n`: how many there are.
    """

    value: float
    error: float
    freedom: float
    spread: float
    n: int

    def estimate(self, level: float = LEVEL) -> Estimate:
        """The mean ratio with its interval; one system is enough for it to be its own mean."""
        half = self.error * self._quantile((1 + level) / 2)
        ends = (math.exp(self.value + by) for by in (0.0, -half, half))
        return Estimate(*ends, n=self.n, draws=max(self.n, 5))

    def p(self, turn: Turn) -> float:
        """The smallest 1 - level (two-sided) at which the verdict is decided."""
        away = max(math.log(turn.no) - self.value, self.value - math.log(turn.yes))
        if not self.error:  # effects that are all equal
            return float(away <= 0)
        return float(min(1.0, 2 * stats.t.sf(away / self.error, self.freedom)))

    def _quantile(self, level: float) -> float:
        return float(stats.t.ppf(level, self.freedom))


def pool(estimates: Sequence[Estimate]) -> Pool | None:
    """The mean of ratios with 95 % intervals; None without one. Those whose interval reaches 0 or
    infinity say nothing of their error and are left out."""
    known = [e for e in estimates if 0 < e.low < e.high < math.inf]
    if not known:
        return None
    logs = np.log([e.value for e in known])
    errors = _errors(known)
    if len(known) == 1:
        return Pool(float(logs[0]), float(errors[0]), math.inf, 0.0, 1)
    from statsmodels.stats.meta_analysis import combine_effects  # seconds to import

    with np.errstate(divide="ignore", invalid="ignore"):  # effects that are all equal
        result: Any = combine_effects(logs, errors**2, method_re="iterated")
    error, spread = float(result.sd_eff_w_re_hksj), math.sqrt(max(0.0, result.tau2))
    return Pool(float(result.mean_effect_re), error, len(known) - 1.0, spread, len(known))


def opposed(estimates: Sequence[Estimate], turn: Turn) -> float:
    """How likely effects of which none is a yes, or none a no, show as much of both.

    That of the surer yes and the surer no together, twice for each effect: any of them may be
    either (Bonferroni).
    """
    logs, errors = np.log([e.value for e in estimates]), _errors(estimates)
    beyond = (logs - math.log(turn.yes)).clip(0), (math.log(turn.no) - logs).clip(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        surest = [float(np.nanmax(by / errors)) for by in beyond]
    return min(1.0, 2 * len(logs) * float(stats.norm.sf(min(surest))))


def _errors(estimates: Sequence[Estimate]) -> np.ndarray:
    """Standard errors of the logarithms, from 95 % intervals."""
    return np.log([e.high / e.low for e in estimates]) / (2 * Z)


def averaged(estimates: Sequence[Estimate]) -> Estimate:
    """Geometric mean of ratios of one system.

    They share data, so their number narrows no interval; that they differ widens it.
    """
    logs = np.log([[e.value, e.low, e.high] for e in estimates])
    value, low, high = logs.mean(axis=0)
    apart = Z * logs[:, 0].std(ddof=1) / math.sqrt(len(logs)) if len(logs) > 1 else 0.0
    ends = value, value - math.hypot(value - low, apart), value + math.hypot(high - value, apart)
    return Estimate(*(float(math.exp(end)) for end in ends), n=min(e.n for e in estimates))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values adjusted for their number (Holm 1979); NaN counts as 1."""
    p = np.nan_to_num(np.asarray(p_values, float), nan=1.0)
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    result = np.empty(len(p))
    result[order] = np.minimum(1.0, adjusted)
    return result.tolist()
