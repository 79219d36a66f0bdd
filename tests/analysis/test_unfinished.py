"""What a study that is not finished says it waits for."""

from __future__ import annotations

import pytest

from study.analysis import answers
from study.page import notes
from tests.analysis import synthetic
from tests.analysis.synthetic import Law

WANTED = 6


@pytest.fixture(scope="module")
def finished():
    settings = synthetic.product(data__n_train=[64, 256, 1024], model__width=[8, 16])
    return synthetic.rows(settings, Law(), replicates=WANTED)


def planned(rows):
    return rows.drop_duplicates("cell").drop(columns=["study", "replicate"])


def test_parts_are_the_curves_and_count_what_is_there(finished):
    wide = finished["model.width"].eq(16)
    some = finished[(wide & finished["data.n_train"].lt(1024)) | finished["replicate"].lt(2)]
    found = {part.name: part for part in notes.parts(planned(finished), some, WANTED)}
    sizes = finished.groupby("model.width")["n_params"].first()
    names = [f"along N: P = {P}" for P in sizes]
    assert set(found) == {*names, *(f"along P: N = {N}" for N in ("64", "256", "1024"))}
    small, large = (found[name] for name in names)
    assert (small.complete, small.replicates, small.wanted) == (0, 6, 18)
    assert (large.complete, large.replicates, large.wanted) == (2, 14, 18)
    assert next(iter(found.values())).replicates / WANTED <= 2  # what lacks most comes first


def test_nothing_is_there_before_the_first_block(finished):
    found = notes.parts(planned(finished), None, WANTED)
    assert {(part.complete, part.replicates) for part in found} == {(0, 0)}


def test_one_cell_is_a_study_too(finished):
    (part,) = notes.parts(planned(finished).head(1), None, WANTED)
    assert (part.name, part.wanted) == ("all cells", WANTED)


def test_answers_say_what_they_wait_for(finished):
    some = finished[finished["model.width"].eq(16) | finished["replicate"].lt(3)]
    found = answers.answer(some)
    parts = notes.parts(planned(finished), some, WANTED)
    waiting = notes.waits(found, parts, some, WANTED)
    small = finished.loc[finished["model.width"].eq(8), "cell"].iloc[0]
    along = {each.id: each for each in found if each.id.startswith("raise_n.")}
    assert len(along) == 2
    for id, each in along.items():
        assert waiting.get(id) == ("so far 9 of 18 replicates" if small in each.rows else None)
    pooled = next(each for each in found if set(each.rows) == set(some["cell"]))
    assert waiting[pooled.id] == "so far 27 of 36 replicates"


def test_a_finished_study_waits_for_nothing(finished):
    parts = notes.parts(planned(finished), finished, WANTED)
    assert notes.waits(answers.answer(finished), parts, finished, WANTED) == {}


def test_what_is_undecided_is_said_with_what_it_lacks(finished):
    few = finished[finished["replicate"].lt(2)]
    found = answers.answer(few)
    still = sum(each.verdict == "undecided" for each in found)
    sentence = notes.undecided(found, 2)
    assert sentence.startswith(f"Undecided so far: {still} of {len(found)} answers, ")
    assert "fewer than 5 replicates a cell" in sentence
    assert "replicates=5 would bring them" in sentence
    assert "would bring" not in notes.undecided(found, 6)
    decided = [each for each in found if each.verdict != "undecided"]
    assert notes.undecided(decided, 2) == ""
