"""Figures are those the swept factors support, and their CSV is what is drawn."""

import numpy as np
import pandas as pd
import pytest

from study.analysis import answers, style
from study.analysis.words import number
from tests.analysis import synthetic
from tests.analysis.synthetic import Law


def drawn(settings, law=None, with_curves=True):
    table = synthetic.rows(settings, law or Law())
    curves = synthetic.curves(table if with_curves else table.head(0).assign())
    return table, {plot.id: plot for plot in answers.plots(table, curves)}


@pytest.fixture(scope="module")
def n_vs_p():
    return drawn(synthetic.n_vs_p())


def test_only_what_was_swept_is_drawn(n_vs_p):
    _, plots = n_vs_p
    assert {"test_error_by_n", "rollout_error_by_p", "rollout_by_median_error"} <= set(plots)
    assert {"rollouts_best", "energy_best", "error_growth", "training"} <= set(plots)
    assert not any(id.startswith("compare") or id == "activation_beta" for id in plots)
    _, of_question = drawn(synthetic.question())
    assert {"all_cells", "compare_order", "compare_recipe"} <= set(of_question)
    assert not any(id.endswith("_by_p") for id in of_question)


def test_lines_are_the_csv(n_vs_p):
    table, plots = n_vs_p
    plot = plots["test_error_by_n"]
    (axis,) = plot.figure.axes
    line = next(line for line in axis.lines if len(line.get_xdata()) == len(plot.data))
    assert np.allclose(line.get_xdata(), plot.data["equations_per_param"])
    assert np.allclose(line.get_ydata(), plot.data["median"])
    medians = table.groupby("cell")["test_nmse_median"].median()
    assert np.allclose(plot.data["median"], medians.loc[plot.data["cell"]])
    assert (plot.data["low"] <= plot.data["median"]).all()


def test_scatter_and_its_line_are_the_csv(n_vs_p):
    table, plots = n_vs_p
    plot = plots["rollout_by_median_error"]
    points = plot.figure.axes[0].collections[0].get_offsets()
    assert np.allclose(points, plot.data[["root_error", "rollout_error"]])
    assert np.allclose(plot.data["root_error"] ** 2, table["test_nmse_median"])
    x, y = (np.log10(plot.data[name]) for name in ("root_error", "rollout_error"))
    fitted = plot.figure.axes[0].lines[0]
    slope = np.diff(np.log10(fitted.get_ydata())) / np.diff(np.log10(fitted.get_xdata()))
    assert slope[0] == pytest.approx(np.polyfit(x, y, 1)[0])


def test_axes_have_units_and_vertical_lines_where_equations_meet_parameters(n_vs_p):
    _, plots = n_vs_p
    (axis,) = plots["valid_time_by_n"].figure.axes
    assert axis.get_ylabel() == "valid time (s)"
    upright = {line.get_xdata()[0] for line in axis.lines if len(set(line.get_xdata())) == 1}
    assert {1.0, 2.0} <= upright  # N*D = P, and N = P at D = 2
    assert [a.get_ylabel() for a in plots["rollouts_best"].figure.axes] == ["θ₁ (rad)", "θ₂ (rad)"]


def test_heat_map_is_annotated_with_the_medians():
    settings = synthetic.product(model__activation=["softplus", "tanh"], model__beta=[0.5, 2.0])
    table, plots = drawn(settings)
    plot = plots["activation_beta"]
    texts = [text.get_text() for text in plot.figure.axes[0].texts]
    assert len(texts) == 4
    medians = table.groupby("cell")["test_nmse_median"].median()
    assert sorted(texts) == sorted(number(value) for value in medians)


def test_angles_are_continuous_across_a_turn():
    table = synthetic.rows(synthetic.n_vs_p(), Law())
    curves = synthetic.curves(table)
    turning = curves["metric"].str.contains(r"\.q0\[")
    wrapped = np.angle(np.exp(1j * 2 * curves.loc[turning, "x"]))
    curves.loc[turning, "value"] = wrapped
    plot = next(p for p in answers.plots(table, curves) if p.id == "rollouts_best")
    true = plot.data["true.theta1[0]"].to_numpy()
    assert np.abs(np.diff(true)).max() < 1
    assert true[-1] == pytest.approx(20)


def test_diverged_and_missing_values_still_draw():
    table = synthetic.rows(synthetic.n_vs_p(), Law())
    curves = synthetic.curves(table)
    table.loc[table["data.n_train"].eq(214), "test_nmse_median"] = np.inf
    table.loc[table["replicate"].eq(1), "rollout_error"] = np.nan
    curves.loc[curves["x"] > 5, "value"] = np.nan
    plots = {plot.id: plot for plot in answers.plots(table, curves)}
    assert "1 median not finite and not drawn" in plots["test_error_by_n"].caption


def test_no_curves_no_curve_figures():
    table = synthetic.rows(synthetic.n_vs_p(), Law())
    empty = synthetic.curves(table).head(0)
    ids = {plot.id for plot in answers.plots(table, empty)}
    assert "test_error_by_n" in ids
    assert not ids & {"training", "rollouts_best", "energy_best", "error_growth"}


def test_saved_files_are_the_same_bytes_each_time(tmp_path):
    for name in ("a", "b"):
        _, plots = drawn(synthetic.product(data__n_train=[64, 256, 1024]))
        style.save([style.draw(plot) for plot in plots.values()], tmp_path / name)
    first = sorted((tmp_path / "a").iterdir())
    assert {path.suffix for path in first} == {".png", ".svg", ".csv"}
    assert all(path.read_bytes() == (tmp_path / "b" / path.name).read_bytes() for path in first)
    csv = pd.read_csv(tmp_path / "a" / "test_error_by_n.csv")
    pd.testing.assert_frame_equal(
        csv, plots["test_error_by_n"].data, check_dtype=False, check_exact=False
    )


def test_figures_of_an_earlier_run_are_removed(tmp_path):
    (tmp_path / "old.png").write_bytes(b"")
    style.save([], tmp_path)
    assert list(tmp_path.iterdir()) == []
