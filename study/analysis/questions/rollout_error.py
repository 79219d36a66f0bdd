"""What makes the trajectory wrong? Does the acceleration error predict it? What do controls say?

Errors of different causes do not add, so each control is compared with the model by itself. It
explains the model's error if it comes within a stated factor of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from study.analysis.answer import (
    MOST_REPLICATES,
    Answer,
    Question,
    Tables,
    curve,
    make,
    medians_table,
)
from study.analysis.marks import mark
from study.analysis.statistics.limits import (
    AT_CAP,
    CHAOTIC,
    EXPLAINED,
    EXPLAINS,
    INTEGRATOR,
    MULTIPLIED,
    SATURATED,
    Turn,
)
from study.analysis.statistics.medians import ENOUGH, Estimate, Medians, medians, resamples
from study.analysis.statistics.ratios import LogLogFit, loglog, mean_ratio
from study.analysis.style import REFERENCE, Plot, canvas, decade_axis, finish, look
from study.analysis.words import estimate, number, plural, span
from study.tables.measures import (
    BUDGET,
    MEASURES,
    OWN,
    ROLLOUT,
    TEST,
    TEST_MEAN,
    VALID_TIME,
)

KINDS = {"median": TEST, "mean": TEST_MEAN}  # of the squared acceleration error over test points
FIGURE = "error_budget"

CONTROLS = {
    OWN: "own error along the truth",
    "budget_white": "white noise",
    "budget_smooth": "smooth",
    "budget_conservative": "conservative",
    "budget_initial": "start off by 1e-4",
    "budget_integrator": "solver alone",
    "budget_reference": "two tight solvers",
}
LAGRANGIAN = ("lnn", "structured_lnn")  # their acceleration error is that of a Lagrangian system


@dataclass(frozen=True)
class Budget:
    """Cells of one system and horizon, with the model's and the controls' medians.

    - `columns[name]`: medians of `rollout_error` or of a control, one column a cell.
    - `matched`: the model's own error along the true trajectories, if that was measured; else the
      random control of its kind: conservative for a Lagrangian network, smooth for any other.
    - `growth`: e to the Lyapunov exponent times the horizon, median over replicates.
    """

    rows: pd.DataFrame
    where: str
    cells: tuple[str, ...]
    columns: dict[str, Medians]
    growth: float
    horizon: float

    @property
    def model(self) -> Medians:
        return self.columns[ROLLOUT.column]

    @property
    def lost(self) -> np.ndarray:
        """(K,) which cells' rollouts are near the ceiling."""
        return self.model.middle >= SATURATED

    def over(self, control: str, keep: np.ndarray | None = None) -> Estimate:
        """Model over control, of the cells `keep`; by default of those that are not lost."""
        both, K = self._both(control, ~self.lost if keep is None else keep)
        return mean_ratio(both, range(K), range(K, 2 * K))

    def log_ratio(self, control: str) -> Estimate:
        """Mean over the cells that are not lost of log control / log model, both below 1.

        It is 1 if the control alone makes as large an error, and 2 if it makes the square of it.
        """
        both, K = self._both(control, ~self.lost)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.log(both.middle[K:]) / np.log(both.middle[:K])
            draws = np.log(both.draws[:, K:]) / np.log(both.draws[:, :K])
        drawn = np.take_along_axis(draws, resamples(K, key=10_000), axis=1)
        return both.estimated(value.mean(), drawn.mean(axis=1))

    def lyapunov_times(self, keep: np.ndarray) -> Estimate:
        """Geometric mean over the cells `keep` of valid time over Lyapunov time."""
        times, per_second = self.columns[VALID_TIME.column], np.log(self.growth) / self.horizon
        if not keep.any():
            return Estimate(np.nan, 0.0, np.inf, int(times.counts.min()))
        with np.errstate(divide="ignore"):
            value = np.exp(np.log(times.middle[keep]).mean()) * per_second
            drawn = np.exp(np.log(times.draws[:, keep]).mean(axis=1)) * per_second
        return times.estimated(value, drawn)

    def _both(self, control: str, keep: np.ndarray) -> tuple[Medians, int]:
        """K columns of the model, then K of the control: one draw of replicates serves both."""
        both = [medians.table[:, keep] for medians in (self.model, self.columns[control])]
        return medians(np.concatenate(both, axis=1), groups=self.model.groups), int(keep.sum())


def budgets_of(rows: pd.DataFrame) -> list[Budget]:
    """One for each system and horizon whose controls were measured, largest first."""
    if not {*BUDGET, "lyapunov"} <= set(rows):
        return []
    measured = rows.loc[np.isfinite(rows[BUDGET].to_numpy(float)).all(axis=1)]
    budgets = []
    for _, part in measured.groupby(["system", "system.constants", "rollout.horizon"], sort=False):
        part = _with_own(part)
        first = part.drop_duplicates("cell")
        cells = tuple(first["cell"])
        has_own = OWN in part and bool(np.isfinite(part[OWN].to_numpy(float)).all())
        controls = [control for control in CONTROLS if control != OWN or has_own]
        measures = (ROLLOUT, VALID_TIME, *(MEASURES[control] for control in controls))
        columns = {measure.column: curve(part, cells, measure) for measure in measures}
        conservative, smooth = columns["budget_conservative"], columns["budget_smooth"]
        columns["random"] = medians(
            np.where(first["model"].isin(LAGRANGIAN), conservative.table, smooth.table),
            groups=columns[ROLLOUT.column].groups,
        )
        columns["matched"] = columns[OWN] if has_own else columns["random"]
        horizon = float(part["rollout.horizon"].iloc[0])
        growth = float(np.exp(np.median(part["lyapunov"].to_numpy(float)) * horizon))
        system = str(part["system"].iloc[0]).replace("_", " ")
        where = f"{system} over {number(horizon)} s"
        budgets.append(Budget(part, where, cells, columns, growth, horizon))
    return sorted(budgets, key=lambda budget: -len(budget.cells))


def _with_own(part: pd.DataFrame) -> pd.DataFrame:
    """The replicates that the model's own error was measured of; all of them where some cells have
    it and others not, or too few have it."""
    if OWN not in part:
        return part
    has_it = np.isfinite(part[OWN].to_numpy(float))
    replicate = part["replicate"].to_numpy()
    own, rest = set(replicate[has_it]), set(replicate[~has_it])
    return part.loc[has_it] if len(own) >= ENOUGH and not own & rest else part


def _answers(tables: Tables) -> Iterator[Answer]:
    yield from _predicted(tables)
    for k, budget in enumerate(budgets_of(tables.rows)):
        for name, (question, judge, limit) in _JUDGES.items():
            if budget.lost.all() and judge is not _chaos:
                judge = _all_lost
            verdict, sentence, factor = judge(budget)
            sentence, about = f"On {budget.where}, {sentence}", (budget.rows, budget.cells, FIGURE)
            id = f"budget.{name}.{k}"
            yield make(id, question, verdict, sentence, factor, *about, turn=Turn.at(limit))


def _explained(budget: Budget) -> tuple[str, str, Estimate]:
    factor, white = budget.over("matched"), budget.over("budget_white")
    random = budget.over("random")
    by_size = (
        "that of the true field with a perturbation of the size of the model's acceleration error "
        "(smooth in the state; conservative if the model is a Lagrangian's)"
    )
    logs = (
        f"log error of the control over that of the model: {estimate(budget.log_ratio('matched'))}"
    )
    if OWN in budget.columns:
        sentence = (
            f"the rollout error is {estimate(factor)} times that of the true field pushed by what "
            f"the model's accelerations are off along the true trajectory; {logs}. Enough means "
            f"less than {EXPLAINS:g} times. It is {estimate(random)} times {by_size}, and "
            f"{estimate(white)} times that with white noise of that size."
        )
    else:
        sentence = (
            f"the rollout error is {estimate(factor)} times {by_size}; {logs}. Enough means less "
            f"than {EXPLAINS:g} times. Beside white noise of that size it is {estimate(white)} "
            "times."
        )
    if factor.enough and factor.high < 1 / EXPLAINS:
        sentence += (
            " The control makes more error than the model: the model's error is kinder than one of "
            "its size at random."
        )
    return factor.verdict(EXPLAINS, below=True), sentence + _left_out(budget), factor


def _integrator(budget: Budget) -> tuple[str, str, Estimate]:
    factor, tight = budget.over("budget_integrator"), budget.over("budget_reference")
    sentence = (
        f"the rollout error is {estimate(factor)} times that of the true field by the same solver "
        "at the same tolerance (log error of the control over that of the model: "
        f"{estimate(budget.log_ratio('budget_integrator'))}), and {estimate(tight)} times the "
        f"difference of two tight solvers. To blame means less than {INTEGRATOR:g} times."
        f"{_left_out(budget)}"
    )
    return factor.verdict(INTEGRATOR, below=True), sentence, factor


def _chaos(budget: Budget) -> tuple[str, str, Estimate]:
    """By the time that trajectories stay right, in Lyapunov times: errors are clamped at 1, times
    are not. Lost rollouts count."""
    times = budget.columns[VALID_TIME.column]
    ended = times.middle < AT_CAP * budget.horizon
    least, factor = CHAOTIC * budget.horizon, budget.lyapunov_times(ended)
    chaotic = budget.growth >= least
    verdict = factor.verdict(MULTIPLIED) if chaotic and ended.any() else "no"
    sentence = (
        "the median finite-time Lyapunov exponent times the horizon is "
        f"{number(np.log(budget.growth))}: the true motion multiplies a small error by "
        f"{number(budget.growth)}; from {number(least)} on it counts as chaotic, because without "
        "chaos an error grows as time. "
    )
    if ended.any():
        before = plural(int(ended.sum()), "cell")
        sentence += (
            f"Where rollouts end before half the horizon ({before}) they stay right for "
            f"{estimate(factor)} Lyapunov times; chaos is to blame if the motion is chaotic and "
            f"this is more than {number(MULTIPLIED)}, so that it has multiplied the error tenfold."
        )
    else:
        sentence += "The rollouts of every cell stay right for half the horizon and longer."
    return verdict, sentence, factor


def _all_lost(budget: Budget) -> tuple[str, str, Estimate]:
    sentence = (
        f"every cell's rollout error is at or above {SATURATED:g}, near its ceiling of 1: the "
        "trajectories are lost, whatever the cause."
    )
    return "undecided", sentence, Estimate(np.nan, 0.0, np.inf, int(budget.model.counts.min()))


def _left_out(budget: Budget) -> str:
    if not (n := int(budget.lost.sum())):
        return ""
    return f" {plural(n, 'cell')} left out, with rollouts lost (error of {SATURATED:g} and more)."


_JUDGES = {
    "explained": (
        "Is the network's acceleration error, propagated by the true dynamics, enough to explain "
        "the trajectory error?",
        _explained,
        EXPLAINS,
    ),
    "integrator": (
        "Is the integrator to blame for the trajectory error?",
        _integrator,
        INTEGRATOR,
    ),
    "chaos": ("Is chaos, the sensitivity to initial conditions, to blame?", _chaos, MULTIPLIED),
}


def _plots(tables: Tables) -> Iterator[Plot]:
    for kind, fit in fits_of(tables.rows).items():
        yield _scatter(tables.rows, kind, fit)
    budgets = budgets_of(tables.rows)[:4]
    if not budgets:
        return
    figure, axes = canvas(len(budgets), height=0.4 + 3.6 * len(budgets))
    parts = []
    for axis, budget in zip(axes, budgets, strict=True):
        model = budget.model.middle
        drawn = {c: label for c, label in CONTROLS.items() if c in budget.columns}
        for k, (control, label) in enumerate(drawn.items()):
            about = {"where": budget.where, "control": control, "model": model}
            part = medians_table(budget.columns[control], budget.cells, **about)
            look_of = look(k, len(drawn))
            axis.plot(model, part["median"], ls="none", alpha=0.85, label=label, **look_of)
            mark(axis, model, part["median"], part)
            parts.append(part)
        finite = model[np.isfinite(model) & (model > 0)]
        ends = np.array([min(finite, default=0.2) / 2, min(1.0, 2 * max(finite, default=0.5))])
        axis.plot(ends, ends, color="black", linewidth=1.0, zorder=0)
        within = ends / EXPLAINS, ends * EXPLAINS
        axis.fill_between(ends, *within, color=REFERENCE, alpha=0.15, linewidth=0)
        axis.set(xlim=ends, xlabel=f"rollout error of the model, {budget.where}")
        axis.set_ylabel("rollout error of the control")
        decade_axis(axis, "x")
        decade_axis(axis, "y", most=8)
    finish(figure, axes[0])
    data = pd.concat(parts, ignore_index=True)
    factors = [number(b.over("matched").value) for b in budgets if not b.lost.all()]
    caption = (
        f"Median rollout error over {span(data['replicates'], 'replicate')} of "
        f"{plural(len(set(data['cell'])), 'cell')}, the model's across and each control's "
        "upwards: the true field pushed by the model's own error along the true trajectory, or "
        "perturbed by the size of its acceleration error (white noise, smooth, conservative), a "
        "start 1e-4 off, the rollout's solver alone, two tight solvers. A control on the line "
        f"alone makes as large an error as the model; grey: a factor of {EXPLAINS:g} either way. "
        "Intervals are in the CSV."
    )
    alt = (
        "Scatter plot on logarithmic axes of the rollout error of the controls against that of "
        f"the model; the model's is {' and '.join(factors) or 'at most about 1'} times that of the "
        "matching perturbation."
    )
    yield Plot(FIGURE, "What makes the trajectory wrong", caption, alt, data, figure)


def fits_of(rows: pd.DataFrame) -> dict[str, LogLogFit]:
    """Kind of error -> fit of the log rollout error on the log of its root, over all replicates."""
    rollouts = rows[ROLLOUT.column].to_numpy(float)
    roots = {kind: np.sqrt(rows[m.column].to_numpy(float)) for kind, m in KINDS.items()}
    fits = {kind: loglog(root, rollouts, list(rows["cell"])) for kind, root in roots.items()}
    return {kind: fit for kind, fit in fits.items() if fit is not None}


def _predicted(tables: Tables) -> Iterator[Answer]:
    rows = tables.rows
    cells = tuple(tables.design.cells.index)
    fits = fits_of(rows)
    saturated = float((rows[ROLLOUT.column].to_numpy(float) > SATURATED).mean())
    blind = saturated > 0.5  # most rollouts have failed: there is little to predict
    flattened = (
        f" {number(100 * saturated)} % of the replicates have a rollout error above {SATURATED:g}, "
        "near its ceiling of 1, which flattens the slope."
    )
    for kind, fit in fits.items():
        words = f"root {kind} square acceleration error"
        sentence = (
            f"Over {plural(fit.slope.n, 'replicate')} of {plural(len(cells), 'cell')}, log rollout "
            f"error against log {words} has slope {estimate(fit.slope)} and "
            f"R² = {estimate(fit.r2)}; it counts as predicting above R² = {EXPLAINED:g}."
        )
        if fit.left_out:
            left_out = plural(fit.left_out, "replicate")
            sentence += f" {left_out} without a positive finite value left out."
        sentence += flattened if saturated >= 0.05 else ""
        if kind == "mean":  # beside the median below: alone it answers nothing
            continue
        id, question = f"rollout_by_{kind}_error", f"Does the {words} predict the rollout error?"
        verdict = "undecided" if blind else fit.r2.verdict(EXPLAINED)
        remedy = _would_decide(fit.r2, EXPLAINED, len(cells), blind, verdict)
        yield make(id, question, verdict, sentence, fit.r2, rows, cells, id, remedy=remedy)
    median, mean = fits.get("median"), fits.get("mean")
    if median and mean and median.left_out == mean.left_out:
        difference = median.r2.value - mean.r2.value
        gain = Estimate.of(difference, median.r2_draws - mean.r2_draws, median.r2.n)
        sentence = (
            f"R² against the rollout error is {number(median.r2.value)} for the root median and "
            f"{number(mean.r2.value)} for the root mean square acceleration error, a difference of "
            f"{estimate(gain)}."
        )
        question = "Does the median error predict rollouts better than the mean error?"
        verdict = "undecided" if blind else gain.verdict(0.0)
        about = ("median_or_mean", question, verdict, sentence, gain, rows, cells)
        remedy = _would_decide(gain, 0.0, len(cells), blind, verdict)
        yield make(*about, "rollout_by_median_error", remedy=remedy)


def _would_decide(value: Estimate, limit: float, n_cells: int, blind: bool, verdict: str) -> str:
    """A sentence on how many cells would put an undecided value's interval on one side of a limit:
    an interval is about 1 / sqrt(n) as wide with n cells."""
    if verdict != "undecided":
        return ""
    if blind:
        return " A shorter horizon, over which rollouts are not lost, would decide it."
    distance = abs(value.value - limit)
    width = value.value - value.low if value.value > limit else value.high - value.value
    if width >= distance * np.sqrt(MOST_REPLICATES):
        return f" More than {MOST_REPLICATES} times as many cells would be needed to decide it."
    needed = max(int(np.ceil(n_cells * (width / distance) ** 2)), n_cells + 1)
    return f" About {plural(needed, 'cell')} of as different errors would decide it."


def _scatter(rows: pd.DataFrame, kind: str, fit: LogLogFit) -> Plot:
    """The replicates, coloured by N·D/P, and the fitted line."""
    figure, (axis,) = canvas(height=4.1)
    data, shown = scatter_on(axis, rows, kind, fit)
    finish(figure, axis)
    title = f"Rollout error against {kind} acceleration error"
    caption = (
        f"Each point one replicate, {len(shown)} of {len(rows)} shown, from "
        f"{plural(len(set(rows['cell'])), 'cell')}; line: least squares in logarithms, "
        f"slope {estimate(fit.slope)}, R² = {estimate(fit.r2)} (95 % bootstrap over cells "
        "and replicates). A replicate without a positive finite value has no place here."
    )
    alt = (
        f"Scatter plot on logarithmic axes of rollout error against root {kind} square "
        f"acceleration error: slope {number(fit.slope.value)}, R² {number(fit.r2.value)}."
    )
    return Plot(f"rollout_by_{kind}_error", title, caption, alt, data, figure)


def shown_of(rows: pd.DataFrame, kind: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every replicate's two errors, and those of them that have a place on logarithmic axes."""
    data = rows[["cell", "replicate", "equations_per_param"]].assign(
        root_error=np.sqrt(rows[KINDS[kind].column]), rollout_error=rows[ROLLOUT.column]
    )
    pair = data[["root_error", "rollout_error"]].to_numpy(float)
    shown = data.loc[(np.isfinite(pair) & (pair > 0)).all(axis=1)]
    return data, shown


def scatter_on(
    axis: Axes, rows: pd.DataFrame, kind: str, fit: LogLogFit | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw the replicates, coloured by N·D/P, and the fitted line on given axes.

    **Returns:** as `shown_of`.
    """
    data, shown = shown_of(rows, kind)
    x, y = shown["root_error"], shown["rollout_error"]
    hue = np.log2(shown["equations_per_param"].to_numpy(float))
    look = {"cmap": "viridis", "s": 20, "alpha": 0.85, "linewidths": 0.3, "edgecolors": "white"}
    points = axis.scatter(x, y, c=hue, **look)
    mark(axis, x, y, shown)
    if fit is not None:
        ends = np.array([x.min(), x.max()])
        label = f"slope {estimate(fit.slope)},  R² = {estimate(fit.r2)}"
        line = 10**fit.intercept * ends**fit.slope.value
        axis.plot(ends, line, color="black", linewidth=1.2, label=label)
    decade_axis(axis, "x")
    decade_axis(axis, "y")
    axis.set(xlabel=f"root {kind} square acceleration error (normalised)", ylabel=ROLLOUT.axis)
    if len(set(hue)) > 1:
        bar = axis.figure.colorbar(points, ax=axis, pad=0.02, aspect=30)
        low, high = np.floor(hue.min()), np.ceil(hue.max())
        ticks = np.arange(low, high + 0.5, max(1, round((high - low) / 6)))
        ticks = ticks[(ticks >= hue.min() - 0.05) & (ticks <= hue.max() + 0.05)]
        bar.set_ticks(list(ticks), labels=[f"{2.0**t:.3g}" for t in ticks])
        bar.set_label("N·D/P")
        bar.outline.set_visible(False)  # type: ignore[operator]
    return data, shown


QUESTION = Question(_answers, _plots, place=80)
