"""The numbers of README's answer and of docs/answer.md, from the reference tables by other code.

Nothing of the analysis is used here: medians and bootstrap draws are NumPy's, and the tables are
read with pandas. A figure in the texts has to agree with what is counted here to its last digit or
a hundredth, an end of an interval to a quarter, since both sides draw their own bootstrap samples,
by which means over systems are weighted too.
"""

# ruff: noqa: RUF001 (the texts have the multiplication sign)

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

ROOT = Path(__file__).parents[1]
TABLES = ROOT / "outputs" / "reference"
SUPERSCRIPT = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
NUMBER = r"[\d,.]+(?:×10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?"
DRAWS = 4000


def text_of(name):
    """A text on one line."""
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


TEXTS = {name: text_of(name) for name in ("README.md", "docs/answer.md")}


def parsed(number):
    mantissa, _, exponent = number.partition("×10")
    value = float(mantissa.replace(",", "").rstrip("."))
    return value * 10.0 ** int(exponent.translate(SUPERSCRIPT)) if exponent else value


def table(study, **wanted):
    """Rows of a study with these values; `__` stands for a dot."""
    rows = pd.read_parquet(TABLES / study / "results.parquet")
    for name, value in wanted.items():
        rows = rows[rows[name.replace("__", ".")] == value]
    assert len(rows), f"{study} has no {wanted}"
    return rows


def by_seed(rows, measure="test_nmse_median"):
    """(replicates,) one cell's values in the order of its replicates; infinite if not finite."""
    assert len(set(rows["cell"])) == 1
    values = rows.sort_values("replicate")[measure].to_numpy(float)
    return np.where(np.isfinite(values), values, np.inf)


def drawn(n, groups=None):
    """Bootstrap samples of replicates, (DRAWS, n); of whole groups if there are some."""
    rng = np.random.default_rng(11)
    if groups is None:
        return rng.integers(0, n, (DRAWS, n))
    members = np.stack([np.flatnonzero(groups == group) for group in np.unique(groups)])
    return members[rng.integers(0, len(members), (DRAWS, len(members)))].reshape(DRAWS, -1)


def ratio(above, below, level=0.95, groups=None):
    """Ratio of medians with its percentile interval; both cells hold the same replicates."""
    together = drawn(len(above), groups)
    draws = np.median(above[together], axis=1) / np.median(below[together], axis=1)
    tail = (1 - level) / 2
    return (np.median(above) / np.median(below), *np.quantile(draws, [tail, 1 - tail]))


def n_vs_p(**wanted):
    return table("n_vs_p", data__noise=0.0, **wanted)


def along(rows, name, measure="test_nmse_median"):
    """Cells in the order of a column: its values and the cells' errors."""
    places = np.sort(rows[name].unique())
    return places, [by_seed(rows[rows[name] == place], measure) for place in places]


def flattens(P, depth):
    """N/P of the smallest N whose median is within a factor of 2 of the best."""
    rows = n_vs_p(n_params=P, optimizer="adam", model__depth=depth)
    points, errors = along(rows, "data.n_train")
    table = np.stack(errors, 1)

    def first(medians):
        return points[np.argmax(medians <= 2 * medians.min(-1, keepdims=True), axis=-1)] / P

    draws = first(np.median(table[drawn(len(table))], axis=1))
    return (first(np.median(table, axis=0)), *np.quantile(draws, [0.025, 0.975]))


def gain_by_soap():
    _, errors = along(n_vs_p(n_params=3425, optimizer="soap", model__depth=4), "data.n_train")
    return ratio(errors[0], errors[-1])


def gain_by_points(first, last):
    """Between two rungs of N/P by Levenberg-Marquardt."""
    points, errors = along(n_vs_p(n_params=401, optimizer="adam_lm"), "data.n_train")
    rungs = dict(zip(np.round(points / 401, 3), errors, strict=True))
    return ratio(rungs[first], rungs[last])


def along_p(N):
    """The largest network over the best with P <= N D, at 10 % noise."""
    rows = table("double_descent_models", model="lnn", data__n_train=N)
    P, errors = along(rows, "n_params")
    enough = [error for p, error in zip(P, errors, strict=True) if 2 * N / p >= 0.995]
    return ratio(errors[-1], min(enough, key=np.median))


def mean_peak(model, width):
    """Of the mean error along N at 10 % noise, at N D = P."""
    rows = table("double_descent_models", model=model, model__width=width)
    _, errors = along(rows, "data.n_train", "test_nmse")
    medians = np.array([np.median(error) for error in errors])
    ratios = np.sort(rows["equations_per_param"].unique())
    at = int(np.abs(np.log(ratios)).argmin())
    return (medians[at] / max(medians[:at].min(), medians[at + 1 :].min()),)


def lever(measure="test_nmse_median", settings=1, **changed):
    start = {"data__n_train": 1024, "n_params": 401, "model": "lnn", "optimizer": "adam"}
    before = table("levers", **start)
    after = table("levers", **{**start, **changed})
    level = 1 - 0.05 / settings
    return ratio(by_seed(before, measure), by_seed(after, measure), level)


def seconds(optimizer):
    rows = table("levers", data__n_train=1024, n_params=401, model="lnn", optimizer=optimizer)
    return (rows["train_seconds"].median(),)


def mean_of_ratios(pairs):
    """Geometric mean of ratios of medians, cells drawn anew and the replicates within them."""
    above, below = (np.stack(side) for side in zip(*pairs, strict=True))  # (pairs, replicates)
    value = np.exp(np.log(np.median(above, 1) / np.median(below, 1)).mean())
    rng = np.random.default_rng(12)
    draws = []
    for _ in range(DRAWS):
        seeds, cells = (rng.integers(0, n, n) for n in above.shape[::-1])
        middle = (np.median(side[cells][:, seeds], axis=1) for side in (above, below))
        draws.append(np.exp(np.log(np.divide(*middle)).mean()))
    return (value, *np.quantile(draws, [0.025, 0.975]))


def budget(control):
    """Rollout error over a control's, over the cells that are not lost."""
    rows = pd.read_parquet(TABLES / "n_vs_p" / "results.parquet")
    cells = [part for _, part in rows.groupby("cell")]
    kept = [part for part in cells if part["rollout_error"].median() < 0.5]
    return mean_of_ratios([(by_seed(p, "rollout_error"), by_seed(p, control)) for p in kept])


def pushed(horizon, extreme):
    """Rollout error over that of the true system pushed by the model's own errors: the least or
    largest of the systems."""
    rows = table("trajectories", rollout__horizon=horizon)
    ratios = []
    for _, own in rows.groupby("system"):
        medians = own.groupby("cell")[["rollout_error", "budget_own"]].median()
        medians = medians[medians["rollout_error"] < 0.5]
        ratios.append(np.exp(np.log(medians["rollout_error"] / medians["budget_own"]).mean()))
    return (extreme(ratios),)


def seconds_of_a_decade(system):
    """What ten times the accuracy adds to the valid time, where it is short of half the horizon."""
    rows = table("trajectories", rollout__horizon=100.0, system=system)
    rows = rows[(rows["valid_time"] > 0) & (rows["valid_time"] < 50) & (rows["lyapunov"] > 0)]
    cells = [part for _, part in rows.groupby("cell")]
    accuracy = [-0.5 * np.log10(part["test_nmse_median"].to_numpy()) for part in cells]
    n = len(cells)
    times, rng, slopes = (
        [part["valid_time"].to_numpy() for part in cells],
        np.random.default_rng(3),
        [],
    )
    for _ in range(DRAWS // 4):  # cells, and the networks of each
        ends = [(k, rng.integers(0, len(times[k]), len(times[k]))) for k in rng.integers(0, n, n)]
        x, y = (np.concatenate([part[k][at] for k, at in ends]) for part in (accuracy, times))
        slopes.append(np.polyfit(x, y, 1)[0])
    value = np.polyfit(np.concatenate(accuracy), np.concatenate(times), 1)[0]
    return (value, *np.quantile(slopes, [0.025, 0.975]))


def r_squared(measure):
    """Of the logarithms, rows drawn by cell, then by replicate."""
    rows = pd.read_parquet(TABLES / "n_vs_p" / "results.parquet")
    logs = np.stack(
        [np.log(p[[measure, "rollout_error"]].to_numpy(float)) for _, p in rows.groupby("cell")]
    )
    rng = np.random.default_rng(13)
    draws = []
    for _ in range(DRAWS):
        cells = rng.integers(0, len(logs), len(logs))
        seeds = rng.integers(0, logs.shape[1], logs.shape[:2])
        chosen = logs[cells[:, None], seeds].reshape(-1, 2)
        draws.append(np.corrcoef(chosen.T)[0, 1] ** 2)
    value = np.corrcoef(logs.reshape(-1, 2).T)[0, 1] ** 2
    return (value, *np.quantile(draws, [0.025, 0.975]))


def recipe():
    rows = pd.read_parquet(TABLES / "seed_question" / "results.parquet")
    same = (rows["data.order"] == "shuffled") & (rows["data.n_trajectories"] == 100)
    asked, good = (rows[same & (rows["model.encoding"] == e)] for e in ("raw", "trig"))
    return mean_of_ratios(
        [
            [by_seed(part[part["data.n_train"] == n]) for part in (asked, good)]
            for n in (4096, 16384)
        ]
    )


def asked(name, worse, better):
    """One level of a choice over the other with the question's settings."""
    rows = table("seed_question", model__encoding="raw")
    others = [n for n in ("data.n_train", "data.order", "data.n_trajectories") if n != name]
    pairs = []
    for _, part in rows.groupby(others):
        pairs.append([by_seed(part[part[name] == level]) for level in (worse, better)])
    return mean_of_ratios(pairs)


def beta_of_softplus(init):
    """Worst over best beta."""
    rows = table("activation_beta", model__init=init, model__activation="softplus")
    _, errors = along(rows, "model.beta")
    medians = [np.median(error) for error in errors]
    return ratio(errors[int(np.argmax(medians))], errors[int(np.argmin(medians))])


def beta(init):
    """Worst over best beta, geometric mean over the activations; which they are, is kept."""
    rows = table("activation_beta", model__init=init)
    errors = np.array(
        [along(part, "model.beta")[1] for _, part in rows.groupby("model.activation")]
    )  # (activations, betas, replicates)
    middle = np.log(np.median(errors, axis=2))
    every, worst, best = np.arange(len(middle)), middle.argmax(1), middle.argmin(1)
    draws = np.log(np.median(errors[..., drawn(errors.shape[2])], axis=-1))
    spread = draws[every, worst] - draws[every, best]  # (activations, DRAWS)
    value = np.exp((middle[every, worst] - middle[every, best]).mean())
    return (value, *np.quantile(np.exp(spread.mean(0)), [0.025, 0.975]))


def at_own_rates(optimizer, above, below):
    """Softplus at one beta over another, each at its own best rate, with new seeds."""
    rows = table("activation_beta_tuned", role="rerun", optimizer=optimizer)
    rows = rows[rows["model.activation"] == "softplus"]
    return ratio(*(by_seed(rows[rows["model.beta"] == beta]) for beta in (above, below)))


def to_the_end(noise=0.1):
    rows = table("double_descent", model="lnn", data__noise=noise, optimizer__iterations=2000)
    return rows[rows["optimizer.validation"].fillna(0) == 0]


def interpolation_ends():
    """N D / P where the train error passes 1 % of the variance of the label noise."""
    rows = to_the_end()
    points = np.sort(rows["data.n_train"].unique())
    cells = [rows[rows["data.n_train"] == n] for n in points]
    errors = np.stack([by_seed(cell, "train_nmse") for cell in cells], 1) / 1e-4

    def end(medians):
        k = np.flatnonzero(medians < 1)[-1]
        depth = np.log(np.clip(medians[k : k + 2], 1e-2, 1e2))
        steps = np.log(points[k : k + 2])
        return np.exp(np.interp(0.0, depth, steps)) * 2 / 137

    draws = [end(np.median(errors[seeds], axis=0)) for seeds in drawn(len(errors))]
    return (end(np.median(errors, axis=0)), *np.quantile(draws, [0.025, 0.975]))


def published(model):
    """Mean over trajectories of the final energy error, in per cent: median over replicates."""
    rows = table("published", model=model)
    values = 100 * by_seed(rows, "energy_drift_final_mean")
    draws = np.median(values[drawn(len(values))], axis=1)
    return (np.median(values), *np.quantile(draws, [0.025, 0.975]))


def control_peak():
    rows = table("double_descent", model="random_features", data__noise=0.1)
    points, errors = along(rows, "data.n_train")
    medians = np.array([np.median(error) for error in errors])
    at = int(np.flatnonzero(points == 100)[0])
    return (medians[at] / max(medians[:at].min(), medians[at + 1 :].min()),)


def medians_along_n(measure):
    """N, and the medians of a measure at 10 % noise and P = 137."""
    rows = to_the_end()
    points = np.sort(rows["data.n_train"].unique())
    cells = [by_seed(rows[rows["data.n_train"] == n], measure) for n in points]
    return points, np.array([np.median(cell) for cell in cells])


def stands_out(measure):
    """The error at N D = 0.74 P over the larger of the least before and after it."""
    rows = to_the_end()
    points = np.sort(rows["data.n_train"].unique())
    errors = np.stack([by_seed(rows[rows["data.n_train"] == n], measure) for n in points], 1)
    at = int(np.flatnonzero(points == 51)[0])

    def height(medians):
        ends = medians[..., :at].min(-1), medians[..., at + 1 :].min(-1)
        return medians[..., at] / np.maximum(*ends)

    draws = height(np.median(errors[drawn(len(errors))], axis=1))
    return (height(np.median(errors, axis=0)), *np.quantile(draws, [0.025, 0.975]))


def percent_indefinite():
    points, medians = medians_along_n("singular_fraction")
    assert max(medians[0], medians[-1]) < 0.01
    return (100 * medians[points == 51][0],)


def systems(**wanted):
    """Rows of each system of the two studies made for all of them."""
    ladders = wanted["optimizer"] == "levenberg_marquardt"
    rows = table("systems" if ladders else "systems_levers", **wanted)
    return {str(name): part for name, part in rows.groupby("system")}


def last_below(rows, below):
    """Median of the last rung where `below` is true over the best of the others."""
    places = [part for _, part in rows.groupby("cell")]
    under = [part for part in places if below(part.iloc[0])]
    over = [part for part in places if not below(part.iloc[0])]
    last = max(under, key=lambda part: part["equations_per_param"].iloc[0])
    best = min(over, key=lambda part: part["test_nmse_median"].median())
    return ratio(by_seed(last), by_seed(best))


def points_needed(noise):
    own = systems(optimizer="levenberg_marquardt", data__noise=noise, model__width=8)
    return {name: last_below(rows, lambda r: r["n_over_p"] < 0.995) for name, rows in own.items()}


def parameters_hurt(noise):
    """The largest network over the best with P <= N D."""
    ratios = {}
    for name, rows in systems(optimizer="levenberg_marquardt", data__noise=noise).items():
        N = {1: 128, 2: 64, 3: 43}[
            round(rows["n_equations"].iloc[0] / rows["data.n_train"].iloc[0])
        ]
        rows = rows[rows["data.n_train"] == N]
        cells = [part for _, part in rows.groupby("cell")]
        largest = max(cells, key=lambda part: part["n_params"].iloc[0])
        enough = [part for part in cells if part["equations_per_param"].iloc[0] >= 0.995]
        best = min(enough, key=lambda part: part["test_nmse_median"].median())
        ratios[name] = ratio(by_seed(largest), by_seed(best))
    return ratios


ADAM = {"optimizer": "adam", "model": "lnn", "data__n_train": 1024, "model__width": 16}


def beside(other, usual):
    """One cell over another of each system."""
    below = systems(**usual)
    return {
        name: ratio(by_seed(rows), by_seed(below[name])) for name, rows in systems(**other).items()
    }


def over_systems(ratios):
    """Random-effects mean of ratios: Paule and Mandel's tau, Hartung and Knapp's interval."""
    logs = np.log([each[0] for each in ratios.values()])
    variances = np.log([each[2] / each[1] for each in ratios.values()]) ** 2 / (2 * 1.959964) ** 2
    n = len(logs)

    def at(tau2):
        weights = 1 / (variances + tau2)
        mean = (weights * logs).sum() / weights.sum()
        return mean, weights, (weights * (logs - mean) ** 2).sum()

    low, high = 0.0, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle)[2] > n - 1 else (low, middle)
    mean, weights, q = at(low)
    half = stats.t.ppf(0.975, n - 1) * np.sqrt(q / (n - 1) / weights.sum())
    return tuple(np.exp([mean, mean - half, mean + half]))


def trajectories_help(instead_of=1):
    hundred = ADAM | {"data__n_trajectories": 100, "data__order": "shuffled"}
    return over_systems(beside(ADAM | {"data__n_trajectories": instead_of}, hundred))


def more_points_hurt(model, few):
    """N = 4096 over fewer points, Adam then Levenberg-Marquardt in the same time."""
    size = {"lnn": 401, "structured_lnn": 420}[model]
    rows = table("levers", model=model, n_params=size, optimizer="adam_lm")
    return ratio(*(by_seed(rows[rows["data.n_train"] == n]) for n in (4096, few)))


def more_points_asked():
    """The same with the question's settings, four times 4096 over 4096."""
    asked = {"data__order": "shuffled", "data__n_trajectories": 100, "model__encoding": "raw"}
    rows = table("seed_question", **asked)
    return ratio(*(by_seed(rows[rows["data.n_train"] == n]) for n in (16384, 4096)))


def soap_at_the_size_asked():
    rows = n_vs_p(n_params=3425, data__n_train=4096, model__depth=4)
    return ratio(*(by_seed(rows[rows["optimizer"] == name]) for name in ("adam", "soap")))


def initialisation_costs(beta):
    """PyTorch's over fan-in at one beta: paired cells of the factorial, Student's t."""
    rows = table("recipe", model__beta=beta).fillna({"optimizer.clip": 0.0})
    others = [name for name in FACTORS if name != "model.init"]
    medians = rows.groupby(["model.init", *others])["test_nmse_median"].median()
    logs = np.log(medians.loc["torch_default"] / medians.loc["fan_in"])
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std() / np.sqrt(len(logs))
    return tuple(np.exp([logs.mean(), logs.mean() - half, logs.mean() + half]))


def shuffling_helps():
    hundred = ADAM | {"data__n_trajectories": 100}
    shuffled, in_order = ({"data__order": order} for order in ("shuffled", "sequential"))
    return over_systems(beside(hundred | in_order, hundred | shuffled))


def costs(*names):
    """What worse levels of one setting of the full factorial cost, or how many times more beside
    another: least squares of log medians on all settings and pairs, coded -1 and 1."""
    rows = table("recipe").fillna({"optimizer.clip": 0.0})
    cells = rows.groupby("cell").agg(
        {**dict.fromkeys(FACTORS, "first"), "test_nmse_median": "median"}
    )
    coded = {f: np.where(cells[f] == sorted(cells[f].unique())[0], 1.0, -1.0) for f in FACTORS}
    keys = [(f,) for f in FACTORS] + [
        (f, g) for i, f in enumerate(FACTORS) for g in FACTORS[i + 1 :]
    ]
    X = np.column_stack(
        [np.ones(len(cells)), *(np.prod([coded[f] for f in key], 0) for key in keys)]
    )
    y = np.log(cells["test_nmse_median"].to_numpy(float))
    slopes, squares, *_ = np.linalg.lstsq(X, y, rcond=None)
    freedom = len(y) - X.shape[1]
    error = np.sqrt(squares[0] / freedom / len(y)) * stats.t.ppf(0.975, freedom)
    size, power = abs(slopes[1 + keys.index(names)]), 2 ** len(names)
    return tuple(np.exp(power * np.array([size, size - error, size + error])))


def at_noise(noise, above, below):
    """One method over another, geometric mean over the recordings; of a method `model loss`."""
    rows = table("positions", data__position_noise=noise)
    pairs = []
    for _, part in rows.groupby(["data.n_trajectories", "data.pool_size"]):
        methods = part["model"] + " " + part["optimizer.loss"]
        pairs.append([by_seed(part[methods == name]) for name in (above, below)])
    return mean_of_ratios(pairs)


def weak_below_integrator(noise):
    return at_noise(noise, "structured_lnn rollout", "linear_lagrangian weak")


def integrator_helps(noise):
    return at_noise(noise, "structured_lnn squared", "structured_lnn rollout")


FACTORS = (
    "data.units", "model.encoding", "model.mass_prior", "model.beta", "model.init", "optimizer.lr",
    "optimizer.schedule", "optimizer.clip",
)  # fmt: skip


# the text before a figure -> what it has to be, where a text has it
CLAIMS = {
    "of its best from N =": lambda: flattens(401, 2),
    "gains a factor of": lambda: gain_by_points(0.125, 0.751),
    "0.75 P, and": lambda: gain_by_points(0.751, 2.0),
    "SOAP improves it by a factor of": gain_by_soap,
    "last N below P has": lambda: over_systems(points_needed(0.1)),
    "as many parameters has": lambda: over_systems(parameters_hurt(0.1)),
    "six networks costs a factor of": lambda: over_systems(parameters_hurt(0.1)),
    "the largest network has": lambda: along_p(68),
    "at N = 68 and": lambda: along_p(137),
    "structured LNN peaks": lambda: mean_peak("structured_lnn", 8),
    "matrix, peaks": lambda: mean_peak("acceleration_mlp", 8),
    "instead of one:": trajectories_help,
    "instead of one lower the error": trajectories_help,
    "instead of ten": lambda: trajectories_help(10),
    "instead of ten lower it": lambda: trajectories_help(10),
    "instead of thirty": lambda: trajectories_help(30),
    "shuffling matters little,": shuffling_helps,
    "has at N = 4096": lambda: more_points_hurt("lnn", 1024),
    "(plain, P = 401), and": lambda: more_points_hurt("structured_lnn", 256),
    "have at N = 16,384": more_points_asked,
    "N = 4096) lowers the error": soap_at_the_size_asked,
    "the lever, at N = 4096": soap_at_the_size_asked,
    "PyTorch's initialisation costs": lambda: initialisation_costs(0.5),
    "question's beta 0.5 and gains": lambda: 1 / np.array(initialisation_costs(2.0))[[0, 2, 1]],
    "2,400 by system), shuffling": shuffling_helps,
    "where theory says: random features": control_peak,
    "to 1.0 P, at 0.74 P": lambda: stands_out("test_nmse"),
    "The median error peaks": lambda: stands_out("test_nmse_median"),
    "nearly singular mass matrix at": percent_indefinite,
    "nearly singular at": percent_indefinite,
    "P = 401,": lambda: seconds("levenberg_marquardt"),
    "P = 401):": lambda: seconds("levenberg_marquardt"),
    "Levenberg-Marquardt instead of": lambda: seconds("adam"),
    "lower the acceleration error": lambda: lever(optimizer="levenberg_marquardt", settings=3),
    "and the rollout error": lambda: lever(
        "rollout_error", optimizer="levenberg_marquardt", settings=3
    ),
    "and its mean over test points": lambda: lever(
        "test_nmse", optimizer="levenberg_marquardt", settings=3
    ),
    "A structured LNN lowers them": lambda: lever(model="structured_lnn", n_params=420, settings=2),
    "2.8-fold [2.3, 3.5] and": lambda: lever("rollout_error", n_params=1313, settings=2),
    "11-fold [9.0, 14] and": lambda: lever(
        "rollout_error", model="structured_lnn", n_params=420, settings=2
    ),
    "three times the parameters": lambda: lever(n_params=1313, settings=2),
    "errs as much, the ratio is": lambda: budget("budget_own"),
    "clean data) the rollout error is": lambda: budget("budget_own"),
    "pendulum the rollout error is": lambda: budget("budget_integrator"),
    "over 10 s this ratio lies between": lambda: pushed(10.0, min),
    "lies between 0.99 and": lambda: pushed(10.0, max),
    "over 100 s between": lambda: pushed(100.0, min),
    "between 0.91 and": lambda: pushed(100.0, max),
    "ten times the accuracy buys": lambda: seconds_of_a_decade("double_pendulum_wide"),
    "chaotic double pendulum and": lambda: seconds_of_a_decade("double_pendulum"),
    "times the solver's,": lambda: budget("budget_initial"),
    "predicts the rollout error, R² =": lambda: r_squared("test_nmse_median"),
    "square acceleration error with R² =": lambda: r_squared("test_nmse_median"),
    "points out of range dominate, with": lambda: r_squared("test_nmse"),
    "ends for P = 137 at N·D =": interpolation_ends,
    "instead of a hundred they are": lambda: asked("data.n_trajectories", 1, 100),
    "instead of shuffled they are": lambda: asked("data.order", "sequential", "shuffled"),
    "(0.5 to 4) costs": lambda: beta_of_softplus("fan_in"),
    "initial scale held": lambda: beta_of_softplus("beta_matched"),
    "Over five activations it is": lambda: beta("fan_in"),
    "it is 23 [6.9, 55] and": lambda: beta("beta_matched"),
    "under Adam 0.5 costs": lambda: at_own_rates("adam", 0.5, 2),
    "under SOAP 4 costs": lambda: at_own_rates("soap", 4, 0.5),
    "no mass prior costs most, a factor of": lambda: costs("model.mass_prior"),
    "no clipping": lambda: costs("optimizer.clip"),
    "without clipping a missing prior costs": lambda: costs("model.mass_prior", "optimizer.clip"),
    "together a factor of": recipe,
    "together cost a factor of": recipe,
    "five recordings it lies": lambda: weak_below_integrator(1e-4),
    "noise 1e-4 rad and": lambda: weak_below_integrator(1e-3),
    "at 1e-3; at 1e-2,": lambda: weak_below_integrator(1e-2),
    "error of a structured LNN": lambda: integrator_helps(1e-3),
    "at 1e-3 and": lambda: integrator_helps(1e-2),
    "at 1e-4 nothing certain,": lambda: integrator_helps(1e-4),
    "with an energy error of": lambda: published("lnn"),
    "(plain) and": lambda: published("structured_lnn"),
}


def places(before):
    """Where the texts say a figure, with its interval if there is one."""
    pattern = re.escape(before) + rf" ({NUMBER})(?:[^\[\d]{{0,12}}\[({NUMBER}), ({NUMBER})\])?"
    return [(n, match) for n, text in TEXTS.items() for match in re.finditer(pattern, text)]


def test_every_figure_with_an_interval_is_counted_again():
    ends = {"README.md": "## Speed", "docs/answer.md": "## Is the peak there?"}
    counted = {(name, match.end()) for before in CLAIMS for name, match in places(before)}
    for name, end in ends.items():
        text = TEXTS[name][: TEXTS[name].index(end)]
        for match in re.finditer(rf"\[{NUMBER}, {NUMBER}\]", text):
            said = text[max(0, match.start() - 60) : match.end()]
            assert (name, match.end()) in counted, f"{name}: nobody counts ...{said}"


@pytest.mark.parametrize("before", CLAIMS)
def test_a_figure_of_the_answer(before):
    found = places(before)
    assert found, f"no text says {before!r}"
    counted = CLAIMS[before]()
    for name, match in found:
        said = [parsed(group) for group in match.groups() if group]
        near = {f"{counted[0] * (1 + off):.1e}" for off in (-0.01, 0.0, 0.01)}
        assert f"{said[0]:.1e}" in near, f"{name}: {match[0]}, counted {counted[0]:.4g}"
        for end, own in zip(said[1:], counted[1:], strict=False):
            assert abs(np.log(end / own)) < np.log(1.25), f"{name}: {match[0]}, counted {counted}"
