"""Answers and figures on double descent say what was put into the tables."""

import numpy as np
import pytest

from study.analysis import answers
from tests.analysis import control, synthetic_ladders
from tests.analysis.synthetic_ladders import FITTED


@pytest.fixture(scope="module")
def study():
    table = synthetic_ladders.double_descent()
    return table, synthetic_ladders.training(table, bump=1.0)


@pytest.fixture(scope="module")
def found(study):
    return answers.answer(*study)


@pytest.fixture(scope="module")
def plots(study):
    return {plot.id: plot for plot in answers.plots(*study)}


def of(found, start, noise, words="LNN"):
    (one,) = [
        each
        for each in found
        if each.id.startswith(start)
        and f"noise {noise:g}," in each.sentence + ","
        and words in each.sentence
    ]
    return one


def test_peaks_at_the_threshold_grow_with_noise(found):
    assert of(found, "peak_along_n", 0).verdict == "no"
    noisy = of(found, "peak_along_n", 0.3)
    assert noisy.verdict == "yes"
    assert noisy.value > of(found, "peak_along_n", 0.1).value
    assert "below N·D = P and below N = P" in noisy.sentence
    assert "the N at which interpolation ends (49)" in noisy.sentence
    assert noisy.figure == "test_error_by_n"


def test_without_a_peak_none_is_found():
    flat = answers.answer(synthetic_ladders.double_descent(height=0.0))
    verdicts = {e.verdict for e in flat if e.id.startswith("peak") and "LNN" in e.sentence}
    assert verdicts == {"no"}


def test_the_control_peaks_where_it_must(found):
    answer = of(found, "peak_along_n", 0.1, "random features")
    assert answer.verdict == "yes"
    assert "N = p" in answer.question
    assert "N/p = 1.0, p = 100 features an output, at N·D = P" in answer.sentence
    assert answer.figure == "control_by_n"


def test_a_control_that_peaks_elsewhere_fails():
    table = synthetic_ladders.double_descent()
    here = table["model"] == "random_features"
    table.loc[here, "model.width"] = 2 * control.FEATURES
    answer = of(answers.answer(table), "peak_along_n", 0.1, "random features")
    assert answer.verdict == "no"


def test_thresholds_below_the_counting_argument(found):
    for noise in (0, 0.1, 0.3):
        answer = of(found, "threshold.n", noise)
        assert answer.verdict == "no"
        assert answer.value == pytest.approx(FITTED, abs=0.07)
        assert "rank 135 at 1e-10 (P = 137)" in answer.sentence
    assert of(found, "threshold.n", 0.1, "random features").verdict == "yes"
    for noise in (0, 0.1):
        assert "smallest P that is fitted" in of(found, "threshold.p", noise, "").sentence


def test_scaling_gives_the_slope_of_each_side(found):
    clean = of(found, "scaling_n", 0)
    assert clean.verdict == "yes"
    assert clean.interval[0] <= synthetic_ladders.SLOPE <= clean.interval[1]
    assert "the curve rises" in of(found, "scaling_n", 0.3).sentence


def test_scatter_of_crossed_seeds_is_told_apart(found):
    variance = {each.id: each for each in found if each.id.startswith("variance")}
    assert set(variance) == {"variance.0", "variance.1"}
    assert "10 data seeds crossed with 2 initialisations" in variance["variance.0"].sentence
    paired = answers.answer(synthetic_ladders.double_descent(initialisations=None))
    assert not any(each.id.startswith("variance") for each in paired)


def test_answers_are_few_and_their_figures_are_there(found, plots):
    assert len(found) < 60
    ids = [each.id for each in found]
    assert len(set(ids)) == len(ids)
    assert {each.figure for each in found} <= set(plots)
    about_networks = [e for e in found if e.id.split(".")[0] in ("raise_n", "n_at_least_p")]
    assert len(about_networks) == 6  # three noises; not the control


def test_rings_and_triangles_are_those_of_the_answers(found, plots):
    data = plots["test_error_by_n"].data
    ringed = set(data.loc[data["peak"], "line"])
    sure = {
        each.sentence.split("At ")[1].split(", the ")[0]
        for each in found
        if each.id.startswith("peak_along_n") and each.verdict == "yes" and "LNN" in each.sentence
    }
    assert ringed == sure
    marked = data.groupby("line")["threshold"].first()
    assert np.allclose(marked, FITTED, atol=0.07)
    assert not data["line"].str.contains("random features").any()
    assert plots["control_by_n"].data["peak"].sum() == 1


def test_laws_drawn_are_those_of_the_csv(plots):
    plot = plots["scaling_n"]
    drawn = plot.data.loc[plot.data["supported"]]
    assert len(drawn)
    off = np.abs(np.log(drawn["law"] / drawn["median"])).groupby(drawn["line"]).max()
    assert (off.sort_values().iloc[:-1] < 0.3).all()
    # Huber's loss leaves a point on the flank of a peak off its line
    assert "noise 0." in off.idxmax()
    labels = " ".join(text.get_text() for text in plot.figure.legends[0].get_texts())
    assert "N·D ≥ P: exponent" in labels
    assert plot.figure.axes[0].get_xlabel() == "N, training points"


def test_train_error_over_its_tolerance_passes_one_at_the_threshold(plots):
    for _, line in plots["threshold_by_n"].data.groupby("line"):
        fitted = line["median"] < 1
        ends = line["threshold"].iloc[0]
        assert line.loc[fitted, "equations_per_param"].max() <= ends
        assert line.loc[~fitted, "equations_per_param"].min() >= ends


def test_epochs_and_variance_are_drawn(study, plots):
    table, curves = study
    assert "epochs" not in plots, "Levenberg-Marquardt's steps are no epochs"
    by_adam = table.assign(**{"optimizer": "adam", "optimizer.steps": 4000})
    epochs = {plot.id: plot for plot in answers.plots(by_adam, curves)}["epochs"]
    assert [axis.get_ylabel().split("\n")[0] for axis in epochs.figure.axes] == [
        "noise 0",
        "noise 0.1",
        "noise 0.3",
    ]
    assert set(epochs.data.loc[epochs.data["peak"], "noise"]) == {0.3}
    parts = plots["variance"].data
    assert set(parts["part"]) == {"data", "init", "rest"}
    assert (parts["low"] <= parts["deviation"]).all()
    assert set(parts["data_seeds"]) == {10}
