"""One verdict for everything that the question asks, from the answers of several studies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from study.analysis import evidence as ev
from study.analysis.answer import Answer, curve, diverged_remark, make
from study.analysis.design import Comparison, Design
from study.analysis.evidence import Evidence, Pooled, PooledQuestion, Study
from study.analysis.pooled_questions import BESIDE, PRIMARY, QUESTIONS
from study.analysis.questions.comparisons import figure_id
from study.analysis.statistics.limits import CHANGED
from study.analysis.statistics.ratios import mean_ratio
from study.analysis.words import estimate, plural
from study.tables.measures import ROLLOUT, TEST


def answer(studies: Sequence[Study], questions: Sequence[PooledQuestion]) -> list[Pooled]:
    """One verdict a question, in order; a question that no study answers has a verdict too."""
    everything = _gather(studies)
    usual = ev.main_setting(everything)
    found = [_answer(question, everything, usual, studies) for question in questions]
    return ev.corrected(found, PRIMARY)


def expected() -> list[str]:
    """The names of the studies that the registry looks for."""
    return list(dict.fromkeys(name for q in (*QUESTIONS, *BESIDE) for name in q.studies))


def _gather(studies: Sequence[Study]) -> list[Evidence]:
    """Every answer of every study, and which way its choices help."""
    evidence = []
    for study in studies:
        rows_of = dict(list(study.rows.groupby("cell")))
        for one in (*study.answers, *_directions(study.rows)):
            rows = [rows_of[cell] for cell in one.rows if cell in rows_of]
            if rows:
                evidence.append(Evidence(study.name, one, pd.concat(rows)))
    return evidence


def _directions(rows: pd.DataFrame) -> Iterator[Answer]:
    """Whether shuffled points help beside sequential ones, and many trajectories beside few: the
    page of one study only asks whether they differ. One answer a system."""
    for _, own in rows.groupby(["system", "system.constants"], sort=False):
        design = Design(own)
        if order := design.compare(("data.order",)):
            yield _helps(own, order, "sequential", "shuffled", "order", "shuffling")
        if many := design.compare(("data.n_trajectories",)):
            few, most = many.levels[0], many.levels[-1]
            yield _helps(own, many, few, most, "initial_conditions", most)


def _helps(
    rows: pd.DataFrame, comparison: Comparison, without: str, given: str, id: str, words: str
) -> Answer:
    before, after = comparison.levels.index(without), comparison.levels.index(given)
    groups = list(comparison.groups.values())
    cells = tuple(group[i] for i in (before, after) for group in groups)
    test, rollout = (curve(rows, cells, m) for m in (TEST, ROLLOUT))
    n = len(groups)
    gain, also = (mean_ratio(c, range(n), range(n, 2 * n)) for c in (test, rollout))
    over = f", over {plural(n, 'setting')} of the rest" if n > 1 else ""
    sentence = (
        f"With {words} the {TEST.words} is lower than with {without} by a factor of "
        f"{estimate(gain)} and the rollout error by {estimate(also)}{over}, all else equal (below "
        f"1: higher).{diverged_remark(test)}"
    )
    return make(
        f"helps.{id}",
        f"Do {words} help?" if id == "initial_conditions" else f"Does {words} help?",
        CHANGED.verdict(gain),
        sentence,
        gain,
        rows,
        cells,
        figure_id(comparison),
        turn=CHANGED,
    )


def _answer(
    question: PooledQuestion, everything: list[Evidence], usual, studies: Sequence[Study]
) -> Pooled:
    names, turn = question.studies, question.turn

    def weight(e: Evidence) -> tuple:
        asked = next(i for i, id in enumerate(question.asks) if e.answer.id.startswith(id))
        place = names.index(e.study) if e.study in names else len(names)
        return asked, place, round(e.distance, 6), e.study, e.answer.id

    chosen = [
        e
        for e in everything
        if e.answer.id.startswith(question.asks)
        and (question.anywhere or turn or e.setting == usual)
        and question.keep(e)
    ]
    chosen = sorted([e for e in chosen if e.study in names] or chosen, key=weight)
    pooled = None
    if chosen:
        if question.pooled:
            pooled = question.pooled(question, chosen, studies)
        elif turn:
            pooled = ev.mean_over_systems(question, turn, chosen)
        else:
            pooled = ev.by_rule(question, chosen)
    return pooled or ev.absent(question, [study.name for study in studies])
