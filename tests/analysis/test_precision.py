"""What `replicates=auto` reached, as a page says it: against intervals found here."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from study.config.adaptive import WORST, AutoConfig, Standing, estimate, half_width, next_cells
from study.page import write
from study.tables import measures
from tests.analysis import synthetic
from tests.analysis.synthetic import Law

AIM = 0.2
AUTO = {"measure": "test_nmse_median", "precision": AIM, "budget": 3, "most": 8}


def own_half_width(values: np.ndarray) -> float:
    """Of the percentile bootstrap interval of the median, by many draws of another generator."""
    random = np.random.default_rng(3)
    medians = np.median(random.choice(values, (50_000, len(values))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    middle = np.median(values)
    return max(high / middle, middle / low) - 1


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return synthetic.rows(synthetic.n_vs_p(), Law(scatter=0.4), replicates=20)


@pytest.fixture(scope="module")
def study(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of four blocks a cell; some cells stopped for want of budget."""
    cells = sorted(set(table["cell"]))
    folder = synthetic.write_study(
        tmp_path_factory.mktemp("outputs") / "mine",
        table,
        cells=cells,
        replicates="auto",
        auto=AUTO,
    )
    (folder / "auto").mkdir()
    widths = table.groupby("cell")["test_nmse_median"].agg(lambda v: own_half_width(v.to_numpy()))
    asked = {cell: {"block": 1} for cell in cells}
    why = {c: {"why": "precision reached" if widths[c] <= AIM else "budget spent"} for c in cells}
    for number, decision in enumerate(({"asked": asked}, {"stopped": why}), start=1):
        (folder / "auto" / f"{number:05d}.json").write_text(json.dumps(decision))
    write.write(folder)
    return folder


def test_what_was_reached_is_what_the_rows_say(study: Path, table: pd.DataFrame) -> None:
    shown = pd.read_csv(study / "report" / "figures" / "cells.csv").set_index("cell")
    assert len(shown) == table["cell"].nunique()
    near = 0
    for cell, part in table.groupby("cell"):
        own = own_half_width(part["test_nmse_median"].to_numpy())
        # 2000 draws find a neighbour of the right one of twenty values now and then
        near += math.isclose(shown.loc[cell, "half_width"], own, rel_tol=0.05)
    assert near >= 0.8 * len(shown)
    met = int((shown["half_width"] <= AIM).sum())
    assert 0 < met < len(shown)
    page = " ".join((study / "report" / "index.html").read_text(encoding="utf-8").split())
    assert "20 replicates a cell, added where the interval of the median test error was" in page
    assert f"known within 20 % in {met} of {len(shown)} cells" in page
    assert "budget spent" in page


def test_each_answer_says_how_well_its_own_cells_are_known(study: Path) -> None:
    shown = pd.read_csv(study / "report" / "figures" / "cells.csv").set_index("cell")
    page = (study / "report" / "index.html").read_text(encoding="utf-8")
    answers = json.loads((study / "answers.json").read_text())
    assert answers
    for each in answers:
        widths = shown.loc[each["rows"], "half_width"]
        missed = int((widths > AIM).sum())
        assert each["precision"].startswith("median test error of each cell within ")
        percent = float(each["precision"].split(" within ")[1].split(" %")[0])
        assert percent == pytest.approx(100 * widths.max(), rel=0.06), "two digits"
        assert (f"; 20 % missed in {missed} of " in each["precision"]) == (missed > 0)
        assert each["precision"] in page


def test_a_number_of_replicates_is_as_before(table: pd.DataFrame, tmp_path: Path) -> None:
    folder = synthetic.write_study(tmp_path / "mine", table, replicates=20)
    write.write(folder)
    assert all(not a["precision"] for a in json.loads((folder / "answers.json").read_text()))
    assert "Replicates where they help" not in (folder / "report" / "index.html").read_text()
    assert "half_width" not in pd.read_csv(folder / "report" / "figures" / "cells.csv")


def test_what_was_written_by_others_breaks_no_page(table: pd.DataFrame, tmp_path: Path) -> None:
    folder = synthetic.write_study(tmp_path / "mine", table, replicates="auto", auto=AUTO)
    (folder / "auto").mkdir()
    for number, text in enumerate(
        ('{"asked": 3, "stopped": [1]}', '{"asked": {"x": 1, "y": {"block": "no"}}}', "{", "[]"), 1
    ):
        (folder / "auto" / f"{number:05d}.json").write_text(text)
    write.write(folder)
    assert "not decided yet" in (folder / "report" / "index.html").read_text()


def test_measures_count_the_same_as_on_pages() -> None:
    assert {m.column: m.worst for m in measures.MEASURES.values()} == WORST


def settings(**given) -> AutoConfig:
    return AutoConfig(**{**AUTO, "budget": None, **given})


def test_half_widths() -> None:
    """Log-normal errors: the interval of the median is about 1.96 x 1.2533 s / sqrt(n) each way."""
    errors = np.exp(0.3 * np.random.default_rng(0).normal(size=4000))
    expected = np.exp(1.96 * 1.2533 * 0.3 / np.sqrt(4000)) - 1
    found = half_width(estimate(errors, np.arange(4000), "test_nmse_median"))
    assert found == pytest.approx(expected, rel=0.25)
    nothing = np.full(5, np.nan)
    assert half_width(estimate(nothing, np.arange(5), "test_nmse")) == 0, "no seed tells more"
    assert half_width(estimate(nothing, np.arange(5), "valid_time")) == 0
    some = np.array([1.0, 1.1, 0.9, np.nan, np.nan])
    assert half_width(estimate(some, np.arange(5), "test_nmse")) == math.inf
    assert half_width(estimate(errors[:4], np.arange(4), "test_nmse")) == math.inf, "too few"
    crossed = np.repeat(np.arange(4), 5)  # twenty replicates on four data sets
    assert half_width(estimate(errors[:20], crossed, "test_nmse")) == math.inf


def test_the_widest_comes_first_and_what_would_follow_it_anyway() -> None:
    known = {
        "a": Standing(1, 0.1),  # known well enough
        "b": Standing(1, 0.8),  # 0.8 sqrt(1/2) = 0.57: the next but one
        "c": Standing(1, 1.0),  # 1.0 sqrt(1/2) = 0.71: the bar
        "d": Standing(1, 0.7),  # below it
        "e": Standing(1, math.inf, failed=True),
        "f": Standing(8, 2.0),  # has all it may have
    }
    assert next_cells(known, settings(), None) == ["c", "b", "d"]
    assert next_cells(known, settings(), 5) == ["c", "b"]
    assert next_cells(known, settings(), 1) == ["c"]
    assert next_cells(known, settings(), 0) == []
    assert next_cells(known, settings(), 21) == ["c", "b", "d"], "all that could be asked for"
    waiting = {**known, "g": Standing(2, math.inf, waiting=True)}
    assert next_cells(waiting, settings(), 5) == [], "it could come before"
    assert next_cells(waiting, settings(), None) == ["c", "b", "d"], "nobody waits without a budget"
    assert next_cells(waiting, settings(), 27) == ["c", "b", "d"]
    assert next_cells(waiting, settings(), 26) == []
