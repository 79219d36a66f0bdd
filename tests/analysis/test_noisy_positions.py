"""Methods on noisy positions: the planted best one is named, at the noise where it is planted."""

from study.analysis.answer import Tables
from study.analysis.questions import noisy_positions
from tests.analysis import synthetic
from tests.analysis.synthetic import Law

SETS = {"data.pool_size": [602, 2002], "data.n_trajectories": [2]}
METHODS = (("structured_lnn", "squared"), ("structured_lnn", "rollout"), ("lnn", "squared"))


def table(factor, noises=(1e-3, 1e-2), scatter=0.1):
    """`factor` of a loss or a model lowers its error."""
    settings = [
        {"data.position_noise": noise, "model": model, "optimizer.loss": loss, **one}
        for noise in noises
        for model, loss in METHODS
        for one in synthetic.product(**{k.replace(".", "__"): v for k, v in SETS.items()})
    ]
    return Tables(synthetic.rows(settings, Law(slope=0.0, scatter=scatter, factor=factor)))


def test_the_best_method_is_named_with_its_factor():
    tables = table({("optimizer.loss", "rollout"): 1 / 8, ("model", "lnn"): 3.0})
    answers = {a.id: a for a in noisy_positions.answers(tables)}
    for k in (0, 1):
        best = answers[f"noisy_positions.{k}"]
        assert best.verdict == "yes"
        assert "the structured LNN, through the integrator has the least" in best.sentence
        assert "the next, the structured LNN, pointwise" in best.sentence
        assert best.interval[0] <= 8 <= best.interval[1]
        (integrator,) = (a for id, a in answers.items() if id.startswith(f"integrator.{k}."))
        assert integrator.verdict == "yes"
        assert integrator.interval[0] <= 8 <= integrator.interval[1]


def test_equal_methods_are_not_told_apart():
    answers = list(noisy_positions.answers(table(None, scatter=0.3)))
    assert answers
    assert all(a.verdict != "yes" for a in answers if a.id.startswith("integrator."))


def test_a_study_of_one_method_or_without_noise_is_not_asked():
    no_noise = Tables(synthetic.rows(synthetic.product(data__n_train=[64, 256]), Law()))
    assert not list(noisy_positions.answers(no_noise))
    assert not list(noisy_positions.plots(no_noise))
    rows = table(None).rows
    one = Tables(rows.loc[rows["optimizer.loss"].eq("rollout")])
    assert not list(noisy_positions.answers(one))


def test_the_figure_has_a_panel_for_each_set_of_positions_and_every_median():
    (plot,) = noisy_positions.plots(table({("optimizer.loss", "rollout"): 1 / 8}))
    assert len(plot.figure.axes) == 2
    assert len(plot.data) == 2 * 2 * len(METHODS)
    assert set(plot.data["position_noise"]) == {1e-3, 1e-2}
    least = plot.data.loc[plot.data.groupby("position_noise")["median"].idxmin(), "method"]
    assert set(least) == {"structured LNN, through the integrator"}
