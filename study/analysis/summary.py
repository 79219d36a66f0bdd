"""The last word of a study: its first answers in a line each, what is best here, what is undecided.

Answers to one question at several settings share a line. The one whose cells reach the smallest
error speaks, because a run that was stopped early says little about its data; the others are
counted beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd

from study.analysis.answer import Answer, curve
from study.analysis.design import CONTROL, POINTS, Design, counted
from study.analysis.evidence import agreed
from study.analysis.statistics.limits import CONVERGED, NEEDED
from study.analysis.words import count, estimate, plural
from study.tables.measures import TEST, VALID_TIME

# Kinds of answers by their ids, in the order in which they are told: what only a study made for it
# has comes first. Each with a short question ('': its own) and what its figure is; `{first}` stands
# for what its sentence begins with.
FIRST = "{first}"
KINDS: dict[str, tuple[str, str]] = {
    "failed.*": ("", FIRST),
    "published.*": ("", FIRST),
    "search*": ("", FIRST),
    "factorial.*": ("", "a factor of {}"),
    "efficiency.*": ("", FIRST),
    "gauge": ("", FIRST),
    "seen.*": ("", FIRST),
    "equations": ("", FIRST),
    "beta_beyond_scale": ("", "the worst beta has {} times the error of the best"),
    "compare.activation*": ("", "a factor of {}"),
    "compare.recipe": ("", "a factor of {}"),
    "n_at_least_p.*": (
        "Are at least as many points as parameters needed, N ≥ P?",
        "with fewer the error is {} times as large",
    ),
    "overdetermined.*": (
        "Do many more points than parameters, N ≫ P, overdetermine the network?",
        "at the largest N the error is {} times that at N = P",
    ),
    "overparameterised.*": (
        "Do more parameters than equations hurt?",
        "the largest network has {} times the error of the best with P ≤ N·D",
    ),
    "budget.explained.*": (
        "Is it the network's acceleration error that makes trajectories wrong?",
        "the rollout error is {} times what that error alone makes",
    ),
    "compare.initial_conditions": ("", "a factor of {}"),
    "compare.order": ("", "a factor of {}"),
    "peak_along_n.*": ("Does the error peak along N (double descent)?", "a factor of {}"),
    "peak_along_p.*": ("Does the error peak along P (double descent)?", "a factor of {}"),
    "epochs.*": ("", FIRST),
    "lever.*": (
        "Does one change lower the error more than all others?",
        "{first}, {} times",
    ),
    "budget.integrator.*": (
        "Is it the integrator?",
        "the rollout error is {} times the solver's own",
    ),
    "budget.chaos.*": ("Is it chaos, the sensitivity to initial conditions?", ""),
    "valid_time_by_n.*": (
        "Do more points keep trajectories right for longer?",
        "{} times as long",
    ),
    "valid_time_law.*": ("", FIRST),
    "compare.*": ("", "a factor of {}"),
    "threshold.n.*": ("", FIRST),
    "*": ("", FIRST),
}
OF_ITS_OWN = ("published.*", "search*", "factorial.*", "efficiency.*", "seen.*", "compare.*", "*")
LONGEST = 110  # characters of the beginning of a sentence
MOST = 7  # lines of answers: with the rest they fit on a screen of 24 lines


@dataclass(frozen=True)
class Line:
    """One question: its verdict, its figure in words, and the figure of the page that shows it."""

    verdict: str
    question: str
    effect: str
    figure: str


@dataclass(frozen=True)
class Summary:
    """What a reader gets first.

    - `lines`: of the first questions; `more`: how many answers no line speaks of.
    - `best`: the most accurate cell here, in a sentence; '' without one.
    - `undecided`: what is undecided and what would decide it, and how many answers rest on training
      that was stopped; '' if nothing is.
    """

    lines: tuple[Line, ...]
    more: int
    best: str
    undecided: str


NONE = Summary((), 0, "", "")


def summary(rows: pd.DataFrame, answers: Sequence[Answer]) -> Summary:
    """The summary of a study's answers; `rows` as in `answers.answer`."""
    rows = counted(rows)
    medians = rows.groupby("cell").agg({TEST.column: "median"}) if len(rows) else pd.DataFrame()
    errors = pd.Series(medians.to_numpy(float).ravel(), medians.index)
    groups: dict[tuple[str, str], list[Answer]] = {}
    for pattern in KINDS:
        for one in answers:
            if one.id != "trust" and next(p for p in KINDS if fnmatchcase(one.id, p)) == pattern:
                of_its_own = one.question if pattern in OF_ITS_OWN else ""
                groups.setdefault((pattern, of_its_own), []).append(one)
    told = list(groups.items())[:MOST]
    lines = [_line(*KINDS[pattern], group, rows, errors) for (pattern, _), group in told]
    more = len(answers) - sum(len(group) for _, group in told)
    return Summary(tuple(lines), more, _best(rows, errors), _undecided(answers))


def _line(
    question: str, words: str, group: Sequence[Answer], rows: pd.DataFrame, errors: pd.Series
) -> Line:
    least = np.array([errors.reindex(one.rows).min() for one in group], float)
    one = group[int(np.nanargmin(least))] if np.isfinite(least).any() else group[0]
    question = question or one.question
    effect = words.format(estimate(one.deciding), first=_beginning(one.sentence))
    if len(group) == 1:
        return Line(one.verdict, question, effect, one.figure)
    tally = Counter(each.verdict for each in group)
    cells = {cell for each in group for cell in each.rows}
    if len({*rows.loc[rows["cell"].isin(list(cells)), "system"]}) > 1:  # no system speaks for all
        return Line(agreed(tally), question, f"{_told(tally)} of {len(group)}", one.figure)
    place = Design(rows).told_apart([each.rows for each in group])[group.index(one)]
    others = f"elsewhere {_told(tally - Counter([one.verdict]))}"
    return Line(one.verdict, question, f"{effect} ({place or 'here'}; {others})", one.figure)


def _told(tally: Counter[str]) -> str:
    """How many settings say what."""
    return ", ".join(f"{verdict} at {n}" for verdict, n in tally.most_common())


def _beginning(sentence: str) -> str:
    first = sentence.partition(". ")[0].rstrip(".")
    return first if len(first) <= LONGEST else first[:LONGEST].rpartition(" ")[0] + " …"


def _best(rows: pd.DataFrame, errors: pd.Series) -> str:
    networks = rows.loc[rows["model"] != CONTROL] if len(rows) else rows
    errors = errors.loc[errors.index.isin(list(networks["cell"]))].dropna()
    if errors.empty or len({*rows["system"]}) > 1:
        return ""
    cell = str(errors.idxmin())
    design = Design(networks)
    row = networks.loc[networks["cell"] == cell].iloc[0]
    test, valid = (curve(networks, (cell,), m).estimate(0) for m in (TEST, VALID_TIME))
    error = estimate(test.map(lambda square: 100 * square**0.5))
    place = f" ({design.label(cell)})" if design.varying else ""
    text = f"Most accurate of {plural(len(errors), 'cell')}{place}: "
    text += f"accelerations wrong by {error} % of their scatter"
    if np.isfinite(valid.value):
        horizon = f"{row['rollout.horizon']:g} s looked"
        text += f", trajectories right for {estimate(valid, 's')} of {horizon}"
    ladder = next((one for one in design.ladders("N") if cell in one.cells), None)
    if ladder is not None:
        within = errors.reindex(list(ladder.cells)).to_numpy() <= NEEDED * errors[cell]
        enough, used = int(ladder.n_points[within].min()), int(row[POINTS])
        if enough < used:
            text += f"; with {count(enough)} of its {count(used)} points it is within a factor of 2"
    return text + "."


def _undecided(answers: Sequence[Answer]) -> str:
    stopped = sum(one.converged < CONVERGED for one in answers)
    verb = "rests" if stopped == 1 else "rest"
    after = f" {count(stopped)} {verb} on training that was stopped before it converged."
    after = after if stopped else ""
    open_ones = [one for one in answers if one.verdict == "undecided"]
    if not open_ones:
        return f"Of {plural(len(answers), 'answer')}{after}" if stopped else ""
    text = f"{plural(len(open_ones), 'answer')} of {len(answers)} undecided"
    known = [one for one in open_ones if one.remedy]
    if known:
        text += f", the first of them: {known[0].question} {known[0].remedy}"
    return (text if known else text + ".") + after
