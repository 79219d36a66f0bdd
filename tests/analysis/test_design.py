"""Ladders, bundles and comparisons hold everything equal but what they compare."""

import numpy as np
import pandas as pd

from study.analysis.design import Design, replicate_groups, replicate_table
from study.tables.measures import TEST
from tests.analysis import synthetic, synthetic_ladders
from tests.analysis.synthetic import Law


def test_ladders_differ_in_one_factor_and_ascend():
    design = Design(synthetic.rows(synthetic.n_vs_p(), Law()))
    along_n, along_p = design.ladders("N"), design.ladders("P")
    assert [len(ladder.cells) for ladder in along_n] == [8]  # 7 of the ladder and N = 1024
    assert [len(ladder.cells) for ladder in along_p] == [5]
    assert along_n[0].label == "P = 3425"
    assert along_p[0].label == "N = 1024"
    assert (np.diff(along_n[0].n_points) > 0).all()
    assert (np.diff(along_p[0].n_params) > 0).all()
    assert along_n[0].dof == 2
    for ladder, axis in ((along_n[0], "data.n_train"), (along_p[0], "model.width")):
        others = [f for f in design.factors if f != axis]
        assert len(design.cells.loc[list(ladder.cells), others].drop_duplicates()) == 1


def test_ladders_of_p_are_told_apart_by_what_they_hold_fixed():
    settings = synthetic.product(model__depth=[2, 4], model__width=[8, 16, 32])
    labels = [ladder.label for ladder in Design(synthetic.rows(settings, Law())).ladders("P")]
    assert labels == ["N = 1024, depth 2", "N = 1024, depth 4"]


def test_settings_that_always_change_together_are_one_bundle():
    design = Design(synthetic.rows(synthetic.question(), Law()))
    by_name = {comparison.name: comparison for comparison in design.comparisons()}
    assert set(by_name) == {"order", "initial conditions", "recipe"}
    recipe = by_name["recipe"]
    assert set(recipe.levels) == {"question's settings", "good defaults"}
    assert "optimizer.clip" in recipe.factors
    assert list(recipe.groups) == ["N = 4096", "N = 16,384"]
    assert len(by_name["order"].groups) == 4


def test_comparisons_hold_all_other_factors_equal():
    design = Design(synthetic.rows(synthetic.question(), Law()))
    for comparison in design.comparisons():
        others = [f for f in design.factors if f not in comparison.factors]
        for cells in comparison.groups.values():
            assert len(design.cells.loc[list(cells), others].drop_duplicates()) == 1
            assert (
                len(design.cells.loc[list(cells), list(comparison.factors)].drop_duplicates()) > 1
            )


def test_n_and_p_that_change_together_make_no_ladder():
    settings = [{"model.width": w, "data.n_train": n} for w, n in ((8, 64), (16, 256), (32, 1024))]
    design = Design(synthetic.rows(settings, Law()))
    assert design.ladders("N") == design.ladders("P") == []


def test_cells_that_differ_outside_the_table_are_kept_apart():
    rows = synthetic.rows(synthetic.product(data__n_train=[64, 256, 1024]), Law())
    other = rows.assign(cell=[f"{int(c, 16) ^ 1:012x}" for c in rows["cell"]])
    design = Design(pd.concat([rows, other], ignore_index=True))
    assert design.alike == 6
    assert all(len(set(ladder.n_points)) == len(ladder.cells) for ladder in design.ladders("N"))


def test_a_later_factor_column_counts_as_a_factor():
    rows = synthetic.rows(synthetic.product(data__n_train=[64, 256]), Law())
    both = pd.concat([rows.assign(**{"model.penalty": 0.0}), rows.assign(**{"model.penalty": 1.0})])
    both["cell"] = [
        f"{abs(hash((c, p))) % 16**12:012x}"
        for c, p in zip(both["cell"], both["model.penalty"], strict=True)
    ]
    assert [c.name for c in Design(both).comparisons()] == ["penalty"]


def test_settings_that_go_with_the_optimisers_name_are_one_bundle():
    """Two that begin with Adam share its steps, which so vary less than the name."""
    adam = {"optimizer": "adam"}
    both = {"optimizer": "adam_lm", "optimizer.iterations": 100}
    alone = synthetic_ladders.LM
    grid = synthetic.product(data__n_train=[64, 256], model__width=[8, 16])
    design = Design(synthetic.rows([o | s for o in (adam, both, alone) for s in grid], Law()))
    assert "optimizer.steps" in design.varying
    (bundle,) = [b for b in design.bundles if "optimizer" in b]
    assert {"optimizer.steps", "optimizer.clip", "optimizer.iterations", "precision"} <= set(bundle)
    (comparison,) = design.comparisons()
    assert comparison.name == "optimizer"
    assert comparison.levels == ("Adam", "Adam then Levenberg-Marquardt", "Levenberg-Marquardt")
    assert len(comparison.groups) == 4
    labels = [ladder.label for ladder in design.ladders("N")]
    assert "P = 281, Adam" in labels
    assert len(set(labels)) == 6


def test_a_setting_with_two_values_for_one_optimiser_stands_alone():
    settings = [
        {"optimizer": "adam", "optimizer.iterations": 0},
        {"optimizer": "adam_lm", "optimizer.iterations": 100},
        {"optimizer": "adam_lm", "optimizer.iterations": 300},
    ]
    design = Design(synthetic.rows(settings, Law()))
    assert ("optimizer",) in design.bundles
    assert ("optimizer.iterations",) in design.bundles


def test_settings_that_go_with_the_models_name_are_one_bundle():
    models = [
        {"model": "lnn"},
        {"model": "structured_lnn"},
        {"model": "acceleration_mlp", "model.mass_prior": 0.0},
    ]
    grid = synthetic.product(data__n_train=[64, 256], model__width=[8, 16])
    design = Design(synthetic.rows([m | s for m in models for s in grid], Law()))
    assert ("model", "model.mass_prior") in design.bundles
    (comparison,) = design.comparisons()
    assert comparison.levels == ("acceleration MLP", "plain LNN", "structured LNN")
    assert len(comparison.groups) == 4


def test_ladders_of_a_study_of_models_noise_and_sizes_are_told_apart():
    design = Design(synthetic_ladders.double_descent())
    along_n = {ladder.label: ladder for ladder in design.ladders("N")}
    assert set(along_n) == {
        "P = 137, plain LNN, noise 0",
        "P = 137, plain LNN, noise 0.1",
        "P = 137, plain LNN, noise 0.3",
        "P = 200, random features, noise 0.1",
    }
    control = along_n["P = 200, random features, noise 0.1"]
    assert control.control
    assert (control.n_points / control.widths == control.equations_per_param).all()
    assert along_n["P = 137, plain LNN, noise 0.3"].noise == 0.3
    assert [ladder.label for ladder in design.ladders("P")] == [
        "N = 68, noise 0",
        "N = 68, noise 0.1",
    ]


def test_replicates_that_share_data_are_grouped():
    table = synthetic_ladders.double_descent()
    cells = list(dict.fromkeys(table["cell"]))[:2]
    assert replicate_groups(table, cells).tolist() == [seed for seed in range(10) for _ in "ab"]
    paired = synthetic_ladders.double_descent(initialisations=None)
    assert replicate_groups(paired, cells) is None


def test_replicate_table_tells_diverged_from_missing():
    rows = synthetic.rows(synthetic.product(data__n_train=[64, 256]), Law())
    first, second = dict.fromkeys(rows["cell"])
    rows.loc[(rows["cell"] == first) & (rows["replicate"] == 1), TEST.column] = np.nan
    rows = rows.drop(rows.index[(rows["cell"] == second) & (rows["replicate"] == 2)])
    table = replicate_table(rows, [first, second], TEST)
    assert np.isposinf(table[1, 0])
    assert np.isnan(table[2, 1])
    assert np.isfinite(table).sum() == 8
