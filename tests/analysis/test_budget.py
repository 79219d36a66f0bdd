"""The error budget blames what was put in, and nothing where it cannot tell."""

import matplotlib as mpl
import numpy as np
import pytest
from scipy import stats

from study.analysis import style
from study.analysis.answer import Tables
from study.analysis.questions import rollout_error
from tests.analysis import synthetic
from tests.analysis.synthetic import Law
from tests.analysis.synthetic_science import MODELS, with_budget


def table(**budget):
    settings = synthetic.product(model=MODELS, data__n_train=[256, 1024, 4096])
    return with_budget(synthetic.rows(settings, Law(slope=1.0)), **budget)


def answers(rows):
    every = rollout_error.QUESTION.answers(Tables(rows))
    return [answer for answer in every if answer.id.startswith("budget.")]


def plots(rows):
    with mpl.rc_context(style.RC):
        every = list(rollout_error.QUESTION.plots(Tables(rows)))
    return [plot for plot in every if plot.id == rollout_error.FIGURE]


def verdicts(rows):
    return {a.id.split(".")[1]: a for a in answers(rows)}


def test_propagation_alone():
    found = verdicts(table(matched=1.2))
    assert {k: a.verdict for k, a in found.items()} == {
        "explained": "yes",
        "integrator": "no",
        "chaos": "no",
    }
    assert found["explained"].interval[0] <= 1.2 <= found["explained"].interval[1]
    assert found["explained"].n_cells == 9
    assert found["explained"].n_replicates == 45


def test_a_sloppy_integrator_is_blamed():
    rows = table(matched=1e3)
    rows["budget_integrator"] = rows["rollout_error"] / 1.05
    found = verdicts(rows)
    assert found["integrator"].verdict == "yes"
    assert found["explained"].verdict == "no"


def test_chaos_is_blamed_where_the_motion_is_chaotic_and_has_had_the_time():
    rows = table(lyapunov=np.log(1e4) / 10)  # multiplies by 10,000 over the horizon of 10 s
    found = verdicts(rows.assign(valid_time=4.0))["chaos"]
    assert found.verdict == "yes"
    assert found.value == pytest.approx(0.4 * np.log(1e4))
    # lost before chaos has multiplied an error tenfold, or not lost at all
    assert verdicts(rows.assign(valid_time=0.5))["chaos"].verdict == "no"
    assert verdicts(rows.assign(valid_time=10.0))["chaos"].verdict == "no"
    # as long a time without chaos is an accurate model, not a chaotic motion
    assert verdicts(rows.assign(valid_time=4.0, lyapunov=0.2))["chaos"].verdict == "no"


def test_each_kind_of_model_has_its_own_control():
    rows = table(matched=1.0)
    lagrangian = rows["model"] != "acceleration_mlp"
    rows.loc[lagrangian, "budget_smooth"] = 1e-6
    rows.loc[~lagrangian, "budget_conservative"] = 1e-6
    assert verdicts(rows)["explained"].verdict == "yes"
    rows.loc[~lagrangian, "budget_smooth"] = 1e-6
    assert verdicts(rows)["explained"].verdict != "yes"


def test_factor_and_ratio_of_logs_are_those_of_the_medians():
    rows = table()
    (budget,) = rollout_error.budgets_of(rows)
    medians = rows.groupby("cell")[["rollout_error", "budget_white"]].median()
    factor = stats.gmean(medians["rollout_error"] / medians["budget_white"])
    logs = (np.log(medians["budget_white"]) / np.log(medians["rollout_error"])).mean()
    found, ratio = budget.over("budget_white"), budget.log_ratio("budget_white")
    assert found is not None
    assert ratio is not None
    assert found.value == pytest.approx(factor)
    assert ratio.value == pytest.approx(logs)
    assert found.low < factor < found.high
    assert ratio.low < logs < ratio.high


def test_lost_rollouts_are_left_out_and_said():
    rows = table()
    lost = rows["data.n_train"].eq(256)
    rows.loc[lost, "rollout_error"] = 0.9
    assert "3 cells left out" in verdicts(rows)["explained"].sentence
    rows["rollout_error"] = 0.9
    found = verdicts(rows)
    assert found["explained"].verdict == found["integrator"].verdict == "undecided"


def test_not_measured_is_not_answered():
    rows = table()
    rows.loc[rows["data.n_train"].eq(256), "budget_smooth"] = np.nan
    assert verdicts(rows)["explained"].n_cells == 6
    rows["budget_smooth"] = np.nan
    assert verdicts(rows) == {}
    assert plots(rows) == []


def test_two_systems_are_two_budgets():
    settings = synthetic.product(system=["kepler", "double_pendulum"], data__n_train=[256, 1024])
    rows = with_budget(synthetic.rows(settings, Law()))
    assert len(answers(rows)) == 6


def test_too_few_replicates_decide_nothing():
    rows = with_budget(synthetic.rows(synthetic.n_vs_p(), Law(), replicates=3))
    assert {a.verdict for a in answers(rows)} == {"undecided"}


def test_points_are_the_csv():
    rows = table()
    (plot,) = plots(rows)
    line = plot.figure.axes[0].lines[0]  # the first control
    part = plot.data[plot.data["control"] == "budget_white"]
    assert np.allclose(line.get_xdata(), part["model"])
    assert np.allclose(line.get_ydata(), part["median"])
    medians = rows.groupby("cell")["budget_white"].median()
    assert np.allclose(part["median"], medians.loc[part["cell"]])
