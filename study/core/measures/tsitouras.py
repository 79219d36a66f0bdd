"""Tsitouras 5(4) in tensors: many initial value problems at once, a step size each.

`native/rollout.hpp` is the same method, step for step, for the networks that C++ computes.
Coefficients and interpolant: Tsitouras, Comput. Math. Appl. 62 (2011) 770, with the sign of the
last weight of the error corrected, as other solvers do. First step and step control: Hairer,
Norsett, Wanner, Solving Ordinary Differential Equations I (2nd ed.), II.4.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

STAGES = (
    (0.161,),
    (-0.008480655492356989, 0.335480655492357),
    (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
    (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
    (
        5.86145544294642,
        -12.92096931784711,
        8.159367898576159,
        -0.071584973281401,
        -0.02826905039406838,
    ),
    (
        0.09646076681806523,
        0.01,
        0.4798896504144996,
        1.379008574103742,
        -3.290069515436081,
        2.324710524099774,
    ),
)
TIMES = (0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0)  # of the stages, as parts of a step
ERROR = (
    0.00178001105222577714,
    0.0008164344596567469,
    -0.007880878010261995,
    0.1447110071732629,
    -0.5823571654525552,
    0.45808210592918697,
    -1 / 66,
)
SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0  # factors from one step to the next

Field = Callable[[Float[Tensor, " n"], Float[Tensor, "n W"]], Float[Tensor, "n W"]]


@torch.no_grad()
def solve(
    field: Field,
    start: Float[Tensor, "n W"],
    times: Float[Tensor, " T"],
    *,
    tolerance: float,
    max_steps: int,
) -> tuple[Float[Tensor, "n T W"], Int[Tensor, " n"], Int[Tensor, " n"]]:
    """The states at `times`, which ascend; how many of the times each problem reached before its
    steps ran out, beyond which its states are not set; and how many steps it took.

    `field` maps times and states to the states' rates of change. `tolerance` is the relative and
    the absolute one.
    """
    y, n, times = start, len(start), times.to(start).contiguous()
    t, end = times[0].repeat(n), times[-1]
    states = y.new_zeros(n, len(times), y.shape[1])
    states[:, 0] = y
    reached, steps = torch.ones_like(t, dtype=torch.long), torch.zeros_like(t, dtype=torch.long)
    rates = [field(t, y)]
    step = _first_step(field, t, y, rates[0], end - t, tolerance)
    while bool((going := step > 0).any()):
        trial = y
        for part, weights in zip(TIMES, STAGES, strict=True):
            trial = y + step[:, None] * _sum(weights, rates)
            rates.append(field(t + part * step, trial))
        error = step[:, None] * _sum(ERROR, rates)
        error = _norm(error, torch.maximum(y.abs(), trial.abs()), tolerance)
        steps += going
        taken = going & (error < 1)  # NaN counts as too large
        passed = torch.searchsorted(times, t + step, right=True)
        passed = torch.where(taken, passed.clamp(max=len(times)), reached)
        _fill(states, reached, passed, times, t, step, y, rates)
        reached = passed
        t = torch.where(taken, t + step, t)
        y = torch.where(taken[:, None], trial, y)
        rates = [torch.where(taken[:, None], rates[-1], rates[0])]
        factor = (SAFETY * error.clamp(min=1e-38) ** -0.2).clamp(SHRINK, GROW)
        step = torch.minimum(step * factor.nan_to_num(SHRINK), end - t)
        step = torch.where(going & (steps < max_steps), step, 0.0)
    return states, reached, steps


def _sum(weights: tuple[float, ...], rates: list[Tensor]) -> Tensor:
    total = weights[0] * rates[0]
    for weight, rate in zip(weights[1:], rates[1:], strict=True):
        total = total.add(rate, alpha=weight)
    return total


def _norm(of: Tensor, size: Tensor, tolerance: float) -> Tensor:
    """(n,) root mean square over the components, in units of the tolerance."""
    return (of / (tolerance * (1 + size))).square().mean(1).sqrt()


def _first_step(
    field: Field, t: Tensor, y: Tensor, rate: Tensor, span: Tensor, tolerance: float
) -> Tensor:
    size = y.abs()
    d0, d1 = _norm(y, size, tolerance), _norm(rate, size, tolerance)
    step = torch.where((d0 < 1e-5) | (d1 < 1e-5), 1e-6, 0.01 * d0 / d1).minimum(span)
    change = field(t + step, y + step[:, None] * rate) - rate
    most = torch.maximum(d1, _norm(change, size, tolerance) / step)
    then = torch.where(most <= 1e-15, (1e-3 * step).clamp(min=1e-6), (0.01 / most) ** 0.2)
    return torch.minimum(100 * step, then).minimum(span)


def _fill(
    states: Tensor,
    reached: Tensor,
    passed: Tensor,
    times: Tensor,
    t: Tensor,
    step: Tensor,
    y: Tensor,
    rates: list[Tensor],
) -> None:
    """Set the states at the times that a step passed, by the method's interpolant."""
    counts = passed - reached
    rows = torch.repeat_interleave(torch.arange(len(y), device=y.device), counts)
    if not len(rows):
        return
    first = counts.cumsum(0) - counts  # of each problem's places in the list
    columns = reached[rows] + torch.arange(len(rows), device=y.device) - first[rows]
    x = ((times[columns] - t[rows]) / step[rows])[:, None]
    between = [weight * rate[rows] for weight, rate in zip(_interpolant(x), rates, strict=True)]
    states[rows, columns] = y[rows] + step[rows, None] * sum(between)


def _interpolant(x: Tensor) -> list[Tensor]:
    """Weights of the stages at the part x of a step."""
    xx = x * x
    return [
        -1.0530884977290216
        * x
        * (x - 1.3299890189751412)
        * (xx - 1.4364028541716351 * x + 0.7139816917074209),
        0.1017 * xx * (xx - 2.1966568338249754 * x + 1.2949852507374631),
        2.490627285651252793 * xx * (xx - 2.38535645472061657 * x + 1.57803468208092486),
        -16.54810288924490272 * (x - 1.21712927295533244) * (x - 0.61620406037800089) * xx,
        47.37952196281928122 * (x - 1.203071208372362603) * (x - 0.658047292653547382) * xx,
        -34.87065786149660974 * (x - 1.2) * (x - 0.666666666666666667) * xx,
        2.5 * (x - 1) * (x - 0.6) * xx,
    ]
