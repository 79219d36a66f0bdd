"""Ranks that were put in are counted, and compared with what can be seen at all."""

import matplotlib as mpl
import numpy as np
import pytest

from study.analysis import style
from study.analysis.answer import Tables
from study.analysis.questions import identifiability as seen
from tests.analysis import synthetic
from tests.analysis.synthetic import Law
from tests.analysis.synthetic_science import identifiability, with_ranks

HIDDEN = {0.5: (1153, 292, 0), 0.25: (30, 9, 2)}


@pytest.fixture(scope="module")
def tables():
    return with_ranks(synthetic.rows(identifiability(), Law()), HIDDEN)


def by_id(rows):
    return {a.id: a for a in seen.QUESTION.answers(Tables(rows))}


def plots_of(rows, curves):
    with mpl.rc_context(style.RC):
        return {p.id: p for p in seen.QUESTION.plots(Tables(rows, curves))}


def test_the_questions_own_network(tables):
    found = by_id(tables[0])["seen.question.torch_default"]
    assert found.verdict == "no"
    assert "P = 3361" in found.sentence
    assert "1155 / 294 / 2 are unseen" in found.sentence
    assert found.value == pytest.approx(1 - 1155 / 3361)
    assert (found.n_cells, found.n_replicates) == (1, 5)


def test_other_networks_see_all_or_it_depends(tables):
    found = by_id(tables[0])["seen.others"]
    assert found.verdict == "no"
    assert found.value == pytest.approx(6 / 7)  # all but beta 0.25
    assert "beta 0.25, P = 137: 31 / 10 / 3 unseen" in found.sentence
    rows, _ = with_ranks(synthetic.rows(identifiability(), Law()))
    assert by_id(rows)["seen.others"].verdict == "yes"


def test_gauge_directions(tables):
    rows = tables[0].copy()
    found = by_id(rows)["gauge"]
    assert found.verdict == "yes"
    assert found.value == pytest.approx(7 / 8)
    first = rows.index[0]  # one that sees what cannot be seen
    rows.loc[first, "initial_rank_1e-12"] = rows.loc[first, "n_params"]
    assert by_id(rows)["gauge"].verdict == "no"


def test_equations_are_independent_or_not(tables):
    rows = tables[0].copy()
    found = by_id(rows)["equations"]
    assert found.verdict == "yes"
    assert found.n_cells == 3  # N*D/P = 0.25, 0.5 and just below 1
    few = rows["n_equations"] < rows["n_params"]
    rows.loc[few, "jacobian_rank_1e-08"] = 0.5 * rows.loc[few, "n_equations"]
    assert by_id(rows)["equations"].verdict == "no"


def test_other_models_have_no_stated_gauge(tables):
    rows = tables[0].assign(model="structured_lnn")
    assert set(by_id(rows)) == {"equations"}


def test_not_measured_is_not_answered():
    rows = synthetic.rows(identifiability(), Law())
    assert by_id(rows) == {}
    empty = synthetic.curves(rows.head(1)).head(0)
    assert plots_of(rows, empty) == {}


def test_figures(tables):
    plots = plots_of(*tables)
    assert set(plots) == {"spectrum_initial", "spectrum_trained", "seen_share", "rank_by_n"}
    axis = plots["spectrum_initial"].figure.axes[0]
    levels = [line.get_ydata()[0] for line in axis.lines if len(set(line.get_ydata())) == 1]
    assert levels == [1e-8, 1e-10, 1e-12]
    legend = [text.get_text() for text in plots["spectrum_initial"].figure.legends[0].get_texts()]
    assert "the question's, torch default, P = 3361: 1155 / 294 / 2" in legend
    rank = plots["rank_by_n"].data
    at_1e8 = rank[rank["line"] == "rank at 1e-8"]
    want = np.minimum(at_1e8["equations_per_param"] * 137, 136)
    assert np.allclose(at_1e8["median"], want)
    shares = plots["seen_share"].data
    own = shares[shares["setting"].str.startswith("the question")]
    assert own["unseen_share"].tolist() == pytest.approx([1155 / 3361, 294 / 3361, 2 / 3361])
