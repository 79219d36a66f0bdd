"""The answers find what was put in, and their sentences say what the tables say."""

import json
import re

import numpy as np
import pytest

from study.analysis import answers
from study.analysis.words import multiple, number
from tests.analysis import synthetic
from tests.analysis.synthetic import Law


def by_id(table):
    return {each.id: each for each in answers.answer(table)}


def test_more_points_along_a_known_slope():
    table = synthetic.rows(synthetic.n_vs_p(), Law(slope=0.5, scatter=0.1))
    found = by_id(table)["raise_n.0"]
    assert found.verdict == "yes"
    assert found.interval[0] <= 64**0.5 <= found.interval[1]  # N from P/16 to 4P: 64 to the slope
    assert "no point of the curve rises" in found.sentence
    assert found.figure == "test_error_by_n"


def test_sentence_agrees_with_the_table():
    table = synthetic.rows(synthetic.n_vs_p(), Law())
    found = by_id(table)["raise_n.0"]
    chosen = table[table["cell"].isin(found.rows)]
    medians = chosen.groupby("data.n_train")["test_nmse_median"].median()
    factor = medians.iloc[0] / medians.iloc[-1]
    assert found.value == pytest.approx(factor)
    assert f"by a factor of {number(factor)} [" in found.sentence
    assert f"from {multiple(214 / 3425)} = 214 to 4P = 13,700" in found.sentence
    assert found.n_cells == len(medians)
    assert found.n_replicates == len(chosen)
    for shown in found.interval:
        assert number(shown) in found.sentence


@pytest.mark.parametrize(("bump", "verdict"), [(6.0, "yes"), (1.0, "no")])
def test_peak_where_equations_meet_parameters(bump, verdict):
    law = Law(slope=0.5, bump=bump, scatter=0.1)
    rungs = [0.0625, 0.09, 0.125, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0]
    ladder = [{"model.width": 8, "model.depth": 2, **s} for s in synthetic.product(n_over_p=rungs)]
    table = synthetic.rows(ladder, law, replicates=20)
    assert by_id(table)["peak_along_n.0"].verdict == verdict
    for few in (synthetic.rows(ladder, law, replicates=19), synthetic.rows(ladder[2:], law)):
        assert "peak_along_n.0" not in by_id(few)


@pytest.mark.parametrize(("slope", "verdict"), [(0.8, "yes"), (0.05, "no")])
def test_are_as_many_points_as_parameters_needed(slope, verdict):
    found = by_id(synthetic.rows(synthetic.n_vs_p(), Law(slope=slope, scatter=0.1)))
    assert found["n_at_least_p.0"].verdict == verdict


def test_where_a_flat_curve_flattens():
    found = by_id(synthetic.rows(synthetic.n_vs_p(), Law(slope=0.0, scatter=0.1)))
    assert found["n_at_least_p.0"].verdict == "no"
    assert f"that is N/P = {number(214 / 3425)} [" in found["n_at_least_p.0"].sentence


def test_median_error_predicts_rollouts_and_the_mean_does_not():
    found = by_id(synthetic.rows(synthetic.n_vs_p(), Law(power=1.0, mean_scatter=2.5)))
    median = found["rollout_by_median_error"]
    slope = re.search(r"slope (\S+) \[(\S+), (\S+)\]", median.sentence)
    assert slope is not None
    assert float(slope[2]) <= 1.0 <= float(slope[3])
    assert median.verdict == "yes"
    assert found["median_or_mean"].verdict == "yes"


def test_comparisons_recover_known_factors():
    law = Law(
        slope=0.1,
        scatter=0.1,
        factor={("model.encoding", "raw"): 30.0, ("data.order", "sequential"): 3.0},
    )
    found = by_id(synthetic.rows(synthetic.question(), law))
    for id, factor in (("compare.recipe", 30), ("compare.order", 3)):
        assert found[id].verdict == "yes"
        assert found[id].interval[0] <= factor <= found[id].interval[1]
    assert found["compare.initial_conditions"].verdict == "no", "no change is an answer"
    assert "the question's settings is" in found["compare.recipe"].sentence


def test_activation_and_beta_name_the_worst_pair():
    settings = synthetic.product(
        model__activation=["softplus", "tanh", "gelu"], model__beta=[0.5, 1.0, 2.0]
    )
    law = Law(scatter=0.1, factor={("model.activation", "tanh"): 5.0})
    found = by_id(synthetic.rows(settings, law))
    assert found["compare.activation_and_beta"].verdict == "yes"
    assert "with tanh, beta" in found["compare.activation_and_beta"].sentence
    assert found["compare.activation"].interval[0] <= 5 <= found["compare.activation"].interval[1]


def test_nothing_is_said_to_predict_rollouts_that_have_all_failed():
    table = synthetic.rows(synthetic.n_vs_p(), Law(power=1.0, mean_scatter=2.5))
    assert by_id(table)["rollout_by_median_error"].verdict == "yes"
    # the same law, squeezed against the ceiling
    error = table["rollout_error"]
    table["rollout_error"] = 0.9 + 0.1 * error / error.max()
    failed = by_id(table)
    assert failed["rollout_by_median_error"].verdict == "undecided"
    assert failed["median_or_mean"].verdict == "undecided"


def test_diverged_replicates_make_it_worse_and_are_named():
    table = synthetic.rows(synthetic.n_vs_p(), Law())
    worst = table["data.n_train"].eq(214) & table["replicate"].lt(3)
    table.loc[worst, ["test_nmse_median", "test_nmse", "train_nmse", "rollout_error"]] = np.nan
    found = by_id(table)
    assert found["raise_n.0"].value == np.inf
    assert "∞" in found["raise_n.0"].sentence
    assert "3 diverged replicates counted as the worst value" in found["raise_n.0"].sentence
    assert (
        "3 replicates without a positive finite value" in found["rollout_by_median_error"].sentence
    )
    assert found["trust"].verdict == "no"


def test_all_diverged_still_answers():
    table = synthetic.rows(synthetic.n_vs_p(), Law())
    table.loc[:, ["test_nmse_median", "test_nmse", "train_nmse", "rollout_error"]] = np.nan
    table["valid_time"] = 0.0
    found = by_id(table)
    assert found["raise_n.0"].verdict == "undecided"
    assert found["trust"].value == 0


@pytest.mark.parametrize("replicates", [1, 2, 4])
def test_too_few_replicates_decide_nothing(replicates):
    table = synthetic.rows(synthetic.n_vs_p(), Law(slope=1.0), replicates=replicates)
    curves = [a for a in answers.answer(table) if a.id.endswith(".0")]
    assert curves
    assert {each.verdict for each in curves} == {"undecided"}
    assert all("too few for a verdict" in each.sentence for each in curves)


def test_one_cell_alone_has_only_the_answer_on_trust():
    table = synthetic.rows([{}], Law())
    assert [each.id for each in answers.answer(table)] == ["trust"]


def test_json_is_strict_and_complete(tmp_path):
    table = synthetic.rows(synthetic.n_vs_p(), Law())
    table.loc[table["data.n_train"].eq(214), "test_nmse_median"] = np.inf
    found = answers.answer(table)
    answers.write(found, tmp_path / "answers.json")
    read = json.loads((tmp_path / "answers.json").read_text(), parse_constant=pytest.fail)
    assert [each["id"] for each in read] == [each.id for each in found]
    assert read[0]["value"] is None
    assert {each["verdict"] for each in read} <= {"yes", "no", "undecided"}
    assert all(set(each["rows"]) <= set(table["cell"]) for each in read)
    assert len({each["id"] for each in read}) == len(read)
