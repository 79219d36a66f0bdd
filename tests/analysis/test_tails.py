"""Peaks of the tail: found where the tail has one, whatever the median does."""

import numpy as np
import pytest

from study.analysis.answer import Tables
from study.analysis.questions import tails
from tests.analysis import synthetic
from tests.analysis.synthetic import Law

RUNGS = [0.03125, 0.0625, 0.09375, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 1.0, 2.0]


def tables(peak):
    """A ladder whose median falls, while mean, percentile and share peak at N D = P if `peak`."""
    ladder = [
        {"model.width": 8, "model.depth": 2, "n_over_p": ratio, "optimizer": "levenberg_marquardt"}
        for ratio in RUNGS
    ]
    rows = synthetic.rows(ladder, Law(scatter=0.1, mean_scatter=0.2), replicates=20)
    near = np.exp(-(np.log2(rows["equations_per_param"].to_numpy(float)) ** 2) / 0.5)
    height = near if peak else 0 * near
    scatter = np.exp(0.2 * np.random.default_rng(0).normal(size=len(rows)))
    rows["test_nmse"] = rows["test_nmse_median"] * 20 ** (1 + height) * scatter
    rows["test_nmse_p99"] = rows["test_nmse_median"] * 50 ** (1 + height) * scatter
    rows["singular_fraction"] = 0.3 * height * scatter
    return Tables(rows)


@pytest.mark.parametrize("peak", [True, False])
def test_a_peak_of_the_tail_is_found_if_there_is_one(peak):
    found = {answer.id: answer for answer in tails.answers(tables(peak))}
    assert set(found) == {f"peak_of_{name}_along_n.0" for name in ("mean", "p99", "indefinite")}
    verdicts = {name.split("_")[2]: answer.verdict for name, answer in found.items()}
    if peak:
        assert set(verdicts.values()) == {"yes"}
        assert "That is at N·D/P = 0.99" in found["peak_of_indefinite_along_n.0"].sentence
        assert all(answer.p < 0.05 for answer in found.values())
    else:
        assert "yes" not in verdicts.values()


def test_a_model_without_a_mass_matrix_has_no_share():
    all_tables = tables(peak=True)
    rows = all_tables.rows.assign(singular_fraction=np.nan)
    found = {answer.id for answer in tails.answers(Tables(rows))}
    assert found == {"peak_of_mean_along_n.0", "peak_of_p99_along_n.0"}


def test_every_rung_is_drawn_and_peaks_are_ringed():
    (plot,) = tails.plots(tables(peak=True))
    assert plot.id == "tails_by_n"
    assert len(plot.data) == 3 * len(RUNGS)
    assert plot.data.groupby("measure")["peak"].sum().tolist() == [1, 1, 1]
    assert "3 peaks by the test" in plot.caption
