"""How many of the P unknowns the accelerations can see.

Knows: numerical ranks of d(qddot)/d(theta), at initialisation on ample data and as trained on the
N training points. Does not know: how a Jacobian or a rank is made.

The accelerations do not change under L -> a L + b: a plain network has 2 gauge directions, one with
a mass prior, which fixes the scale a. A rank counts singular values above a threshold times the
largest; it is given at three thresholds.
"""

# ruff: noqa: RUF001 (a reader gets the minus sign)

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, curve, make
from study.analysis.design import POINTS, WIDTH, Design
from study.analysis.naming import count, level_name
from study.analysis.statistics.ratios import Estimate, Medians, medians, share
from study.analysis.wording import estimate, plural, span
from study.tables.measures import Measure
from study.tables.schema import IDENTIFIABILITY, THRESHOLDS

SHOWN = ("1e-8", "1e-10", "1e-12")  # the thresholds as a reader writes them
INDEPENDENT = 0.95  # share of the equations seen, from which on they count as independent
QUESTIONED = {
    "model": "lnn",
    "model.width": 32,
    "model.depth": 4,
    "model.activation": "softplus",
    "model.beta": 0.5,
    "model.encoding": "raw",
    "model.mass_prior": 0.0,
}


@dataclass(frozen=True)
class Seen:
    """The cells whose ranks were measured.

    - `initial`, `trained`: threshold -> medians of the rank, one column a cell.
    - `n_params`, `n_equations`, `gauge`: (K,) P, N*D, and the directions that cannot be seen;
      `gauge` is NaN for a model other than the plain network.
    """

    rows: pd.DataFrame
    design: Design
    cells: tuple[str, ...]
    initial: dict[str, Medians]
    trained: dict[str, Medians]
    n_params: np.ndarray
    n_equations: np.ndarray
    gauge: np.ndarray

    def of_question(self) -> np.ndarray:
        """(K,) which cells are the question's own network."""
        table = self.design.cells.loc[list(self.cells)]
        return np.all([table[name] == value for name, value in QUESTIONED.items()], axis=0)

    def label(self, k: int) -> str:
        """One cell by what sets it apart from most others, and P; N aside."""
        table = self.design.cells
        own = [
            name
            for name in self.design.varying
            if name not in (POINTS, WIDTH) and table.loc[self.cells[k], name] != _usual(table[name])
        ]
        parts = [level_name((name,), (table.loc[self.cells[k], name],)) for name in own]
        if self.of_question()[k]:
            parts = [
                "the question's",
                str(table.loc[self.cells[k], "model.init"]).replace("_", " "),
            ]
        return ", ".join([*parts, f"P = {count(self.n_params[k])}"])

    def missing(self, threshold: str) -> np.ndarray:
        """(replicates, K) P less the rank at initialisation."""
        return self.n_params - self.initial[threshold].table

    def unseen(self, k: int, trained: bool = False) -> str:
        """P less the median rank of one cell at each threshold: 1153 / 292 / 2."""
        ranks = self.trained if trained else self.initial
        return " / ".join(count(self.n_params[k] - ranks[t].middle[k]) for t in THRESHOLDS)


def seen(rows: pd.DataFrame) -> Seen | None:
    """What was measured; None where nothing was."""
    if not set(IDENTIFIABILITY) <= set(rows):
        return None
    measured = rows.loc[np.isfinite(rows[IDENTIFIABILITY[:6]].to_numpy(float)).all(axis=1)]
    if measured.empty:
        return None
    design = Design(measured)
    cells = tuple(str(cell) for cell in design.cells.index)
    table = design.cells.loc[list(cells)]
    plain = (table["model"] == "lnn").to_numpy()
    prior = measured.drop_duplicates("cell").set_index("cell")["model.mass_prior"]
    gauge = np.where(prior.loc[list(cells)].to_numpy(float) > 0, 1.0, 2.0)

    def ranks(kind: str) -> dict[str, Medians]:
        columns = {t: Measure(f"{kind}_rank_{t}", "rank", "rank", worst=0.0) for t in THRESHOLDS}
        return {t: curve(measured, cells, measure) for t, measure in columns.items()}

    return Seen(
        rows=measured,
        design=design,
        cells=cells,
        initial=ranks("initial"),
        trained=ranks("jacobian"),
        n_params=table["n_params"].to_numpy(float),
        n_equations=table["n_equations"].to_numpy(float),
        gauge=np.where(plain, gauge, np.nan),
    )


def answers(rows: pd.DataFrame) -> Iterator[Answer]:
    """What can be seen of the question's network and of the others; gauge; the equations."""
    found = seen(rows)
    if found is None:
        return
    own = found.of_question()
    for k in np.flatnonzero(own):
        yield _of_question(found, int(k))
    if (~own & ~np.isnan(found.gauge)).any():
        yield _of_others(found, np.flatnonzero(~own & ~np.isnan(found.gauge)))
    if not np.isnan(found.gauge).all():
        yield _gauge(found, np.flatnonzero(~np.isnan(found.gauge)))
    few = np.flatnonzero(found.n_equations < found.n_params)
    if len(few):
        yield _equations(found, few)


def _of_question(found: Seen, k: int) -> Answer:
    P = found.n_params[k]
    rank = found.initial[THRESHOLDS[0]].estimate(k)
    part = Estimate(rank.value / P, rank.low / P, rank.high / P, rank.n, rank.draws)
    enough = found.n_equations[k] >= P
    trained = (
        f" Trained, on its own {count(found.n_equations[k])} equations: "
        f"{found.unseen(k, trained=True)} unseen."
    )
    init = str(found.design.cells.loc[found.cells[k], "model.init"])
    sentence = (
        f"Of the P = {count(P)} parameters of the question's own network (initialised by "
        f"{init.replace('_', ' ')}), "
        f"{found.unseen(k)} are unseen at thresholds {' / '.join(SHOWN)} as initialised on ample "
        f"data; {count(found.gauge[k])} are gauge directions. At {SHOWN[0]} it sees a share of "
        f"{estimate(part, digits=3)}.{trained if enough else ''}"
    )
    unseen = P - found.gauge[k]
    verdict = "yes" if rank.low >= unseen else "no" if rank.high < unseen else "undecided"
    return make(
        f"seen.question.{init}",
        "Apart from gauge, can the accelerations see all parameters of the question's network?",
        verdict,
        sentence,
        part,
        found.rows,
        found.cells[k : k + 1],
        "spectrum_initial",
    )


def _of_others(found: Seen, chosen: np.ndarray) -> Answer:
    """Share of the replicates whose rank is full but for gauge, at the coarsest threshold."""
    full = [_full(found, chosen, threshold) for threshold in THRESHOLDS]
    first = full[0]
    each = [found.initial[THRESHOLDS[0]].middle[k] / found.n_params[k] for k in chosen]
    worst = int(chosen[int(np.argmin(each))])
    depends = "" if first.value in (0, 1) else "It depends on the setting. "
    sentence = (
        f"{depends}At initialisation on ample data, {_percent(first)} of "
        f"{plural(first.n, 'replicate')} of {plural(len(chosen), 'cell')} see all but the gauge "
        f"directions at {SHOWN[0]}, {_percent(full[1])} at {SHOWN[1]} and {_percent(full[2])} at "
        f"{SHOWN[2]}. Least is seen with {found.label(worst)}: {found.unseen(worst)} unseen."
    )
    return make(
        "seen.others",
        "Apart from gauge, can the accelerations see all parameters of the networks here?",
        {0.0: "no", 1.0: "yes"}.get(first.value, "undecided"),
        sentence,
        first,
        found.rows,
        tuple(found.cells[k] for k in chosen),
        "seen_share",
    )


def _full(found: Seen, chosen: np.ndarray, threshold: str, exactly: bool = False) -> Estimate:
    """Share of replicates with P - rank = gauge (or, unless `exactly`, less)."""
    missing, gauge = found.missing(threshold)[:, chosen], found.gauge[chosen]
    there = ~np.isnan(missing)
    hit = (missing == gauge) if exactly else (missing <= gauge)
    return share(int((hit & there).sum()), int(there.sum()))


def _gauge(found: Seen, chosen: np.ndarray) -> Answer:
    """Never fewer than the gauge directions are missing, and often just these."""
    last = THRESHOLDS[-1]
    exact = _full(found, chosen, last, exactly=True)
    alike = np.all(
        [found.missing(threshold)[:, chosen] == found.gauge[chosen] for threshold in THRESHOLDS],
        axis=0,
    )
    fewer = np.nansum(found.missing(last)[:, chosen] < found.gauge[chosen])
    verdict = "no" if fewer else exact.verdict(0.5)
    priors = sorted({int(g) for g in found.gauge[chosen]})
    means = " and ".join(
        f"P − {g} {'without the' if g == 2 else 'with the'} mass prior" for g in reversed(priors)
    )
    sentence = (
        f"Rank at initialisation {means}: so at {SHOWN[-1]} in {_percent(exact)} of "
        f"{plural(exact.n, 'replicate')}, at all three thresholds alike in {count(alike.sum())} of "
        f"them; {count(fewer)} see more than that."
    )
    return make(
        "gauge",
        "Are the scale and the constant of L invisible, so that P − 2 parameters count (P − 1 with "
        "a mass prior)?",
        verdict,
        sentence,
        exact,
        found.rows,
        tuple(found.cells[k] for k in chosen),
        "spectrum_initial",
    )


def _equations(found: Seen, few: np.ndarray) -> Answer:
    """With fewer equations than parameters: does each of them tell something of its own?"""
    first = found.trained[THRESHOLDS[0]]
    most = np.minimum(found.n_equations[few], found.n_params[few] - np.nan_to_num(found.gauge[few]))
    ratio = medians(first.table[:, few] / most, 0.0, first.groups)
    worst = int(np.argmin(ratio.middle))
    least = ratio.estimate(worst)
    ratios = found.n_equations[few] / found.n_params[few]
    sentence = (
        f"With fewer equations than parameters (N·D/P from {ratios.min():.2g} to "
        f"{ratios.max():.2g}, {span(ratio.counts, 'replicate')} each), the rank at {SHOWN[0]} on "
        f"the training points, as trained, is at least {estimate(least)} of the number of "
        f"equations; from {INDEPENDENT:g} on they count as independent."
    )
    return make(
        "equations",
        "Does each of the N·D equations tell something of its own while N·D < P?",
        least.verdict(INDEPENDENT),
        sentence,
        least,
        found.rows,
        tuple(found.cells[k] for k in few),
        "rank_by_n",
    )


def _usual(levels: pd.Series) -> object:
    """The level that most cells have."""
    return levels.value_counts(sort=True).index[0]


def _percent(part: Estimate) -> str:
    return f"{100 * part.value:.0f} %"
