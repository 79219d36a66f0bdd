"""How often the test for a peak finds one that is there, and one that is not; and what it finds.

    python benchmarks/peak_power.py         # two tables into docs/answer.md; 4 minutes

Power: peaks of known height are planted at N*D = P on a curve without one, with the scatter that
the ladder of `double_descent` at 10 % label noise has at each rung. A height of 1 is no peak: what
is found there is a false alarm. Verdicts: the same test on that ladder as it was measured, for four
measures, read at 500 iterations, at the runs' own end, and at the parameters that held-out points
chose; beside them the best point on the way of each run, which nobody can know (oracle).
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from reporting import tell, write

from study import results
from study.analysis.answer import curve
from study.analysis.design import Design, Ladder
from study.analysis.questions.tails import LEAST_SHARE, TAILS
from study.analysis.statistics import peaks
from study.tables.measures import TEST, Measure

FOLDER = Path(__file__).parents[1] / "outputs" / "reference" / "double_descent"
NOISE = 0.1
REPLICATES = (5, 15, 30, 60, 100)
HEIGHTS = (1.0, 1.5, 2.0, 3.0)
REDRAWN, NOISES = 20_000, (0.03, 0.1, 0.3)
DRAWN = {1.0: 400}  # curves for each height; 100 else
peaks.DRAWS = 2000  # enough to decide at the test's level
MEASURES: dict[str, Measure] = {"median": TEST, **TAILS}
READ = {"at 500 iterations": (500, 0.0), "at their own end": (2000, 0.0)}
READ_LAST = "at their own end"
READ |= {"chosen by held-out points": (2000, 0.2)}


def ladder_of(
    rows: pd.DataFrame, iterations: int, validation: float, noise: float = NOISE
) -> Ladder:
    """The ladder along N of the network at this noise, trained so long."""
    held_out = rows["optimizer.validation"].fillna(0.0)
    own = rows.loc[
        (rows["model"] == "lnn")
        & (rows["data.noise"] == noise)
        & (rows["optimizer.iterations"] == iterations)
        & (held_out == validation)
    ]
    (ladder,) = Design(own).ladders("N")
    return ladder


def measured(rows: pd.DataFrame, ladder: Ladder, measure: Measure) -> np.ndarray:
    """(replicates, rungs), to be tested: of shares the smallest is above zero."""
    return curve(rows, ladder.cells, measure).table + (LEAST_SHARE if measure.share else 0.0)


def oracle(curves: pd.DataFrame, ladder: Ladder) -> np.ndarray:
    """(replicates, rungs) the least test error on the way of each run."""
    way = curves[(curves["metric"] == TEST.column) & curves["cell"].isin(ladder.cells)]
    least = way.pivot_table(values="value", index="replicate", columns="cell", aggfunc="min")
    return least.loc[:, list(ladder.cells)].to_numpy(float)


def _peak(table: np.ndarray, ladder: Ladder) -> peaks.Peak:
    top = peaks.peak(table, ladder.steps)
    assert top is not None
    return top


def found(table: np.ndarray, ladder: Ladder) -> dict[str, float | str]:
    """What the test says of one curve."""
    top = _peak(table, ladder)
    at = float(ladder.equations_per_param[top.at])
    about = {"height": top.prominence.value, "at": at, "low": top.prominence.low}
    return about | {"verdict": top.verdict, "n": len(table)}


def power(table: np.ndarray, ladder: Ladder) -> dict[str, dict[str, dict[str, float]]]:
    """Shares of each verdict, by replicates and planted height."""
    logs = np.log(table)
    middle = np.median(logs, axis=0)
    rest, flat = logs - middle, peaks.nearest_without_peak(middle, np.ones(len(middle)))
    away = np.abs(np.log(ladder.equations_per_param))
    shape = np.interp(np.argsort(np.argsort(away)), [0, 1, 2, 3], [1, 0.5, 0.5, 0])
    shares: dict[str, dict[str, dict[str, float]]] = {}
    random = np.random.default_rng(0)
    for n in REPLICATES:
        for height in HEIGHTS:
            at = flat + np.log(height) * shape
            verdicts = []
            for _ in range(DRAWN.get(height, 100)):
                rungs = np.arange(len(at))
                drawn = rest[random.integers(0, len(rest), (n, len(at))), rungs]
                verdicts.append(_peak(np.exp(at + drawn), ladder).verdict)
            of = {v: verdicts.count(v) / len(verdicts) for v in ("yes", "no", "undecided")}
            shares.setdefault(str(n), {})[f"{height:g}"] = of
    return shares


def redrawn(table: np.ndarray) -> float:
    """How often a curve without a peak shows as high a one, if the replicates of each rung are
    drawn anew from its own: no scatter is shared between rungs, as it is in the test."""
    logs = np.log(table)
    middle = np.median(logs, axis=0)
    rest, flat = logs - middle, peaks.nearest_without_peak(middle, np.ones(len(middle)))
    random, n, rungs = np.random.default_rng(0), len(table), np.arange(len(middle))
    heights = np.empty(REDRAWN)
    for k in range(REDRAWN):
        drawn = np.median(rest[random.integers(0, n, table.shape), rungs], axis=0)
        heights[k] = height(flat + drawn)
    return float((1 + (heights >= height(middle)).sum()) / (1 + REDRAWN))


def height(middle: np.ndarray) -> float:
    """Logarithm of the most prominent inner point over the larger of the lowest on its sides."""
    sides = range(1, len(middle) - 1)
    return max(middle[k] - max(middle[:k].min(), middle[k + 1 :].min()) for k in sides)


def power_lines(shares: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    heads = ["no peak", *(f"a peak of {height:g}" for height in HEIGHTS[1:])]
    lines = [f"| replicates | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for n, by_height in shares.items():
        of = (f"{100 * s['yes']:.3g} % / {100 * s['no']:.0f} %" for s in by_height.values())
        lines.append(f"| {n} | {' | '.join(of)} |")
    return lines


def verdict_lines(verdicts: dict[str, dict[str, dict]]) -> list[str]:
    names = {"p99": "99th percentile", "indefinite": "indefinite share"}
    heads = [names.get(name, name) for name in MEASURES]
    lines = [f"| read | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for read, by_measure in verdicts.items():
        cells = []
        for name in MEASURES:
            one = by_measure.get(name)
            cells.append(
                f"{one['verdict']}: {one['height']:.3g} at {one['at']:.2f}" if one else "-"
            )
        lines.append(f"| {read} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    rows, curves = results.load(FOLDER), results.load_curves(FOLDER)
    verdicts: dict[str, dict[str, dict]] = {}
    for read, (iterations, validation) in READ.items():
        ladder = ladder_of(rows, iterations, validation)
        tables = {name: measured(rows, ladder, measure) for name, measure in MEASURES.items()}
        verdicts[read] = {name: found(table, ladder) for name, table in tables.items()}
    ladder = ladder_of(rows, *READ[READ_LAST])
    verdicts["best on the way (oracle)"] = {"median": found(oracle(curves, ladder), ladder)}
    lines = verdict_lines(verdicts)
    print("\n".join(lines))
    tell("docs/answer.md", "peaks", lines)
    shares = power(measured(rows, ladder, TEST), ladder)
    again = {
        f"{noise:g}": redrawn(measured(rows, ladder_of(rows, *READ[READ_LAST], noise), TEST))
        for noise in NOISES
    }
    each = ", ".join(f"{p:.2g} at noise {noise}" for noise, p in again.items())
    lines = [
        *power_lines(shares),
        "",
        "Calibration: with the replicates of each rung drawn anew from its own alone, a curve "
        f"without a peak shows as high a one with p = {each}.",
    ]
    print("\n".join(lines))
    tell("docs/answer.md", "power", lines)
    write(__file__, {"verdicts": verdicts, "power": shares, "redrawn": again})


if __name__ == "__main__":
    main()
