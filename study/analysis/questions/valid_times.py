"""How much longer does a more accurate network keep the trajectory right?

If errors grow exponentially, by the Lyapunov exponent lambda, the valid time is T = a + b ln(1/eps)
with b = 1/lambda: every e-fold of accuracy buys one Lyapunov time (b lambda = 1). If they grow as
time does, or slower, it buys more the more accurate the network already is: the figure shows such
motion too, and the question is asked of chaotic motion alone. eps is the amplitude of
the acceleration error, the root of its median square.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, Question, Tables, make
from study.analysis.marks import mark
from study.analysis.statistics.limits import AT_CAP, CHAOTIC, LYAPUNOV
from study.analysis.statistics.medians import Estimate
from study.analysis.statistics.ratios import LogLogFit, loglog
from study.analysis.style import Plot, canvas, finish, log_axis, look
from study.analysis.words import estimate, number, plural
from study.tables.measures import TEST, VALID_TIME

FIGURE = "valid_time_law"
MOST_OF = 0.5  # the networks; where more are at the cap or lost, the others are no fair sample


@dataclass(frozen=True)
class Law:
    """The line of one system: valid time in s against ln(1/eps).

    - `rows`: the replicates on it, neither lost at once nor at the cap; `left_out`: the others.
    - `lyapunov`: 1/s, median over them.
    """

    where: str
    rows: pd.DataFrame
    fit: LogLogFit
    lyapunov: float
    left_out: int

    @property
    def chaotic(self) -> bool:
        """Whether errors grow exponentially; where they do not, no exponent says how fast."""
        horizon = float(self.rows["rollout.horizon"].iloc[0])
        return self.lyapunov * horizon > np.log(CHAOTIC * horizon)

    @property
    def per_time(self) -> Estimate:
        """b lambda: Lyapunov times that an e-fold of accuracy buys."""
        return self.fit.slope.map(lambda b: b * self.lyapunov)


def laws(rows: pd.DataFrame) -> list[Law]:
    """One for each system and horizon with enough cells whose networks differ in accuracy."""
    if "lyapunov" not in rows:
        return []
    found = []
    for _, part in rows.groupby(["system", "system.constants", "rollout.horizon"], sort=False):
        horizon = float(part["rollout.horizon"].iloc[0])
        times = part[VALID_TIME.column].to_numpy(float)
        own = part.loc[(times > 0) & (times < AT_CAP * horizon) & (part["lyapunov"] > 0)]
        if len(own) < MOST_OF * len(part):
            continue
        accuracy = 1 / np.sqrt(own[TEST.column].to_numpy(float))
        # the slope of log e^T against log(1/eps) is that of T against ln(1/eps)
        fit = loglog(accuracy, np.exp(own[VALID_TIME.column].to_numpy(float)), list(own["cell"]))
        if fit is not None:
            system = str(own["system"].iloc[0]).replace("_", " ")
            where = f"{system} over {number(horizon)} s"
            lyapunov = float(own["lyapunov"].median())
            found.append(Law(where, own, fit, lyapunov, len(part) - len(own)))
    return found


def answers(tables: Tables) -> Iterator[Answer]:
    for k, law in enumerate(laws(tables.rows)):
        if not law.chaotic:
            continue
        low, high = LYAPUNOV
        share = law.per_time
        verdict = "undecided"
        if share.enough and low <= share.low and share.high <= high:
            verdict = "yes"
        elif share.enough and (share.high < low or share.low > high):
            verdict = "no"
        b = law.fit.slope
        out = f" {plural(law.left_out, 'replicate')} at the cap or lost at once left out."
        sentence = (
            f"On {law.where} the valid time is a + b ln(1/eps) with b = {estimate(b, 's')}, eps "
            f"the amplitude of the acceleration error (R² = {estimate(law.fit.r2)} over "
            f"{plural(b.n, 'network')}): ten times the accuracy buys "
            f"{number(b.value * np.log(10))} s. The Lyapunov time is {number(1 / law.lyapunov)} s, "
            f"so an e-fold buys {estimate(share)} of them; between {low:g} and {high:g} counts as "
            f"one.{out if law.left_out else ''}"
        )
        question = "Does every e-fold of accuracy buy one Lyapunov time of a right trajectory?"
        cells = tuple(map(str, law.rows["cell"].unique()))
        about = (f"valid_time_law.{k}", question, verdict, sentence, share, law.rows, cells, FIGURE)
        yield make(*about, remedy=" Networks over a wider range of accuracy would decide it.")


def plots(tables: Tables) -> Iterator[Plot]:
    if not (found := laws(tables.rows)):
        return
    figure, (panel,) = canvas(height=4.0)
    parts = []
    for k, law in enumerate(found):
        eps = np.sqrt(law.rows[TEST.column].to_numpy(float))
        times = law.rows[VALID_TIME.column].to_numpy(float)
        style = look(k, len(found))
        panel.plot(eps, times, ls="none", alpha=0.6, markersize=4, label=law.where, **style)
        mark(panel, eps, times, law.rows.filter(["cell", "replicate"]))
        ends = np.array([eps.min(), eps.max()])
        line = law.fit.intercept * np.log(10) - law.fit.slope.value * np.log(ends)
        panel.plot(ends, line, color=style["color"], linewidth=1.2)
        about = {"where": law.where, "eps": eps, "valid_time": times}
        parts.append(pd.DataFrame({"cell": law.rows["cell"].to_numpy(), **about}))
    log_axis(panel, "x")
    panel.set_ylim(bottom=0)
    panel.set_xlabel("amplitude of the acceleration error, root median square (normalised)")
    panel.set_ylabel(VALID_TIME.axis)
    finish(figure, panel, columns=2)
    data = pd.concat(parts, ignore_index=True)
    slopes = "; ".join(f"{law.where} {estimate(law.fit.slope, 's')}" for law in found)
    caption = (
        f"Each dot one network, n = {len(data)}; lines: least squares of the valid time on the "
        f"logarithm of the amplitude. Seconds that an e-fold buys, with 95 % bootstrap intervals "
        f"over cells and replicates: {slopes}."
    )
    lines = plural(len(found), "line")
    alt = f"Valid time against the amplitude of the acceleration error, {lines}."
    yield Plot(FIGURE, "How long the trajectory stays right", caption, alt, data, figure)


QUESTION = Question(answers, plots, place=82)
