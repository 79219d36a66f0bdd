"""What several studies say to one question, and how that becomes one verdict.

Knows: answers of studies and the cells they rest on; the rules of pooling. Does not know: which
questions there are (`across`), pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from study.analysis import directions
from study.analysis.answer import Answer
from study.analysis.names import name_of
from study.analysis.naming import count
from study.analysis.statistics.peaks import TEST_LEVEL
from study.analysis.statistics.ratios import LEVEL
from study.analysis.wording import plural

OWN = 3361  # P of the question's network: the curve nearest to it speaks first


@dataclass(frozen=True)
class Study:
    """One study's tables and answers; `name` is its folder's."""

    name: str
    rows: pd.DataFrame
    curves: pd.DataFrame
    answers: list[Answer]


@dataclass(frozen=True, eq=False)
class Evidence:
    """One answer of one study, and the rows of its cells."""

    study: str
    answer: Answer
    rows: pd.DataFrame

    @property
    def noisy(self) -> bool:
        return bool((self.rows["data.noise"] > 0).any())

    @property
    def plain(self) -> bool:
        """Whether it is about plain Lagrangian networks alone."""
        return set(self.rows["model"]) == {"lnn"}

    @property
    def setting(self) -> tuple[str, str, float]:
        """System, constants and horizon of its first cell."""
        first = self.rows.iloc[0]
        constants = str(first["system.constants"])
        return str(first["system"]), constants, float(first["rollout.horizon"])

    @property
    def where(self) -> str:
        """Study, model, size and optimiser, in brackets what tells it from the others."""
        parts = [name_of(m) for m in sorted(set(self.rows["model"])) if m != "lnn"]
        sizes, points = (set(self.rows[name].tolist()) for name in ("n_params", "data.n_train"))
        if len(sizes) == 1:
            parts.append(f"P = {count(*sizes)}")
        elif len(points) == 1:
            parts.append(f"N = {count(*points)}")
        optimisers = sorted(set(self.rows["optimizer"]))
        parts += [name_of(optimisers[0])] if len(optimisers) == 1 else []
        noises = sorted(set(self.rows["data.noise"]))
        parts += [f"noise {noises[0]:g}"] if len(noises) == 1 and noises[0] > 0 else []
        return f"{self.study} ({', '.join(parts)})" if parts else self.study

    @property
    def distance(self) -> float:
        """How far its P are from that of the question's network, in logarithms."""
        return float(np.abs(np.log(self.rows["n_params"].to_numpy(float) / OWN)).min())


Rule = Callable[[Sequence[Evidence]], str]


@dataclass(frozen=True)
class Pooled:
    """One verdict on one question of several studies.

    - `value`, `interval`, `figure`, `study`: of the answer that speaks first.
    - `n_cells`, `n_replicates`: of all that were pooled.
    - `rule`: how the verdict was made, in words; `evidence`: all that went into it, first first.
    """

    id: str
    question: str
    verdict: str
    sentence: str
    value: float
    interval: tuple[float, float]
    n_cells: int
    n_replicates: int
    study: str
    figure: str
    rule: str
    evidence: tuple[Evidence, ...]


def gather(studies: Sequence[Study]) -> list[Evidence]:
    """Every answer of every study, and which way its choices help."""
    found = []
    for study in studies:
        parts = dict(list(study.rows.groupby("cell")))
        for answer in (*study.answers, *directions.answers(study.rows)):
            rows = [parts[cell] for cell in answer.rows if cell in parts]
            if rows:
                found.append(Evidence(study.name, answer, pd.concat(rows)))
    return found


def main_setting(evidence: Sequence[Evidence]) -> tuple[str, str, float] | None:
    """The system, constants and horizon that most studies share."""
    pairs = {(each.study, each.setting) for each in evidence}
    counted = Counter(setting for _, setting in sorted(pairs))
    return counted.most_common(1)[0][0] if counted else None


def unanimous(evidence: Sequence[Evidence]) -> str:
    """Yes where some say yes and none no, no the other way round."""
    said = {each.answer.verdict for each in evidence} - {"undecided"}
    return said.pop() if len(said) == 1 else "undecided"


def first(evidence: Sequence[Evidence]) -> str:
    """What the first says."""
    return evidence[0].answer.verdict


def beyond_chance(evidence: Sequence[Evidence]) -> str:
    """Yes where more peaks are found than the level of their test lets by; no where all say no."""
    yes = sum(each.answer.verdict == "yes" for each in evidence)
    by_chance = float(stats.binom.sf(yes - 1, len(evidence), 1 - TEST_LEVEL))
    if yes and by_chance < 1 - LEVEL:
        return "yes"
    return "no" if all(each.answer.verdict == "no" for each in evidence) else "undecided"


RULES: dict[Rule, str] = {
    unanimous: "Yes where some of the answers below say yes and none says no; no the other way "
    "round; undecided where they differ or none decides.",
    first: "The verdict of the first of the answers below.",
    beyond_chance: "Yes where more curves peak than the test's level of "
    f"{100 * (1 - TEST_LEVEL):.0f} % lets by; no where every curve says no; else undecided.",
}


def pool(
    id: str,
    question: str,
    evidence: Sequence[Evidence],
    rule: Rule,
    verdict: str | None = None,
    sentence: str | None = None,
    words: str | None = None,
    speaker: Evidence | None = None,
) -> Pooled:
    """One verdict from answers in order of weight.

    **Arguments:**

    - `evidence`: not empty; of equal weight, the one whose P is nearest to the question's first.
    - `rule`: makes the verdict, where `verdict` is not given.
    - `sentence`, `words`: instead of the speaker's sentence, and of the rule's words.
    - `speaker`: whose figures are given; else the first that agrees with the verdict, or the first
      where that is undecided because they differ.
    """
    verdict = verdict or rule(evidence)
    split = differing(evidence, verdict)
    if speaker is None:
        agreeing = [e for e in evidence if e.answer.verdict == verdict and not split]
        speaker = (agreeing or list(evidence))[0]
    order = [speaker, *(each for each in evidence if each is not speaker)]
    rows = pd.concat([each.rows for each in evidence]).drop_duplicates(
        ["study", "cell", "replicate"]
    )
    answer = speaker.answer
    return Pooled(
        id=id,
        question=question,
        verdict=verdict,
        sentence=split + (sentence or answer.sentence) + counted(order),
        value=answer.value,
        interval=answer.interval,
        n_cells=len(rows[["study", "cell"]].drop_duplicates()),
        n_replicates=len(rows),
        study=speaker.study,
        figure=answer.figure,
        rule=words or RULES[rule],
        evidence=tuple(order),
    )


def absent(id: str, question: str, studies: Sequence[str], present: Sequence[str]) -> Pooled:
    """The verdict where no study answers; `studies` should, `present` are there."""
    gone = [name for name in studies if name not in present]
    reason = f"missing: {', '.join(gone)}" if gone else f"{', '.join(studies)} cannot tell"
    return Pooled(
        id=id,
        question=question,
        verdict="undecided",
        sentence=f"Not measured here ({reason}).",
        value=np.nan,
        interval=(np.nan, np.nan),
        n_cells=0,
        n_replicates=0,
        study="",
        figure="",
        rule="",
        evidence=(),
    )


def differing(evidence: Sequence[Evidence], verdict: str) -> str:
    """Who says yes and who no, where that leaves it undecided."""
    said = {v: [e.where for e in evidence if e.answer.verdict == v] for v in ("yes", "no")}
    if verdict != "undecided" or not (said["yes"] and said["no"]):
        return ""
    return f"It depends. Yes: {_some(said['yes'])}. No: {_some(said['no'])}. The first of them: "


def _some(where: list[str], most: int = 4) -> str:
    names = list(dict.fromkeys(where))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return "; ".join(names[:most]) + more


def counted(evidence: Sequence[Evidence]) -> str:
    """How the answers are split, where there are several."""
    if len(evidence) < 2:
        return ""
    said = Counter(each.answer.verdict for each in evidence)
    split = ", ".join(f"{said[v]} {v}" for v in ("yes", "no", "undecided") if said[v])
    names = list(dict.fromkeys(each.study for each in evidence))
    return f" Of {plural(len(evidence), 'answer')} in {', '.join(names)}: {split}."
