"""Verdicts across studies: pooled by the stated rule, from the curves that bear on the question."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from study.analysis import across, answers, evidence, pooled_questions
from study.analysis.evidence import Evidence, Study
from study.analysis.forest import forest
from tests.analysis import control, synthetic
from tests.analysis import synthetic_science as science
from tests.analysis.synthetic import Law


def study(name, rows, curves=None):
    rows = rows.assign(study=name)
    return Study(name, rows, curves, answers.answer(rows, curves))


def verdicts(*studies):
    return {
        a.id: a
        for a in across.answer(studies, [*pooled_questions.QUESTIONS, *pooled_questions.BESIDE])
    }


@pytest.fixture(scope="module")
def many():
    """Studies with known causes: points are not needed, structure is the lever, no chaos."""
    flat = synthetic.rows(synthetic.n_vs_p(), Law(slope=0.05, scatter=0.1))
    structure = {("model", "structured_lnn"): 1 / 30}
    lever = synthetic.rows(science.levers(), Law(slope=0.05, scatter=0.1, factor=structure))
    asked = synthetic.question()
    order = {("data.order", "sequential"): 4.0, ("model.encoding", "raw"): 100.0}
    own = synthetic.rows(asked, Law(slope=0.05, scatter=0.05, factor=order))
    ranks, spectra = science.with_ranks(
        synthetic.rows(science.identifiability(), Law()), {0.5: (1153, 292, 0)}
    )
    return [
        study("n_vs_p", science.with_budget(flat)),
        study("levers", science.with_budget(lever)),
        study("seed_question", own),
        study("identifiability", ranks, spectra),
    ]


def test_known_causes_are_found(many):
    found = verdicts(*many)
    expected = {
        "needed_adam": "no",
        "shuffling": "yes",
        "initial_conditions": "no",
        "recipe": "yes",
        "bottleneck": "yes",
        "propagation": "yes",
        "seen": "no",
        "gauge": "yes",
    }
    assert {id: found[id].verdict for id in expected} == expected
    assert found["shuffling"].interval[0] <= 4 <= found["shuffling"].interval[1]
    assert "P = 3361" in found["seen"].sentence
    assert found["bottleneck"].study == "levers"


def test_every_question_has_a_verdict_a_rule_and_its_rows(many):
    found = verdicts(*many)
    assert set(found) == {q.id for q in (*pooled_questions.QUESTIONS, *pooled_questions.BESIDE)}
    for each in found.values():
        assert each.verdict in {"yes", "no", "undecided", "depends"}
        if each.evidence:
            assert each.rule
            rows = pd.concat([e.rows for e in each.evidence]).drop_duplicates(
                ["study", "cell", "replicate"]
            )
            assert each.n_replicates == len(rows)
            speaker = each.evidence[0]
            assert (each.study, each.figure) == (speaker.study, speaker.answer.figure)
            if each.rule == evidence.MEAN_OVER_SYSTEMS:
                values = [e.answer.value for e in each.evidence]
                assert min(values) * (1 - 1e-9) <= each.value <= max(values) * (1 + 1e-9)
            else:
                assert each.value == pytest.approx(speaker.answer.value, nan_ok=True)


def test_what_is_missing_is_named(many):
    found = verdicts(*many)
    assert found["hurts_noisy"].verdict == "undecided"
    assert "missing: systems" in found["hurts_noisy"].sentence
    assert found["published"].evidence == ()
    assert "double_descent" in across.expected()


def test_other_networks_do_not_speak_for_the_questions_own():
    settings = [s for s in science.identifiability() if s["model.width"] == 8]
    ranks, spectra = science.with_ranks(synthetic.rows(settings, Law()))
    found = verdicts(study("identifiability", ranks, spectra))
    assert found["seen"].evidence == ()
    assert found["seen_others"].verdict == "yes"


def test_studies_that_differ_leave_it_undecided_and_say_by_how_much():
    steep = synthetic.rows(
        [
            {"model.width": 8, "model.depth": 2, **s}
            for s in synthetic.product(n_over_p=[0.125, 0.25, 0.5, 1, 4])
        ],
        Law(slope=2.0, scatter=0.1),
    )
    flat = synthetic.rows(synthetic.n_vs_p(), Law(slope=0.05, scatter=0.1))
    found = verdicts(study("n_vs_p", flat), study("double_descent", steep))["needed_adam"]
    assert found.verdict == "undecided"
    assert "On one system the mean of 2 ratios is" in found.sentence
    assert found.interval[0] < 2 < found.interval[1]


def test_noise_and_clean_data_are_answered_apart():
    def ladders(noise):
        own = science.LM | {"model.depth": 2, "data.n_train": 68, "data.noise": noise}
        return [own | {"model.width": w} for w in (3, 4, 5, 6, 8, 10, 12, 16, 20)]

    rows = synthetic.rows([*ladders(0.0), *ladders(0.1)], Law(scatter=0.1))
    harmed = (rows["data.noise"] > 0) & (rows["equations_per_param"] < 0.5)
    rows.loc[harmed, "test_nmse_median"] *= 20
    found = verdicts(study("double_descent", rows))
    assert found["hurts_noisy"].verdict == "yes"
    assert found["hurts_clean"].verdict != "yes"


def test_the_positive_control_is_no_evidence_on_networks():
    rows = synthetic.rows(
        [
            {"model": "random_features", "data.noise": 0.1, **s}
            for s in synthetic.product(n_over_p=control.RATIOS)
        ],
        Law(bump=20.0, scatter=0.1),
        replicates=20,
    )
    found = verdicts(study("double_descent", rows))
    assert found["peak_noisy"].evidence == ()
    assert {e.answer.id for e in found["control"].evidence} == {"peak_along_n.0"}


def test_another_system_counts_in_a_mean_and_speaks_for_itself_alone_elsewhere(many):
    rows = synthetic.rows(synthetic.n_vs_p(), Law(slope=2.0, scatter=0.1))
    other = study("levers", rows.assign(system="kepler"))
    usual = [s for s in many if s.name != "levers"]
    found = verdicts(*usual, other)
    assert {e.study for e in found["needed_adam"].evidence} == {"n_vs_p", "levers"}
    assert {e.study for e in found["predicts"].evidence} == {"n_vs_p"}


def test_chaos_or_a_lever_of_data_turn_the_verdict(many):
    chaotic = science.with_budget(
        synthetic.rows(synthetic.n_vs_p(), Law(scatter=0.1)), lyapunov=np.log(1e4) / 10
    )
    chaotic["valid_time"] = 4.0
    assert verdicts(study("n_vs_p", chaotic))["propagation"].verdict == "no"
    points = synthetic.rows(science.levers(), Law(slope=2.5, scatter=0.1))
    assert verdicts(study("levers", points))["bottleneck"].verdict == "no"


def said(*given):
    """Evidence whose answers have these verdicts."""
    rows = synthetic.rows([{}], Law())
    one = answers.answer(rows)[0]
    return [Evidence("a", dataclasses.replace(one, verdict=v), rows) for v in given]


def test_answers_that_differ_are_named():
    asked = dataclasses.replace(pooled_questions.QUESTIONS[0], turn=None)
    found = evidence.by_rule(asked, said("yes", "no"))
    assert found.verdict == "depends"
    assert found.sentence.startswith("It depends. Yes: a (P = 3425, Adam). No: a (P = 3425, Adam).")


def pooled(id, verdict, p, converged=1.0):
    sizes = {"n_cells": 1, "n_replicates": 5, "converged": converged, "p": p}
    return evidence.Pooled(id, "?", verdict, "Said.", 2.0, (1.5, 3.0), **sizes)


def test_primary_claims_are_corrected_for_their_number():
    sure, weak, other = pooled("a", "yes", 0.001), pooled("b", "no", 0.02), pooled("c", "yes", 0.04)
    stopped = pooled("d", "yes", 0.001, converged=0.5)
    found = evidence.corrected([sure, weak, other, stopped], ("a", "b", "d"))
    assert [one.primary for one in found] == [True, True, False, False]
    assert [one.verdict for one in found] == ["yes", "no", "yes", "yes"]
    assert found[1].p_adjusted == pytest.approx(0.04), "one that is stopped or missing counts"
    alone = evidence.corrected([other], ("c",))[0]
    assert (alone.verdict, alone.p_adjusted) == ("yes", pytest.approx(0.04))
    weaker = evidence.corrected([other], ("c", "missing"))[0]
    assert weaker.verdict == "undecided"
    assert "among 2 claims it may be chance (p = 0.080, Holm)" in weaker.sentence


def test_the_p_of_a_rule_is_that_of_its_surest_yes_times_their_number():
    asked = dataclasses.replace(
        pooled_questions.QUESTIONS[0], turn=None, rule=evidence.beyond_chance
    )
    sure, other = (
        dataclasses.replace(e, answer=dataclasses.replace(e.answer, p=p))
        for e, p in zip(said("yes", "no"), (0.001, 0.02), strict=True)
    )
    assert evidence.by_rule(asked, [sure, other]).p == pytest.approx(0.002)
    assert evidence.by_rule(asked, [other]).p == pytest.approx(0.02)
    assert np.isnan(evidence.by_rule(asked, said("undecided")).p)


def test_every_primary_claim_is_asked():
    assert set(pooled_questions.PRIMARY) <= {question.id for question in pooled_questions.QUESTIONS}


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (("yes", "undecided"), "yes"),
        (("no", "no", "undecided"), "no"),
        (("yes", "no"), "depends"),
        (("undecided",), "undecided"),
    ],
)
def test_unanimous(given, verdict):
    assert evidence.unanimous(said(*given)) == verdict


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (["yes", "no"], "yes"),  # 1 of 2 at a level of half a percent
        (["yes"] + 29 * ["no"], "undecided"),  # 1 of 30 comes by chance once in seven times
        (["yes"] * 3 + 27 * ["no"], "yes"),
        (["no"] * 4, "no"),
        (["no", "undecided"], "undecided"),
    ],
)
def test_beyond_chance(given, verdict):
    assert evidence.beyond_chance(said(*given)) == verdict


def test_a_mean_over_systems_has_a_figure_with_a_line_for_each():
    rows = synthetic.rows(synthetic.n_vs_p(), Law(slope=2.0, scatter=0.1))
    pooled = verdicts(study("n_vs_p", rows), study("levers", rows.assign(system="kepler")))
    found = pooled["needed_adam"]
    assert set(found.by_system) == {"double_pendulum", "kepler"}
    plot = forest(found)
    assert plot is not None
    assert plot.data["system"].tolist()[-1] == "mean"
    assert plot.data["median"].tolist()[-1] == pytest.approx(found.value)
    assert forest(dataclasses.replace(found, by_system={"kepler": (1.0, 0.5, 2.0)})) is None


def test_stopped_is_what_held_out_points_stopped():
    ladder = [
        {"model.width": 8, "model.depth": 2, "data.noise": 0.1, **s}
        for s in synthetic.product(n_over_p=control.RATIOS)
    ]
    rows = synthetic.rows(ladder, Law(scatter=0.1), replicates=20)
    assert verdicts(study("double_descent", rows))["peak_stopped"].evidence == ()
    held_out = rows.assign(**{"optimizer.validation": 0.2})
    assert verdicts(study("double_descent", held_out))["peak_stopped"].evidence
