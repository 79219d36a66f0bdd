"""Which optimiser, rate, batch and model a budget of seconds wants, for several P and N D / P.

    python benchmarks/optimizer_map.py --workers 2  # tables, JSON, figure; about 1.5 hours
    python benchmarks/optimizer_map.py --quick      # one size and seed, 0.3 s each; 1 minute

Double pendulum, one network at a time. A budget is processor time of one thread; measuring does not
count, nor does a step that ends after the budget. Steps on minibatches follow a cosine over their
share of the time, so each schedule knows its end; Levenberg-Marquardt has the rest. All other
settings are this project's defaults. The error is the normalised squared error on test points: its
median over points, and in the JSON its mean, too.

P is that of `lnn`; `structured_lnn` has the same width, depth and N, and up to 5 % more parameters.
A batch of more than N points is all of them. The linear Lagrangian is solved once, whatever the
budget, with all its settings `auto`.

A budget of 5 s is only for those settings that were within a factor 2 of the best of their method
at 1 s. Longer budgets ask, too, that the setting was within a factor 3 of the best of its model at
the budget before. There are three seeds at 1 s, two at 5 and 20 s, one at 80 s. Each finished run
is a line of `optimizer_map.jsonl`, and a rerun trains only what is not there: delete the file to
measure anew. Two workers share caches and memory, which costs each a part of its speed.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib
import numpy as np
import pandas as pd
from optimizer_map_runs import METHODS, RATIOS, SIZES, SOLVED, Run, begin_worker, measure
from reporting import tell, write
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SEEDS = {1.0: 3, 5.0: 2, 20.0: 2, 80.0: 1}  # how many, of each budget in seconds
# What a longer budget is for: within the first factor of the best of the method at the budget
# before, and above LONG seconds within the second of the best of the model
FACTOR, FACTOR_OF_MODEL, LONG = 2.0, 3.0, 5.0
BESIDE = 2.0  # seconds a run takes beside its budget: setting up, a last long iteration
LEAST_DRAWN = 1e-12
RIVAL, RIVAL_BUDGET = "adam", 5.0  # whose error the others are to reach: the break-even
FIELDS = [field.name for field in dataclasses.fields(Run)]
KEY = FIELDS[:-1]  # without the seed
PANEL = ["P", "ratio"]


@dataclasses.dataclass(frozen=True)
class Design:
    """What was asked for: parameters, and the seeds of each budget, in ascending order."""

    sizes: list[int]
    seeds: dict[float, int]

    @property
    def budgets(self) -> list[float]:
        return list(self.seeds)

    @property
    def most_seeds(self) -> int:
        return max(self.seeds.values())

    def runs(self, budget: float, records: list[dict], least: bool = False) -> list[Run]:
        """The runs of a budget that `records` lack; if `least`, the fewest that can be left."""
        known = {tuple(record[name] for name in FIELDS) for record in records}
        found = over_seeds(records)
        runs, seeds = [], range(self.seeds.get(budget, self.most_seeds))
        for seed, P, ratio in itertools.product(seeds, self.sizes, RATIOS):
            for name, method in METHODS.items():
                if method.solved != (budget == SOLVED):
                    continue
                settings = list(method.settings())
                if budget > self.budgets[0]:
                    good = near_best(found, P, ratio, name, budget)
                    unknown = settings[:1] if least else settings
                    settings = unknown if good is None else good
                runs += [Run(P, ratio, name, setting, budget, seed) for setting in settings]
        return [run for run in runs if dataclasses.astuple(run) not in known]

    def cost(self, records: list[dict], budgets: Iterable[float], least: bool = False) -> float:
        """Expected seconds of one worker."""
        return sum(len(self.runs(b, records, least)) * (b + BESIDE) for b in budgets)


def over_seeds(records: list[dict]) -> pd.DataFrame:
    """A row for each setting and budget: median error over seeds, its range, median seconds.

    A run that is not finite has an infinite error.
    """
    frame = pd.DataFrame(records, columns=[*FIELDS, "seconds", "median"])
    frame["median"] = frame["median"].astype(float).fillna(math.inf)
    rows = frame.groupby(KEY, as_index=False).agg(
        error=("median", "median"), low=("median", "min"), high=("median", "max"),
        seconds=("seconds", "median"),
    )  # fmt: skip
    order = [(name, setting) for name, method in METHODS.items() for setting in method.settings()]
    rows["place"] = [
        order.index(pair) for pair in zip(rows["method"], rows["setting"], strict=True)
    ]
    rows["model"] = [METHODS[name].model for name in rows["method"]]
    return rows.sort_values([*PANEL, "place", "budget"])


def near_best(
    rows: pd.DataFrame, P: int, ratio: int, method: str, budget: float
) -> list[str] | None:
    """The settings of a method that are worth a longer budget; None before the budget before is
    known."""
    before = rows.query("P == @P and ratio == @ratio and budget not in (@SOLVED, @budget)")
    before = before.query("budget < @budget").query("budget == budget.max()")
    if before.empty:
        return None
    own = before.query("method == @method").query("error <= @FACTOR * error.min()")
    if budget > LONG and not own.empty:
        least = before.query(f"model == '{METHODS[method].model}'")["error"].min()
        own = own.query(f"error <= {FACTOR_OF_MODEL * least}")
    return own["setting"].tolist()


def measure_all(cache: Path, design: Design, workers: int) -> list[dict]:
    """The runs of the design; those that the cache lacks are trained and added to it."""
    records = []
    if cache.exists():
        records = [json.loads(line) for line in cache.read_text().splitlines()]
    budgets = [SOLVED, *design.budgets]
    least, most = (design.cost(records, budgets, few) / workers for few in (True, False))
    n_runs = sum(len(design.runs(b, records)) for b in budgets)
    print(
        f"At most {n_runs:,} runs, {least / 60:,.0f} to {most / 60:,.0f} minutes with {workers} "
        "worker(s); a longer budget is only for what was near the best"
    )
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(), TextColumn("done, left at most"), TimeRemainingColumn(),
    )  # fmt: skip
    pool = multiprocessing.get_context("spawn").Pool(workers, begin_worker) if most else None
    with Progress(*columns, speed_estimate_period=3600) as progress, cache.open("a") as lines:
        bar, begun, done = (
            progress.add_task("begins", total=most * workers, rate=""),
            time.time(),
            0,
        )
        for k, budget in enumerate(budgets):
            runs = design.runs(budget, records)
            for record in pool.imap_unordered(measure, runs) if pool else ():
                records.append(record)
                lines.write(json.dumps(record) + "\n")
                lines.flush()
                done += 1
                rate = f"{60 * done / (time.time() - begun):.3g} runs a minute"
                name = f"{budget:g} s" if budget else "solved"
                progress.update(bar, advance=budget + BESIDE, rate=rate, description=name)
            left = design.cost(records, budgets[k + 1 :])
            progress.update(bar, total=progress.tasks[bar].completed + left)
    if pool:
        pool.terminate()
    seeds = {SOLVED: design.most_seeds, **design.seeds}
    return [r for r in records if r["P"] in design.sizes and r["seed"] < seeds.get(r["budget"], 0)]


def solved_later(rows: pd.DataFrame, budgets: list[float]) -> pd.DataFrame:
    """The rows; what is solved has its seconds for a budget, and those budgets that are longer."""
    solved = rows[rows["budget"] == SOLVED]
    longer = [solved.assign(budget=b)[solved["seconds"] <= b] for b in budgets]
    parts = [rows.drop(solved.index), solved.assign(budget=solved["seconds"]), *longer]
    return pd.DataFrame(pd.concat(parts))


def best_of(rows: pd.DataFrame, group: str) -> pd.DataFrame:
    """Of each method or model the best row in each panel and budget."""
    return pd.DataFrame(rows.sort_values("error").drop_duplicates([*PANEL, group, "budget"]))


def best_table(rows: pd.DataFrame, budgets: list[float]) -> list[str]:
    """The best of each model in each panel, with median and range over seeds."""
    best = best_of(rows.query("budget in @budgets"), "model")
    cells = []
    for row in best.to_dict("records"):
        method = METHODS[row["method"]]
        setting = f"{row['seconds']:.2g} s" if method.solved else row["setting"]
        spread = f"{row['error']:.2g} [{row['low']:.2g}, {row['high']:.2g}]"
        cells.append(f"{method.label} ({setting}): {spread}")
    table = best.assign(cell=cells).pivot_table(
        index=[*PANEL, "model"], columns="budget", values="cell", aggfunc="first"
    )
    return markdown(table, ["P", "N D / P", "model"])


def settings_table(rows: pd.DataFrame) -> list[str]:
    """How many times the error of the best of its model a setting has: geometric mean over panels,
    most, and in how many panels it was run."""
    rows = rows.query("model != 'linear_lagrangian'")
    least = rows.groupby([*PANEL, "model", "budget"])["error"].transform("min")
    labels = [METHODS[name].label for name in rows["method"]]
    table = rows.assign(times=rows["error"] / least, label=labels).pivot_table(
        index=["place", "model", "label", "setting"], columns="budget", values="times",
        aggfunc=lambda x: f"{np.exp(np.log(x).mean()):.3g} ({x.max():.3g}; {len(x)})",
    )  # fmt: skip
    return markdown(table.droplevel("place"), ["model", "method", "setting"])


def break_even_table(rows: pd.DataFrame) -> list[str]:
    """Seconds after which each method's best setting is as good as Adam's after 5 s."""
    best = best_of(rows, "method").sort_values("budget")
    cells = []
    for (P, ratio), panel in best.groupby(PANEL):  # type: ignore[misc]
        of_rival = panel.query("method == @RIVAL and budget == @RIVAL_BUDGET")["error"]
        if of_rival.empty:
            continue
        for name, line in panel.groupby("method"):
            if name != RIVAL:
                after = break_even(line, float(of_rival.iloc[0]))
                cells.append(
                    {"P": P, "ratio": ratio, "label": METHODS[str(name)].label, "cell": after}
                )
    if not cells:
        return []
    table = pd.DataFrame(cells).pivot_table(
        index=PANEL, columns="label", values="cell", aggfunc="first"
    )
    table = table[[m.label for m in METHODS.values() if m.label in table]]
    heads = ["P", "N D / P", *table.columns]
    body = [[*key, *line] for key, line in zip(table.index, table.to_numpy(), strict=True)]
    rule = ["---"] * len(heads)
    return ["| " + " | ".join(map(str, line)) + " |" for line in (heads, rule, *body)]


def break_even(line: pd.DataFrame, target: float) -> str:
    """When the error of one method falls to the target, between budgets by a power law."""
    seconds, error = line["budget"].to_numpy(float), line["error"].cummin().to_numpy(float)
    if not (error <= target).any():
        return f"over {seconds[-1]:g}"
    k = int(np.argmax(error <= target))
    if k == 0:
        known = METHODS[line["method"].iloc[0]].solved
        return f"{seconds[0]:.2g}" if known else f"under {seconds[0]:g}"
    share = math.log(error[k - 1] / target) / math.log(error[k - 1] / error[k])
    return f"{seconds[k - 1] * (seconds[k] / seconds[k - 1]) ** share:.2g}"


def markdown(table: pd.DataFrame, index: list[str]) -> list[str]:
    """The lines of a table with a column for each budget."""
    heads = [*index, *(f"{budget:g} s" for budget in table.columns)]
    cells = table.fillna("").to_numpy()
    body = [[*key, *line] for key, line in zip(table.index, cells, strict=True)]
    rule = ["---"] * len(heads)
    return ["| " + " | ".join(map(str, line)) + " |" for line in (heads, rule, *body)]


def draw(path: Path, rows: pd.DataFrame, design: Design) -> None:
    """Error against budget, a panel for each P and N D / P, a line a method."""
    figure, grid = plt.subplots(
        len(design.sizes), len(RATIOS), figsize=(9, 2 + 2.6 * len(design.sizes)),
        layout="constrained", sharex=True, sharey="row", squeeze=False,
    )  # fmt: skip
    best = best_of(rows, "method").sort_values("budget")
    drawn = ["error", "low", "high"]
    best[drawn] = best[drawn].clip(lower=LEAST_DRAWN)
    for (P, ratio), axes in zip(itertools.product(design.sizes, RATIOS), grid.flat, strict=True):
        for place, (name, method) in enumerate(METHODS.items()):
            line = best[(best["P"] == P) & (best["ratio"] == ratio) & (best["method"] == name)]
            bars = [line["error"] - line["low"], line["high"] - line["error"]]
            apart = 1 if method.solved else 1.03 ** (place - 4)  # that bars do not hide each other
            style = "D:" if method.solved else "o-" if method.model == "lnn" else "s--"
            axes.errorbar(
                apart * line["budget"], line["error"], bars, fmt=style, color=method.colour,
                ms=4, lw=1.2, label=method.label,
            )  # fmt: skip
        axes.set(xscale="log", yscale="log")
        axes.set_title(f"P = {P:,}, N D / P = {ratio}", fontsize=10)
        axes.set_xticks(design.budgets, [f"{b:g}" for b in design.budgets])
        axes.set_xticks([], minor=True)
    for axes in grid[-1]:
        axes.set_xlabel("budget on one thread / s")
    for axes in grid[:, 0]:
        axes.set_ylabel("median normalised\nsquared error on test points")
    figure.suptitle(
        "double pendulum: best setting of each method, median and range over seeds\n"
        f"(n = {', '.join(f'{n} at {b:g} s' for b, n in design.seeds.items())}; "
        f"LM: Levenberg-Marquardt; drawn from {LEAST_DRAWN:g})",
        fontsize=10,
    )
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, print, and write JSON, figure and tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--budgets", type=float, nargs="+", default=list(SEEDS), help="seconds")
    parser.add_argument("--seeds", type=int, help="of every budget")
    parser.add_argument("--quick", action="store_true", help="one size and seed, 0.3 s")
    parser.add_argument("--workers", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--cache", type=Path, help="folder of the finished runs, if not here")
    asked = parser.parse_args()
    here = Path(__file__)
    least = min(SEEDS.values())
    seeds = {b: asked.seeds or SEEDS.get(b, least) for b in sorted(asked.budgets)}
    design = Design(list(SIZES), seeds)
    folder = asked.cache or here.parent
    if asked.quick:
        design = Design(list(SIZES)[:1], {0.3: 1})
        folder = asked.cache or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    records = measure_all(folder / f"{here.stem}.jsonl", design, asked.workers)
    rows = solved_later(over_seeds(records), design.budgets)
    lines = [*best_table(rows, design.budgets), "", *settings_table(rows)]
    if even := break_even_table(rows):
        lines += ["", "Seconds after which each is as good as Adam after 5 s:", "", *even]
    print("\n".join(lines))
    figure = (folder if asked.quick else here.parent) / f"{here.stem}.png"
    draw(figure, rows, design)
    print(f"drawn in {figure}")
    if not asked.quick:
        shown = f"![Error against budget](../benchmarks/{figure.name})"
        tell("docs/speed.md", "optimizer map", [*lines, "", shown])
        write(__file__, {"runs": records})


if __name__ == "__main__":
    main()
