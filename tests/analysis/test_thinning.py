"""A grid too large for one page: what is kept is a coarser grid of whole ladders."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest

from study.page.cells import thinned


def grid(**factors) -> pd.DataFrame:
    """Two replicates of each cell of a product of factors, under the table's columns."""
    keys = {"n": "data.n_train", "width": "model.width", "model": "model", "noise": "data.noise"}
    rows = []
    for k, values in enumerate(itertools.product(*factors.values())):
        row = {"system": "s", "data.n_train": 8, "data.noise": 0.0, "model": "lnn"}
        row |= {"model.width": 4, "precision": "float32"}
        row |= {keys[name]: value for name, value in zip(factors, values, strict=True)}
        rows += [{"cell": f"{k:012x}", "replicate": r, **row} for r in range(2)]
    return pd.DataFrame(rows)


def test_a_grid_that_fits_is_as_it_is() -> None:
    rows = grid(n=range(1, 9), width=range(1, 9))
    kept, sentence = thinned(rows, most=64)
    assert kept is rows
    assert sentence == ""


def test_a_large_grid_becomes_a_coarser_one_with_its_ends() -> None:
    rows = grid(n=range(1, 101), width=range(1, 51), model=["lnn", "structured_lnn"])
    kept, sentence = thinned(rows, most=256)
    cells = kept.drop_duplicates("cell")
    sizes = {name: cells[name].nunique() for name in ("data.n_train", "model.width", "model")}
    assert len(cells) == sizes["data.n_train"] * sizes["model.width"] * 2, "a whole product"
    assert 64 < len(cells) <= 256
    assert {1, 100} <= set(cells["data.n_train"])
    assert {1, 50} <= set(cells["model.width"])
    assert len(kept) == 2 * len(cells), "all replicates of a cell or none"
    assert f"{sizes['data.n_train']} of the 100 values of data.n_train" in sentence
    assert sentence.startswith("10,000 cells are more than one page can show")


def test_points_that_follow_the_parameters_are_thinned_along_each_ladder() -> None:
    """With data.n_over_p no two widths share a number of points."""
    rows = grid(n=[1], width=range(1, 41))
    rows = pd.concat(
        [rows.assign(cell=rows["cell"] + f"{k:03x}") for k in range(40)], ignore_index=True
    )
    k = rows["cell"].str[-3:].map(lambda text: int(text, 16))
    rows["data.n_train"] = (k + 1) * (1000 * rows["model.width"] + 1)
    kept, _ = thinned(rows, most=256)
    lengths = kept.drop_duplicates("cell").groupby("model.width").size()
    assert len(lengths) == 40
    assert lengths.min() == lengths.max() >= 3


@pytest.mark.parametrize("factors", [{"n": [8] * 1000}, {"noise": [0.0, 0.1] * 500}])
def test_cells_that_no_factor_tells_apart_are_thinned_too(factors) -> None:
    kept, sentence = thinned(grid(**factors), most=100)
    assert 50 <= kept["cell"].nunique() <= 100
    assert "1000 cells are more" in sentence
